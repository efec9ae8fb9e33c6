"""What one look at a session that waits finds, though the server goes on meanwhile."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from django_confiture.migrate.watching.activity import anyone_waits, what_it_waits_for
from tests.support.dry_run import parameters, plain_connection
from tests.support.sessions import connect

pytestmark = pytest.mark.django_db(transaction=True)

LOCK = "SELECT pg_advisory_xact_lock(20261129)"


class EndsTheWait(psycopg.Connection[Any]):
    """A session whose first query is followed by the end of what it looks at."""

    blocker: psycopg.Connection[Any]
    waiter: threading.Thread

    def execute(self, *args: Any, **options: Any) -> psycopg.Cursor[Any]:
        found = super().execute(*args, **options)
        self.blocker.rollback()
        self.waiter.join()
        return found


def test_a_wait_that_ends_between_two_queries_is_not_one_without_a_blocker() -> None:
    with (
        connect("blocker") as blocker,
        connect("waiter") as waiter,
        plain_connection() as plain,
        EndsTheWait.connect(**parameters(), autocommit=True) as looking,
    ):
        blocker.execute(LOCK)
        pid = waiter.info.backend_pid
        looking.blocker = blocker
        looking.waiter = threading.Thread(target=waiter.execute, args=[LOCK])
        looking.waiter.start()
        while not anyone_waits(plain, pid)[0]:
            pass
        wait = what_it_waits_for(plain, pid)
        assert wait is not None
        assert [each.application_name for each in wait.blocked_by] == ["blocker"]
        assert what_it_waits_for(looking, pid) is None
        assert not looking.waiter.is_alive()
