"""Settings of a small project that uses the packages that COMPAT_PACKAGES names."""

import json
import os
from importlib import import_module

APPS = {
    "django-linear-migrations": ["django_linear_migrations"],
    "django-safemigrate": ["django_safemigrate"],
    "django-syzygy": ["syzygy"],
    "django-pgmigrate": ["pgactivity", "pglock", "pgmigrate"],
    "django-pg-migration-tools": ["django_pg_migration_tools"],
    "django-pg-zero-downtime-migrations": [],
    "django-pgtrigger": ["pgtrigger", "guarded"],
    "django-test-migrations": [
        "django_test_migrations.contrib.django_checks.AutoNames",
        "django_test_migrations.contrib.django_checks.DatabaseConfiguration",
    ],
}
PHASES = ("BEFORE_VALIDATION", "BEFORE_DDL", "AFTER_DDL", "AFTER_VALIDATION", "CLEANUP", "ON_ERROR")

packages = os.environ["COMPAT_PACKAGES"].split(",")
others = [app for package in packages for app in APPS.get(package, [])]
wrappers = {"ddtrace", "elastic-apm", "newrelic", "django-db-connection-pool"} & {*packages}
if "ddtrace" in packages:
    import_module("ddtrace").patch(psycopg=True)
if "elastic-apm" in packages:
    import_module("elasticapm").instrument()
if "newrelic" in packages:
    import_module("newrelic.agent").initialize()
if os.environ["COMPAT_ORDER"] == "confiture first":
    others = ["django_confiture", *others]
else:
    others = [*others, "django_confiture"]

SECRET_KEY = "compatibility"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", *others, "stock"]
DATABASES = {"default": json.loads(os.environ["COMPAT_DATABASE"])}
if "django-pg-zero-downtime-migrations" in packages:
    DATABASES["default"]["ENGINE"] = "django_zero_downtime_migrations.backends.postgres"
    ZERO_DOWNTIME_MIGRATIONS_LOCK_TIMEOUT = "1s"
    ZERO_DOWNTIME_MIGRATIONS_STATEMENT_TIMEOUT = "10s"
    ZERO_DOWNTIME_MIGRATIONS_FLEXIBLE_STATEMENT_TIMEOUT = True

if "django-db-connection-pool" in packages:
    DATABASES["default"]["ENGINE"] = "dj_db_conn_pool.backends.postgresql"

if "django-tenants" in packages:
    DATABASES["default"]["ENGINE"] = "django_tenants.postgresql_backend"
    DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
    TENANT_MODEL, TENANT_DOMAIN_MODEL = "renting.Client", "renting.Domain"
    SHARED_APPS = [
        "django_tenants", "renting", "django.contrib.contenttypes", "django.contrib.auth", *others,
    ]  # fmt: skip
    TENANT_APPS = ["django.contrib.contenttypes", "stock"]
    INSTALLED_APPS = [*SHARED_APPS, "stock"]

if wrappers:
    MIGRATION_MODULES = {"stock": "stock.migrations_wrapped"}
elif "django-safemigrate" in packages:
    MIGRATION_MODULES = {"stock": "stock.migrations_safemigrate"}
elif packages == ["django-pg-migration-tools"]:
    MIGRATION_MODULES = {"stock": "stock.migrations_tools"}

CONFITURE = {
    "PHASES": {
        phase: [{"HOOK": "compat_hooks.Note", "OPTIONS": {"phase": phase}}] for phase in PHASES
    },
}
