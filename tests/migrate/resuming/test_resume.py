"""``RESUME``: a non-atomic migration that was cut off goes on where it stopped."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.contrib.postgres.operations import (
    AddConstraintNotValid,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    ValidateConstraint,
)
from django.db import DatabaseError, connection, migrations, models
from django.dispatch import Signal
from pytest_django import Settings

from django_confiture import RunHook, signals
from django_confiture.exceptions import MigrateRefused, MigrationGaveWay
from tests.cases.migrations_on_disk import Cases, query, table_exists
from tests.support import migrate_process, recording
from tests.support.dry_run import parameters
from tests.support.logs import events
from tests.support.sessions import client

RESUME = {"MIGRATE": {"RESUME": True}}
KEY = ("id", models.AutoField(primary_key=True))

broken: set[str] = set()


@pytest.fixture(autouse=True)
def _tables(history: None, cases: Cases, settings: Settings) -> Iterator[None]:
    broken.clear()
    settings.CONFITURE = RESUME
    with recording.recording():
        yield
    connection.close()


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def journal() -> list[tuple[int, int, str]]:
    return query(
        "SELECT operation, step, state FROM confiture_history_journalentry"
        " WHERE app_label = 'cases' ORDER BY operation, step"
    )


def logs(what: str) -> migrations.RunSQL:
    return migrations.RunSQL(f"INSERT INTO recording_log (what) VALUES ('{what}')", "SELECT 1")


def breaks(name: str, *, atomic: bool | None = None) -> migrations.RunPython:
    """Write a row, then fail as long as ``name`` is broken."""

    def run(apps: Any, schema_editor: Any) -> None:
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("INSERT INTO recording_log (what) VALUES (%s)", [name])
        if name in broken:
            raise ValueError(f"{name} is broken")

    return migrations.RunPython(run, migrations.RunPython.noop, atomic=atomic)


def cut_off(cases: Cases, name: str) -> None:
    broken.add(name)
    with pytest.raises(ValueError, match=f"{name} is broken"):
        cases.migrate()
    broken.clear()


def six_operations() -> list[Any]:
    author = models.ForeignKey("cases.Author", models.CASCADE)
    return [
        migrations.CreateModel("Author", [KEY, ("name", models.TextField(default=""))]),
        migrations.CreateModel("Book", [KEY, ("author", author)]),
        logs("sql"),
        breaks("python"),
        AddIndexConcurrently("Author", models.Index(fields=["name"], name="author_name")),
        migrations.AddField("Book", "title", models.TextField(default="")),
    ]


def constraints(table: str) -> set[str]:
    rows = query("SELECT contype::text FROM pg_constraint WHERE conrelid = %s::regclass", table)
    return {kind for (kind,) in rows} - {"n"}


def test_it_goes_on_at_the_first_operation_that_was_not_done(
    cases: Cases, caplog: pytest.LogCaptureFixture
) -> None:
    received: list[dict[str, Any]] = []

    def receive(signal: Signal, **facts: Any) -> None:
        received.append(facts)

    cases.add("0001_six", *six_operations(), atomic=False)
    cut_off(cases, "python")
    assert journal() == [(0, 0, "done"), (1, 0, "done"), (2, 0, "done"), (3, 0, "started")]
    caplog.set_level("INFO", "django_confiture.migrate")
    signals.migration_resumed.connect(receive)
    try:
        cases.migrate()
    finally:
        signals.migration_resumed.disconnect(receive)
    assert recording.persisted() == ["sql", "python", "python"]
    assert constraints("cases_book") == {"p", "f"}
    assert query("SELECT count(*) FROM pg_indexes WHERE tablename = 'cases_book'") == [(2,)]
    assert cases.applied() == {"0001_six"}
    ((_, facts),) = events(caplog, "migration_resumed")
    assert facts == {"migration": "0001_six", "app_label": "cases", "operation": 3, "skipped": 3}
    (record,) = [each for each in caplog.records if each.getMessage() == "migration_resumed"]
    assert (record.name, record.levelname) == ("django_confiture.migrate", "INFO")
    assert (received[0]["operation"], received[0]["skipped"]) == (3, 3)
    assert received[0]["migration"].name == "0001_six"


def test_what_was_done_is_forgotten_after_success_and_on_the_way_back(cases: Cases) -> None:
    cases.add("0001_three", logs("1"), breaks("2"), logs("3"), atomic=False)
    cut_off(cases, "2")
    cases.migrate()
    assert journal() == []
    execute(
        "INSERT INTO confiture_history_journalentry (schema, app_label, name, operation, step,"
        " state, fingerprint, indexes, backend_started, started_at)"
        " VALUES (current_schema(), 'cases', '0001_three', 0, 0, 'done', '', '{}', '', now())"
    )
    cases.migrate("zero")
    assert journal() == []
    cases.migrate()
    assert recording.persisted() == ["1", "2", "2", "3", "1", "2", "3"]


def test_without_the_setting_it_begins_again(cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = {}
    cases.add("0001_two", logs("1"), breaks("2"), atomic=False)
    cut_off(cases, "2")
    assert journal() == []
    cases.migrate()
    assert recording.persisted() == ["1", "2", "1", "2"]


def test_what_is_recorded_as_done_is_not_done_again_where_the_setting_is_off_now(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_two", logs("1"), breaks("2"), atomic=False)
    cut_off(cases, "2")
    settings.CONFITURE = {}

    with pytest.raises(MigrateRefused) as caught:
        cases.migrate()

    assert str(caught.value) == (
        "cases.0001_two was cut off after 1 operation, which would be done again, as "
        'CONFITURE["MIGRATE"]["RESUME"] is off now: set it to True, and migrate goes on there; or '
        'undo what was done, and forget that: DELETE FROM "confiture_history_journalentry" WHERE '
        "app_label = 'cases' AND name = '0001_two';"
    )
    settings.CONFITURE = RESUME
    cases.migrate()
    assert recording.persisted() == ["1", "2", "2"]
    assert journal() == []


def test_the_turn_ends_though_the_journal_fails_at_the_end(cases: Cases) -> None:
    renamed = "ALTER TABLE confiture_history_journalentry RENAME {} TO {}"
    cases.add("0001_renames", migrations.RunSQL(renamed.format("app_label", "label")))
    try:
        with pytest.raises(psycopg.errors.UndefinedColumn):
            cases.migrate()
        assert query(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        ) == [(0,)]
    finally:
        execute(renamed.format("label", "app_label"))


def test_an_atomic_migration_is_not_journaled(cases: Cases) -> None:
    cases.add("0001_two", logs("1"), breaks("2"))
    cut_off(cases, "2")
    assert journal() == []
    cases.migrate()
    assert recording.persisted() == ["1", "2"]


def test_an_operation_with_a_transaction_of_its_own_is_undone(cases: Cases) -> None:
    cases.add("0001_two", logs("1"), breaks("2", atomic=True), atomic=False)
    cut_off(cases, "2")
    assert journal() == [(0, 0, "done")]
    cases.migrate()
    assert recording.persisted() == ["1", "2"]


def test_a_hook_that_stands_in_the_file_is_an_operation(cases: Cases) -> None:
    hook = RunHook("tests.support.recording.Record", options={"name": "hook"})
    cases.add("0001_three", hook, breaks("2"), logs("3"), atomic=False)
    cut_off(cases, "2")
    cases.migrate()
    assert recording.persisted() == ["hook", "2", "2", "3"]


def test_a_list_of_statements_is_gone_through_one_by_one(cases: Cases) -> None:
    statements: Any = [
        "INSERT INTO recording_log (what) VALUES ('1')",
        ("INSERT INTO recording_log (what) VALUES (%s)", ["2"]),
        "VACUUM recording_log",
        "SELECT 1 / (SELECT count(*) FROM recording_parent)",
        "INSERT INTO recording_log (what) VALUES ('5')",
    ]
    cases.add("0001_list", migrations.RunSQL(statements), atomic=False)
    with pytest.raises(DatabaseError, match="division by zero"):
        cases.migrate()
    assert journal() == [(0, 0, "done"), (0, 1, "done"), (0, 2, "done")]
    execute("INSERT INTO recording_parent VALUES (1)")
    cases.migrate()
    assert recording.persisted() == ["1", "2", "5"]


def test_a_procedure_that_commits_runs_outside_of_a_transaction(cases: Cases) -> None:
    execute(
        "CREATE OR REPLACE PROCEDURE recording_commits() LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO recording_log (what) VALUES ('procedure'); COMMIT; END $$"
    )
    cases.add("0001_calls", migrations.RunSQL("CALL recording_commits()"), atomic=False)
    cases.migrate()
    execute("DROP PROCEDURE recording_commits")
    assert recording.persisted() == ["procedure"]


def test_operations_inside_of_others_are_steps(cases: Cases) -> None:
    table = migrations.CreateModel("Author", [KEY, ("name", models.TextField(default=""))])
    nested = migrations.SeparateDatabaseAndState(
        [
            migrations.RunSQL("CREATE INDEX CONCURRENTLY author_i ON cases_author (name)"),
            migrations.AddField("Author", "year", models.IntegerField(null=True)),
            breaks("nested"),
            migrations.RemoveField("Author", "year"),
        ],
        [migrations.AddField("Author", "note", models.TextField(null=True))],
    )
    cases.add("0001_nested", table, nested, atomic=False)
    cut_off(cases, "nested")
    assert journal()[1:] == [(1, 0, "done"), (1, 1, "done"), (1, 2, "started")]
    cases.migrate()
    rows = query(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s", "cases_author"
    )
    assert {name for (name,) in rows} == {"id", "name"}


INVALID = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
CREATES = "CREATE UNIQUE INDEX CONCURRENTLY parent_i ON recording_parent ((id / 10))"


def unique() -> AddIndexConcurrently:
    return AddIndexConcurrently("Author", models.Index(fields=["name"], name="author_name"))


def test_an_invalid_index_is_dropped_and_built_again(
    cases: Cases, caplog: pytest.LogCaptureFixture
) -> None:
    execute("INSERT INTO recording_parent VALUES (1), (2)")
    cases.add("0001_index", logs("1"), migrations.RunSQL(CREATES), logs("3"), atomic=False)
    with pytest.raises(DatabaseError, match="could not create unique index"):
        cases.migrate()
    assert query(INVALID) == [(1,)]
    execute("DELETE FROM recording_parent WHERE id = 2")
    cases.migrate()
    assert query(INVALID) == [(0,)]
    assert query("SELECT to_regclass('parent_i') IS NOT NULL") == [(True,)]
    assert recording.persisted() == ["1", "3"]
    ((_, facts),) = events(caplog, "invalid_index_dropped")
    assert facts == {
        "migration": "0001_index",
        "app_label": "cases",
        "index": "parent_i",
        "table": "recording_parent",
    }


def test_so_is_one_that_was_left_before_there_was_a_journal(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CONFITURE = {}
    execute("INSERT INTO recording_parent VALUES (1), (2)")
    cases.add("0001_index", migrations.RunSQL(CREATES), atomic=False)
    with pytest.raises(DatabaseError, match="could not create unique index"):
        cases.migrate()
    settings.CONFITURE = RESUME
    execute("DELETE FROM recording_parent WHERE id = 2")
    cases.migrate()
    assert query(INVALID) == [(0,)]
    assert len(events(caplog, "invalid_index_dropped")) == 1


def started(cases: Cases, operation: int) -> None:
    """Let the journal say of the last migration that it was cut off in an operation."""
    execute("DELETE FROM django_migrations WHERE app = 'cases'")
    migration = cases.loaded(cases.names[-1])
    from django_confiture.migrate.resuming.resume import fingerprint

    for index in range(operation + 1):
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO confiture_history_journalentry (schema, app_label, name, operation,"
                " step, state, fingerprint, indexes, backend_started, started_at)"
                " VALUES (current_schema(), 'cases', %s, %s, 0, %s, %s, '{}', '', now())",
                [
                    *(cases.names[-1], index, "started" if index == operation else "done"),
                    fingerprint(migration),
                ],
            )


def test_an_index_that_was_completed_but_not_noted_is_done(cases: Cases) -> None:
    """As by the server, after the client was killed."""
    execute("CREATE INDEX author_name ON recording_parent (id)")
    table = migrations.CreateModel("Author", [KEY, ("name", models.TextField())])
    with connection.schema_editor() as editor:
        editor.execute("CREATE TABLE cases_author (id serial PRIMARY KEY, name text)")
    cases.add("0001_index", table, unique(), logs("3"), atomic=False)
    started(cases, 1)
    cases.migrate()
    assert recording.persisted() == ["3"]
    assert query("SELECT tablename FROM pg_indexes WHERE indexname = 'author_name'") == [
        ("recording_parent",)
    ]


def test_an_index_that_was_dropped_but_not_noted_is_done(cases: Cases) -> None:
    table = migrations.CreateModel(
        "Author",
        [KEY, ("name", models.TextField())],
        options={"indexes": [models.Index(fields=["name"], name="author_name")]},
    )
    removes = RemoveIndexConcurrently("Author", "author_name")
    cases.add("0001_index", table, removes, logs("3"), atomic=False)
    with connection.schema_editor() as editor:
        editor.execute("CREATE TABLE cases_author (id serial PRIMARY KEY, name text)")
    started(cases, 1)
    execute("UPDATE confiture_history_journalentry SET indexes = '{\"author_name\": 1}'")
    cases.migrate()
    assert recording.persisted() == ["3"]


def test_a_constraint_that_is_not_valid_is_validated(cases: Cases) -> None:
    check = models.CheckConstraint(condition=models.Q(id__gt=0), name="author_id")
    cases.add(
        "0001_check",
        migrations.CreateModel("Author", [KEY]),
        AddConstraintNotValid("Author", check),
        ValidateConstraint("Author", "author_id"),
        breaks("last"),
        atomic=False,
    )
    execute("CREATE TABLE cases_author (id serial PRIMARY KEY)")
    execute("ALTER TABLE cases_author ADD CONSTRAINT author_id CHECK (id > 0) NOT VALID")
    started(cases, 2)
    cases.migrate()
    assert query("SELECT convalidated FROM pg_constraint WHERE conname = 'author_id'") == [(True,)]


def test_an_operation_that_fails_where_it_was_cut_off_says_what_to_do(cases: Cases) -> None:
    def creates(apps: Any, schema_editor: Any) -> None:
        schema_editor.execute("CREATE TABLE cases_made ()")
        if "python" in broken:
            raise ValueError("python is broken")

    cases.add("0001_python", logs("1"), migrations.RunPython(creates), atomic=False)
    cut_off(cases, "python")
    with pytest.raises(DatabaseError, match="already exists") as caught:
        cases.migrate()
    ((number, at),) = query(
        "SELECT id, started_at::text FROM confiture_history_journalentry WHERE operation = 1"
    )
    (note,) = caught.value.__notes__
    assert note == (
        f"Operation 1 of cases.0001_python (Raw Python operation) was cut off at {at}, so part of "
        "what it does may be there, and it was run again from its beginning. Undo what it has done "
        "and migrate again; or complete it by hand, and say so before: UPDATE "
        f"\"confiture_history_journalentry\" SET state = 'done' WHERE id = {number};"
    )
    execute(note.partition("before: ")[2])
    cases.migrate()
    assert recording.persisted() == ["1"]


def test_a_text_that_has_changed_is_not_resumed(cases: Cases) -> None:
    cases.add("0001_two", logs("1"), breaks("2"), atomic=False)
    cut_off(cases, "2")
    file = cases.package / "0001_two.py"
    before = file.read_text()
    file.write_text(f"{before}\n# a thought\n")
    with pytest.raises(MigrateRefused) as refused:
        cases.migrate()
    said = str(refused.value)
    assert said == (
        "cases.0001_two was cut off after 1 operation, and its file has changed since, so it can't "
        "go on there: put the file back as it was and migrate; or undo what it has done, and "
        "forget that: DELETE FROM \"confiture_history_journalentry\" WHERE app_label = 'cases' AND "
        "name = '0001_two';"
    )
    assert recording.persisted() == ["1", "2"]
    file.write_text(before)
    cases.migrate()
    assert recording.persisted() == ["1", "2", "2"]


def test_forgetting_lets_it_begin_again(cases: Cases) -> None:
    cases.add("0001_two", logs("1"), breaks("2"), atomic=False)
    cut_off(cases, "2")
    file = cases.package / "0001_two.py"
    file.write_text(f"{file.read_text()}\n# a thought\n")
    with pytest.raises(MigrateRefused) as refused:
        cases.migrate()
    execute(str(refused.value).partition("forget that: ")[2])
    cases.migrate()
    assert recording.persisted() == ["1", "2", "1", "2"]


def test_without_its_table_it_warns_and_goes_on(
    cases: Cases, caplog: pytest.LogCaptureFixture
) -> None:
    execute("ALTER TABLE confiture_history_journalentry RENAME TO hidden")
    cases.add("0001_one", logs("1"), atomic=False)
    try:
        cases.migrate()
    finally:
        execute("ALTER TABLE hidden RENAME TO confiture_history_journalentry")
    assert recording.persisted() == ["1"]
    (warning,) = [each for each in caplog.records if "journal" in each.getMessage()]
    assert warning.getMessage() == (
        "cases.0001_one could not go on if it were cut off: the journal's table is not in "
        "'default' yet; migrate confiture_history first."
    )


def test_giving_way_in_a_non_atomic_migration_says_that_it_goes_on(
    cases: Cases, settings: Settings
) -> None:
    settings.CONFITURE = {"MIGRATE": {"RESUME": True, "MAX_BLOCKING": "300ms"}}
    slow: list[Callable[[], None]] = [lambda: time.sleep(3)]

    def run(apps: Any, schema_editor: Any) -> None:
        schema_editor.execute("LOCK recording_parent")
        if slow:
            slow.pop()()

    cases.add("0001_two", logs("1"), migrations.RunPython(run, atomic=True), atomic=False)
    with client("SELECT FROM recording_parent"), pytest.raises(MigrationGaveWay) as caught:
        cases.migrate()
    assert "it was not tried again; run migrate, and it goes on there." in str(caught.value)
    cases.migrate()
    assert recording.persisted() == ["1"]


PLAIN = """
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


