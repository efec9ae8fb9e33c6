"""Who is named where the dry run waited for a lock in vain."""

from __future__ import annotations

import pytest

from django_confiture.dry_run.isolation.expired_lock_waits import expired_wait_warnings
from django_confiture.dry_run.measuring.lock_waits import LockWait
from django_confiture.migrate.watching.activity import Blocker


@pytest.mark.parametrize(
    ("blocker", "who"),
    [
        (Blocker(47, "psql", "ann", "idle", 1.0, None), "session 47 (psql, idle)."),
        (Blocker(47, "", "ann", "active", 1.0, None), "session 47 (ann, active)."),
        (Blocker(47, "", "ann", None, 1.0, None), "session 47 (ann)."),
        (Blocker(47, "", "", "active", 1.0, None), "session 47 (autovacuum, active)."),
        (
            Blocker(0, "prepared transaction x", "ann", "prepared", None, 5.0),
            "prepared transaction x, ",
        ),
    ],
)
def test_each_session_is_named_once(blocker: Blocker, who: str) -> None:
    wait = LockWait("shop_order", "ShareLock", 0.0, 2.0, (blocker,))

    (said,) = expired_wait_warnings(wait)

    assert f"Gave up after waiting 2.0 s for ShareLock on shop_order, held by {who}" in said
    assert said.count("47") <= 1
