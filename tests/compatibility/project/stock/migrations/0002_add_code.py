from django.db import migrations, models


def fill(apps, schema_editor):
    apps.get_model("stock", "Item").objects.update(code=models.F("name"))


class Migration(migrations.Migration):
    dependencies = [("stock", "0001_initial")]
    operations = [
        migrations.AddField("item", "code", models.CharField(max_length=10, null=True)),
        migrations.AddIndex("item", models.Index(fields=["code"], name="stock_item_code")),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
