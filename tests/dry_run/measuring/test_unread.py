"""What has run since the server was last asked: how often, from when on, and where that was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_confiture.dry_run.measuring.prober import Prober
from django_confiture.dry_run.measuring.relations import Catalog
from django_confiture.dry_run.measuring.stopwatch import Stopwatch
from django_confiture.dry_run.measuring.unread import Unread
from django_confiture.dry_run.server.side_channel import Session
from tests.support.dry_run import plain_connection


def test_nothing_is_unread_at_first() -> None:
    unread = Unread(Stopwatch())

    assert unread.runs == 0
    assert not unread.at_boundary


def test_several_begin_with_the_first() -> None:
    clock = Stopwatch()
    unread = Unread(clock)
    before = clock.now()
    unread.add()
    since = unread.since
    unread.add()

    assert unread.runs == 2
    assert unread.since == since > before


def test_what_is_read_is_no_longer_unread() -> None:
    unread = Unread(Stopwatch())
    unread.add()
    unread.read()

    assert unread.runs == 0
    assert not unread.at_boundary


@pytest.mark.parametrize("caught", [Unread.statement_follows, Unread.add])
def test_a_boundary_lasts_until_a_statement_is_caught(caught: object) -> None:
    unread = Unread(Stopwatch())
    unread.boundary_passed()
    assert unread.at_boundary

    assert callable(caught)
    caught(unread)
    assert not unread.at_boundary


def test_what_follows_does_not_hide_what_is_unread() -> None:
    unread = Unread(Stopwatch())
    unread.add()
    unread.statement_follows()

    assert unread.runs == 1


@pytest.fixture
def prober(scratch: None) -> Iterator[Prober]:
    """A prober in a transaction that has written to a table of the snapshot."""
    with plain_connection() as conn, conn.transaction(force_rollback=True):
        session = Session(conn)
        prober = Prober(session, Catalog(session), Stopwatch())
        session.query("UPDATE dry_row SET name = 'x' WHERE id = 1")
        assert prober.look_after().writes
        yield prober


def test_what_a_commit_has_checked_is_unread_from_then_on(prober: Prober) -> None:
    looked_at = prober.looked_at
    prober.commit_checked()

    assert prober.unread.runs == 1
    assert prober.unread.since > looked_at


def test_a_commit_that_was_measured_with_its_statement_leaves_nothing(prober: Prober) -> None:
    prober.committed_with_statement()
    prober.commit_checked()

    assert prober.unread.runs == 0
