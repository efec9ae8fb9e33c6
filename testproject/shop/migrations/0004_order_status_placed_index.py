"""An index for the list of open orders."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0003_customer_lifetime_value")]

    operations = [
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["status", "placed_at"], name="shop_order_status_placed"),
        ),
    ]
