"""The shop's settings with every shipped hook around its migrations.

::

    DJANGO_SETTINGS_MODULE=config.shipped_hooks python manage.py migrate

What talks to the outside world, or needs more than the demo has, is a comment.
"""

from config.settings import *  # noqa: F403
from config.settings import CONFITURE as _CONFITURE

SHOP = ["shop.*"]

CONFITURE = {
    **_CONFITURE,
    "PHASES": {
        "BEFORE_DDL": [
            {
                "HOOK": "capture_counts",
                "OPTIONS": {
                    "tables": {
                        "shop_order": {"checksum": ["number", "status"]},
                        "shop_orderline": {"sum": ["quantity", "unit_price"]},
                    },
                    "queries": {
                        "customers who ordered": "SELECT count(DISTINCT customer_id) "
                        "FROM shop_order"
                    },
                },
                "MIGRATIONS": ["shop.000[2-9]_*", "shop.001*"],
            },
        ],
        "AFTER_VALIDATION": [
            {"HOOK": "verify_consistency", "MIGRATIONS": ["shop.000[2-9]_*", "shop.001*"]},
        ],
    },
}
