"""How often the trial of a model whose table has rows waits for the server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections, models
from django.db.backends.postgresql.operations import DatabaseOperations
from django.db.migrations import AddField, AlterModelOptions, CreateModel, RunSQL
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_confiture.dry_run.transaction_rehearsal import transaction_rehearsal
from tests.support.dry_run import apply_from, clean_up, migration
from tests.support.releases import applied
from tests.support.round_trips import fast_and_alone

__all__ = ["fast_and_alone"]  # a fixture

pytestmark = pytest.mark.django_db(transaction=True)

_SENT = re.compile(r'\tF\t\d+\t(?:Query\t |Parse\t "" )"(.*?)"(?: \d+)?(?:\n|$)', re.DOTALL)
_TABLES = 12


def _key() -> tuple[str, models.BigAutoField[Any, Any]]:
    return "id", models.BigAutoField(primary_key=True)


@pytest.fixture
def state() -> Iterator[ProjectState]:
    """Commit a table that others refer to, each with a row."""
    clean_up("default")
    leading = [
        (f"shelf{each}", models.ForeignKey("cases.Shelf", models.CASCADE, related_name="+"))
        for each in range(3)
    ]
    made = [CreateModel("Shelf", [_key(), ("name", models.CharField(max_length=9))])]
    made += [CreateModel(f"Row{each}", [_key(), *leading]) for each in range(_TABLES)]
    found = applied(ProjectState(), migration(*made, name="0001_first"))
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO cases_shelf (id, name) VALUES (7, 'a')")
        for each in range(_TABLES):
            cursor.execute(f"INSERT INTO cases_row{each} VALUES (1, 7, 7, 7)")
    yield found
    connection.close()
    clean_up("default")


def columns(number: int) -> list[Operation]:
    """Return what gives so many of the tables a column."""
    return [AddField(f"Row{each}", "note", models.TextField(null=True)) for each in range(number)]


def sent(
    state: ProjectState,
    path: Path,
    *operations: Operation,
    later: Sequence[Operation] = (),
    running_code: bool = True,
) -> list[str]:
    """Return what a dry run of a migration sends, and of one more for each ``later`` operation."""
    plan = [migration(*operations, name="0002_second")]
    plan += [migration(each, name=f"{number:04}_later") for number, each in enumerate(later, 3)]
    connection.ensure_connection()
    raw = connection.connection
    with path.open("w") as trace:
        raw.pgconn.trace(trace.fileno())
        try:
            rehearsal = transaction_rehearsal(connections["default"], running_code=running_code)
            apply_from(state, rehearsal, connections["default"], plan)
        finally:
            raw.pgconn.untrace()
    report = rehearsal.report()
    assert report.outcome == "passed"
    if running_code:
        assert report.deploy.checked.models > len(operations)
    return _SENT.findall(path.read_text())


def test_what_one_more_model_costs(state: ProjectState, tmp_path: Path) -> None:
    def trips(number: int, *, running_code: bool) -> int:
        path = tmp_path / f"{number}_{running_code}"
        return len(sent(state, path, *columns(number), running_code=running_code))

    few, many = (
        trips(each, running_code=True) - trips(each, running_code=False) for each in (2, _TABLES)
    )
    assert (many - few) / (_TABLES - 2) <= 42, (few, many)


def test_a_row_that_others_refer_to_is_read_once(state: ProjectState, tmp_path: Path) -> None:
    texts = sent(state, tmp_path / "trace", *columns(_TABLES))
    reads = [text for text in texts if "SELECT t.* FROM cases_shelf" in text]
    assert 1 <= len(reads) <= 10, len(reads)


def test_what_is_not_run_again_is_put_together_for_the_driver_alone(
    state: ProjectState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed: list[str] = []
    compose = DatabaseOperations.compose_sql

    def counting(self: DatabaseOperations, sql: str, params: Any) -> Any:
        composed.append(sql)
        return compose(self, sql, params)

    monkeypatch.setattr(DatabaseOperations, "compose_sql", counting)
    texts = sent(state, tmp_path / "trace", RunSQL("INSERT INTO cases_row1 VALUES (2, 7, 7, 7)"))
    assert any(text.startswith('INSERT INTO "cases_row1"') for text in texts)
    assert composed
    assert all(text.startswith(("UPDATE", "DELETE")) for text in composed)  # once, to be sent


def test_the_updates_of_a_model_are_sent_together(state: ProjectState, tmp_path: Path) -> None:
    texts = sent(state, tmp_path / "trace", *columns(1))
    # Those of the new release fail, and so are sent one by one: they set the new column.
    of_running = [
        text.count('UPDATE "cases_row0"')
        for text in texts
        if text.startswith('UPDATE "cases_row0"') and '"note"' not in text
    ]
    assert len(of_running) == 1
    assert of_running[0] > 1


def test_tables_that_have_got_rows_are_looked_up_together(
    state: ProjectState, tmp_path: Path
) -> None:
    rows = [RunSQL(f"INSERT INTO cases_row{each} VALUES (2, 7, 7, 7)") for each in range(_TABLES)]
    texts = sent(state, tmp_path / "trace", *rows)
    looked_up = [text for text in texts if "pg_catalog.to_regclass(given)" in text]
    assert 1 <= len(looked_up) <= 10, len(looked_up)


def test_a_migration_that_sends_nothing_has_nothing_tried(
    state: ProjectState, tmp_path: Path
) -> None:
    # A deletion waits for rows of the new table, which such a migration can't have filled.
    shelf = models.ForeignKey("cases.Shelf", models.CASCADE)
    loan = CreateModel("Loan", [_key(), ("shelf", shelf)])
    quiet = [AlterModelOptions("Loan", {"verbose_name": f"loan {each}"}) for each in range(3)]

    def trips(name: str, later: Sequence[Operation], *, running_code: bool = True) -> int:
        path = tmp_path / f"{name}_{running_code}"
        texts = sent(state, path, loan, *columns(1), later=later, running_code=running_code)
        return len(texts)

    assert trips("with", quiet) - trips("without", []) <= trips(
        "with", quiet, running_code=False
    ) - trips("without", [], running_code=False)


def test_tables_that_no_migration_has_changed_are_looked_up_once(
    state: ProjectState, tmp_path: Path
) -> None:
    later = [AddField(f"Row{each}", "other", models.TextField(null=True)) for each in range(4)]
    texts = sent(state, tmp_path / "trace", *columns(_TABLES), later=later)
    found = [re.search(r"EXECUTE confiture_code_tables \(.*?\{(.*?)\}", each) for each in texts]
    looked_up = [len(each[1].split(",")) for each in found if each]
    first, *rest = looked_up
    assert first > _TABLES
    assert rest.count(1) == len(later), looked_up  # what a later migration changes


def test_tables_are_not_counted_again_where_nothing_was_tried(
    state: ProjectState, tmp_path: Path
) -> None:
    later = [RunSQL(f"CREATE TABLE cases_other{each} (id integer)") for each in range(3)]

    def counts(name: str, later: Sequence[Operation]) -> int:
        texts = sent(state, tmp_path / name, *columns(1), later=later)
        return sum("pg_stat_get_xact_numscans(c.oid)" in text for text in texts)

    assert counts("with", later) == counts("without", [])


def test_what_both_releases_send_is_tried_once(state: ProjectState, tmp_path: Path) -> None:
    other = [RunSQL("ALTER TABLE cases_row1 ADD note text"), *columns(1)]
    texts = sent(state, tmp_path / "trace", *other)
    tried = [each for each in texts if "FOR UPDATE" in each and ";" not in each]

    def of(table: str) -> int:
        return sum(each.startswith(f'SELECT "{table}"') for each in tried)

    assert (of("cases_row1"), of("cases_shelf")) == (1, 1)
    assert of("cases_row0") > 1


def test_a_deletion_that_the_plan_cures_is_sent_in_one_go(
    state: ProjectState, tmp_path: Path
) -> None:
    loan = CreateModel(
        "Loan", [_key(), ("shelf", models.ForeignKey("cases.Shelf", models.CASCADE))]
    )
    texts = sent(state, tmp_path / "trace", loan)
    applied_at = next(at for at, each in enumerate(texts) if each.startswith("CREATE TABLE"))
    deleted = [each for each in texts[applied_at:] if each.startswith("DELETE FROM")]
    assert any('DELETE FROM "cases_loan"' in each for each in deleted), deleted
    assert all(";" in each for each in deleted), deleted


def test_what_goes_with_a_row_is_deleted_once(state: ProjectState, tmp_path: Path) -> None:
    # A queryset sends all that an instance sends, and reads the row first.
    texts = sent(state, tmp_path / "trace", *columns(1))
    assert any(text.startswith('SELECT "cases_shelf"."id"') for text in texts)
    with_shelf = [text for text in texts if text.startswith('DELETE FROM "cases_row0" WHERE (')]
    assert len(with_shelf) == len(("old release", "new release")), with_shelf


def test_rows_of_a_many_to_many_field_differ_in_nothing_else(
    state: ProjectState, tmp_path: Path
) -> None:
    label = CreateModel("Label", [_key(), ("name", models.CharField(max_length=9))])
    labels = AddField("Shelf", "labels", models.ManyToManyField("cases.Label"))
    state = applied(state, migration(label, labels, name="0002_labels"))
    with connection.cursor() as cursor:
        for each in (1, 2, 3, 4):
            cursor.execute(f"INSERT INTO cases_label VALUES ({each}, 'a')")
            cursor.execute(f"INSERT INTO cases_shelf_labels VALUES ({each}, 7, {each})")
    note = RunSQL("ALTER TABLE cases_shelf_labels ADD note text", RunSQL.noop)
    texts = sent(state, tmp_path / "trace", note)
    made = [text for text in texts if re.match(r"INSERT INTO cases_(label|shelf) ", text)]
    assert 1 <= len(made) <= 20, len(made)
