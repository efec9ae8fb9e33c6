from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("stock", "0002_add_code")]
    operations = [
        migrations.RemoveField("item", "name"),
        migrations.RemoveField("item", "content_type"),
    ]
