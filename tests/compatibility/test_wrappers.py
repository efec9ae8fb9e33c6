"""Tracers and pools that put a proxy around psycopg's connection hide nothing from a dry run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.compatibility.conftest import MakeProject
from tests.compatibility.environments import WRAPPING
from tests.support.dry_run import fingerprint

pytestmark = pytest.mark.compatibility

POOL = "django-db-connection-pool"
IS_WRAPPED = (
    "import django, psycopg; django.setup(); from django.db import connection;"
    "connection.ensure_connection(); print(type(connection.connection) is psycopg.Connection)"
)


def operations(document: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Return how each operation was rehearsed, and what it rewrote."""
    return [
        (operation["rehearsed"], [r for s in operation["statements"] for r in s["rewrites"]])
        for migration in document["migrations"]
        for operation in migration["operations"]
    ]


ways = [(package, clone) for package in WRAPPING for clone in (False, True)]
ways.remove((POOL, True))


@pytest.mark.parametrize(("package", "clone"), ways)
def test_a_dry_run_sees_through_a_proxy(
    make_project: MakeProject, package: str, clone: bool
) -> None:
    project = make_project(package)
    assert project.run("-c", IS_WRAPPED).strip().endswith("False")
    project.django("migrate", "stock", "0001")
    project.django("migrate", "auth")
    before = fingerprint(project.observer)
    if clone:
        project.observer.close()

    out = project.django(
        "migrate_dryrun", "stock", "--format", "json", *(["--clone"] if clone else [])
    )

    document = json.loads(out)
    assert document["outcome"] == "passed"
    assert operations(document) == [
        ("exact", ["stock_item"]),
        ("exact" if clone else "substituted", []),
        ("exact" if clone else "substituted", []),
    ]
    found = {finding["id"] for m in document["migrations"] for finding in m["findings"]}
    assert "type-change-rewrite" in found
    if not clone:
        assert fingerprint(project.observer) == before


def test_a_pool_that_keeps_its_connections_can_not_be_copied(make_project: MakeProject) -> None:
    project = make_project(POOL)
    project.observer.close()

    process = project.start("-m", "django", "migrate_dryrun", "--clone")
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (2, "")
    assert err == (
        "CommandError: When Django closes the connection to 'default', a pool keeps it open "
        "(dj_db_conn_pool.backends.postgresql.base), so its database can't be copied; run --clone "
        "with an ENGINE that has no pool of its own.\n"
    )
