"""An index for the warehouse, built while the shop goes on selling."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("shop", "0009_fill_order_search_text")]

    operations = [
        AddIndexConcurrently(
            model_name="orderline",
            index=models.Index(fields=["pick_number"], name="shop_orderline_pick_number"),
        ),
    ]
