"""Workers that are killed, frozen, or started twice: no row left out, none counted twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from time import monotonic, sleep
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.signals import post_save

from tests.support.backfills import PATH, books, counters, execute, shelf, wait_for
from tests.support.paths import ROOT

__all__ = ["shelf"]  # a fixture

pytestmark = pytest.mark.usefixtures("shelf")

ROWS = 12_000
# Small batches, and leases that a test can wait for.
OPTIONS = {
    "MIN": 20,
    "MAX": 100,
    "LOCK_TIMEOUT": "300ms",
    "STATEMENT_TIMEOUT": "1s",
    "LEASE": "1500ms",
}


_processes: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _nothing_goes_on() -> Iterator[None]:
    yield
    while _processes:
        process = _processes.pop()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def environment(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment of a process on the test's database, with these options."""
    return {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'testproject'}",
        "CONFITURE_TEST_DATABASE": connection.settings_dict["NAME"],
        "CONFITURE_TEST_BACKFILLS": json.dumps({**OPTIONS, **options}),
    }


def started(
    *arguments: str, settings: str = "tests.backfill_process_settings", **options: Any
) -> subprocess.Popen[str]:
    """Start manage.py on the test's database."""
    process = subprocess.Popen(
        [sys.executable, "-m", "django", *arguments],
        env={**environment(options), "DJANGO_SETTINGS_MODULE": settings},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    _processes.append(process)
    return process


def runner(name: str, **options: Any) -> subprocess.Popen[str]:
    """Start a process that works on a backfill until it is complete."""
    return started("confiture_backfills", "run", PATH + name, **options)


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for a process; return what it printed."""
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    return output


def done() -> int:
    """Return how many rows were filled, as others see it."""
    return sum(times * rows for times, rows in counters().items())


@pytest.mark.parametrize("name", ["CountBooks", "ProcessSortTitle"])
def test_started_twice(name: str) -> None:
    books(ROWS)
    first, second = runner(name), runner(name)
    for process in (first, second):
        assert f"{ROWS:,} of {ROWS:,} rows" in ended(process)
    assert counters() == {1: ROWS}


def test_begun_again_by_another_as_soon_as_it_has_ended() -> None:
    from django_confiture.backfills import control
    from django_confiture.backfills.in_process import run_here
    from django_confiture.backfills.models import BackfillEvent, BackfillRun

    def again() -> None:
        post_save.disconnect(ended, sender=BackfillEvent)
        control.prepare(PATH + "CountBooks", using="default", actor="another")

    def ended(instance: Any, **_: Any) -> None:
        if instance.action == "completed":
            transaction.on_commit(again)

    books(10)
    post_save.connect(ended, sender=BackfillEvent)
    try:
        said = run_here(PATH + "CountBooks", using="default", actor="the test", workers=1)
    finally:
        post_save.disconnect(ended, sender=BackfillEvent)
    assert said == "completed"
    assert BackfillRun.objects.get().state == "queued"


@pytest.mark.parametrize("name", ["CountBooks", "SaveSortTitle"])
def test_killed_at_random_moments(name: str) -> None:
    books(ROWS)
    for _ in range(3):
        process = runner(name)
        began = done()
        wait_for(lambda: done() > began or process.poll() is not None)  # noqa: B023 - at once
        sleep(random.uniform(0, 0.3))
        process.kill()
        process.communicate()
    assert "completed" in ended(runner(name))
    assert counters() == {1: ROWS}


def test_frozen_for_longer_than_its_lease_and_woken() -> None:
    books(ROWS)
    frozen = runner("CountBooks")
    wait_for(lambda: done() > 0)
    frozen.send_signal(signal.SIGSTOP)
    try:
        began = monotonic()
        assert "completed" in ended(runner("CountBooks"))
        assert monotonic() - began > 1.5
    finally:
        frozen.send_signal(signal.SIGCONT)
    assert "completed" in ended(frozen)
    assert counters() == {1: ROWS}


def test_frozen_in_the_middle_of_a_batch_it_keeps_no_lock() -> None:
    books(ROWS)
    execute("CREATE SEQUENCE shelf_pause")
    execute(
        "CREATE FUNCTION shelf_slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.005), nextval('shelf_pause'); RETURN NEW; END $$"
    )
    execute(
        "CREATE TRIGGER slow BEFORE UPDATE ON shelf_book FOR EACH ROW"
        " WHEN (NEW.id BETWEEN 501 AND 600) EXECUTE FUNCTION shelf_slow()"
    )
    frozen = runner("CountBooks")
    try:
        wait_for(lambda: execute("SELECT is_called FROM shelf_pause") == [(True,)])
        frozen.send_signal(signal.SIGSTOP)
        assert "completed" in ended(runner("CountBooks"))
    finally:
        frozen.send_signal(signal.SIGCONT)
        ended(frozen)
        execute("DROP TRIGGER slow ON shelf_book")
        execute("DROP FUNCTION shelf_slow")
        execute("DROP SEQUENCE shelf_pause")
    assert counters() == {1: ROWS}


def test_a_worker_that_was_replaced_cannot_commit() -> None:
    from django_confiture.backfills.in_process import run_here
    from django_confiture.backfills.models import BackfillRange
    from django_confiture.backfills.ranges.leases import LeaseLost, claim

    books(1000)
    run_here(PATH + "CountBooks", using="default", actor="the test")
    run = BackfillRange.objects.get(pass_number=1).run
    BackfillRange.objects.update(finished=False, leased_until=None, cursor=None)
    old = claim(run, using="default", worker="elsewhere:1:old", duration=timedelta(0))
    new = claim(run, using="default", worker="elsewhere:2:new", duration=timedelta(minutes=1))
    assert old is not None
    assert new is not None
    assert new.generation == old.generation + 1
    with pytest.raises(LeaseLost):
        old.write(done=5)
    new.write(done=6)
    assert BackfillRange.objects.get(pk=new.range_id).done == 6
