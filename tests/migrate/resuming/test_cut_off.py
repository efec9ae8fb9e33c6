"""Which indexes a step that was cut off has left: those of its own table, in its own schema."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, connection, migrations
from pytest_django import Settings

from django_confiture.migrate.resuming import cut_off, journal
from tests.cases.migrations_on_disk import Cases, query
from tests.migrate.resuming.test_resume import RESUME, execute, started
from tests.support import recording
from tests.support.logs import events
from tests.support.sessions import connect

INVALID = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1"
LONG = "long_" + "n" * 58
"""As long as a name can be, so that PostgreSQL cuts it to add a suffix."""


@pytest.fixture(autouse=True)
def _tables(history: None, cases: Cases, settings: Settings) -> Iterator[None]:
    settings.CONFITURE = RESUME
    with recording.recording():
        execute("INSERT INTO recording_parent VALUES (1), (2)")
        execute("CREATE SCHEMA elsewhere")
        execute("CREATE TABLE elsewhere.recording_parent (id int)")
        yield
        execute("DROP SCHEMA elsewhere CASCADE")
    connection.close()


def leaves_invalid(schema: str, index: str, *, table: str = "recording_parent") -> None:
    """Leave an INVALID index behind, as a failed CREATE INDEX CONCURRENTLY does."""
    execute(f"INSERT INTO {schema}.{table} (id) VALUES (11), (12)")
    with pytest.raises(DatabaseError, match="could not create unique index"):
        execute(f"CREATE UNIQUE INDEX CONCURRENTLY {index} ON {schema}.{table} ((id / 10))")
    execute(f"DELETE FROM {schema}.{table} WHERE id > 10")


def creates(name: str, table: str = "recording_parent") -> migrations.RunSQL:
    return migrations.RunSQL(f"CREATE INDEX CONCURRENTLY {name} ON {table} (id)")


def tables_of(index: str) -> set[str]:
    rows = query("SELECT schemaname FROM pg_indexes WHERE indexname = %s", index)
    return {schema for (schema,) in rows}


def test_an_index_of_another_schema_is_not_the_one_that_was_cut_off(cases: Cases) -> None:
    """As with tenants, each of which gets the same index in turn."""
    cases.add("0001_index", creates("parent_i"), atomic=False)
    started(cases, 0)
    execute("CREATE INDEX parent_i ON elsewhere.recording_parent (id)")
    cases.migrate()
    assert tables_of("parent_i") == {"public", "elsewhere"}


def test_an_invalid_index_of_another_schema_is_left_alone(cases: Cases) -> None:
    leaves_invalid("elsewhere", "parent_i")
    cases.add("0001_index", creates("parent_i"), atomic=False)
    cases.migrate()
    assert query(INVALID) == [("elsewhere.parent_i",)]


def test_the_schema_that_the_text_names_counts(cases: Cases) -> None:
    execute("CREATE INDEX parent_i ON recording_parent (id)")
    leaves_invalid("elsewhere", "parent_i")
    cases.add("0001_index", creates("parent_i", "elsewhere.recording_parent"), atomic=False)
    started(cases, 0)
    cases.migrate()
    assert query(INVALID) == []
    assert tables_of("parent_i") == {"public", "elsewhere"}


def test_a_drop_that_was_completed_drops_no_other_schemas_index(cases: Cases) -> None:
    """The search path leads to that one once the first is gone."""
    drops = migrations.RunSQL("DROP INDEX CONCURRENTLY parent_i")
    cases.add("0001_index", drops, atomic=False)
    started(cases, 0)
    execute("""UPDATE confiture_history_journalentry SET indexes = '{"parent_i": 1}'""")
    execute("CREATE INDEX parent_i ON elsewhere.recording_parent (id)")
    execute("SET search_path = public, elsewhere")
    cases.migrate()
    assert tables_of("parent_i") == {"elsewhere"}


@pytest.mark.parametrize("name", ["Parent_I", '"say ""hi"""'])
def test_names_are_found_however_they_are_written(cases: Cases, name: str) -> None:
    leaves_invalid("public", name)
    cases.add("0001_index", creates(name), atomic=False)
    cases.migrate()
    assert query(INVALID) == []


FUNCTION = """
CREATE OR REPLACE FUNCTION elsewhere.half(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN RETURN $1 / {}; END $$
"""


