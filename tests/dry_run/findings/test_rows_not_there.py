"""What passes because there is no row to check or to write is said, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

from tests.support.dry_run import migration, plain_connection, rehearse, runs

MADE = """
    CREATE TABLE cases_seed (id integer PRIMARY KEY, note text);
    CREATE TABLE cases_kid (id integer PRIMARY KEY, note text, parent_id integer);
"""
STATE = migration(
    migrations.SeparateDatabaseAndState([], [
        migrations.CreateModel(name, [("id", models.IntegerField(primary_key=True)),
                                      ("note", models.TextField(null=True))])
        for name in ("Seed", "Kid")
    ]),
    name="0000_state",
)  # fmt: skip
ROWS = """
    INSERT INTO cases_seed SELECT i, 'a' FROM generate_series(1, 5) i;
    INSERT INTO cases_kid SELECT i, i::text, 1 FROM generate_series(1, 5) i
"""
EMPTY = "No rows here in cases_kid: whether production's rows pass what is checked was not seen."
IDLE = (
    "Operation 1 found no row to write here: what happens to rows, and how long it takes, was not"
    " seen."
)


def fills(apps: Any, _editor: object) -> None:
    for row in apps.get_model("cases", "Seed").objects.all():
        row.note = "b"
        row.save()


def reads(apps: Any, _editor: object) -> None:
    assert not apps.get_model("cases", "Seed").objects.filter(id__gt=99).exists()


def code(function: Any) -> Operation:
    return migrations.RunPython(function, migrations.RunPython.noop)


CHECKED = {
    "check": runs("ALTER TABLE cases_kid ADD CONSTRAINT c CHECK (id < 99)"),
    "not null": runs("ALTER TABLE cases_kid ALTER note SET NOT NULL"),
    "unique": runs("ALTER TABLE cases_kid ADD CONSTRAINT c UNIQUE (note)"),
    "unique index": runs("CREATE UNIQUE INDEX c ON cases_kid (note)"),
    "foreign key": runs("ALTER TABLE cases_kid ADD FOREIGN KEY (parent_id) REFERENCES dry_parent"),
    "exclusion": runs("ALTER TABLE cases_kid ADD EXCLUDE (note WITH =)"),
    "type": runs("ALTER TABLE cases_kid ALTER note TYPE integer USING note::integer"),
}
WRITING = {
    "UPDATE": runs("UPDATE cases_seed SET note = 'c'"),
    "INSERT": runs("INSERT INTO cases_kid SELECT id + 99, note FROM cases_seed"),
    "DELETE": runs("DELETE FROM cases_seed"),
    "code": code(fills),
}
NEITHER = {
    "an index": runs("CREATE INDEX c ON cases_kid (note)"),
    "a column": runs("ALTER TABLE cases_kid ADD extra integer"),
    "not looked at": runs("ALTER TABLE cases_kid ADD CHECK (id < 99) NOT VALID"),
    "code that only reads": code(reads),
    "a new table": runs(
        "CREATE TABLE cases_new (id integer UNIQUE); ALTER TABLE cases_new ADD CHECK (id > 3);"
        " UPDATE cases_new SET id = 4"
    ),
}


@pytest.fixture
def _made(scratch: None) -> Iterator[None]:
    with plain_connection() as plain:
        plain.execute(MADE)
        try:
            yield
        finally:
            plain.execute("DROP TABLE cases_seed, cases_kid")


def warnings_of(operation: Operation, *, rows: bool = False) -> tuple[str, ...]:
    with plain_connection() as plain:
        plain.execute(ROWS if rows else "TRUNCATE cases_seed, cases_kid")
    results = rehearse(STATE, migration(operation)).migrations
    assert [each.outcome for each in results] == ["passed", "passed"], results[-1].error
    return results[1].warnings


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize("analyzed", [False, True], ids=["never analyzed", "analyzed"])
@pytest.mark.parametrize("operation", CHECKED.values(), ids=CHECKED)
def test_a_check_of_an_empty_table_is_no_proof(operation: Operation, analyzed: bool) -> None:
    with plain_connection() as plain:
        plain.execute("ANALYZE cases_kid" if analyzed else "SELECT 1")

    assert warnings_of(operation) == (EMPTY,)
    assert warnings_of(operation, rows=True) == ()


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize("operation", WRITING.values(), ids=WRITING)
def test_an_operation_that_finds_no_row_to_write_is_named(operation: Operation) -> None:
    assert warnings_of(operation) == (IDLE,)
    assert warnings_of(operation, rows=True) == ()


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize("operation", NEITHER.values(), ids=NEITHER)
def test_what_rows_can_neither_fail_nor_slow_is_not(operation: Operation) -> None:
    assert warnings_of(operation) == ()
