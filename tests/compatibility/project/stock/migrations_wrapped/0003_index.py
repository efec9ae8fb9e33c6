from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("stock", "0002_bigger")]
    operations = [
        AddIndexConcurrently("item", models.Index(fields=["number"], name="stock_item_number")),
    ]
