"""The warning that a dry run has seen one tenant's schema; the real package is in compatibility."""

from __future__ import annotations

import pytest
from django.db import connection

from django_confiture.dry_run.plan.tenants import tenants_not_seen


@pytest.mark.parametrize("engine", ["django_tenants.postgresql_backend", "django_tenants"])
@pytest.mark.parametrize("schema", [None, "acme"])
def test_with_the_engine_of_django_tenants(
    monkeypatch: pytest.MonkeyPatch, engine: str, schema: str | None
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ENGINE", engine)
    if schema is not None:
        monkeypatch.setattr(connection, "schema_name", schema, raising=False)
    (warning,) = tenants_not_seen(connection)
    assert f"only the schema '{schema or 'public'}' was looked at" in warning


def test_with_any_other_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ENGINE", "my_django_tenants_like.backend")
    assert tenants_not_seen(connection) == ()
