"""The warehouse's numbers will soon be larger than an integer."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0005_order_currency_not_null")]

    operations = [
        migrations.AlterField(
            model_name="orderline",
            name="pick_number",
            field=models.BigIntegerField(help_text="The warehouse's number for the pick."),
        ),
    ]
