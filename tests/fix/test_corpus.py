"""Every case of the corpus: what is fixed is migrated for real, and ends as the original does.

``make test`` runs the cases in ``OFTEN``; the others have the marker "fixes". ``make fixes`` runs
them all.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from django_confiture.dry_run.findings.advice.sentences import ASKS_FOR_TWO
from tests.cases.migrations_on_disk import Cases, query
from tests.fix.corpus import CORPUS, OFTEN
from tests.fix.corpus.harmful import Harmful
from tests.fix.running import fix, forget_modules, offered, outcomes
from tests.fix.work_under_locks import work_under_locks

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

_NAME = "0002_change"
_CASES = [
    pytest.param(each, id=each.name, marks=[] if each in OFTEN else pytest.mark.fixes)
    for each in CORPUS
]


def query_none(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.parametrize("case", _CASES)
def test_case(cases: Cases, case: Harmful) -> None:
    shop = cases
    shop.write("0001_shop", case.shop)
    shop.migrate()
    query_none("ANALYZE")
    shop.write(_NAME, case.source)
    code, document = fix(_NAME, *case.arguments)
    reasons = [each["reason"] for each in document["operations"]]
    assert outcomes(document) == case.outcomes.split(), reasons
    assert code == (0 if "fixed" in case.outcomes else 1), reasons_and_files(document)
    # Who has asked for two releases is not told to.
    assert not (case.arguments and any(ASKS_FOR_TWO in (each or "") for each in reasons)), reasons
    # A report offers nothing that is then refused.
    if not case.arguments and code:
        assert not offered()
    if "refused" in case.outcomes:
        assert any(case.reason in (each or "") for each in reasons), reasons
    if code == 0:
        migrate_for_real(shop, case, document)


def migrate_for_real(shop: Cases, case: Harmful, document: dict[str, Any]) -> None:
    proof = document["proof"]
    assert proof["dangers_after"] == 0 or "refused" in case.outcomes
    assert case.breaks in (None, proof["running_code_breaks_after"])
    before = end(case)
    with work_under_locks() as worked:
        shop.migrate()
    if case.name == "index":  # what is not seen here would be seen nowhere
        assert "ShareLock" in worked[0]
    wanted, wanted_state = end(case), _state()
    shop.drop_everything()
    ContentType.objects.filter(app_label="cases").delete()
    forget_modules(shop)
    for file in document["files"]:
        (shop.package / f"{file['name']}.py").write_text(file["source"])
    shop.migrate("0001_shop")
    query_none("ANALYZE")
    assert end(case) == before
    with work_under_locks() as worked:
        shop.migrate()
    assert worked == [] or "refused" in case.outcomes
    assert end(case) == wanted
    assert case.own_default or _changes(wanted_state, _state()) == {}
    if not case.irreversible:
        shop.migrate("0001_shop")
        assert schema_now() == before["schema"]


def reasons_and_files(document: dict[str, Any]) -> str:
    """Return the proof and the files, to read where a test fails."""
    files = [f"# {each['name']}\n{each['source']}" for each in document["files"]]
    return "\n".join([str(document["proof"]), *files])


def end(case: Harmful) -> dict[str, Any]:
    """Return the schema, and the rows of all tables."""
    schema = schema_now()
    return {"schema": schema, "rows": {table: _rows(table, case.varies) for table in _tables()}}


def _tables() -> list[str]:
    return [name for (name,) in query(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND oid >= 16384"
        " AND (relname LIKE 'cases%%' OR relname LIKE 'Shop%%') ORDER BY 1"
    )]  # fmt: skip


def _rows(table: str, varies: tuple[str, ...]) -> Any:
    columns = "{" + ",".join(varies) + "}"
    return query(
        "SELECT count(*), md5(string_agg(row, '|' ORDER BY row))"
        f" FROM (SELECT (to_jsonb(t) - '{columns}'::text[])::text AS row FROM {table} t) r"
    )


_SCHEMA = {
    "columns": """
        SELECT c.oid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull,
          pg_get_expr(adbin, adrelid), attidentity, attgenerated, col_description(c.oid, attnum)
        FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE c.oid >= 16384 AND attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'S')
          AND (relname LIKE 'cases%%' OR relname LIKE 'Shop%%')""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated,
          condeferrable, condeferred
        FROM pg_constraint WHERE conrelid::regclass::text ~ 'cases|Shop'""",
    "indexes": """
        SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid, indisunique
        FROM pg_index WHERE indrelid::regclass::text ~ 'cases|Shop'""",
}


def schema_now() -> dict[str, list[str]]:
    return {name: sorted(map(str, query(sql))) for name, sql in _SCHEMA.items()}


def _state() -> ProjectState:
    loader = MigrationLoader(connection)
    assert loader.detect_conflicts() == {}
    return loader.project_state()


def _changes(one: ProjectState, other: ProjectState) -> dict[str, Any]:
    loader = MigrationLoader(connection)
    there = MigrationAutodetector(one, other).changes(loader.graph)
    back = MigrationAutodetector(other, one).changes(loader.graph)
    return {**there, **back}
