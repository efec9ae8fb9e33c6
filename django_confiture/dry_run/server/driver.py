"""The only module that uses private names of psycopg, Django and Python.

:data:`PRIVATE_NAMES` lists them all. A dry run looks for each before it starts: a release that has
renamed one is refused with that name, instead of failing in the middle of a run, or unnoticed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Any

import psycopg
from django.db import transaction
from psycopg import generators, waiting
from psycopg.adapt import AdaptersMap

from django_confiture.dry_run.server.private_names import PrivateName, names
from django_confiture.exceptions import DryRunRefused

if TYPE_CHECKING:
    from django.core.management.base import OutputWrapper
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.executor import MigrationExecutor
    from django.db.migrations.state import ProjectState
    from psycopg import pq
    from psycopg.abc import AdaptContext

_CURSOR, _SERVER_CURSOR = "psycopg:Cursor", "psycopg:ServerCursor"
_WRAPPER = "django.db.backends.base.base:BaseDatabaseWrapper"

SENDING = (
    *names(_CURSOR, "execute", "executemany", "stream", "copy"),
    *names(_SERVER_CURSOR, "execute"),
)
"""The cursor methods that send what they are given."""

SERVER_CURSOR_CLOSE = PrivateName(_SERVER_CURSOR, "close")
ENDING = names("psycopg:Connection", "commit", "rollback")
SEND_COMMAND = PrivateName("psycopg:BaseConnection", "_exec_command")
CONNECT = PrivateName("psycopg:BaseConnection", "_connect_gen")
BEGIN = PrivateName("psycopg:BaseConnection", "_get_tx_start_command")
CHECK_IDLE = PrivateName("psycopg:BaseConnection", "_check_intrans_gen")
TRANSACTION_STATUS = PrivateName("psycopg:ConnectionInfo", "transaction_status")
WAITING = (*names("psycopg:Connection", "wait"), *names("psycopg:AsyncConnection", "wait"))
START_THREAD = PrivateName("threading:Thread", "start")
SUBMIT_TO_THREAD = PrivateName("concurrent.futures.thread:ThreadPoolExecutor", "submit")
OPEN_PROCESS = PrivateName("subprocess:Popen", "_execute_child")
RUN_SHELL = PrivateName("os", "system")
START_WORKER = PrivateName("multiprocessing.process:BaseProcess", "start")
FORK = tuple(name for name in names("os", "fork", "forkpty") if name.exists())  # not on Windows
SPAWN = tuple(name for name in names("os", "posix_spawn", "posix_spawnp") if name.exists())
PSYCOPG2_CONNECT = names("psycopg2", "_connect") if find_spec("psycopg2") else ()
"""A driver that few projects have beside psycopg; tools such as pandas may bring it."""
CONNECT_SOCKET = names("socket:socket", "connect", "connect_ex")
START_PROCESS = (OPEN_PROCESS, RUN_SHELL, START_WORKER, *FORK, *SPAWN)
DJANGO_CONNECT = PrivateName(_WRAPPER, "connect")
ROUTER_ANSWER = PrivateName("django.db.utils:ConnectionRouter", "allow_migrate")
_MIGRATE = "django.core.management.commands.migrate"
MIGRATE_EXECUTOR = PrivateName(_MIGRATE, "MigrationExecutor")
EMIT_SIGNALS = names(_MIGRATE, "emit_pre_migrate_signal", "emit_post_migrate_signal")
LIVE_RECEIVERS = PrivateName("django.dispatch:Signal", "_live_receivers")
SWAPPABLE_SETTING = PrivateName("django.apps.registry:Apps", "get_swappable_settings_name")
CLONE_MODEL_STATE = PrivateName("django.db.migrations.state:ModelState", "clone")

PATCHED = (
    *SENDING, SERVER_CURSOR_CLOSE, *ENDING, SEND_COMMAND, CONNECT, BEGIN, CHECK_IDLE,
    TRANSACTION_STATUS, *WAITING, START_THREAD, SUBMIT_TO_THREAD, *START_PROCESS, *CONNECT_SOCKET,
    *PSYCOPG2_CONNECT, DJANGO_CONNECT, ROUTER_ANSWER, MIGRATE_EXECUTOR, *EMIT_SIGNALS,
    LIVE_RECEIVERS, SWAPPABLE_SETTING, CLONE_MODEL_STATE,
)  # fmt: skip
"""All that is patched for a process while a dry run is on; see ``server/patches.py``."""

CONNECTION_STATE: Mapping[str, Callable[[], object]] = {
    "autocommit": lambda: True,
    "in_atomic_block": lambda: False,
    "savepoint_state": lambda: 0,
    "savepoint_ids": list,
    "atomic_blocks": list,
    "commit_on_exit": lambda: True,
    "needs_rollback": lambda: False,
    "rollback_exc": lambda: None,
    "closed_in_transaction": lambda: False,
    "run_on_commit": list,
    "run_commit_hooks_on_set_autocommit_on": lambda: False,
}
"""Where Django's connection keeps the state of its transaction → the state outside of any."""

