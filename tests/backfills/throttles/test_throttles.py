"""What may hold a backfill, each on a real server; and how answers are cached."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import OperationalError, connections
from psycopg.errors import QueryCanceled
from pytest_django import Settings

from django_confiture import conf
from django_confiture.backfills.throttles import Moment
from django_confiture.backfills.throttles import shipped as throttles
from django_confiture.backfills.throttles.configured import Throttling, build_throttle
from tests.support.backfills import PATH, books, counters, execute, shelf, wait_for
from tests.support.dry_run import plain_connection

__all__ = ["shelf"]  # a fixture

MOMENT = Moment("default", '"shelf_book"', 0.0, 0.0)
HERE = "django_confiture.backfills.throttles."


@pytest.mark.parametrize(
    ("lag", "reason"),
    [(None, ""), (4.9, ""), (5.1, "a replica is 5.1 s behind, the limit is 5 s")],
)
def test_replication_lag_by_a_function(lag: float | None, reason: str) -> None:
    assert throttles.ReplicationLag(lag=lambda: lag).reason(MOMENT) == reason


@pytest.mark.django_db(transaction=True)
def test_without_replicas_nothing_lags() -> None:
    assert throttles.ReplicationLag(limit="0s").reason(MOMENT) == ""


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([(0, 100, 100)], (0.0, 0.0)),  # level
        ([(0, 100, 100), (1, 200, 150), (2, 300, 200)], (1.0, 2.0)),  # 50 a second, 100 to go
        ([(0, 100, 100), (4, 500, 100)], (4.0, math.inf)),  # it has stopped
        ([(0, 100, 100), (0.1, 500, 100)], (0.1, 0.0)),  # too short to tell its pace
    ],
)
def test_lag_so_far_and_lag_to_come(
    readings: list[tuple[float, int, int]], expected: tuple[float, float]
) -> None:
    found = throttles.lags([throttles._Reading(*each) for each in readings])
    assert found == pytest.approx(expected)


@pytest.mark.django_db(transaction=True)
def test_oldest_transaction() -> None:
    throttle = throttles.OldestTransaction(limit="100ms")
    assert throttle.reason(MOMENT) == ""
    with plain_connection() as other, other.transaction():
        ((pid,),) = other.execute("SELECT pg_backend_pid()")
        other.execute("SELECT pg_sleep(0.2)")
        assert throttle.reason(MOMENT).startswith(f"session {pid} has had a transaction open for ")
    assert throttle.reason(MOMENT) == ""


def _sleep_on(other: Any) -> None:
    with suppress(QueryCanceled):
        other.execute("SELECT pg_sleep(3)")


@pytest.mark.django_db(transaction=True)
def test_active_sessions() -> None:
    throttle = throttles.ActiveSessions(limit=0)
    with plain_connection() as other:
        sleeping = Thread(target=_sleep_on, args=[other])
        sleeping.start()
        try:
            wait_for(lambda: throttle.reason(MOMENT).endswith("are at work, the limit is 0"))
        finally:
            other.cancel()
            sleeping.join()


@pytest.mark.django_db(transaction=True)
def test_autovacuum_nowhere_at_work_is_no_reason() -> None:
    assert throttles.Autovacuum().reason(MOMENT) == ""


@pytest.mark.django_db(transaction=True)
def test_without_archiving_no_wal_waits() -> None:
    assert throttles.WalArchiving(max_segments=0).reason(MOMENT) == ""


@pytest.mark.parametrize(
    ("last", "since", "holds"), [(0.0, 0.0, False), (0.5, 0.4, True), (0.5, 0.6, False)]
)
def test_share_of_time(last: float, since: float, holds: bool) -> None:
    throttle = throttles.ShareOfTime(share=0.5)
    reason = throttle.reason(Moment("default", "t", last, since))
    assert reason == ("it works for 50% of the time" if holds else "")


@pytest.mark.parametrize(
    ("start", "end", "hour", "reason"),
    [
        ("22:00", "06:00", 23, ""),
        ("22:00", "06:00", 5, ""),
        ("22:00", "06:00", 6, "it runs from 22:00 to 06:00"),
        ("01:00", "05:00", 1, ""),
        ("01:00", "05:00", 5, "it runs from 01:00 to 05:00"),
    ],
)
def test_hours_of_day(start: str, end: str, hour: int, reason: str) -> None:
    at = datetime(2026, 1, 1, hour)  # noqa: DTZ001 - a wall clock
    assert throttles.HoursOfDay(start, end).reason_at(at) == reason


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("zone", ["", "Pacific/Auckland"])
def test_hours_of_day_are_those_of_its_time_zone(
    settings: Settings, use_tz: bool, zone: str
) -> None:
    settings.USE_TZ = use_tz
    settings.TIME_ZONE = "America/Caracas"
    now = datetime.now(ZoneInfo(zone or "America/Caracas"))
    around = [f"{now + timedelta(minutes=by):%H:%M}" for by in (-60, 60)]
    assert throttles.HoursOfDay(around[0], around[1], timezone=zone).reason(MOMENT) == ""
    assert throttles.HoursOfDay(around[1], around[0], timezone=zone).reason(MOMENT) != ""


class Counting(throttles.Throttle):
    """Counts how often it is asked."""

    name = "counting"
    asked = 0

    def reason(self, moment: Moment) -> str:
        type(self).asked += 1
        return "always"


class Gate(throttles.Throttle):
    """Holds until a test lets it go."""

    name = "gate"
    cached_for = 0.0
    opened = Event()

    def reason(self, moment: Moment) -> str:
        return "" if self.opened.is_set() else "closed"


class EndsSession(throttles.Throttle):
    """Ends the worker's own session when it is asked, at most three times."""

    name = "ends_session"
    cached_for = 0.0
    left = 0

    def reason(self, moment: Moment) -> str:
        if type(self).left == 0:
            return ""
        type(self).left -= 1
        with connections[moment.using].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        raise AssertionError("the session is still there")


