"""Two releases in a dry run: what the report says, and that nothing of it is the migration's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.contrib.postgres.fields import DateRangeField, DateTimeRangeField
from django.db import connection, connections, models
from django.db.migrations import (
    AddField,
    AlterField,
    AlterModelOptions,
    CreateModel,
    DeleteModel,
    Migration,
    RemoveField,
    RenameField,
    RunPython,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models.signals import post_save, pre_delete, pre_save

from django_confiture.dry_run.results import Report
from django_confiture.dry_run.transaction_rehearsal import transaction_rehearsal
from django_confiture.reports import render
from django_confiture.silencing import silenced
from tests.support.dry_run import apply_from, clean_up, fingerprint, migration, plain_connection
from tests.support.published_schema import errors
from tests.support.release_cases.library import ROWS, library
from tests.support.release_cases.partitions import IN_PARTS, KEEPS
from tests.support.releases import Writer, applied

pytestmark = pytest.mark.django_db(transaction=True)

TAG = "cases.Tag"
RAISES = """
    CREATE FUNCTION dry_raises() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
    CREATE TRIGGER dry_raises BEFORE INSERT ON cases_tag
      FOR EACH ROW EXECUTE FUNCTION dry_raises();
"""
_NOTE = AddField("Book", "note", models.TextField(default=""))


@pytest.fixture
def state() -> Iterator[ProjectState]:
    """Commit the library, with rows."""
    clean_up("default")
    found = applied(ProjectState(), migration(*library(), name="0001_first"))
    Writer(found, ROWS).fill(unfilled=())
    yield found
    connection.close()
    clean_up("default")


def rehearse(
    state: ProjectState, *plan: Migration, running_code: bool = True, using: str = "default"
) -> Report:
    wrapper = connections[using]
    rehearsal = transaction_rehearsal(wrapper, running_code=running_code)
    apply_from(state, rehearsal, wrapper, plan)
    report = rehearsal.report()
    assert errors(json.loads(render(report, "json"))) == []
    return report


def ids(report: Report) -> list[tuple[str, str | None]]:
    return [(each.id, each.relation) for m in report.migrations for each in m.findings]


def breaks(found: Sequence[Any]) -> list[tuple[str, str, str | None, int | None]]:
    return [(each.model, each.action, each.migration, each.operation) for each in found]


def test_a_required_column_breaks_the_insert_of_the_running_release(state: ProjectState) -> None:
    report = rehearse(state, migration(_NOTE, name="0002_note"))
    assert breaks(report.deploy.old_code) == [("cases.Book", "insert", "cases.0002_note", 0)]
    assert {each.action for each in report.deploy.new_code} == {
        "select",
        "insert",
        "update",
        "delete",
    }
    assert report.deploy.order == "neither"
    (found,) = [e for e in report.migrations[0].findings if e.id == "running-code-breaks"]
    assert (found.relation, found.operation, found.severity) == ("cases_book", 0, "danger")
    assert 'null value in column "note"' in found.evidence[0]
    assert "a db_default" in found.advice


def test_the_first_migration_counts_even_if_a_later_one_heals_it(state: ProjectState) -> None:
    heals = RunSQL("ALTER TABLE cases_book ALTER note SET DEFAULT ''", RunSQL.noop)
    report = rehearse(state, migration(_NOTE, name="0002_a"), migration(heals, name="0003_b"))
    assert breaks(report.deploy.old_code) == [("cases.Book", "insert", "cases.0002_a", 0)]


def test_the_operation_is_found_by_what_it_changes(state: ProjectState) -> None:
    report = rehearse(
        state,
        migration(
            AddField("Book", "kind", models.TextField(null=True)),
            RemoveField("Book", "summary"),
            AddField("Tag", "kind", models.TextField(null=True)),
            name="0002_two",
        ),
    )
    assert {each[3] for each in breaks(report.deploy.old_code)} == {1}


def test_others_see_each_operation_of_a_non_atomic_migration(state: ProjectState) -> None:
    heals = RunSQL("ALTER TABLE cases_book ALTER note SET DEFAULT ''", RunSQL.noop)
    report = rehearse(state, migration(_NOTE, heals, name="0002_a", atomic=False))
    assert breaks(report.deploy.old_code) == [("cases.Book", "insert", "cases.0002_a", 0)]


def test_a_foreign_key_of_a_table_that_the_same_script_makes(state: ProjectState) -> None:
    makes = RunSQL(
        "CREATE TABLE dry_about (author bigint);"
        "ALTER TABLE dry_about ADD FOREIGN KEY (author) REFERENCES cases_author (id);"
        "INSERT INTO dry_about SELECT id FROM cases_author",
        RunSQL.noop,
    )
    report = rehearse(state, migration(makes, name="0002_a"))
    found = breaks(report.deploy.old_code)
    assert ("cases.Author", "delete", "cases.0002_a", 0) in found


def test_a_change_of_a_partition_is_one_of_its_table(state: ProjectState) -> None:
    with plain_connection() as other:
        other.execute(IN_PARTS)
    report = rehearse(state, migration(KEEPS, name="0002_a"))
    assert ("cases.Book", "delete") in {each[:2] for each in breaks(report.deploy.old_code)}
    assert report.deploy.order == "code_first"


def test_a_number_that_becomes_a_uuid_is_still_a_number_to_the_running_release(
    state: ProjectState,
) -> None:
    made = CreateModel("Note", [("id", models.BigAutoField(primary_key=True))])
    state = applied(state, migration(made, name="0002_note"))
    with plain_connection() as other:
        other.execute("INSERT INTO cases_note DEFAULT VALUES")
    to_uuid = RunSQL(
        "ALTER TABLE cases_note ALTER id DROP IDENTITY;"
        "ALTER TABLE cases_note ALTER id TYPE uuid USING gen_random_uuid()",
        RunSQL.noop,
    )
    found = rehearse(state, migration(to_uuid, name="0003_uuid")).deploy.old_code
    assert ("delete", "operator does not exist: uuid = integer") in {
        (each.action, each.error) for each in found
    }


def test_what_models_prove_is_not_guessed(state: ProjectState) -> None:
    drop = RemoveField("Book", "summary")
    assert ("column-dropped", "cases_book") in ids(
        rehearse(state, migration(drop, name="0002_a"), running_code=False)
    )
    found = ids(rehearse(state, migration(drop, name="0002_a")))
    assert ("running-code-breaks", "cases_book") in found
    assert ("column-dropped", "cases_book") not in found


def test_a_column_that_no_model_knows_any_more_is_no_break(state: ProjectState) -> None:
    with plain_connection() as other:
        other.execute("ALTER TABLE cases_book ADD legacy text")
    drop = RunSQL("ALTER TABLE cases_book DROP COLUMN legacy", RunSQL.noop)
    report = rehearse(state, migration(drop, name="0002_a"))
    assert report.deploy.order == "either"
    assert [each for each in ids(report) if each[0] != "no-lock-timeout"] == []


def test_a_table_that_no_model_knows_is_still_guessed(state: ProjectState) -> None:
    with plain_connection() as other:
        other.execute("CREATE TABLE cases_unknown (id integer)")
    report = rehearse(state, migration(RunSQL("DROP TABLE cases_unknown"), name="0002_a"))
    assert ("table-dropped", "cases_unknown") in ids(report)


def test_a_break_is_silenced_with_a_reason(state: ProjectState) -> None:
    accepted = silenced(
        AddField("Book", "note", models.TextField(default="")),
        {"running-code-breaks": "no one writes books at night"},
    )
    report = rehearse(state, migration(accepted, name="0002_a"))
    (found,) = [e for e in report.migrations[0].findings if e.id == "running-code-breaks"]
    assert found.silenced == "no one writes books at night"


def test_it_leaves_nothing_and_no_sequence_moved(state: ProjectState) -> None:
    with plain_connection() as other:
        before = fingerprint(other)
        report = rehearse(state, migration(_NOTE, RemoveField("Tag", "label"), name="0002_a"))
        assert fingerprint(other) == before
    moved = {each.sequence for each in report.sequences_moved}
    assert moved <= {"django_migrations_id_seq"}


def test_nothing_of_it_is_the_migrations(state: ProjectState) -> None:
    plan = [migration(_NOTE, name="0002_a"), migration(RunSQL("SELECT 1"), name="0003_b")]
    off, on = rehearse(state, *plan, running_code=False), rehearse(state, *plan)
    for without, tried in zip(off.migrations, on.migrations, strict=True):
        assert facts(without) == facts(tried)
    assert off.dead_bytes == on.dead_bytes


def facts(result: Any) -> Any:
    return [
        (each.sql, each.rows_affected, each.locks, each.writes, each.scans)
        for operation in result.operations
        for each in operation.statements
    ], [(each.relation, each.rows_written, each.strongest_lock) for each in result.tables]


def test_no_receiver_of_signals_is_called(state: ProjectState) -> None:
    called: list[object] = []

    def receiver(**kwargs: object) -> None:
        called.append(kwargs["sender"])

    for signal in (pre_save, post_save, pre_delete):
        signal.connect(receiver)
    try:
        rehearse(state, migration(_NOTE, name="0002_a"))
    finally:
        for signal in (pre_save, post_save, pre_delete):
            signal.disconnect(receiver)
    assert [each for each in called if "Book" in str(each)] == []


@pytest.mark.parametrize("action", ["INSERT", "DELETE"])
def test_a_trigger_that_sleeps_is_not_checked(state: ProjectState, action: str) -> None:
    with plain_connection() as other:
        other.execute(
            "CREATE TABLE cases_tries (id serial);"
            "CREATE FUNCTION dry_sleeps() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM nextval('cases_tries_id_seq'), pg_sleep(5);"
            " RETURN coalesce(NEW, OLD); END $$;"
            f"CREATE TRIGGER dry_sleeps BEFORE {action} ON cases_tag"
            " FOR EACH ROW EXECUTE FUNCTION dry_sleeps()"
        )
    add = AddField("Tag", "kind", models.TextField(null=True))
    report = rehearse(state, migration(add, name="0002_a"))
    assert any(f"{action} of cases.Tag: canceling" in each for each in report.deploy.not_checked)
    with plain_connection() as other:
        tries = other.execute("SELECT last_value FROM cases_tries_id_seq").fetchone()
    assert tries is not None
    assert 2 <= tries[0] <= 12  # twice each time that all is tried again
    assert all(each.model != "cases.Tag" for each in report.deploy.old_code)


_NO_IDENTITY = "ALTER TABLE cases_tag REPLICA IDENTITY NOTHING"
_PUBLISHED = "CREATE PUBLICATION cases_p FOR TABLE cases_tag"


@pytest.mark.parametrize(
    ("before", "sql"),
    [
        (_PUBLISHED, _NO_IDENTITY),
        (_NO_IDENTITY, _PUBLISHED),
        (
            _NO_IDENTITY,
            "CREATE PUBLICATION cases_p FOR ALL TABLES",
        ),
        pytest.param(
            _NO_IDENTITY,
            "CREATE PUBLICATION cases_p FOR TABLES IN SCHEMA public",
            marks=pytest.mark.skipif(
                "connection.pg_version < 150000", reason="PostgreSQL 15 publishes schemas"
            ),
        ),
        (
            f"{_PUBLISHED} WITH (publish = 'insert'); {_NO_IDENTITY}",
            "ALTER PUBLICATION cases_p SET (publish = 'update')",
        ),
    ],
)
def test_rows_that_replicas_can_not_tell_apart_are_not_updated(
    state: ProjectState, before: str, sql: str
) -> None:
    with plain_connection() as other:
        other.execute(before)
    try:
        report = rehearse(state, migration(RunSQL(sql), name="0002_a"))
    finally:
        with plain_connection() as other:
            other.execute("DROP PUBLICATION IF EXISTS cases_p")
    assert (TAG, "update", "cases.0002_a", 0) in breaks(report.deploy.old_code)
    assert "does not have a replica identity" in report.deploy.old_code[0].error


def test_a_failing_plan_says_what_was_found_so_far(state: ProjectState) -> None:
    fails = RunSQL("SELECT 1/0")
    report = rehearse(state, migration(_NOTE, name="0002_a"), migration(fails, name="0003_b"))
    assert report.outcome == "failed"
    assert breaks(report.deploy.old_code) == [("cases.Book", "insert", "cases.0002_a", 0)]
    assert {each.still_after for each in report.deploy.new_code} == {False}


def test_a_deletion_asks_for_rows_that_protect_those_below(state: ProjectState) -> None:
    book = models.ForeignKey("cases.Book", models.PROTECT)
    loan = CreateModel("Loan", [("id", models.BigAutoField(primary_key=True)), ("book", book)])
    state = applied(state, migration(loan, name="0001_loan"))
    report = rehearse(state, migration(DeleteModel("Loan"), name="0002_a"))
    deletes = {each.model for each in report.deploy.old_code if each.action == "delete"}
    assert deletes == {"cases.Author", "cases.Book", "cases.Loan", "cases.Publisher"}


def test_a_failing_plan_says_that_rows_of_a_forgotten_model_refer(state: ProjectState) -> None:
    forgotten = migration(RemoveField("Book", "tags"), DeleteModel("Book"), name="0002_a")
    report = rehearse(state, forgotten, migration(RunSQL("SELECT 1/0"), name="0003_b"))
    deletes = {each.model for each in report.deploy.new_code if each.action == "delete"}
    assert {"cases.Author", "cases.Tag"} <= deletes


def test_a_row_that_was_read_before_the_plan_does_not_stay_broken(state: ProjectState) -> None:
    span = AddField("Tag", "span", DateTimeRangeField(null=True))
    state = applied(state, migration(span, name="0001_span"))
    with plain_connection() as other:
        other.execute("UPDATE cases_tag SET span = '[2001-01-01, 2001-01-02)'")
    text = "ALTER TABLE cases_tag ALTER span TYPE daterange USING NULL"
    days = [AlterField("Tag", "span", DateRangeField(null=True))]
    report = rehearse(state, migration(RunSQL(text, state_operations=days), name="0002_a"))
    assert ("cases.Tag", "update", False) in still_broken(report)


def test_code_that_cannot_be_read_is_followed(state: ProjectState) -> None:
    def drop(apps: Any, editor: Any) -> None:
        editor.execute("ALTER TABLE cases_tag DROP COLUMN label")

    report = rehearse(state, migration(RunPython(drop, RunPython.noop), name="0002_a"))
    assert ("cases.Tag", "select", "cases.0002_a", 0) in breaks(report.deploy.old_code)


def test_sql_that_does_not_show_what_it_runs_is_followed(state: ProjectState) -> None:
    text = "DO $$ BEGIN EXECUTE 'ALTER TABLE cases_' || 'tag DROP COLUMN label'; END $$"
    report = rehearse(state, migration(RunSQL(text), name="0002_a"))
    assert ("cases.Tag", "select", "cases.0002_a", 0) in breaks(report.deploy.old_code)


def test_a_proxy_counts_as_its_model(state: ProjectState) -> None:
    proxy = CreateModel("Label", [], options={"proxy": True}, bases=("cases.Tag",))
    report = rehearse(state, migration(proxy, name="0002_a"))
    assert report.deploy.order == "either"
    assert report.deploy.checked.models > 0


def test_switched_off_it_says_so(state: ProjectState) -> None:
    report = rehearse(state, migration(_NOTE, name="0002_a"), running_code=False)
    assert report.deploy.order == "unknown"
    assert report.deploy.not_checked == ("Nothing: running code is not checked in this dry run.",)
    assert "order" not in render(report, "text")


@pytest.mark.parametrize("name", ["text", "markdown", "html", "github", "gitlab", "sarif"])
def test_every_format_says_the_order(state: ProjectState, name: str) -> None:
    new = CreateModel("Shelf", [("id", models.BigAutoField(primary_key=True))])
    report = rehearse(state, migration(new, name="0002_a"))
    assert "Migrate first, then deploy" in " ".join(render(report, name).split())


# What changes in the state alone.


def in_the_state(*operations: Operation) -> Migration:
    return migration(SeparateDatabaseAndState(state_operations=list(operations)), name="0002_a")


def still_broken(report: Report) -> set[tuple[str | None, str, bool]]:
    return {(each.model, each.action, each.still_after) for each in report.deploy.new_code}


def test_a_required_column_that_the_new_release_no_longer_knows(state: ProjectState) -> None:
    report = rehearse(state, in_the_state(RemoveField("Tag", "label")))
    assert still_broken(report) == {("cases.Tag", "insert", True)}
    assert report.deploy.old_code == ()
    assert report.deploy.order == "migrate_first"
    for name in ("text", "markdown", "html", "github", "gitlab", "sarif"):
        assert "no order helps" in " ".join(render(report, name).split())


def test_a_field_without_a_column(state: ProjectState) -> None:
    report = rehearse(state, in_the_state(AddField("Tag", "color", models.TextField(default=""))))
    assert still_broken(report) == {
        ("cases.Tag", action, True) for action in ("select", "insert", "update", "delete")
    }


def test_a_table_that_the_new_release_no_longer_knows_refers_to_its_rows(
    state: ProjectState,
) -> None:
    report = rehearse(state, in_the_state(DeleteModel("Book")))
    assert {("cases.Author", "delete", True), ("cases.Tag", "delete", True)} <= still_broken(report)


def test_a_change_that_the_database_never_notices_breaks_neither_release(
    state: ProjectState,
) -> None:
    report = rehearse(state, migration(AlterModelOptions("Tag", {"ordering": ["id"]})))
    assert report.deploy.order == "either"
    assert report.deploy.checked.models == 1


def test_rows_that_a_plan_changes_are_those_of_a_model_that_is_tried(state: ProjectState) -> None:
    update = RunSQL("UPDATE cases_tag SET label = 'x'", RunSQL.noop)
    report = rehearse(state, migration(update, name="0002_a"))
    assert report.deploy.order == "either"
    assert report.deploy.checked.models == 1


def test_an_upsert_whose_constraint_comes_with_the_plan_is_told_of(state: ProjectState) -> None:
    unique = AlterField("Author", "name", models.CharField(max_length=50, unique=True))
    distinct = RunSQL("UPDATE cases_author SET name = id::text", RunSQL.noop)

    deploy = rehearse(state, migration(distinct, unique, name="0002_unique")).deploy

    (told,) = deploy.not_checked
    assert told == (
        "bulk_create(update_conflicts=True) of cases.Author with conflict on name: no model tells"
        " if the new release does so; before the plan there is no unique or exclusion constraint"
        " matching the ON CONFLICT specification"
    )
    assert not deploy.new_code


def test_an_upsert_whose_constraint_stays_away_is_not_told_of(state: ProjectState) -> None:
    unique = SeparateDatabaseAndState(
        state_operations=[
            AlterField("Author", "name", models.CharField(max_length=50, unique=True))
        ]
    )
    deploy = rehearse(state, migration(unique, name="0002_unique")).deploy
    assert deploy.not_checked == ()


@pytest.mark.parametrize("sql", ["SELECT 1", "CREATE TABLE cases_log (id bigint)"])
def test_a_plan_that_touches_no_model_can_go_in_either_order(state: ProjectState, sql: str) -> None:
    report = rehearse(state, migration(RunSQL(sql, RunSQL.noop), name="0002_a"))
    assert report.deploy.order == "either"
    assert report.deploy.not_checked == (
        "Nothing: no migration changes a model, or touches the table of one.",
    )


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER DOMAIN cases_short ADD CHECK (VALUE = '') NOT VALID",
        "SELECT pg_catalog.setval('cases_tag_id_seq', 1, false)",
        "ALTER SEQUENCE cases_tag_id_seq RESTART WITH 1",
        "ALTER TABLE cases_tag ALTER id RESTART WITH 1",
        "DO $$ BEGIN ALTER SEQUENCE cases_tag_id_seq RESTART WITH 1; END $$",
        "SELECT dry_back()",
        "CREATE OR REPLACE FUNCTION dry_fine(text) RETURNS bool LANGUAGE sql AS 'SELECT false'",
    ],
)
def test_what_is_not_a_table_breaks_those_that_use_it(state: ProjectState, sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE DOMAIN cases_short AS varchar(20);"
            "CREATE FUNCTION dry_fine(text) RETURNS bool LANGUAGE sql AS 'SELECT true';"
            "CREATE FUNCTION dry_back() RETURNS bigint LANGUAGE sql"
            " AS 'SELECT pg_catalog.setval(''cases_tag_id_seq'', 1, false)';"
            "ALTER TABLE cases_tag ALTER label TYPE cases_short, ADD CHECK (dry_fine(label))"
        )
    try:
        report = rehearse(state, migration(RunSQL(sql), name="0002_other"))
    finally:
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute(
                "DROP TABLE cases_tag CASCADE; DROP DOMAIN cases_short;"
                "DROP FUNCTION dry_fine, dry_back"
            )
    assert ("cases.Tag", "insert", "cases.0002_other", 0) in breaks(report.deploy.old_code)


@pytest.mark.parametrize("where", ["", "in a block"])
def test_neither_release_has_what_a_migration_sets_for_its_session(
    state: ProjectState, where: str
) -> None:
    sets = "SET search_path TO public, dry_schema"
    if where:
        sets = "DO $$ BEGIN PERFORM set_config('search_path', 'public, dry_schema', false); END $$"
    moves = "CREATE SCHEMA dry_schema; ALTER TABLE cases_tag SET SCHEMA dry_schema"
    sql = [RunSQL([each]) for each in (sets, *moves.split("; "))]

    deploy = rehearse(state, migration(*sql, name="0002_moves")).deploy

    of_tags = {(each.action, each.sqlstate) for each in deploy.old_code if each.model == TAG}
    assert {("select", "42P01"), ("insert", "42P01"), ("update", "42P01")} <= of_tags


def test_both_releases_have_triggers_that_a_migration_has_switched_off(
    state: ProjectState,
) -> None:
    off = RunSQL(["SET session_replication_role TO replica"])
    raises = RunSQL([RAISES])

    deploy = rehearse(state, migration(off, raises, name="0002_raises")).deploy

    assert {(each.model, each.action, each.sqlstate) for each in deploy.old_code} == {
        (TAG, "insert", "P0001")
    }


def test_a_temporary_table_hides_the_real_one_from_the_migration_alone(
    state: ProjectState,
) -> None:
    made = RunSQL(["CREATE TEMPORARY TABLE cases_tag (id integer)"])
    adds = RunSQL(["ALTER TABLE public.cases_tag ADD COLUMN dry integer"])

    deploy = rehearse(state, migration(made, adds, name="0002_hides")).deploy

    assert (deploy.order, deploy.old_code) == ("either", ())
    assert deploy.checked.models > 0


def test_a_many_to_many_field_that_is_renamed_takes_its_table_along(state: ProjectState) -> None:
    report = rehearse(state, migration(RenameField("Book", "tags", "labels"), name="0002_a"))
    broken = {(each.model, each.action) for each in report.deploy.old_code}
    actions = [("cases.Book_tags", each) for each in ("select", "insert", "delete")]
    assert broken >= {*actions, ("cases.Tag", "delete"), ("cases.Book", "delete")}


class PairField(models.TextField):  # type: ignore[type-arg]
    """Two numbers as a text."""

    def from_db_value(self, value: str, *_rest: object) -> tuple[int, ...]:
        return tuple(map(int, value.split(":")))


@pytest.mark.parametrize(("value", "broken"), [("a:b", ["select"]), ("3:4", [])])
def test_rows_that_a_field_of_the_project_can_no_longer_read(
    state: ProjectState, value: str, broken: list[str]
) -> None:
    pair = AddField("Tag", "pair", PairField(db_default="1:2"))
    state = applied(state, migration(pair, name="0002_pair"))
    update = RunSQL(f"UPDATE cases_tag SET pair = '{value}'", RunSQL.noop)
    found = rehearse(state, migration(update, name="0003_other")).deploy.old_code
    assert [(each.model, each.action) for each in found] == [("cases.Tag", it) for it in broken]


@pytest.mark.parametrize("column", ["varchar(9)", "text"])
def test_a_field_of_the_project_whose_code_has_changed_is_named(
    state: ProjectState, column: str
) -> None:
    pair = AddField("Tag", "pair", PairField(db_default="1:2"))
    state = applied(state, migration(pair, name="0002_pair"))
    with plain_connection() as other:
        other.execute(f"ALTER TABLE cases_tag ALTER pair TYPE {column}")
    note = AddField("Tag", "note", models.TextField(null=True))
    deploy = rehearse(state, migration(note, name="0003_note")).deploy
    said = (
        "cases.Tag.pair: PairField is for a column of type text, which is character varying(9)"
        " before the plan: the running release has other code for its values"
    )
    assert (said in deploy.not_checked) == (column != "text")
    of_this_checkout = (
        "cases.Tag.pair: both releases were tried with this checkout's code of PairField; if the"
        " running release's converts values in another way, that was not tried"
    )
    assert (of_this_checkout in deploy.not_checked) == (column == "text")
