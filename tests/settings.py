"""Settings of the test suite: a real PostgreSQL, two databases, the shop, and an app for cases."""

import local_postgres

SECRET_KEY = "tests"
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.postgres",
    "django_confiture",
    "shop",
    "tests.cases",
]

DATABASES = {
    "default": local_postgres.database("confiture_tests"),
    "other": local_postgres.database("confiture_tests_other"),
}

# Tests that need migrations of their own point "cases" at tests/migrations_<name>.
MIGRATION_MODULES = {"cases": "tests.migrations_cases"}

# Django 6.1 warns of mail without it; older versions do not read it.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}

CONFITURE = {
    "HOOKS": {
        "backfill_customer_lifetime_value": "shop.hooks.BackfillCustomerLifetimeValue",
    },
}
