"""The stopwatch stands still for what the dry run does, and runs for the migration."""

from __future__ import annotations

import time

import pytest

from django_confiture.dry_run.measuring.stopwatch import Stopwatch

SPAN_S = 0.05


def took(clock: Stopwatch, started: float) -> object:
    return pytest.approx(clock.now() - started, abs=SPAN_S / 2)


def test_it_stands_still() -> None:
    clock = Stopwatch()
    started = clock.now()
    with clock.stopped():
        time.sleep(SPAN_S)
        assert clock.now() - started < SPAN_S / 2
    assert took(clock, started) == 0


def test_it_runs_inside() -> None:
    clock = Stopwatch()
    started = clock.now()
    with clock.stopped():
        time.sleep(SPAN_S)
        with clock.running():
            time.sleep(SPAN_S)
        time.sleep(SPAN_S)
    assert took(clock, started) == SPAN_S


def test_to_stop_it_again_changes_nothing() -> None:
    clock = Stopwatch()
    started = clock.now()
    with clock.stopped():
        with clock.stopped():
            time.sleep(SPAN_S)
        time.sleep(SPAN_S)
    assert took(clock, started) == 0


def test_it_runs_on_where_it_runs_already() -> None:
    clock = Stopwatch()
    started = clock.now()
    with clock.running():
        time.sleep(SPAN_S)
    assert took(clock, started) == SPAN_S


def test_what_is_added_counts() -> None:
    clock = Stopwatch()
    started = clock.now()
    with clock.stopped():
        clock.add(1.0)
    assert took(clock, started) == 1


def test_an_error_lets_it_go_on() -> None:
    clock = Stopwatch()
    started = clock.now()
    with pytest.raises(ZeroDivisionError), clock.stopped(), clock.running():
        raise ZeroDivisionError
    time.sleep(SPAN_S)
    assert took(clock, started) == SPAN_S


def test_a_moment_while_it_ran() -> None:
    clock = Stopwatch()
    with clock.stopped():
        time.sleep(SPAN_S)
        with clock.running():
            moment, now = time.perf_counter(), clock.now()
        time.sleep(SPAN_S)
        assert clock.at(moment) == pytest.approx(now, abs=SPAN_S / 10)
