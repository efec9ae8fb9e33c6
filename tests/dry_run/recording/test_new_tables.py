"""DDL of a table that can have no row gets no savepoint of its own; that of any other does."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db.migrations import CreateModel
from django.db.models import BigAutoField, IntegerField

from django_confiture.dry_run.recording.new_tables import NewTables
from django_confiture.dry_run.sql.parsing.parser import parse
from tests.dry_run.test_round_trips import traced
from tests.support.dry_run import failed, migration, rehearse, runs

CREATE = "CREATE TABLE made (id integer)"
INDEX = "CREATE INDEX made_id ON made (id)"
UNIQUE = "CREATE UNIQUE INDEX made_id ON made (id)"


def without_rows(*texts: str) -> bool:
    """Return whether the last statement is about a table without rows, once the others ran."""
    new = NewTables()
    *before, last = (parse(text, placeholders=False)[0] for text in texts)
    for each in before:
        new.ran(each)
    return new.is_without_rows(last)


@pytest.mark.parametrize(
    "between",
    [
        (),
        (INDEX,),
        ("CREATE TABLE other (id integer)", "COMMENT ON TABLE other IS 'other'"),
        ("ALTER TABLE old ADD number integer, ALTER kind TYPE bigint, ALTER kind SET NOT NULL",),
        ("ALTER TABLE made ADD FOREIGN KEY (id) REFERENCES old (id)",),
    ],
)
def test_a_new_table_has_no_rows(between: tuple[str, ...]) -> None:
    assert without_rows(CREATE, *between, INDEX)
    assert without_rows(CREATE, *between, "ALTER TABLE made ADD CHECK (id > 0)")


@pytest.mark.parametrize(
    "between",
    [
        "INSERT INTO made VALUES (1)",
        "INSERT INTO old VALUES (1)",  # a trigger of it may write to the new one
        "COPY made FROM STDIN",
        "DO $$ BEGIN PERFORM 1; END $$",
        "SELECT fill()",
        "ALTER TABLE old RENAME TO made",
        "ALTER TABLE made ATTACH PARTITION old DEFAULT",
        "ALTER TABLE old INHERIT made",
        "SET search_path = other",
        "ROLLBACK TO SAVEPOINT before",
        "DROP TABLE made",
    ],
)
def test_it_may_have_some_after_what_can_fill_or_rename_one(between: str) -> None:
    assert not without_rows(CREATE, between, INDEX)


def test_any_other_table_may_have_rows() -> None:
    assert not without_rows("CREATE INDEX old_id ON old (id)")
    assert not without_rows(CREATE, "CREATE INDEX old_id ON old (id)")
    assert not without_rows(CREATE, "CREATE INDEX made_id ON other.made (id)")
    assert not without_rows("CREATE TABLE IF NOT EXISTS made (id integer)", INDEX)
    assert not without_rows(CREATE, "ALTER TABLE old ADD FOREIGN KEY (id) REFERENCES made (id)")


@pytest.mark.usefixtures("untouched")
def test_its_indexes_get_no_savepoint(tmp_path: Path) -> None:
    fields = [(f"number{each}", IntegerField(db_index=True)) for each in range(4)]
    model = CreateModel("Made", [("id", BigAutoField(primary_key=True)), *fields])
    path = tmp_path / "trace"
    _trips, report = traced(path, lambda: rehearse(migration(model)))
    assert report.outcome == "passed"
    _before, _made, since = path.read_text().partition('CREATE TABLE "cases_made"')
    assert since.count("CREATE INDEX") >= len(fields)
    assert "SAVEPOINT confiture_statement" not in since


@pytest.mark.usefixtures("untouched")
def test_rows_that_stand_in_the_way_are_found_in_what_the_migration_has_filled() -> None:
    error = failed(runs(f"{CREATE}; INSERT INTO made VALUES (7), (7); {UNIQUE}")).error
    assert error is not None
    assert error.violations is not None
    assert error.violations.count == 2


@pytest.mark.usefixtures("untouched")
def test_what_fails_without_rows_is_told_as_for_real() -> None:
    error = failed(runs(f"{CREATE}; {INDEX}; {INDEX}")).error
    assert error is not None
    assert error.message == 'relation "made_id" already exists'
