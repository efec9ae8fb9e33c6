"""Every order has had a currency for years; now the database says so."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0004_order_status_placed_index")]

    operations = [
        migrations.AlterField(
            model_name="order",
            name="currency",
            field=models.CharField(default="EUR", max_length=3),
            preserve_default=False,
        ),
    ]
