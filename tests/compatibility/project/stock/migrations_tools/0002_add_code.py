from django.db import migrations, models
from django_pg_migration_tools import operations


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("stock", "0001_initial")]
    operations = [
        migrations.AddField("item", "code", models.CharField(max_length=10, null=True)),
        operations.SaferAddIndexConcurrently(
            "item", models.Index(fields=["code"], name="stock_item_code")
        ),
    ]
