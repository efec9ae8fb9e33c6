"""The garbage collector while a dry run migrates, and afterwards."""

from __future__ import annotations

import gc
import weakref

import pytest

from django_confiture.management.garbage import rarely_collected


class Ring:
    """Refers to itself, so that only the collector frees it."""

    def __init__(self) -> None:
        self.itself = self


def test_thresholds_are_raised_and_put_back() -> None:
    before = gc.get_threshold()

    def interrupted() -> None:
        with rarely_collected():
            assert gc.get_threshold() > before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert gc.get_threshold() == before


def test_what_was_there_before_is_looked_at_again_afterwards() -> None:
    gc.collect()
    ring = Ring()
    there = weakref.ref(ring)
    with rarely_collected():
        del ring
        gc.collect()
        assert there() is not None

    gc.collect()
    assert there() is None


def test_higher_thresholds_and_frozen_objects_of_others_stay() -> None:
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 50)
    gc.freeze()
    try:
        with rarely_collected():
            assert gc.get_threshold() == (100_000, 50, 50)
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
