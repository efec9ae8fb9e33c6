"""``manage.py confiture_status`` while a migration runs in this or another session."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from importlib import resources
from io import StringIO
from typing import Any

import jsonschema
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections, migrations
from pytest_django import Settings

from django_confiture.migrate.status import text as status_text
from django_confiture.migrate.status.published import Beacon, Migrate
from django_confiture.migrate.status.state import Running, Status
from django_confiture.migrate.turns import one_at_a_time
from django_confiture.migrate.watching.activity import Blocker, Doing, Progress, Wait, Waiter
from tests.cases.migrations_on_disk import Cases
from tests.support import recording
from tests.support.pools import behind_pgbouncer
from tests.support.sessions import calling, client, connect, holding

ALTER = "ALTER TABLE recording_parent ADD note text"
SCHEMA = json.loads(
    (resources.files("django_confiture.migrate.status") / "status.schema.json").read_text()
)


@pytest.fixture(autouse=True)
def _tables(cases: Cases) -> Iterator[None]:
    looked.clear()
    with recording.recording():
        yield
    connection.close()


def status(**options: Any) -> str:
    out = StringIO()
    call_command("confiture_status", stdout=out, **options)
    return out.getvalue()


def found() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(status(format="json"))
    jsonschema.validate(read, SCHEMA)
    return read


looked = threading.Event()
"""Set once a migration that runs has been looked at."""


def wait(apps: Any, editor: Any) -> None:
    looked.wait(60)


WAITS = migrations.RunPython(wait)


def while_migrating(cases: Cases, look: Callable[[], Any], enough: Callable[[Any], object]) -> Any:
    """Look from another thread, so another connection, until it is enough; return what was seen."""
    seen: list[Any] = []
    over = threading.Event()

    def run() -> None:
        try:
            while not seen or not (enough(seen[-1]) or over.wait(0.05)):
                seen.append(look())
        finally:
            looked.set()
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        cases.migrate()
    finally:
        over.set()
        thread.join()
    return seen[-1]


def runs(**fields: Any) -> Callable[[dict[str, Any]], bool]:
    """Tell of what was found whether one runs of which these fields are true, or not."""
    return lambda read: any(
        all(bool(each[name]) == value for name, value in fields.items()) for each in read["running"]
    )


def test_nothing_runs() -> None:
    assert status() == "No migrate is running on 'default'.\n"
    assert found() == {"schema_version": 1, "database": "default", "running": [], "waiting": []}


def test_what_it_runs_and_whom_it_waits_for(cases: Cases, settings: Settings) -> None:
    cases.add("0001_fine")
    cases.add("0002_waits", migrations.RunSQL(ALTER))
    settings.CONFITURE = {}
    lock = "LOCK recording_parent IN ACCESS SHARE MODE"
    with holding(lock, name="nightly", until=looked.is_set) as pid:
        (running,) = while_migrating(cases, found, runs(waits_for=True))["running"]
    assert running["migration"] == "cases.0002_waits"
    assert (running["number"], running["planned"], running["attempt"]) == (2, 2, 1)
    assert (running["direction"], running["statement"]) == ("forward", ALTER)
    assert running["state"] == "active"
    assert 0 < running["statement_ms"] < 10_000
    assert 0 < running["elapsed_ms"] < 10_000
    waits = running["waits_for"]
    assert (waits["relation"], waits["mode"]) == ("recording_parent", "AccessExclusiveLock")
    assert [each["pid"] for each in waits["blocked_by"]] == [pid]
    assert running["blocks"] == []
    assert running["forecast"] is None


def test_who_waits_for_it_while_it_is_in_python(cases: Cases, settings: Settings) -> None:
    cases.add("0001_blocks", migrations.RunSQL(ALTER), WAITS)
    settings.CONFITURE = {}
    with client("SELECT FROM recording_parent", name="shop"):
        (running,) = while_migrating(cases, found, runs(statement=False, blocks=True))["running"]
    assert running["statement"] is None
    ((waiter),) = running["blocks"]
    assert (waiter["application_name"], waiter["relation"]) == ("shop", "recording_parent")


def test_it_is_seen_without_the_lock(cases: Cases, settings: Settings) -> None:
    cases.add("0001_fine")
    cases.add("0002_blocks", migrations.RunSQL(ALTER), WAITS)
    settings.CONFITURE = {"MIGRATE": {"ONE_AT_A_TIME": False}}
    with client("SELECT FROM recording_parent", name="shop"):
        read = while_migrating(cases, found, runs(blocks=True))
    (running,) = read["running"]
    assert read["waiting"] == []
    assert (running["migration"], running["number"]) == ("cases.0002_blocks", 2)
    assert running["planned"] == 2
    assert [each["application_name"] for each in running["blocks"]] == ["shop"]
    assert found()["running"] == []


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_pool_with_one_session_delays_a_migrate_without_the_lock_by_a_second(
    cases: Cases, settings: Settings, mode: str
) -> None:
    cases.add("0001_fine", migrations.RunSQL(ALTER))
    settings.CONFITURE = {"MIGRATE": {"ONE_AT_A_TIME": False}}
    with behind_pgbouncer(mode, default_pool_size=1):
        began = time.monotonic()
        cases.migrate()
        assert time.monotonic() - began < 3
    assert cases.applied() == {"0001_fine"}


@pytest.mark.parametrize("pool", [nullcontext, partial(behind_pgbouncer, "transaction")])
def test_one_that_waits_for_its_turn(
    cases: Cases, settings: Settings, pool: Callable[[], AbstractContextManager[None]]
) -> None:
    cases.add("0001_fine", migrations.RunSQL(ALTER))
    settings.CONFITURE = {"MIGRATE": {"ONE_AT_A_TIME": True}}
    turn = one_at_a_time.take_turn(connection, lambda *_: None)
    one_at_a_time._ours.discard(turn.pid)  # it is another process that we play

    with pool(), calling(turn.end, when=looked.is_set):
        seen = while_migrating(cases, found, lambda read: read["waiting"])
    assert len(seen["running"]) == 1
    assert len(seen["waiting"]) >= 1
    assert {each["process"] for each in seen["waiting"]} == {seen["running"][0]["process"]}
    connection.close()


def test_a_session_of_a_pool_that_has_kept_the_name_does_not_wait() -> None:
    """The name alone does not say that it waits: its last query does."""
    with connect("django-confiture migrate web-7:12", autocommit=True) as of_pool:
        of_pool.execute("SELECT 'the query of another client'")
        assert found() == {
            "schema_version": 1,
            "database": "default",
            "running": [],
            "waiting": [],
        }


def test_no_value_of_a_row_is_shown(cases: Cases, settings: Settings) -> None:
    cases.add("0001_secret", migrations.RunSQL("SELECT 'secret', pg_sleep(1.5)"))
    settings.CONFITURE = {}
    said = while_migrating(cases, status, lambda text: "SELECT ..." in text)
    assert "secret'" not in said
    assert ": SELECT ...\n" in said
    assert "cases.0001_secret\n" in said


def test_how_far_an_index_is(cases: Cases, settings: Settings) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO recording_log (what) SELECT i FROM generate_series(1, 2000) i")
        cursor.execute(
            "CREATE OR REPLACE FUNCTION recording_slow(t text) RETURNS text LANGUAGE plpgsql"
            " IMMUTABLE AS $$ BEGIN PERFORM pg_sleep(0.001); RETURN t; END $$"
        )
    builds = "CREATE INDEX log_slow ON recording_log (recording_slow(what))"
    cases.add("0001_index", migrations.RunSQL(builds))
    settings.CONFITURE = {}
    (running,) = while_migrating(cases, found, runs(progress=True))["running"]
    assert running["progress"]["command"] == "CREATE INDEX"
    assert running["progress"]["phase"].startswith("building index")
    assert running["progress"]["total"] > 0
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION recording_slow CASCADE")


def test_a_forecast_is_told(history: None, cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = {}
    from django.utils import timezone

    from django_confiture.history.models import DryRun, Forecast

    now = timezone.now()
    row = DryRun.objects.create(number=1, made_at=now, duration_ms=1)
    estimate = {"low_ms": 900, "expected_ms": 1000, "high_ms": 1100, "confidence_percent": 0}
    Forecast.objects.create(
        dry_run=row,
        made_at=now,
        database="default",
        app_label="cases",
        name="0001_sleeps",
        direction="forward",
        estimate=estimate,
        statements=[],
    )
    cases.add("0001_sleeps", migrations.RunSQL("SELECT pg_sleep(1.5)"))
    told = runs(forecast=True)
    said = while_migrating(cases, lambda: (found(), status()), lambda seen: told(seen[0]))
    assert said[0]["running"][0]["forecast"] == {
        "low_ms": 900,
        "expected_ms": 1000,
        "high_ms": 1100,
    }
    assert " of 900 ms to 1.1 s forecast\n" in said[1]


def test_the_text_fits_80_columns() -> None:
    beacon = Beacon("default", "shop", "0007_" + "x" * 90, "backward", 3, 2, 9, 4711)
    blocker = Blocker(1, "n" * 70, "u", "idle in transaction", 1.0, 2000.0)
    running = Running(
        Migrate(1, "django-confiture migrate web-7:12", "u", beacon, 4200.0, True),
        Doing("active", "ALTER TABLE shop_order " + "y" * 200, 3900.0, 4000.0, 0.0),
        Progress("CREATE INDEX", "building index: scanning table", 45, 100),
        Wait("shop_order", "AccessExclusiveLock", 1200.0, (blocker,)),
        (Waiter(2, "web", "u", 400.0, "shop_order"),),
        {"low_ms": 3000, "expected_ms": 4000, "high_ms": 5000},
    )
    waiting = Migrate(3, "django-confiture migrate web-8:1", "u", None, None, False)
    text = status_text.as_text(Status("default", (running,), (waiting,)))
    assert max(len(line) for line in text.splitlines()) == 80
    assert text.splitlines()[0] == "default: migrate of web-7:12, 2 of 9"
    assert text.splitlines()[2] == "  took    4.2 s of 3.0 s to 5.0 s forecast"
    assert text.splitlines()[4:6] == [
        "  at      building index: scanning table 45 %",
        "  waits   for AccessExclusiveLock on shop_order, for 1.2 s",
    ]
    assert text.splitlines()[7:] == [
        "  blocks  1 session, the longest for 400 ms",
        "          web, pid 2, 400 ms, shop_order",
        "  then    web-8:1, pid 3, waits for its turn",
    ]


def test_what_is_known_of_a_migrate_that_is_between_two_things() -> None:
    migrate = Migrate(1, "", "owner", None, None, has_lock=True)
    between = Running(migrate, None, None, None, (), None)
    assert status_text.as_text(Status("default", (between,), ())) == (
        "default: migrate of owner, between migrations"
    )
    beacon = Beacon("default", "shop", "0007_x", "forward", 1, 2, 9, 4711)
    gone = replace(between, migrate=replace(migrate, beacon=beacon, elapsed_ms=10.0))
    assert status_text.as_text(Status("default", (gone,), ())).endswith(
        "  runs    nothing: its session, pid 4711, is gone"
    )
    idle = replace(gone, doing=Doing("idle in transaction", "SELECT 1", 10.0, 10.0, 0.0))
    assert status_text.as_text(Status("default", (idle,), ())).endswith(
        "  runs    Python, between two statements"
    )


def test_a_migrate_with_the_lock_that_has_begun_no_migration() -> None:
    """As between its migrations; and where this role may not see its query."""
    name = "django-confiture migrate elsewhere:7"
    with holding("SELECT pg_advisory_lock(1668247142, 7), '/* not a beacon */'", name=name):
        (running,) = found()["running"]
    assert (running["process"], running["migration"], running["pid"]) == ("elsewhere:7", None, None)
    assert running["elapsed_ms"] is None


def test_watching_goes_on_until_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("django_confiture.management.commands.confiture_status.time.sleep", sleep)
    lines = status(format="json", watch=True).splitlines()
    assert [json.loads(line)["running"] for line in lines] == [[], [], []]


def test_a_database_out_of_reach_is_one_line() -> None:
    before = connection.settings_dict
    connection.close()
    connection.settings_dict = {**before, "NAME": "nowhere"}
    try:
        with pytest.raises(CommandError, match="nowhere") as refused:
            status()
    finally:
        connection.settings_dict = before
    assert refused.value.returncode == 2
    assert "\n" not in str(refused.value)


def test_watching_goes_on_while_the_server_starts_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 1:
            with connect("ends", autocommit=True) as other:
                pid = connection.connection.info.backend_pid
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        if len(naps) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("django_confiture.management.commands.confiture_status.time.sleep", sleep)
    assert status(watch=True) == "No migrate is running on 'default'.\n" * 2
    said = capsys.readouterr().err
    assert said == "default: no answer: terminating connection due to administrator command\n"
