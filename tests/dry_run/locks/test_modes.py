"""The order of the lock modes, and where it says less than it seems to."""

from __future__ import annotations

import pytest

from django_confiture.dry_run.locks.modes import LockMode


def exceptions() -> list[tuple[LockMode, LockMode, LockMode]]:
    """Return (weaker, stronger, mode) where only the weaker lock conflicts with the mode."""
    return [
        (weaker, stronger, other)
        for weaker in LockMode
        for stronger in LockMode
        for other in LockMode
        if weaker < stronger and weaker.conflicts_with(other) and not stronger.conflicts_with(other)
    ]


def test_a_stronger_lock_conflicts_with_all_that_a_weaker_one_does_but_for_share() -> None:
    assert exceptions() == [
        (LockMode.RowExclusiveLock, LockMode.ShareLock, LockMode.ShareLock),
        (LockMode.ShareUpdateExclusiveLock, LockMode.ShareLock, LockMode.ShareLock),
    ]


@pytest.mark.parametrize("mode", sorted({mode for each in exceptions() for mode in each}))
def test_the_description_names_each_exception(mode: LockMode) -> None:
    assert mode.name in (LockMode.__doc__ or "")


@pytest.mark.parametrize("one", LockMode)
@pytest.mark.parametrize("other", LockMode)
def test_conflicts_are_mutual(one: LockMode, other: LockMode) -> None:
    assert one.conflicts_with(other) is other.conflicts_with(one)
