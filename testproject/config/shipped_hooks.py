"""The shop's settings with every shipped hook around its pending migrations.

After ``make demo``, or ``migrate shop 0001`` and ``load_shop``::

    export DJANGO_SETTINGS_MODULE=config.shipped_hooks
    python manage.py migrate_dryrun     # which require_recent_dry_run asks for
    python manage.py migrate

``require_backup`` alone is a comment: the demo has no backups.
"""

from pathlib import Path

from config.settings import *  # noqa: F403
from config.settings import CONFITURE as _CONFITURE
from config.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [*_APPS, "django_confiture.backfills"]
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"

PENDING = ["shop.000[2-9]_*", "shop.001*"]

NOTIFY = {
    "HOOK": "notify",
    "OPTIONS": {"mail": ["ops@example.com"], "on": ["success", "failure"]},
    "MIGRATIONS": PENDING,
}
QUERIES = {
    "HOOK": "run_queries",
    "OPTIONS": {
        "queries": {
            "new orders": "SELECT id FROM shop_order WHERE status = 'new' ORDER BY placed_at",
            "one order": {"sql": "SELECT id FROM shop_order WHERE number = %s", "params": ["N-1"]},
        },
        "keep_indexes": True,
    },
    "MIGRATIONS": PENDING,
}

CONFITURE = {
    **_CONFITURE,
    "PHASES": {
        "BEFORE_VALIDATION": [
            {"HOOK": "require_recent_dry_run", "MIGRATIONS": PENDING},
            {
                "HOOK": "require_no_long_transactions",
                "OPTIONS": {"longer_than": "1min", "action": "wait", "wait_up_to": "5min"},
                "MIGRATIONS": PENDING,
            },
            {
                "HOOK": "require_free_space",
                "OPTIONS": {"path": str(Path(__file__).parent)},  # the disk of the demo's server
                "MIGRATIONS": PENDING,
            },
            {"HOOK": "require_no_drift", "MIGRATIONS": PENDING},
            # {
            #     "HOOK": "require_backup",
            #     "OPTIONS": {"file": "/backups/shop-*.dump", "max_age": "24h"},
            #     "MIGRATIONS": PENDING,
            # },
        ],
        "BEFORE_DDL": [
            {"HOOK": "remove_invalid_indexes", "MIGRATIONS": PENDING},
            QUERIES,
            {
                "HOOK": "capture_counts",
                "OPTIONS": {
                    "tables": {
                        "shop_order": {"checksum": ["number", "status"]},
                        "shop_orderline": {"sum": ["quantity", "unit_price"]},
                    },
                    "queries": {"buyers": "SELECT count(DISTINCT customer_id) FROM shop_order"},
                },
                "MIGRATIONS": PENDING,
            },
        ],
        "AFTER_DDL": [
            {
                "HOOK": "backfill",
                "OPTIONS": {"backfill": "shop.backfills.FillSearchText", "in_batches": True},
                "MIGRATIONS": ["shop.0002_*"],
            },
        ],
        "AFTER_VALIDATION": [
            {"HOOK": "verify_consistency", "MIGRATIONS": PENDING},
            QUERIES,
            {
                "HOOK": "validate_tenant",  # the shop's tenants are its customers
                "OPTIONS": {
                    "tables": ["shop_order"],
                    "column": "customer_id",
                    "references": "shop_customer",
                },
                "MIGRATIONS": PENDING,
            },
        ],
        "CLEANUP": [{"HOOK": "analyze", "MIGRATIONS": PENDING}, NOTIFY],
        "ON_ERROR": [NOTIFY],
    },
}
