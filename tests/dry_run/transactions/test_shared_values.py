"""What all migrations of a dry run have in common: what reads it twice is not called exact."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from django.db.migrations import Migration

from tests.cases.migrations_on_disk import query
from tests.support.dry_run import for_real, migration, plain_connection, python, rehearse, runs

CLONE = "--clone rehearses it exactly"
TIME, NUMBER = "now() is the same", "The number of the transaction"
SETTINGS = "a setting that the dry run has set"
LOCKS, XMIN, LISTEN = "pg_locks shows", "in xmin and xmax", "LISTEN begins"
SESSIONS = "pg_stat_activity shows"

CODE = """
    CREATE TABLE dry_stamped (id int, at timestamptz DEFAULT now());
    CREATE TABLE dry_numbered (id int, tx text DEFAULT txid_current()::text);
    CREATE TABLE dry_batch (id int, tx text);
    CREATE TABLE dry_by (id int, name text);
    CREATE FUNCTION dry_names() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN new.name := current_setting('application_name'); RETURN new; END $$;
    CREATE TRIGGER dry_names BEFORE INSERT ON dry_by FOR EACH ROW EXECUTE FUNCTION dry_names();
    CREATE FUNCTION dry_number() RETURNS text LANGUAGE sql AS $$ SELECT txid_current()::text $$;
    CREATE FUNCTION dry_$number() RETURNS text LANGUAGE sql AS $$ SELECT dry_number() $$;
    CREATE FUNCTION "dry_ number"() RETURNS text LANGUAGE sql AS $$ SELECT dry_$number() $$;
    CREATE FUNCTION dry_numbers() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN new.tx := dry_number(); RETURN new; END $$;
    CREATE TRIGGER dry_numbers BEFORE INSERT ON dry_batch
      FOR EACH ROW EXECUTE FUNCTION dry_numbers();
"""

ROWS = "UPDATE dry_row SET name = {} WHERE id = 1"
USES_NUMBER = ROWS.format("txid_current()::text")
USES_TIME = ROWS.format("now()::text")


@pytest.fixture
def _code(scratch: None) -> None:
    with plain_connection() as plain:
        plain.execute(CODE)


def reasons(*scripts: str, atomic: bool = True) -> list[str]:
    """Return why an operation of migrations, each of one script, is not exact; ``""`` if it is."""
    plan = [
        migration(runs(text), atomic=atomic, name=f"{n:04}_x") for n, text in enumerate(scripts)
    ]
    results = rehearse(*plan).migrations
    assert [each.error for each in results] == [None] * len(scripts)
    return [operation.reason for each in results for operation in each.operations]


@pytest.mark.usefixtures("_code")
@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        (USES_NUMBER, USES_NUMBER, NUMBER),
        (USES_NUMBER, ROWS.format("dry_number()"), NUMBER),
        (USES_NUMBER, ROWS.format("DRY_Number()"), NUMBER),
        (USES_NUMBER, ROWS.format("dry_$number()"), NUMBER),
        (USES_NUMBER, ROWS.format('"dry_ number"()'), NUMBER),
        (USES_NUMBER, "DO $$ BEGIN PERFORM pg_current_xact_id(); END $$", NUMBER),
        (USES_NUMBER, ROWS.format("txid_current_snapshot()::text"), NUMBER),
        ("INSERT INTO dry_numbered VALUES (1)", "INSERT INTO dry_numbered VALUES (2)", NUMBER),
        ("INSERT INTO dry_batch VALUES (1)", "INSERT INTO dry_batch VALUES (2)", NUMBER),
        (USES_TIME, USES_TIME, TIME),
        (USES_TIME, "DELETE FROM dry_stamped WHERE at < CURRENT_TIMESTAMP", TIME),
        ("INSERT INTO dry_stamped VALUES (1)", "DELETE FROM dry_stamped WHERE at < now()", TIME),
        ("SELECT 1", ROWS.format("(SELECT count(*)::text FROM pg_locks)"), LOCKS),
        ("SELECT 1", "SELECT FROM dry_row WHERE xmin::text = '1'", XMIN),
        ("SELECT 1", "SELECT pg_listening_channels()", LISTEN),
        ("SELECT 1", ROWS.format("current_setting('lock_timeout')"), SETTINGS),
        ("SELECT 1", "DO $$ BEGIN PERFORM current_setting('application_name'); END $$", SETTINGS),
        ("SELECT 1", "SHOW lock_timeout", SETTINGS),
        ("SELECT 1", "SELECT setting FROM pg_settings WHERE name = 'lock_timeout'", SETTINGS),
        ("SELECT 1", ROWS.format("(SELECT count(*)::text FROM pg_stat_activity)"), SESSIONS),
        ("SELECT 1", "DO $$ BEGIN PERFORM FROM pg_stat_activity; END $$", SESSIONS),
        ("SELECT 1", "INSERT INTO dry_by VALUES (1)", SETTINGS),
    ],
)
def test_what_reads_it_twice_is_not_exact(first: str, second: str, why: str) -> None:
    earlier, later = reasons(first, second)

    assert earlier == ""
    assert why in later
    assert CLONE in later or why in (SETTINGS, SESSIONS)  # a clone has the same


ATTACHED = {
    "policy": "ALTER TABLE dry_row ENABLE ROW LEVEL SECURITY;"
    " CREATE POLICY dry_p ON dry_row USING (current_setting('lock_timeout') = '0')",
    "check": "ALTER TABLE dry_row ADD CHECK (current_setting('application_name') <> 'web')",
    "check by a function": "CREATE FUNCTION dry_is_fine() RETURNS bool LANGUAGE plpgsql AS"
    " $$ BEGIN RETURN current_setting('lock_timeout') <> '1s'; END $$;"
    " ALTER TABLE dry_row ADD CHECK (dry_is_fine())",
    "default": "ALTER TABLE dry_row ALTER code SET DEFAULT current_setting('application_name')",
    "rule": "CREATE RULE dry_r AS ON UPDATE TO dry_row DO ALSO"
    " INSERT INTO dry_parent SELECT 999, current_setting('application_name')",
}


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize("made", ATTACHED.values(), ids=ATTACHED.keys())
def test_what_hangs_on_a_table_and_reads_such_a_setting_is_not_exact(made: str) -> None:
    with plain_connection() as plain:
        plain.execute(made)
    assert SETTINGS in reasons(ROWS.format("'x'"))[0]


@pytest.mark.usefixtures("scratch")
def test_what_hangs_on_a_table_and_reads_another_setting_is_exact() -> None:
    with plain_connection() as plain:
        plain.execute("ALTER TABLE dry_row ADD CHECK (current_setting('DateStyle') <> '')")
    assert reasons(ROWS.format("'x'")) == [""]


BY_VIEW = (
    "CREATE VIEW dry_v AS SELECT id, current_setting('application_name') AS name FROM dry_row;"
    " CREATE VIEW dry_w AS SELECT id, name FROM dry_v"
)


BY_FUNCTION = """
    CREATE FUNCTION dry_hangs() RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE
      $x$ALTER TABLE dry_row ALTER code SET DEFAULT current_setting(''lock_timeout'')$x$; END'
