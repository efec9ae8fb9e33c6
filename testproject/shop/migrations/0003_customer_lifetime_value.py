"""The read model behind the customer page, filled by a hook."""

import django.db.models.deletion
from django.db import migrations, models

from django_confiture.operations import RunHook


class Migration(migrations.Migration):
    dependencies = [("shop", "0002_order_search_text")]

    operations = [
        migrations.CreateModel(
            name="CustomerLifetimeValue",
            fields=[
                (
                    "customer",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        serialize=False,
                        to="shop.customer",
                    ),
                ),
                ("order_count", models.PositiveIntegerField()),
                ("lifetime_value", models.DecimalField(decimal_places=2, max_digits=14)),
                ("last_order_at", models.DateTimeField()),
            ],
            options={"db_table": "r_customer_lifetime_value"},
        ),
        RunHook("backfill_customer_lifetime_value"),
    ]
