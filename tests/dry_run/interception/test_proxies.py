"""Identity of the Python object is not identity of the session: connections behind proxies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections

from django_confiture import DryRunExecutor
from django_confiture.dry_run.clone.aliases import close
from django_confiture.exceptions import DryRunRefused
from tests.support.dry_run import (
    ALIASES,
    LEAK,
    migration,
    only_operation,
    parameters,
    passed,
    python,
    runs,
    table,
    why_it_failed,
)
from tests.support.proxies import (
    Delegate,
    HidingConnection,
    KeptConnection,
    PooledConnection,
    TracedConnection,
    connecting_through,
)

REWRITE = "ALTER TABLE dry_row ALTER number TYPE bigint"
COMMITS = f"SELECT 1; ROLLBACK; BEGIN READ WRITE; {LEAK}; COMMIT; BEGIN"


def connect_through(proxy: Callable[[Any], Any], patch: pytest.MonkeyPatch) -> None:
    for alias in ALIASES:
        connections[alias].close()
    patch.setattr(psycopg, "connect", connecting_through(proxy))


@pytest.fixture(
    params=[TracedConnection, PooledConnection, Delegate], ids=lambda each: each.__name__
)
def proxied(
    request: pytest.FixtureRequest, untouched: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Let Django's new connections be proxies."""
    with monkeypatch.context() as patch:
        connect_through(request.param, patch)
        yield
    for alias in ALIASES:
        connections[alias].close()


def test_what_is_sent_is_measured(proxied: None) -> None:
    result = passed(runs(REWRITE))

    dry_row = table(result, "dry_row")
    assert type(connection.connection) is not psycopg.Connection
    assert (dry_row.rewritten, dry_row.strongest_lock) == (True, "AccessExclusiveLock")
    assert [each.id for each in result.findings] != []


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
def test_a_script_that_commits_leaves_nothing(proxied: None, atomic: bool) -> None:
    assert why_it_failed(runs(COMMITS), atomic=atomic) is None


def test_the_drivers_commit_leaves_nothing(proxied: None) -> None:
    def commits() -> None:
        with connection.cursor() as cursor:
            cursor.execute(LEAK)
        connection.connection.commit()
        connection.connection.rollback()

    assert why_it_failed(python(commits), atomic=False) is None


def test_an_index_is_built_concurrently(proxied: None) -> None:
    statement = only_operation(
        runs("CREATE INDEX CONCURRENTLY dry_number ON dry_row (number)"), atomic=False
    )

    assert statement.rehearsed == "substituted"


def test_another_alias_is_rolled_back(proxied: None) -> None:
    def writes() -> None:
        with connections["other"].cursor() as cursor:
            cursor.execute(LEAK)

    assert why_it_failed(python(writes)) is None


def test_a_connection_of_the_migrations_own_can_not_write(proxied: None) -> None:
    def writes() -> None:
        with psycopg.connect(**parameters(), autocommit=True) as own:
            own.execute(LEAK)

    assert "read-only transaction" in str(why_it_failed(python(writes)))


def test_the_connection_itself_can_be_passed(proxied: None) -> None:
    connection.ensure_connection()

    result = DryRunExecutor().run(connection.connection, migration(runs(REWRITE)))

    assert result.locked_tables == ["dry_row"]


def test_a_connection_that_hides_the_drivers_is_refused(
    untouched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        connect_through(HidingConnection, patch)
        with pytest.raises(CommandError) as refused:
            call_command("migrate_dryrun")
        connection.close()
    connections["other"].close()

    assert str(refused.value) == (
        "The database connection is a tests.support.proxies.HidingConnection, behind which "
        "psycopg's connection can't be found, so the dry run could not see what is sent; run it "
        "without what wraps the connection."
    )


def test_a_database_whose_connections_stay_open_is_not_copied(
    untouched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        connect_through(KeptConnection, patch)
        connection.ensure_connection()
        kept = connection.connection.driver_connection
        with pytest.raises(DryRunRefused, match="a pool keeps it open") as refused:
            close(connection)
        kept.close()

    assert "'default'" in str(refused.value)