"""


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize("made", ATTACHED.values(), ids=ATTACHED.keys())
@pytest.mark.parametrize("first", ["SELECT 1", ROWS.format("'y'")], ids=["alone", "after rows"])
def test_what_the_plan_itself_hangs_on_a_table_is_asked_for_as_well(made: str, first: str) -> None:
    assert reasons(first)[0] == ""
    *_before, last = reasons(first, made, ROWS.format("'x'"))
    assert SETTINGS in last


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize(
    ("made", "statement"),
    [
        (f"{ATTACHED['check']}; ALTER TABLE dry_row RENAME TO dry_other",
         "UPDATE dry_other SET name = 'x'"),
        (f"{ATTACHED['check']}; CREATE TABLE dry_like (LIKE dry_row INCLUDING ALL)",
         "INSERT INTO dry_like VALUES (1, 'x', 1, '')"),
        (BY_VIEW, "UPDATE dry_row SET name = w.name FROM dry_w w WHERE w.id = dry_row.id"),
        (BY_VIEW, "CREATE TABLE dry_made AS SELECT * FROM dry_w"),
        (BY_FUNCTION, "SELECT dry_hangs(); INSERT INTO dry_row (id, name) VALUES (0, '')"),
    ],
    ids=["renamed", "like", "view of a view", "table of a view", "function"],
)  # fmt: skip
def test_the_plan_moves_or_copies_what_reads_such_a_setting(made: str, statement: str) -> None:
    *_before, last = reasons("UPDATE dry_row SET name = 'y'", made, statement)
    assert SETTINGS in last


BY_EVENT = """
    CREATE FUNCTION dry_hangs() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN EXECUTE
      $x$ALTER TABLE dry_row ALTER code SET DEFAULT current_setting(''lock_timeout'')$x$; END';
    CREATE EVENT TRIGGER dry_event ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
      EXECUTE FUNCTION dry_hangs()