class EndsSessionUnseen(EndsSession):
    """The same: what comes next finds it out."""

    def reason(self, moment: Moment) -> str:
        with suppress(OperationalError):
            return super().reason(moment)
        return ""


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize("throttle", [EndsSession, EndsSessionUnseen])
def test_a_session_that_ends_under_a_throttle_is_made_again(
    settings: Settings, throttle: type[EndsSession]
) -> None:
    from django_confiture.backfills.in_process import run_here

    settings.CONFITURE = {
        "BACKFILLS": {"THROTTLES": [f"{__name__}.{throttle.__name__}"], "MIN": 10, "MAX": 50}
    }
    books(200)
    throttle.left = 3
    run_here(PATH + "FillSortTitle", using="default", actor="the test", workers=1)
    assert throttle.left == 0
    assert counters() == {1: 200}


def test_an_answer_holds_for_a_second() -> None:
    Counting.asked = 0
    throttling = Throttling([Counting()])
    assert [throttling.reasons(MOMENT) for _ in range(5)] == [{"counting": "always"}] * 5
    assert Counting.asked == 1


@pytest.mark.usefixtures("shelf")
def test_all_that_hold_are_named_and_it_goes_on_after(settings: Settings) -> None:
    from django_confiture.backfills.in_process import run_here
    from django_confiture.backfills.status import statuses

    here = f"{__name__}.Gate"
    share = {"THROTTLE": HERE + "HoursOfDay", "OPTIONS": {"start": "00:00", "end": "00:00"}}
    settings.CONFITURE = {"BACKFILLS": {"THROTTLES": [here, share], "LEASE": "30s"}}
    Gate.opened.clear()
    books(100)

    def work() -> None:
        try:
            run_here(PATH + "FillSortTitle", using="default", actor="the test", workers=1)
        finally:
            connections.close_all()

    worker = Thread(target=work)
    worker.start()
    names = ["gate", "hours_of_day"]
    try:
        wait_for(lambda: [each.throttled_by for each in statuses("default")] == [names])
        assert counters() == {0: 100}
        settings.CONFITURE = {"BACKFILLS": {"THROTTLES": [here]}}
        execute("UPDATE confiture_backfills_backfillrun SET state = 'cancelled'")
    finally:
        worker.join()
    Gate.opened.set()
    run_here(PATH + "FillSortTitle", using="default", actor="the test")
    assert counters() == {1: 100}


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("nowhere.Throttle", "X names 'nowhere.Throttle': No module named 'nowhere'"),
        ("builtins.int", "X is 'builtins.int'"),
        ({"OPTIONS": {}}, "X has no THROTTLE"),
        ({"THROTTLE": HERE + "ShareOfTime", "OPTION": 1}, "X has the unknown key 'OPTION'"),
        (
            {"THROTTLE": HERE + "ShareOfTime", "OPTIONS": {"share": 2}},
            "X, ShareOfTime: share is 2",
        ),
        (
            {"THROTTLE": HERE + "ReplicationLag", "OPTIONS": {"limit": "much"}},
            "X, ReplicationLag: limit is 'much', which is not a duration",
        ),
        (
            {"THROTTLE": HERE + "WalArchiving", "OPTIONS": {"max_segments": -1}},
            "X, WalArchiving: max_segments is -1",
        ),
        (
            {"THROTTLE": HERE + "HoursOfDay", "OPTIONS": {"start": "25:00", "end": "1"}},
            "X, HoursOfDay: start is '25:00', which is not a time of day",
        ),
        (
            {
                "THROTTLE": HERE + "HoursOfDay",
                "OPTIONS": {"start": "01:00", "end": "02:00", "timezone": "Mars/Olympus"},
            },
            "X, HoursOfDay: timezone is 'Mars/Olympus', which is not a time zone",
        ),
    ],
)
def test_an_entry_that_leads_to_no_throttle(entry: Any, problem: str) -> None:
    with pytest.raises(conf.SettingError) as caught:
        build_throttle(entry, "X")
    assert caught.value.problem == problem


def test_options_that_do_not_fit_name_the_throttle() -> None:
    entry = {"THROTTLE": HERE + "ShareOfTime", "OPTIONS": {"part": 0.5}}
    with pytest.raises(conf.SettingError, match="X: the OPTIONS of ShareOfTime don't fit"):
        build_throttle(entry, "X")


@pytest.mark.django_db(transaction=True)
def test_sessions_below_the_limit_hold_nothing() -> None:
    assert throttles.ActiveSessions(limit=10_000).reason(MOMENT) == ""
