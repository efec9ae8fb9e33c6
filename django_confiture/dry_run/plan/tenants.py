"""Warns that one dry run does not cover tenants in schemas of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


def tenants_not_seen(wrapper: BaseDatabaseWrapper) -> tuple[str, ...]:
    """Return a warning where django-tenants runs the migrations in one schema at a time."""
    if "django_tenants" not in {*type(wrapper).__module__.split("."), _engine(wrapper)}:
        return ()
    schema = getattr(wrapper, "schema_name", None) or "public"
    warning = (
        f"django-tenants: only the schema {schema!r} was looked at, no other tenant's. "
        "Run manage.py tenant_command migrate_dryrun --schema=NAME for a tenant."
    )
    return (warning,)


def _engine(wrapper: BaseDatabaseWrapper) -> str:
    return str(wrapper.settings_dict.get("ENGINE", "")).partition(".")[0]
