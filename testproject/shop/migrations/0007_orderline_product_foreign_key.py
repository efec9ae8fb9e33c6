"""The database now enforces that an order line's product exists."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0006_orderline_pick_number_bigint")]

    operations = [
        migrations.AlterField(
            model_name="orderline",
            name="product",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="shop.product",
            ),
        ),
    ]
