"""Settings of the shop: what migrations need, and nothing else."""

from typing import Any

import local_postgres

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django_confiture",
    "django_confiture.history",
    "shop",
]

SECRET_KEY = "of a shop with nothing to hide"  # noqa: S105 - the ledger is signed with it
DATABASES = {"default": local_postgres.database("confiture_shop")}
USE_TZ = True

CONFITURE: dict[str, Any] = {
    "HOOKS": {
        "backfill_customer_lifetime_value": "shop.hooks.BackfillCustomerLifetimeValue",
    },
}
