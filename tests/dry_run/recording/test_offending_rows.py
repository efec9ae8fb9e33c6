"""When existing rows stand in the way, the report says how many and which."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pytest
from django.db import connection, migrations

from django_confiture.dry_run.recording import offending_rows
from django_confiture.dry_run.results import Failure, Violations
from django_confiture.dry_run.server.side_channel import Row, Session
from django_confiture.dry_run.sql.parsing.library import postgast
from tests.support.dry_run import migration, rehearse

pytestmark = pytest.mark.django_db

ROWS = """
CREATE TABLE "Rows of" (
  id serial PRIMARY KEY, number int, word text, code text NOT NULL, span int4range
);
INSERT INTO "Rows of" (number, word, code, span)
SELECT CASE WHEN g % 10 = 0 THEN NULL ELSE g END, 'x' || (g % 50),
       CASE WHEN g = 7 THEN 'abc' ELSE g::text END, int4range(g, g + 2)
FROM generate_series(1, 1000) g;
CREATE TABLE parent (id int PRIMARY KEY);
INSERT INTO parent SELECT generate_series(1, 900);
"""


def failure_of(statement: str) -> Failure:
    with connection.cursor() as cursor:
        cursor.execute(ROWS)
    report = rehearse(migration(migrations.RunSQL(statement)))
    error = report.migrations[0].error
    assert error is not None
    return error


@pytest.mark.parametrize("error", [postgast.PgQueryError("x"), ValueError("x")])
def test_an_error_of_the_search_does_not_hide_the_first(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def finder(*_args: object) -> None:
        raise error

    monkeypatch.setitem(offending_rows._FINDERS, psycopg.errors.CheckViolation, finder)

    failure = failure_of('ALTER TABLE "Rows of" ADD CHECK (id > 10)')

    assert (failure.type, failure.violations) == ("CheckViolation", None)


def test_what_takes_too_long_to_count_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offending_rows, "_TIMEOUT", "400ms")
    slow = "CHECK (id < 3 OR pg_sleep(0.005) IS NULL)"
    rows = failure_of(f'ALTER TABLE "Rows of" ADD CONSTRAINT slow {slow}').violations
    assert rows == Violations("Rows of", "slow", None, ("id=3", "id=4", "id=5", "id=6", "id=7"))


def test_keys_that_take_too_long_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offending_rows, "_TIMEOUT", "50ms")
    slow = "CHECK (id < 3 OR pg_sleep(0.1) IS NULL)"
    rows = failure_of(f'ALTER TABLE "Rows of" ADD CONSTRAINT slow {slow}').violations
    assert rows == Violations("Rows of", "slow", None, ())


@pytest.mark.parametrize(
    ("statement", "key"),
    [
        ('ALTER TABLE "Rows of" ADD CONSTRAINT u UNIQUE (word)', "word"),
        ("CREATE UNIQUE INDEX u ON \"Rows of\" ((word || '), (%')) WHERE id > 500", "word"),
        ('CREATE UNIQUE INDEX u ON "Rows of" ((id / 2), word) NULLS NOT DISTINCT', "id / 2"),
        ('CREATE UNIQUE INDEX u ON "Rows of" (number) NULLS NOT DISTINCT', "number"),
    ],
)
def test_duplicates_that_take_too_long_to_count_are_found_by_the_one_that_postgresql_names(
    monkeypatch: pytest.MonkeyPatch, statement: str, key: str
) -> None:
    answer = offending_rows._in_time

    def quick_ones(session: Session, question: str) -> Sequence[Row] | None:
        return None if "HAVING" in question else answer(session, question)

    monkeypatch.setattr(offending_rows, "_in_time", quick_ones)
    monkeypatch.setattr(
        f"{__name__}.ROWS", ROWS + "UPDATE \"Rows of\" SET word = 'x' WHERE id < 9;"
    )
    rows = violations_of(statement)
    assert rows.count is None
    assert len(rows.keys) >= 2
    ids = [int(each.removeprefix("id=")) for each in rows.keys]
    with connection.cursor() as cursor:
        same = f'SELECT count(DISTINCT ({key})::text) FROM "Rows of" WHERE id = ANY (%s)'
        cursor.execute(same, [ids])
        assert cursor.fetchone()[0] <= 1


def violations_of(statement: str) -> Violations:
    offending_rows = failure_of(statement).violations
    assert offending_rows is not None
    return offending_rows


@pytest.mark.parametrize(
    ("statement", "count", "first"),
    [
        ('ALTER TABLE "Rows of" ALTER number SET NOT NULL', 100, "id=10"),
        ('ALTER TABLE "Rows of" ADD COLUMN extra int NOT NULL', 1000, "id=1"),
        ("ALTER TABLE \"Rows of\" ADD CHECK (number > 100 AND word LIKE 'x%')", 90, "id=1"),
        ('ALTER TABLE "Rows of" ADD COLUMN extra int DEFAULT 1 CHECK (extra > 2)', 1000, "id=1"),
        ('CREATE UNIQUE INDEX u ON "Rows of" (lower(word)) WHERE number > 500', 450, "id=501"),
        ('ALTER TABLE "Rows of" ADD CONSTRAINT u UNIQUE (word)', 1000, "id=1"),
        ('ALTER TABLE "Rows of" ADD FOREIGN KEY (id) REFERENCES parent', 100, "id=901"),
        ('ALTER TABLE "Rows of" ALTER code TYPE int USING code::int', 1, "id=7"),
        ('ALTER TABLE "Rows of" ALTER word TYPE varchar(2)', 800, "id=10"),
        ('ALTER TABLE "Rows of" ADD EXCLUDE USING gist (span WITH &&)', 1000, "id=1"),
    ],
)
def test_counts_the_rows_and_names_the_first(statement: str, count: int, first: str) -> None:
    offending_rows = violations_of(statement)

    assert offending_rows.count == count
    assert offending_rows.keys[0] == first
    assert len(offending_rows.keys) == min(count, 5)
    assert offending_rows.relation == "Rows of"


@pytest.mark.parametrize(
    "constraint", ["CHECK (number > 100)", "FOREIGN KEY (id) REFERENCES parent"]
)
def test_counts_for_a_constraint_that_is_validated_later(constraint: str) -> None:
    offending_rows = violations_of(
        f'ALTER TABLE "Rows of" ADD CONSTRAINT late {constraint} NOT VALID;'
        'ALTER TABLE "Rows of" VALIDATE CONSTRAINT late'
    )

    assert offending_rows.constraint == "late"
    assert offending_rows.count in (90, 100)


def test_counts_what_only_the_commit_finds() -> None:
    error = failure_of(
        'ALTER TABLE "Rows of" ADD FOREIGN KEY (number) REFERENCES parent'
        " DEFERRABLE INITIALLY DEFERRED NOT VALID;"
        "INSERT INTO \"Rows of\" (number, code) VALUES (5000, ''), (6000, '')"
    )

    assert error.statement == "COMMIT"
    assert error.operation is None
    assert error.violations is not None
    assert error.violations.count == 92  # 90 were there before, unvalidated


PARTS = """
CREATE TABLE parts (
  id int PRIMARY KEY, tenant int, number int, label text, room int NOT NULL, span int4range
);
INSERT INTO parts SELECT g, g % 10, g % 7, nullif('l' || g % 4, 'l0'), g / 2, int4range(g, g + 1)
FROM generate_series(1, 100) g;
CREATE TABLE pairs (a int, b int, PRIMARY KEY (a, b));
INSERT INTO pairs SELECT a, b FROM generate_series(0, 9) a, generate_series(0, 4) b;
"""
LATE = """
ALTER TABLE parts ADD CONSTRAINT late FOREIGN KEY (tenant, number) REFERENCES pairs NOT VALID;
ALTER TABLE parts VALIDATE CONSTRAINT late
"""


@pytest.mark.parametrize(
    ("statement", "count"),
    [
        # The key of the other table is not written down, and has two columns.
        ("ALTER TABLE parts ADD FOREIGN KEY (tenant, number) REFERENCES pairs", 28),
        ("ALTER TABLE parts ADD FOREIGN KEY (tenant, number) REFERENCES pairs (a, b)", 28),
        (LATE, 28),
        # NULLs are different, but for NULLS NOT DISTINCT.
        ("CREATE UNIQUE INDEX ON parts (label, tenant)", 75),
        ("ALTER TABLE parts ADD UNIQUE (label, tenant)", 75),
        ("ALTER TABLE parts DROP CONSTRAINT parts_pkey, ADD PRIMARY KEY (room)", 98),
        ("CREATE UNIQUE INDEX ON parts ((number + 1), tenant) WHERE id > 50", 0),
        ("CREATE UNIQUE INDEX ON parts ((number + 1)) WHERE id > 50", 50),
        # Which of several was violated.
        ("ALTER TABLE parts ADD CHECK (id > 0), ADD CONSTRAINT c CHECK (room > 5)", 11),
        ("ALTER TABLE parts ADD CONSTRAINT c CHECK (id > 0), ADD CHECK (room > 5)", 11),
        ("ALTER TABLE parts ADD UNIQUE (id), ADD CONSTRAINT u UNIQUE (room)", 98),
        ("ALTER TABLE parts ALTER label TYPE int USING substr(label, 2)::int + tenant / 0", 100),
    ],
)
def test_counts_for_each_form_of_a_constraint(statement: str, count: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(PARTS)
    migrated = rehearse(migration(migrations.RunSQL(statement))).migrations[0]
    if not count:
        assert migrated.error is None
        return
    assert migrated.error is not None
    assert migrated.error.violations is not None
    assert migrated.error.violations.count == count


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE parts ADD EXCLUDE USING gist (int4range(room, room + 2) WITH &&)",
        "DO $$ BEGIN EXECUTE 'ALTER TABLE parts ADD UNIQUE (room)'; END $$",
        "DO $$ BEGIN EXECUTE 'ALTER TABLE parts ALTER label SET NOT NULL'; END $$",
        "ALTER TABLE parts ADD CHECK (id > 0), ADD CHECK (room > 5)",
        "INSERT INTO parts (id, room) VALUES (1, 1)",
        "INSERT INTO parts (id) VALUES (1000)",
    ],
)
def test_rows_that_can_not_be_told_are_not_counted(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(PARTS)
    error = rehearse(migration(migrations.RunSQL(statement))).migrations[0].error
    assert error is not None
    assert error.violations is None


def test_keys_that_are_no_numbers_are_not_shown() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE people (email text PRIMARY KEY, age int)")
        cursor.execute("INSERT INTO people VALUES ('someone@example.com', NULL)")
    report = rehearse(migration(migrations.RunSQL("ALTER TABLE people ALTER age SET NOT NULL")))
    error = report.migrations[0].error
    assert error is not None
    assert error.violations == Violations("people", None, 1, ())


def test_an_error_that_no_row_caused_has_no_violations() -> None:
    assert failure_of("ALTER TABLE nowhere ADD COLUMN x int").violations is None