_ENDS = ("_set_autocommit", "_commit", "_rollback")

PRIVATE_NAMES = (
    *PATCHED,
    *names("psycopg:BaseConnection", "_num_transactions", "_adapters", "_autocommit"),
    *names(_CURSOR, "_results", "_select_current_result", "_execute_send"),
    *names("psycopg:Cursor._execute_send", "force_extended"),
    *names("psycopg:ClientCursor._execute_send", "force_extended"),
    *names("psycopg.generators", "execute"),
    *names("psycopg.waiting", "wait"),
    *names(_WRAPPER, *CONNECTION_STATE, *_ENDS, "_thread_ident", "run_and_clear_commit_hooks"),
    *names("django.db.transaction:Atomic", "_from_testcase"),
    *names("django.db.migrations.executor:MigrationExecutor", "_create_project_state"),
    *names("django.core.management.base:OutputWrapper", "_out"),
    # What the rooms below the dry run look for in stack frames.
    *names("django.db.migrations:Migration.apply", "operation"),
    *names("django.db.migrations:Migration.unapply", "operation"),
    *names("django.db.backends.base.creation:BaseDatabaseCreation", "create_test_db"),
)


def check_names() -> None:
    """Refuse a dry run where a library lacks a name that the dry run needs."""
    for each in PRIVATE_NAMES:
        if not each.exists():
            raise DryRunRefused(
                f"{each.library} has no {each}, which the dry run needs to see everything that is "
                "sent; use a release that django-confiture supports (see docs/compatibility.md)."
            )


# psycopg's connection.

_WRAPPED = ("__wrapped__", "driver_connection", "dbapi_connection")
"""Where wrapt (ddtrace, Elastic APM, New Relic) and SQLAlchemy's pools keep what they wrap."""

_MOST_PROXIES = 10


def psycopg_connection(conn: Any) -> psycopg.Connection[Any]:
    """Return psycopg's own connection, past the proxies that tracers and pools put around it.

    Cursors lead to that one, and patches and comparisons are about objects.
    """
    inner = conn
    for _ in range(_MOST_PROXIES):
        if issubclass(type(inner), psycopg.BaseConnection):
            return inner  # type: ignore[no-any-return]
        inner = _unwrapped(inner)
    raise DryRunRefused(
        f"The database connection is a {type(conn).__module__}.{type(conn).__qualname__}, behind "
        "which psycopg's connection can't be found, so the dry run could not see what is sent; "
        "run it without what wraps the connection."
    )


def _unwrapped(proxy: Any) -> Any:
    for name in _WRAPPED:
        if (inner := getattr(proxy, name, None)) is not None:
            return inner
    try:
        with proxy.cursor() as cursor:  # which sends nothing
            return cursor.connection
    except (AttributeError, TypeError):
        return None


