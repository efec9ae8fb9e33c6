"""``pending-trigger-events``: tables that are written and altered in one transaction.

Each case is run twice: here the code finds no row to write, there it does, and PostgreSQL says
whether it refuses the statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.test import override_settings

from django_confiture import Hook, HookPhase, HookResult, RunHook
from django_confiture.dry_run.results import Finding, Report
from tests.support.dry_run import migration, plain_connection, rehearse, runs

ID = "pending-trigger-events"
KEY = "cases_kid_dad_id_fkey"
MADE = """
    CREATE TABLE cases_seed (id integer PRIMARY KEY);
    CREATE TABLE cases_dad (id integer PRIMARY KEY, name text);
    CREATE TABLE cases_kid (id integer PRIMARY KEY, note text, code text,
      dad_id integer REFERENCES cases_dad DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE cases_free (id integer PRIMARY KEY, note text,
      dad_id integer REFERENCES cases_dad);
    INSERT INTO cases_dad SELECT i FROM generate_series(1, 9) i;
    INSERT INTO cases_kid SELECT i, 'a', 'b', 1 FROM generate_series(1, 50) i;
    ANALYZE cases_seed, cases_dad, cases_kid, cases_free;
"""
STATE = migration(
    migrations.SeparateDatabaseAndState([], [
        migrations.CreateModel("Seed", [("id", models.IntegerField(primary_key=True))]),
        migrations.CreateModel("Dad", [("id", models.IntegerField(primary_key=True)),
                                       ("name", models.TextField(null=True))]),
        *(migrations.CreateModel(name, [
            ("id", models.IntegerField(primary_key=True)), ("note", models.TextField(null=True)),
            ("dad", models.ForeignKey("cases.Dad", models.CASCADE, null=True))])
          for name in ("Kid", "Free")),
    ]),
    name="0000_state",
)  # fmt: skip
ADDS = migrations.AddField("kid", "more", models.IntegerField(null=True))
INSERTS = "INSERT INTO cases_kid SELECT id + 1000, 'a', 'b', 1 FROM cases_seed"
ALTERS = "ALTER TABLE cases_kid ADD more integer"


def creates(apps: Any, _editor: object) -> None:
    Kid = apps.get_model("cases", "Kid")
    for seed in apps.get_model("cases", "Seed").objects.all():
        Kid.objects.create(id=seed.id + 1000, dad_id=1)


def makes_instances(apps: Any, _editor: object) -> None:
    Seed, Kid = apps.get_model("cases.Seed"), apps.get_model("cases.Kid")  # noqa: N806
    Kid._default_manager.bulk_create(
        [Kid(id=seed.id + 1000, dad_id=1) for seed in Seed.objects.all()]
    )


def calls(apps: Any, editor: object) -> None:
    creates(apps, editor)


def moves(apps: Any, _editor: object) -> None:
    Seed, Kid = apps.get_model("cases", "Seed"), apps.get_model("cases", "Kid")  # noqa: N806
    for kid in Kid.objects.filter(id__in=Seed.objects.values("id")):
        kid.dad_id = 2
        kid.save()


def renotes(apps: Any, _editor: object) -> None:
    Seed, Kid = apps.get_model("cases", "Seed"), apps.get_model("cases", "Kid")  # noqa: N806
    Kid.objects.filter(id__in=Seed.objects.values("id")).update(note="x")


def recodes(apps: Any, _editor: object) -> None:
    Kid = apps.get_model("cases", "Kid")
    Kid.objects.filter(id__in=apps.get_model("cases", "Seed").objects.values("id")).update(note="y")


def renames_dads(apps: Any, _editor: object) -> None:
    Dad = apps.get_model("cases", "Dad")
    Dad.objects.filter(id__in=apps.get_model("cases", "Seed").objects.values("id")).update(name="d")


def creates_free(apps: Any, _editor: object) -> None:
    for seed in apps.get_model("cases", "Seed").objects.all():
        apps.get_model("cases", "Free").objects.create(id=seed.id, dad_id=1)


def deletes_dads(apps: Any, _editor: object) -> None:
    ids = [seed.id + 4 for seed in apps.get_model("cases", "Seed").objects.all()]
    dads = apps.get_model("cases", "Dad").objects.filter(id__in=ids)
    dads.delete()


def code(function: Any) -> migrations.RunPython:
    return migrations.RunPython(function, migrations.RunPython.noop)


REFUSED: dict[str, list[Operation]] = {
    "created, then a field": [code(creates), ADDS],
    "created in bulk": [code(makes_instances), ADDS],
    "created by another function of the file": [code(calls), ADDS],
    "created, then SQL": [code(creates), runs(ALTERS)],
    "created, then an index": [code(creates), runs("CREATE INDEX ON cases_kid (code)")],
    "a foreign key changed": [code(moves), ADDS],
    "inserted by SQL": [runs(INSERTS), runs(ALTERS)],
    "updated by SQL": [
        runs("UPDATE cases_kid SET dad_id = 3 WHERE id IN (SELECT id FROM cases_seed)"),
        runs("CREATE INDEX ON cases_kid (code)"),
    ],
    "deleted where others refer to it": [
        code(deletes_dads),
        runs("ALTER TABLE cases_dad ADD more integer"),
    ],
    "deleted by SQL": [
        runs("DELETE FROM cases_dad WHERE id IN (SELECT id + 4 FROM cases_seed)"),
        runs("TRUNCATE cases_dad CASCADE"),
    ],
}
# PostgreSQL looks at a row of the same transaction again whatever of it is changed.
TWICE: dict[str, list[Operation]] = {
    "the same row, twice": [code(renotes), code(recodes), ADDS],
    "by SQL": [
        runs("UPDATE cases_kid SET note = 'x' WHERE id IN (SELECT id FROM cases_seed)"),
        runs("UPDATE cases_kid SET code = 'x' WHERE id IN (SELECT id FROM cases_seed)"),
        runs(ALTERS),
    ],
    "one of which has rows here": [
        runs("UPDATE cases_kid SET note = 'x' WHERE id < 10"),
        code(renotes),
        ADDS,
    ],
    "checked before, then deferred again": [
        runs("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED"),
        code(renotes),
        code(recodes),
        ADDS,
    ],
}
ACCEPTED: dict[str, list[Operation]] = {
    "checked at once from before": [runs("SET CONSTRAINTS ALL IMMEDIATE"), code(creates), ADDS],
    "twice, checked in between": [
        code(renotes),
        code(recodes),
        runs("SET CONSTRAINTS ALL IMMEDIATE"),
        ADDS,
    ],
    "twice, on the side that is referred to": [
        code(renames_dads),
        code(renames_dads),
        runs("ALTER TABLE cases_dad ADD more integer"),
    ],
    "altered before": [ADDS, code(creates)],
    "another column changed": [code(renotes), ADDS],
    "checked in between": [code(creates), runs("SET CONSTRAINTS ALL IMMEDIATE"), ADDS],
    "a key that is checked at once": [code(creates_free), runs("CREATE INDEX ON cases_free (id)")],
    "another table": [code(creates), runs("ALTER TABLE cases_free ADD more integer")],
    "renamed": [code(creates), runs("ALTER TABLE cases_kid RENAME note TO noted")],
    "an index is dropped": [
        runs("CREATE INDEX cases_short ON cases_kid (code)"),
        code(creates),
        runs("DROP INDEX cases_short"),
    ],
}


@pytest.fixture
def _made(scratch: None) -> Iterator[None]:
    with plain_connection() as plain:
        plain.execute(MADE)
        try:
            yield
        finally:
            plain.execute("DROP TABLE cases_kid, cases_free, cases_dad, cases_seed")


def rehearsed(operations: Sequence[Operation], *, atomic: bool = True) -> Report:
    return rehearse(STATE, migration(*operations, atomic=atomic))


def found(report: Report) -> list[Finding]:
    """Return the findings of a plan that passes."""
    assert [each.outcome for each in report.migrations] == ["passed", "passed"]
    return [each for each in report.migrations[1].findings if each.id == ID]


def fails_with_rows(operations: Sequence[Operation]) -> bool:
    """Return whether PostgreSQL refuses the same plan where there are rows to write."""
    with plain_connection() as plain:
        plain.execute("INSERT INTO cases_seed VALUES (1), (2), (3)")
    error = rehearsed(operations).migrations[1].error
    assert error is None or "pending trigger events" in error.message
    return error is not None


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize("operations", REFUSED.values(), ids=REFUSED)
def test_what_rows_would_make_fail_is_said(operations: list[Operation]) -> None:
    (finding,) = found(rehearsed(operations))

    assert finding.severity == "warning"
    assert finding.message.startswith("Fails with pending trigger events once operation 1 writes ")
    assert f"{KEY} is checked at the commit" in finding.evidence
    assert fails_with_rows(operations)


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize("operations", TWICE.values(), ids=TWICE)
def test_two_operations_that_would_update_the_same_row_are_said(
    operations: list[Operation],
) -> None:
    (finding,) = found(rehearsed(operations))

    second = len(operations) - 1
    assert finding.message == (
        f"Fails with pending trigger events once operation {second - 1} and operation {second} "
        f"write the same row of cases_kid: here operation {second} found none to write"
    )
    assert f"{KEY} is checked at the commit" in finding.evidence
    assert fails_with_rows(operations)


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize("operations", ACCEPTED.values(), ids=ACCEPTED)
def test_what_passes_with_rows_as_well_is_not(operations: list[Operation]) -> None:
    assert found(rehearsed(operations)) == []
    assert not fails_with_rows(operations)


@pytest.mark.usefixtures("_made")
def test_what_was_written_here_has_shown_it_and_other_transactions_do_not_count() -> None:
    with plain_connection() as plain:
        plain.execute("INSERT INTO cases_seed VALUES (1)")

    assert found(rehearsed([code(renotes), ADDS])) == []
    assert found(rehearsed([code(creates), ADDS], atomic=False)) == []


class InsertsKids(Hook):
    phase = HookPhase.BEFORE_DDL

    def execute(self, conn: Any, context: Any) -> HookResult:
        return HookResult(self.phase.name, "InsertsKids", conn.execute(INSERTS).rowcount)


class InsertsKidsLater(InsertsKids):
    phase = HookPhase.AFTER_DDL


class AddsToKids(Hook):
    phase = HookPhase.AFTER_DDL

    def execute(self, conn: Any, context: Any) -> HookResult:
        conn.execute(ALTERS)
        return HookResult(self.phase.name, "AddsToKids")


def hooked(phases: dict[str, list[type[Hook]]]) -> override_settings:
    """Wrap the second migration alone."""
    named = {
        phase: [{"HOOK": f"{__name__}.{each.__name__}", "MIGRATIONS": ["cases.0001_*"]}
                for each in hooks]
        for phase, hooks in phases.items()
    }  # fmt: skip
    return override_settings(CONFITURE={"PHASES": named, "TEST_DATABASES": True})


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize(
    ("phases", "operations", "writer"),
    [
        ({"BEFORE_DDL": [InsertsKids]}, [runs(ALTERS)], "a hook"),
        ({"BEFORE_DDL": [InsertsKids], "AFTER_DDL": [AddsToKids]}, [], "a hook"),
        ({}, [RunHook(InsertsKids), runs(ALTERS)], "operation 1"),
        ({"AFTER_DDL": [AddsToKids]}, [runs(INSERTS)], "operation 1"),
    ],
)
def test_rows_that_a_hook_would_write_or_its_alter_would_meet_are_said(
    phases: dict[str, list[type[Hook]]], operations: list[Operation], writer: str
) -> None:
    with hooked(phases):
        (finding,) = found(rehearsed(operations))
        assert f"once {writer} writes rows of cases_kid" in finding.message
        assert f"{writer} wrote no row of cases_kid" in finding.evidence
        assert fails_with_rows(operations)


@pytest.mark.usefixtures("_made")
def test_a_hook_that_writes_after_the_alter_is_not_said() -> None:
    with hooked({"AFTER_DDL": [InsertsKidsLater]}):
        assert found(rehearsed([runs(ALTERS)])) == []
        assert not fails_with_rows([runs(ALTERS)])