@pytest.mark.parametrize("name", ["parent_i", LONG])
@pytest.mark.parametrize("what", ["INDEX", "TABLE"])
def test_reindex_leaves_its_own_under_another_name(cases: Cases, what: str, name: str) -> None:
    execute(FUNCTION.format(2))
    execute(f"CREATE INDEX {name} ON recording_parent (elsewhere.half(id))")
    execute(FUNCTION.format(0))
    text = f"REINDEX {what} CONCURRENTLY {name if what == 'INDEX' else 'recording_parent'}"
    cases.add("0001_index", migrations.RunSQL(text), atomic=False)
    for _ in range(2):
        with pytest.raises(DatabaseError, match="division by zero") as caught:
            cases.migrate()
        said = f'The INVALID index "{name[:57]}_ccnew" on "recording_parent" was left behind'
        assert any(each.startswith(said) for each in caught.value.__notes__)
    left = [each for (each,) in query(INVALID)]
    assert left[0] == f"{name[:57]}_ccnew"
    assert all(each.endswith("_ccnew") for each in left)  # of the last attempt alone
    execute(FUNCTION.format(2))
    cases.migrate()
    assert query(INVALID) == []


@contextmanager
def assumed_role(owns: str = "recording_child") -> Iterator[None]:
    execute("CREATE ROLE cases_plain")
    try:
        execute(f"ALTER TABLE {owns} OWNER TO cases_plain")
        execute("GRANT ALL ON SCHEMA public, elsewhere TO cases_plain")
        execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO cases_plain")
        execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO cases_plain")
        execute("SET ROLE cases_plain")
        yield
    finally:
        execute("RESET ROLE")
        execute("DROP OWNED BY cases_plain CASCADE")
        execute("DROP ROLE cases_plain")


def leaves_invalid_toast() -> migrations.RunSQL:
    """Fail to rebuild a table's indexes when that of its TOAST table has been begun."""
    execute(FUNCTION.format(2))
    execute("CREATE TABLE cases_wide (id int, text text)")
    execute("INSERT INTO cases_wide VALUES (1, 'x')")
    execute("CREATE INDEX cases_wide_i ON cases_wide (elsewhere.half(id))")
    execute(FUNCTION.format(0))
    text = "REINDEX TABLE CONCURRENTLY cases_wide"
    with pytest.raises(DatabaseError, match="division by zero"):
        execute(text)
    execute(FUNCTION.format(2))
    left = [each for (each,) in query(INVALID)]
    assert [each for each in left if each.startswith("pg_toast.pg_toast_")], left
    return migrations.RunSQL(text)


def test_reindex_leaves_the_index_of_its_toast_table_as_well(cases: Cases) -> None:
    cases.add("0001_index", leaves_invalid_toast(), atomic=False)
    cases.migrate()
    assert query(INVALID) == []


def test_who_may_not_drop_that_is_told_how(cases: Cases, caplog: pytest.LogCaptureFixture) -> None:
    """As most roles that migrate: PostgreSQL lets superusers alone into pg_toast."""
    reindex = leaves_invalid_toast()
    cases.add("0001_index", reindex, atomic=False)
    with assumed_role(owns="cases_wide"):
        cases.migrate()
    ((_, facts),) = events(caplog, "invalid_index_left")
    assert facts["drop"].startswith('DROP INDEX CONCURRENTLY IF EXISTS "pg_toast"."pg_toast_')
    assert (facts["table"], cases.applied()) == ("cases_wide", {"0001_index"})


def test_a_role_that_was_assumed_can_tell_whether_an_orphan_is_at_work() -> None:
    """As with assume_role of Django: that role sees nothing of what its own login's sessions do."""
    with connect("orphan") as orphan, assumed_role():
        facts = [orphan.info.backend_pid, journal.this_backend(connection).started]
        assert facts[1] == ""
        for begins, is_at_work in [("SELECT 1", True), ("ROLLBACK", False)]:
            orphan.execute(begins)
            assert connection.connection.execute(cut_off._IS_AT_WORK, facts).fetchone() == (
                is_at_work,
            )


def test_an_index_whose_name_is_a_part_of_another_word_is_not_blamed(
    cases: Cases, settings: Settings
) -> None:
    settings.CONFITURE = {}
    leaves_invalid("public", "a")
    execute("INSERT INTO recording_parent VALUES (11), (12)")
    text = "CREATE UNIQUE INDEX CONCURRENTLY parent_i ON recording_parent ((id / 10))"
    cases.add("0001_index", migrations.RunSQL(text), atomic=False)
    with pytest.raises(DatabaseError, match="could not create unique index") as caught:
        cases.migrate()
    (note,) = caught.value.__notes__
    assert note.startswith('The INVALID index "parent_i" on "recording_parent" was left behind')