def results_of(raw: Any, pgconn: pq.abc.PGconn) -> list[pq.abc.PGresult]:
    """Wait for the results of what was sent, as the driver does, so that Ctrl-C cancels it."""
    sent = generators.execute(pgconn)
    if isinstance(raw, psycopg.Connection):
        return raw.wait(sent)
    return waiting.wait(sent, pgconn.socket)  # an asynchronous one, past its loop


def begin_command(raw: psycopg.Connection[Any]) -> str:
    """Return what the driver begins a transaction with."""
    return raw._get_tx_start_command().decode()


def in_transaction_block(raw: psycopg.Connection[Any]) -> bool:
    """Return whether a ``with raw.transaction()`` is open."""
    return bool(raw._num_transactions)


def show_autocommit(raw: psycopg.Connection[Any], autocommit: bool) -> None:  # noqa: FBT001
    """Let the driver believe that it is in that mode, in a transaction that stays open."""
    raw._autocommit = autocommit


@contextmanager
def adapted(raw: psycopg.Connection[Any], context: AdaptContext) -> Iterator[None]:
    """Give a connection the adapters of ``context`` inside the block."""
    before, raw._adapters = raw._adapters, AdaptersMap(context.adapters)
    try:
        yield
    finally:
        raw._adapters = before


# psycopg's cursors.


def cursor_results(cursor: psycopg.Cursor[Any]) -> list[pq.abc.PGresult]:
    """Return all results of what a cursor has executed."""
    return list(cursor._results)


def set_cursor_results(cursor: psycopg.Cursor[Any], results: list[Any]) -> None:
    """Give a cursor the results of several statements, as a script would have left them."""
    cursor._results = results
    cursor._select_current_result(0)


@contextmanager
def one_statement_only(cursor: Any) -> Iterator[None]:
    """Send by the extended protocol, which takes one statement."""
    cursor._execute_send = functools.partial(cursor._execute_send, force_extended=True)
    try:
        yield
    finally:
        del cursor._execute_send


# Django.


def transaction_methods(
    set_autocommit: Callable[[bool], None],
    commit: Callable[[], None],
    rollback: Callable[[], None],
) -> dict[str, Callable[..., None]]:
    """Return the names by which Django's connection begins and ends, each with what stands in."""
    return dict(zip(_ENDS, (set_autocommit, commit, rollback), strict=True))


@contextmanager
def told_of_endings(wrapper: BaseDatabaseWrapper, tell: Callable[[], None]) -> Iterator[None]:
    """Call ``tell`` when Django closes the connection, which stays open, or rolls back."""

    def rolls_back() -> None:
        tell()
        type(wrapper)._rollback(wrapper)  # type: ignore[attr-defined]

    own = vars(wrapper)
    own.update(close=tell, _rollback=rolls_back)
    try:
        yield
    finally:
        for name in ("close", "_rollback"):
            own.pop(name, None)


def owning_thread(wrapper: BaseDatabaseWrapper) -> int:
    """Return the identity of the thread that a connection belongs to."""
    return wrapper._thread_ident  # type: ignore[attr-defined,no-any-return]


def atomic_around_durable(using: str) -> transaction.Atomic:
    """Return an ``atomic`` in which durable ones are allowed, as around a ``TestCase``."""
    outer = transaction.Atomic(using, savepoint=True, durable=False)
    outer._from_testcase = True  # type: ignore[attr-defined]
    return outer


def applied_state(executor: MigrationExecutor) -> ProjectState:
    """Return the state after all applied migrations."""
    return executor._create_project_state(  # type: ignore[attr-defined,no-any-return]
        with_applied_migrations=True
    )


def stream_behind(output: OutputWrapper) -> IO[str]:
    """Return the stream without the style that a command's output has."""
    return vars(output)["_out"]  # type: ignore[no-any-return]
