"""How many rows the next batch gets; no database."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_confiture.backfills.batching.batch_sizer import BatchSizer

SIZER = BatchSizer(target=0.5, minimum=100, maximum=200_000, size=1000)


def after(sizer: BatchSizer, batches: int, seconds: Callable[[int], float]) -> BatchSizer:
    """Return the sizer after batches that take what ``seconds`` says of their rows."""
    for _ in range(batches):
        sizer = sizer.after_batch(rows=sizer.size, seconds=seconds(sizer.size))
    return sizer


@pytest.mark.parametrize("ideal", [150, 900, 5_000, 30_000, 60_000])
@pytest.mark.parametrize("each_batch", [0.01, 0.05, 0.1])
def test_after_ten_batches_it_is_near_the_target(ideal: int, each_batch: float) -> None:
    sizer = after(SIZER, 10, lambda rows: each_batch + (0.5 - each_batch) * rows / ideal)
    assert sizer.size == pytest.approx(ideal, rel=0.25)


def test_noise_moves_it_little() -> None:
    noise = random.Random(3)
    sizer = after(SIZER, 30, lambda rows: rows / 20_000 * noise.uniform(0.8, 1.2))
    assert sizer.size == pytest.approx(10_000, rel=0.2)


def test_it_grows_at_most_twofold() -> None:
    assert SIZER.after_batch(rows=1000, seconds=0.001).size == 2000


def test_it_shrinks_at_once_after_a_batch_that_took_too_long() -> None:
    settled = after(SIZER, 20, lambda rows: rows / 20_000)
    slow = settled.after_batch(rows=settled.size, seconds=5.0)
    assert slow.size == pytest.approx(settled.size / 10, rel=0.02)


def test_one_batch_that_is_a_little_slow_counts_by_its_weight() -> None:
    settled = after(SIZER, 20, lambda rows: rows / 20_000)
    slower = settled.after_batch(rows=settled.size, seconds=0.7)
    assert slower.size == pytest.approx(settled.size / (0.7 + 0.3 * 1.4), rel=0.01)


def test_a_batch_at_the_very_limit_still_counts_by_its_weight() -> None:
    settled = after(SIZER, 20, lambda rows: rows / 20_000)
    slower = settled.after_batch(rows=settled.size, seconds=1.5 * settled.target)
    assert slower.size == pytest.approx(settled.size / (0.7 + 0.3 * 1.5), rel=0.01)


def test_a_batch_of_one_row_counts() -> None:
    smallest = BatchSizer(target=0.5, minimum=1, maximum=10, size=1)
    assert smallest.after_batch(rows=1, seconds=0.1).size == 2


def test_a_timeout_halves_it_down_to_the_minimum() -> None:
    sizes = [SIZER.size]
    sizer = SIZER
    for _ in range(5):
        sizer = sizer.after_timeout()
        sizes.append(sizer.size)
    assert sizes == [1000, 500, 250, 125, 100, 100]


def test_the_short_batch_at_the_end_of_a_range_says_nothing_about_large_ones() -> None:
    assert SIZER.after_batch(rows=3, seconds=0.01) == SIZER
    assert SIZER.after_batch(rows=0, seconds=0.01) == SIZER


def test_a_short_batch_that_took_too_long_does() -> None:
    assert SIZER.after_batch(rows=300, seconds=3.0).size == 100


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.integers(0, 300_000), st.floats(0, 100), st.booleans()),
        min_size=1,
        max_size=30,
    )
)
def test_it_stays_within_its_bounds(batches: list[tuple[int, float, bool]]) -> None:
    sizer = SIZER
    for rows, seconds, timed_out in batches:
        before = sizer
        sizer = (
            sizer.after_timeout() if timed_out else sizer.after_batch(rows=rows, seconds=seconds)
        )
        assert 100 <= sizer.size <= 200_000
        assert sizer.size <= max(2 * before.size, 2 * rows)