def python(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("UPDATE cases_row SET number = number + 0 WHERE id % 3 = 0")
        cursor.execute("INSERT INTO recording_log (what) VALUES ('python')")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("cases", "0001_rows")]
    operations = [
        migrations.AddField("Row", "code", models.TextField(default="x", db_index=True)),
        AddIndexConcurrently("Row", models.Index(fields=["number"], name="row_number")),
        migrations.RunSQL(
            "INSERT INTO recording_log (what) SELECT 'sql' FROM pg_sleep(0.1)"
        ),
        migrations.RunPython(python),
        migrations.RunSQL("CREATE INDEX CONCURRENTLY row_pair ON cases_row (number, id)"),
        migrations.AlterField("Row", "number", models.BigIntegerField(null=True)),
    ]
"""
ROWS = """
from django.db import migrations, models


class Migration(migrations.Migration):
    operations = [
        migrations.CreateModel(
            "Row",
            [("id", models.AutoField(primary_key=True)), ("number", models.IntegerField())],
        ),
        migrations.RunSQL(
            "INSERT INTO cases_row (number) SELECT i FROM generate_series(1, 100000) i"
        ),
    ]
"""
SCHEMA = """
SELECT attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull FROM pg_attribute
  WHERE attrelid = 'cases_row'::regclass AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT pg_get_indexdef(indexrelid) || ' ' || indisvalid FROM pg_index
  WHERE indrelid = 'cases_row'::regclass
UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
  WHERE conrelid = 'cases_row'::regclass
"""


def run_process(cases: Cases, kill_after_s: float | None = None) -> float:
    """Run ``migrate``, killed so long after it has begun with the migration; return its time."""
    apps = ["django_confiture.history"]
    process = migrate_process.start(cases.package, settings=RESUME, apps=apps)
    said = ""
    while "Applying cases.0002" not in said and (text := process.stdout.read(1)):
        said += text
    began = time.monotonic()
    if kill_after_s is not None:
        threading.Timer(kill_after_s, process.kill).start()
    said += process.communicate(timeout=120)[0]
    assert process.returncode == (0 if kill_after_s is None else -signal.SIGKILL) or (
        kill_after_s is not None and process.returncode == 0
    ), said
    return time.monotonic() - began


@pytest.mark.parametrize("share", [0.15, 0.4, 0.65, 0.9])
def test_killed_it_goes_on_to_the_same_schema(cases: Cases, share: float) -> None:
    cases.write("0001_rows", ROWS)
    cases.write("0002_six", PLAIN)
    cases.migrate("0001")
    took_s = 1.5
    run_process(cases, kill_after_s=took_s * share * random.uniform(0.8, 1.2))
    done = {operation for operation, _, state in journal() if state == "done"}
    logged = recording.persisted()
    was_complete = "0002_six" in cases.applied()  # killed after all of it
    run_process(cases)
    assert query(INVALID) == [(0,)]
    assert was_complete or journal() == []
    assert cases.applied() == {"0001_rows", "0002_six"}
    schema = {line for (line,) in query(SCHEMA)}
    assert {"code text true", "number bigint false"} < schema
    assert sum("INDEX" in line for line in schema) == 5
    again = recording.persisted()
    assert again.count("sql") == 1
    if 3 in done:
        assert again.count("python") == logged.count("python")
    assert again.count("python") <= 2


def test_it_waits_for_the_statement_that_a_killed_one_has_left(
    cases: Cases, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(**parameters(), autocommit=True) as orphan:
        ((pid, began),) = query(
            "SELECT pid, extract(epoch FROM backend_start)::text FROM pg_stat_activity"
            " WHERE pid = %s",
            orphan.info.backend_pid,
        )
        cases.add("0001_two", breaks("1"), logs("2"), atomic=False)
        started(cases, 0)
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE confiture_history_journalentry SET backend_pid = %s, backend_started = %s",
                [pid, began],
            )
        thread = threading.Thread(target=lambda: orphan.execute("SELECT pg_sleep(0.7)"))
        thread.start()
        time.sleep(0.1)
        cases.migrate()
        assert not thread.is_alive() or query(
            "SELECT state FROM pg_stat_activity WHERE pid = %s", pid
        ) == [("idle",)]
        thread.join()
    ((_, facts),) = events(caplog, "waits_for_orphan")
    assert facts["pid"] == pid
    assert recording.persisted() == ["1", "2"]
    assert not table_exists("cases_made")
