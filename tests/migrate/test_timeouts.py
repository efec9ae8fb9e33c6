"""``CONFITURE["MIGRATE"]`` on a real PostgreSQL, with another session in the way."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, migrations, models
from pytest_django import Settings

from django_confiture import Hook, HookContext, HookError, HookPhase, HookResult, conf
from django_confiture.dry_run.server.settings import server_settings
from django_confiture.dry_run.settings import dry_run_settings
from django_confiture.exceptions import MigrationGotNoLock
from django_confiture.migrate.attempts import retried_sqlstate
from django_confiture.migrate.settings import MigrateSettings
from django_confiture.testing import run_hook
from tests.cases.migrations_on_disk import Cases, query, table_exists
from tests.support import recording
from tests.support.logs import events

LOCKED = "ALTER TABLE recording_parent ADD note text"

seen: list[tuple[str, str, str]] = []


@pytest.fixture(autouse=True)
def _tables(cases: Cases) -> Iterator[None]:
    seen.clear()
    with recording.recording():
        yield
    connection.close()  # with whatever a test has set in the session


@pytest.fixture
def other(cases: Cases) -> Iterator[psycopg.Connection[Any]]:
    """Another session of the same database."""
    parameters = connections["default"].get_connection_params()
    wanted = ("dbname", "user", "password", "host", "port")
    given = {name: parameters[name] for name in wanted if name in parameters}
    with psycopg.connect(**given) as session:
        yield session


def look(where: str, database: Any) -> None:
    row = database.execute(
        "SELECT current_setting('lock_timeout'), current_setting('statement_timeout')"
    ).fetchone()
    seen.append((where, *row))


class Look(Hook):
    """Writes down the timeouts that it runs under."""

    phase = HookPhase.BEFORE_DDL

    def execute(self, conn: Any, context: HookContext) -> HookResult:
        look(self.options["name"], conn)
        return HookResult("", "Look")


def run_python(apps: Any, schema_editor: Any) -> None:
    look("RunPython", schema_editor.connection.connection)


RUN_SQL = "INSERT INTO recording_log (what) VALUES (current_setting('lock_timeout'))"


def phases() -> dict[str, Any]:
    return recording.in_every_phase("tests.migrate.test_timeouts.Look")


def session_timeouts() -> tuple[str, str]:
    ((lock, statement),) = query(
        "SELECT current_setting('lock_timeout'), current_setting('statement_timeout')"
    )
    return lock, statement


@pytest.mark.parametrize("fails", [False, True], ids=["success", "failure"])
@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
def test_they_hold_for_every_statement_and_are_restored(
    cases: Cases, settings: Settings, atomic: bool, fails: bool
) -> None:
    cases.add(
        "0001_looks",
        migrations.RunSQL(RUN_SQL),
        migrations.RunPython(run_python),
        recording.operation(),
        atomic=atomic,
    )
    settings.CONFITURE = {
        "PHASES": phases(),
        "MIGRATE": {"LOCK_TIMEOUT": "1500ms", "STATEMENT_TIMEOUT": timedelta(minutes=1)},
    }
    query("SELECT set_config('lock_timeout', '77s', false)")
    if fails:
        recording.fails["operation"] = "raise"
        with pytest.raises(ValueError, match="told to fail"):
            cases.migrate()
    else:
        cases.migrate()
    after = ["ON_ERROR", "CLEANUP"] if fails else ["AFTER_DDL", "AFTER_VALIDATION", "CLEANUP"]
    wanted = ["BEFORE_VALIDATION", "BEFORE_DDL", "RunPython", *after]
    assert seen == [(where, "1500ms", "1min") for where in wanted]
    if not (fails and atomic):
        assert recording.persisted()[0] == "1500ms"
    assert session_timeouts() == ("77s", "0")


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
def test_they_are_set_again_for_each_migration(
    cases: Cases, settings: Settings, atomic: bool
) -> None:
    cases.add("0001_sets", migrations.RunSQL("SET lock_timeout = '9s'"), atomic=atomic)
    cases.add("0002_looks", migrations.RunPython(run_python), atomic=atomic)
    settings.CONFITURE = {"MIGRATE": {"LOCK_TIMEOUT": "2s"}}
    cases.migrate()
    assert seen == [("RunPython", "2s", "0")]


def test_they_are_set_backwards_as_well(cases: Cases, settings: Settings) -> None:
    cases.add("0001_looks", migrations.RunPython(migrations.RunPython.noop, run_python))
    cases.migrate()
    settings.CONFITURE = {"MIGRATE": {"STATEMENT_TIMEOUT": "2s"}}
    cases.migrate("zero")
    assert seen == [("RunPython", "0", "2s")]


@pytest.mark.parametrize("given", [{}, {"MIGRATE": {"LOCK_TIMEOUT": None}}])
def test_without_them_nothing_is_changed(
    cases: Cases, settings: Settings, given: dict[str, Any]
) -> None:
    cases.add("0001_looks", migrations.RunPython(run_python))
    settings.CONFITURE = given
    query("SELECT set_config('lock_timeout', '77s', false)")
    cases.migrate()
    assert seen == [("RunPython", "77s", "0")]


def test_zero_switches_a_timeout_off_and_less_than_a_millisecond_does_not(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_looks", migrations.RunPython(run_python))
    settings.CONFITURE = {"MIGRATE": {"LOCK_TIMEOUT": "0s", "STATEMENT_TIMEOUT": "20s"}}
    query("SELECT set_config('lock_timeout', '77s', false)")
    cases.migrate()
    assert seen == [("RunPython", "0", "20s")]


@pytest.mark.parametrize(
    ("timeout", "expected"),
    [
        ("0s", "0ms"),
        ("1us", "1ms"),
        ("1.4ms", "2ms"),
        ("60d", "2147483647ms"),
    ],
)
def test_a_timeout_is_the_same_everywhere(
    scratch: None, settings: Settings, timeout: str, expected: str
) -> None:
    class Looks(Hook):
        def execute(self, conn: Any, context: HookContext) -> HookResult:
            cursor = conn.execute("SELECT current_setting('statement_timeout')::interval")
            found.append(cursor.fetchone()[0])
            return HookResult("AFTER_DDL", "Looks")

    found: list[timedelta] = []
    Looks.timeout = timeout
    limit = timedelta(milliseconds=int(expected.removesuffix("ms")))
    settings.CONFITURE = {"DRY_RUN": {"LOCK_TIMEOUT": timeout, "STATEMENT_TIMEOUT": timeout}}

    parsed = conf.parse_duration(timeout, name="")
    assert MigrateSettings(lock_timeout=parsed).timeouts == {"lock_timeout": expected}
    set_in_dry_run = server_settings(dry_run_settings())
    assert set_in_dry_run["lock_timeout"] == expected
    assert set_in_dry_run["statement_timeout"] == expected
    if limit > timedelta(milliseconds=1):  # a hook takes no other
        run_hook(Looks, phase=HookPhase.AFTER_DDL)
        assert found == [limit]


def test_a_statement_timeout_ends_what_takes_too_long(cases: Cases, settings: Settings) -> None:
    cases.add("0001_sleeps", migrations.RunSQL("SELECT pg_sleep(20)"))
    settings.CONFITURE = {"MIGRATE": {"STATEMENT_TIMEOUT": "50ms", "LOCK_RETRIES": 3}}
    with pytest.raises(DatabaseError, match="statement timeout"):
        cases.migrate()


def test_a_dry_run_has_its_own(cases: Cases, settings: Settings) -> None:
    cases.add("0001_looks", migrations.RunPython(run_python))
    settings.CONFITURE = {
        "MIGRATE": {"LOCK_TIMEOUT": "7s", "LOCK_RETRIES": 3},
        "DRY_RUN": {"LOCK_TIMEOUT": "3s"},
    }
    call_command("migrate_dryrun", "cases", verbosity=0, format="json", stdout=StringIO())
    assert seen == [("RunPython", "3s", "0")]


# Retries.


class At(logging.Handler):
    """Does something when the n-th retry is logged."""

    def __init__(self, attempt: int, action: Callable[[], object]) -> None:
        super().__init__()
        self.attempt = attempt
        self.action = action

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "lock_timeout_retry" and record.__dict__["attempt"] == self.attempt:
            self.action()


@pytest.fixture
def at() -> Iterator[Callable[[int, Callable[[], object]], None]]:
    logger = logging.getLogger("django_confiture.hooks")
    handlers: list[At] = []

    def install(attempt: int, action: Callable[[], object]) -> None:
        handlers.append(At(attempt, action))
        logger.addHandler(handlers[-1])

    yield install
    for handler in handlers:
        logger.removeHandler(handler)


RETRY = {"LOCK_TIMEOUT": "30ms", "LOCK_RETRIES": 3, "RETRY_DELAY": "2ms"}


def hold(session: psycopg.Connection[Any]) -> None:
    session.execute("LOCK TABLE recording_parent")


def models_of(apps: Any, schema_editor: Any) -> None:
    models = [model._meta.model_name for model in apps.get_models()]
    assert models.count("book") == 1
    assert apps.get_model("cases", "Book").objects.count() == 0
    recording.ran.append("models")


def books() -> list[migrations.CreateModel]:
    key = ("id", models.AutoField(primary_key=True))
    author = models.ForeignKey("cases.Author", models.CASCADE)
    return [
        migrations.CreateModel("Author", [key]),
        migrations.CreateModel("Book", [(key[0], key[1].clone()), ("author", author)]),
    ]


def test_a_lock_timeout_rolls_back_and_tries_again(
    cases: Cases,
    settings: Settings,
    other: psycopg.Connection[Any],
    at: Callable[[int, Callable[[], object]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    cases.add(
        "0001_waits",
        *books(),
        recording.operation(),
        migrations.RunSQL(LOCKED),
        migrations.RunPython(models_of),
    )
    cases.add("0002_goes_on", migrations.RunPython(models_of))
    in_first = recording.in_every_phase(MIGRATIONS=["*.0001_*"])
    settings.CONFITURE = {"PHASES": in_first, "MIGRATE": RETRY}
    hold(other)
    at(2, other.rollback)

    cases.migrate()

    attempt = ["BEFORE_VALIDATION", "BEFORE_DDL", "operation"]
    after = ["models", "AFTER_DDL", "AFTER_VALIDATION", "CLEANUP"]
    assert recording.ran == [*attempt, *attempt, *attempt, *after, "models"]
    assert recording.persisted() == [*attempt, *after[1:]]
    assert query(
        "SELECT count(*) FROM pg_constraint"
        " WHERE contype = 'f' AND conrelid = 'cases_book'::regclass"
    ) == [(1,)]
    assert cases.applied() == {"0001_waits", "0002_goes_on"}
    retries = events(caplog, "lock_timeout_retry")
    assert [facts["attempt"] for _, facts in retries] == [1, 2]
    assert retries[0][1]["error"] == "canceling statement due to lock timeout"
    assert (retries[0][1]["migration"], retries[0][1]["app_label"]) == ("0001_waits", "cases")
    assert 1 <= retries[0][1]["delay_ms"] <= 2 <= retries[1][1]["delay_ms"] <= 4
    assert {each.levelname for each in caplog.records if each.msg == "lock_timeout_retry"} == {
        "WARNING"
    }


def test_each_attempt_starts_from_the_same_project_state(
    cases: Cases,
    settings: Settings,
    other: psycopg.Connection[Any],
    at: Callable[[int, Callable[[], object]], None],
) -> None:
    cases.add("0001_books", *books())
    rename = migrations.RenameModel("Author", "Writer")
    cases.add("0002_renames", rename, migrations.RunSQL(LOCKED))
    cases.migrate("0001")
    settings.CONFITURE = {"MIGRATE": RETRY}
    hold(other)
    at(2, other.rollback)
    cases.migrate()
    assert cases.applied() == {"0001_books", "0002_renames"}
    assert table_exists("cases_writer")


def test_a_lock_timeout_backwards_is_tried_again(
    cases: Cases,
    settings: Settings,
    other: psycopg.Connection[Any],
    at: Callable[[int, Callable[[], object]], None],
) -> None:
    undo = "ALTER TABLE recording_parent DROP note"
    cases.add("0001_waits", *books(), migrations.RunSQL(LOCKED, undo))
    cases.migrate()
    settings.CONFITURE = {"MIGRATE": RETRY}
    hold(other)
    at(1, other.rollback)
    cases.migrate("zero")
    assert cases.applied() == set()


def test_deferred_sql_that_waits_is_tried_again(
    cases: Cases,
    settings: Settings,
    other: psycopg.Connection[Any],
    at: Callable[[int, Callable[[], object]], None],
) -> None:
    author, book = books()
    cases.add("0001_author", author)
    cases.add("0002_book", book)
    cases.migrate("0001")
    settings.CONFITURE = {"MIGRATE": RETRY}
    other.execute("LOCK TABLE cases_author")
    at(1, other.rollback)
    cases.migrate()
    assert cases.applied() == {"0001_author", "0002_book"}


def test_a_hook_that_waits_makes_the_migration_start_over_with_a_new_context(
    cases: Cases,
    settings: Settings,
    other: psycopg.Connection[Any],
    at: Callable[[int, Callable[[], object]], None],
) -> None:
    cases.add("0001_fine", recording.operation())
    settings.CONFITURE = {
        "PHASES": {"AFTER_DDL": ["tests.migrate.test_timeouts.Waits"]},
        "MIGRATE": RETRY,
    }
    hold(other)
    at(1, other.rollback)
    Waits.stats.clear()
    cases.migrate()
    assert recording.ran == ["operation", "operation"]
    assert Waits.stats == [None, None]


class Waits(Hook):
    phase = HookPhase.AFTER_DDL
    stats: list[Any] = []  # noqa: RUF012

    def execute(self, conn: Any, context: HookContext) -> HookResult:
        self.stats.append(context.get_stat("tried"))
        context.set_stat("tried", "yes")
        conn.execute(LOCKED)
        return HookResult("AFTER_DDL", "Waits")


def test_it_gives_up_after_the_retries(
    cases: Cases,
    settings: Settings,
    other: psycopg.Connection[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    cases.add("0001_waits", recording.operation(), migrations.RunSQL(LOCKED))
    settings.CONFITURE = {"PHASES": recording.in_every_phase(), "MIGRATE": RETRY}
    hold(other)
    with pytest.raises(MigrationGotNoLock) as caught:
        cases.migrate()
    said = str(caught.value)
    assert said.startswith(
        "cases.0001_waits got no lock: canceling statement due to lock timeout. Tried 4 times."
    )
    assert "All of it was rolled back. Run migrate again when fewer sessions" in said
    assert isinstance(caught.value, DatabaseError)
    assert [facts["attempt"] for _, facts in events(caplog, "lock_timeout_retry")] == [1, 2, 3]
    assert recording.ran[-2:] == ["ON_ERROR", "CLEANUP"]
    assert recording.persisted() == ["ON_ERROR", "CLEANUP"]
    assert recording.ran.count("ON_ERROR") == 1


def test_who_was_in_the_way_of_the_last_attempt_is_named(
    cases: Cases, settings: Settings, other: psycopg.Connection[Any]
) -> None:
    cases.add("0001_waits", migrations.RunSQL(LOCKED))
    settings.CONFITURE = {"MIGRATE": {**RETRY, "LOCK_TIMEOUT": "1500ms", "LOCK_RETRIES": 1}}
    other.execute("SET application_name = 'nightly report'")
    hold(other)
    with pytest.raises(MigrationGotNoLock) as caught:
        cases.migrate()
    assert "In its way was nightly report (idle in transaction). " in str(caught.value)


def test_without_retries_a_lock_timeout_fails_at_once(
    cases: Cases, settings: Settings, other: psycopg.Connection[Any]
) -> None:
    cases.add("0001_waits", recording.operation(), migrations.RunSQL(LOCKED))
    settings.CONFITURE = {"MIGRATE": {"LOCK_TIMEOUT": "20ms"}}
    hold(other)
    with pytest.raises(MigrationGotNoLock) as caught:
        cases.migrate()
    said = _without_blocker(caught.value)
    assert "due to lock timeout. It was in operation 2, Raw SQL operation. All" in said
    assert recording.ran == ["operation"]


def test_while_it_waits_nothing_is_held(
    cases: Cases,
    settings: Settings,
    other: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[Any] = []

    def sleep(_seconds: float) -> None:
        pid = connection.connection.info.backend_pid
        found.extend(
            other.execute(
                "SELECT state, backend_xid, backend_xmin,"
                " (SELECT count(*) FROM pg_locks WHERE pid = %(pid)s)"
                " FROM pg_stat_activity WHERE pid = %(pid)s",
                {"pid": pid},
            )
        )
        other.rollback()

    monkeypatch.setattr("django_confiture.migrate.run.time.sleep", sleep)
    cases.add("0001_waits", *books(), migrations.RunSQL(LOCKED))
    settings.CONFITURE = {"MIGRATE": RETRY}
    hold(other)
    cases.migrate()
    assert found == [("idle", None, None, 0)]


def test_ctrl_c_while_it_waits(
    cases: Cases,
    settings: Settings,
    other: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sleep(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("django_confiture.migrate.run.time.sleep", sleep)
    cases.add("0001_waits", recording.operation(), migrations.RunSQL(LOCKED))
    settings.CONFITURE = {"PHASES": recording.in_every_phase(), "MIGRATE": RETRY}
    hold(other)
    with pytest.raises(KeyboardInterrupt):
        cases.migrate()
    assert recording.persisted() == ["ON_ERROR", "CLEANUP"]
    assert connection.get_autocommit()
    assert not connection.in_atomic_block


def _without_blocker(error: BaseException) -> str:
    """Return an error without who was in the way: a short wait may end before that is known."""
    return re.sub(r"In its way was .*?\. (?=It |All )", "", str(error))


def test_a_non_atomic_migration_is_not_tried_again(
    cases: Cases,
    settings: Settings,
    other: psycopg.Connection[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    cases.add("0001_waits", recording.operation(), migrations.RunSQL(LOCKED), atomic=False)
    settings.CONFITURE = {"MIGRATE": RETRY}
    hold(other)
    with pytest.raises(MigrationGotNoLock) as caught:
        cases.migrate()
    assert _without_blocker(caught.value) == (
        "cases.0001_waits got no lock: canceling statement due to lock timeout. It was in "
        "operation 2, Raw SQL operation. It is not atomic, so what it had done is committed, and "
        "migrate would begin it again at its first operation. Look at what is there; with "
        'CONFITURE["MIGRATE"]["RESUME"] = True and django_confiture.history, migrate goes on by '
        "itself the next time. LOCK_RETRIES is for atomic migrations alone: wait until fewer "
        "sessions need the table, or raise LOCK_TIMEOUT; migrate_dryrun says what it locks."
    )
    assert isinstance(caught.value.__cause__, DatabaseError)
    assert recording.persisted() == ["operation"]
    assert events(caplog, "lock_timeout_retry") == []


@pytest.mark.parametrize("atomic", [True, False])
def test_a_hook_that_waits_in_vain_keeps_its_own_error(
    cases: Cases, settings: Settings, other: psycopg.Connection[Any], *, atomic: bool
) -> None:
    settings.CONFITURE = {
        "PHASES": {"AFTER_DDL": ["tests.migrate.test_timeouts.Waits"]},
        "MIGRATE": RETRY,
    }
    cases.add("0001_waits", recording.operation(), atomic=atomic)
    hold(other)
    with pytest.raises(HookError) as caught:
        cases.migrate()
    assert not isinstance(caught.value, MigrationGotNoLock)
    assert (
        "Tried 4 times."
        if atomic
        else "Not retried: parts of a non-atomic migration may be committed."
    ) in caught.value.__notes__


def test_who_was_in_the_way_of_a_non_atomic_migration_is_named(
    cases: Cases, settings: Settings, other: psycopg.Connection[Any]
) -> None:
    cases.add("0001_waits", migrations.RunSQL(LOCKED), atomic=False)
    settings.CONFITURE = {"MIGRATE": {"LOCK_TIMEOUT": "1500ms", "RESUME": False}}
    other.execute("SET application_name = 'nightly report'")
    hold(other)
    with pytest.raises(MigrationGotNoLock) as caught:
        cases.migrate()
    said = str(caught.value)
    assert "In its way was nightly report (idle in transaction). It is not atomic" in said


def test_a_migration_that_has_committed_by_itself_is_not_tried_again(
    cases: Cases,
    settings: Settings,
    other: psycopg.Connection[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    cases.add(
        "0001_commits",
        recording.operation(),
        migrations.RunSQL("COMMIT"),
        migrations.RunSQL(LOCKED),
    )
    settings.CONFITURE = {"MIGRATE": RETRY}
    hold(other)
    with pytest.raises(MigrationGotNoLock) as caught:
        cases.migrate()
    assert _without_blocker(caught.value).endswith(
        "operation 3, Raw SQL operation. It has ended its transaction by itself, so parts of it "
        "may stay; look at what is there before you run migrate again."
    )
    assert recording.persisted() == ["operation"]
    assert events(caplog, "lock_timeout_retry") == []


def test_a_migration_that_commits_by_itself_still_works_with_retries(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_commits", migrations.RunSQL("COMMIT"), recording.operation())
    settings.CONFITURE = {"MIGRATE": RETRY}
    cases.migrate()
    assert recording.persisted() == ["operation"]


def test_the_wait_doubles_up_to_a_minute_with_jitter() -> None:
    settings = MigrateSettings(retry_delay=timedelta(seconds=1))
    assert MigrateSettings(retry_delay=timedelta(days=1)).delay(40) <= 60
    assert MigrateSettings(retry_delay=timedelta.max).delay(1) <= 60
    assert MigrateSettings(retry_delay=timedelta(0)).delay(40) == 0
    for attempt, longest in ((1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (1000, 60)):
        delays = [settings.delay(attempt) for _ in range(50)]
        assert all(longest / 2 <= delay <= longest for delay in delays)
        assert len(set(delays)) > 1


def test_only_a_lock_timeout_and_a_deadlock_count() -> None:
    timeout = psycopg.errors.LockNotAvailable()
    hook_error = HookError("Hook", "AFTER_DDL", timeout)
    hook_error.__cause__ = timeout
    assert retried_sqlstate(timeout) == "55P03"
    assert retried_sqlstate(hook_error) == "55P03"
    assert retried_sqlstate(psycopg.errors.DeadlockDetected()) == "40P01"
    assert retried_sqlstate(psycopg.errors.QueryCanceled()) is None
    assert retried_sqlstate(psycopg.errors.SerializationFailure()) is None
    assert retried_sqlstate(ValueError("canceling statement due to lock timeout")) is None