"""


@pytest.mark.usefixtures("scratch")
def test_what_an_event_trigger_hangs_on_a_table_is_asked_for_as_well() -> None:
    row = "INSERT INTO dry_row (id, name) VALUES (0, '')"
    first, _made, _table, last = reasons(
        row.replace("0", "-1"), BY_EVENT, "CREATE TABLE dry_new (id int)", row
    )
    assert first == ""
    assert SETTINGS in last


@pytest.mark.usefixtures("scratch")
def test_a_table_whose_policy_reads_such_a_setting_is_altered_exactly() -> None:
    assert reasons(ATTACHED["policy"], "ALTER TABLE dry_row ADD more text")[1] == ""


WANTS_TIMEOUT = """
    CREATE FUNCTION dry_wants() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
      IF current_setting('lock_timeout') = '0' THEN RAISE 'set lock_timeout first'; END IF;
    END $$;
    CREATE EVENT TRIGGER dry_wants ON ddl_command_start EXECUTE FUNCTION dry_wants();
"""


@pytest.fixture
def _event_trigger(scratch: None) -> Iterator[None]:
    with plain_connection() as plain:
        plain.execute(WANTS_TIMEOUT)
        yield
        plain.execute("DROP EVENT TRIGGER dry_wants")


ALTER = "ALTER TABLE dry_row ADD more text"


@pytest.mark.usefixtures("_event_trigger")
def test_an_event_trigger_that_reads_such_a_setting_passes_in_the_dry_run_alone() -> None:
    assert SETTINGS in reasons(ALTER)[0]
    assert "set lock_timeout first" in for_real(migration(runs(ALTER)))


@pytest.mark.usefixtures("_event_trigger")
@pytest.mark.parametrize(
    ("script", "is_exact"),
    [("DO $$ BEGIN ALTER TABLE dry_row ADD more text; END $$", False), (ROWS.format("'x'"), True)],
)
def test_event_triggers_are_run_by_ddl_alone(script: str, is_exact: bool) -> None:
    assert (reasons(script)[0] == "") is is_exact


@pytest.mark.usefixtures("_event_trigger")
def test_an_event_trigger_that_is_switched_off_says_nothing() -> None:
    with plain_connection() as plain:
        plain.execute("ALTER EVENT TRIGGER dry_wants DISABLE")
    assert reasons(ALTER) == [""]


@pytest.mark.usefixtures("_code")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("SELECT 1", USES_NUMBER),
        (USES_NUMBER, USES_TIME),
        (USES_TIME, "ALTER TABLE dry_row ADD made timestamptz DEFAULT now()"),
        (USES_TIME, ROWS.format("'now() and pg_locks'")),
        (USES_TIME, ROWS.format("clock_timestamp()::text")),
        (USES_TIME, ROWS.format("CURRENT_DATE::text")),
        (USES_TIME, "CREATE VIEW dry_v AS SELECT now()"),
        (f"{USES_TIME}; {USES_TIME}", "SELECT 1"),
        ("INSERT INTO dry_stamped VALUES (1)", "INSERT INTO dry_stamped VALUES (2)"),
    ],
)
def test_what_reads_it_once_is_exact(first: str, second: str) -> None:
    assert reasons(first, second) == ["", ""]


@pytest.mark.usefixtures("_code")
def test_a_default_that_the_plan_itself_makes() -> None:
    """The first writes ask for the defaults, and another migration makes one more."""
    insert = "INSERT INTO dry_new VALUES (1)"
    plan = (
        "INSERT INTO dry_stamped VALUES (1)",
        "INSERT INTO dry_stamped VALUES (2)",
        "CREATE TABLE dry_new (id int, tx text DEFAULT txid_current()::text)",
        insert,
        insert,
    )
    *earlier, last = reasons(*plan)
    assert NUMBER in last
    assert not any(earlier[:4])


@pytest.mark.usefixtures("_code")
def test_each_statement_of_a_migration_that_is_not_atomic_is_a_transaction() -> None:
    plan = migration(runs(USES_TIME), runs(USES_TIME), atomic=False)

    first, second = rehearse(plan).migrations[0].operations

    assert (first.rehearsed, second.rehearsed) == ("exact", "not_rehearsed")


@pytest.mark.usefixtures("scratch")
def test_what_a_migration_that_rolled_back_has_read_does_not_count() -> None:
    plan = migration(runs(f"BEGIN; {USES_TIME}; ROLLBACK"), runs(USES_TIME), atomic=False)

    assert rehearse(plan).migrations[0].operations[1].rehearsed == "exact"


@pytest.mark.usefixtures("scratch")
def test_an_advisory_lock_of_a_transaction_is_taken_again() -> None:
    lock = "SELECT pg_advisory_xact_lock(7)"
    assert reasons(lock, lock) == ["", ""]


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize(
    "script", ["LISTEN dry", "NOTIFY dry, 'a'", "SELECT pg_notify('dry', 'a')"]
)
def test_notifications_wait_for_a_commit(script: str) -> None:
    operation = rehearse(migration(runs(script))).migrations[0].operations[0]

    assert operation.rehearsed == "substituted"
    assert "notified no one" in operation.reason


@pytest.mark.usefixtures("scratch")
def test_a_snapshot_is_not_exported_from_a_savepoint() -> None:
    operation = rehearse(migration(runs("SELECT pg_export_snapshot()"))).migrations[0].operations[0]

    assert operation.rehearsed == "not_rehearsed"
    assert "can't run in a savepoint" in operation.reason


# Temporary tables that code makes.

MAKES = {
    "a DO block": "DO $$ BEGIN CREATE TEMP TABLE dry_t (id int) ON COMMIT DROP; END $$",
    "a function": "SELECT dry_makes_drop()",
    "a string": "SELECT dry_runs('CREATE TEMP TABLE dry_t (id int) ON COMMIT DROP')",
}

MAKING_FUNCTIONS = """
    CREATE FUNCTION dry_makes_drop() RETURNS void LANGUAGE plpgsql AS
      $$ BEGIN CREATE TEMP TABLE dry_t (id int) ON COMMIT DROP; END $$;
    CREATE FUNCTION dry_makes_delete() RETURNS void LANGUAGE plpgsql AS
      $$ BEGIN CREATE TEMP TABLE dry_t2 (id int) ON COMMIT DELETE ROWS;
         INSERT INTO dry_t2 VALUES (1); END $$;
    CREATE FUNCTION dry_runs(text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE $1; END $$;
"""


@pytest.fixture
def _making(scratch: None) -> Iterator[None]:
    with plain_connection() as plain:
        plain.execute(MAKING_FUNCTIONS)
    yield
    connection.close()


def outcome(*scripts: str) -> tuple[list[str], list[str]]:
    """Return the errors of migrations of one script each, and how each was rehearsed."""
    plan: list[Migration] = [
        migration(runs(text), name=f"{number:04}_x") for number, text in enumerate(scripts)
    ]
    results = rehearse(*plan).migrations
    errors = [each.error.message for each in results if each.error is not None]
    return errors, [o.rehearsed for each in results for o in each.operations]


@pytest.mark.usefixtures("_making")
@pytest.mark.parametrize("made", MAKES.values(), ids=MAKES.keys())
def test_a_table_that_code_makes_is_dropped_at_the_commit(made: str) -> None:
    errors, _rehearsed = outcome(made, "TABLE dry_t")

    assert 'relation "dry_t" does not exist' in errors[0]


@pytest.mark.usefixtures("_making")
def test_a_table_that_code_makes_is_emptied_at_the_commit() -> None:
    seen: list[int] = []
    count = python(lambda: seen.append(query("SELECT count(*) FROM dry_t2")[0][0]))

    rehearse(migration(runs("SELECT dry_makes_delete()")), migration(count, name="0002_x"))

    assert seen == [0]


@pytest.mark.usefixtures("_making")
def test_a_table_that_computed_code_makes_is_marked() -> None:
    script = "SELECT dry_runs('CREATE TEMP TABLE dry_other (id int) ON COMMIT ' || 'DROP')"

    errors, rehearsed = outcome(script, "TABLE dry_other")

    assert (errors, rehearsed) == ([], ["exact", "not_rehearsed"])


@pytest.mark.usefixtures("_making")
def test_a_table_without_on_commit_stays() -> None:
    script = "SELECT dry_runs('CREATE TEMP TABLE dry_t (id int)')"

    assert outcome(script, "TABLE dry_t") == ([], ["exact", "exact"])


ODD_NAMES = """
    CREATE FUNCTION {name}() RETURNS bool LANGUAGE plpgsql AS
      'BEGIN RETURN current_setting(''lock_timeout'') <> ''1s''; END';
    ALTER TABLE dry_row ADD CHECK ({name}());
"""


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize("name", ['"dry_a""quote"', r'"dry_a\backslash"', '"dry_a word"'])
def test_code_may_have_any_name(name: str) -> None:
    with plain_connection() as plain:
        plain.execute(ODD_NAMES.format(name=name))
    assert SETTINGS in reasons(ROWS.format("'x'"))[0]
