"""HookExecutor on real connections: Django's and plain ones, in and out of a transaction."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import IntegrityError, connection, transaction
from psycopg import Connection
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from django_confiture import (
    Hook,
    HookContext,
    HookError,
    HookExecutor,
    HookPhase,
    HookResult,
    HookVeto,
)
from django_confiture.signals import hook_finished
from tests.cases.migrations_on_disk import query
from tests.support.logs import events

Body = Callable[[Connection[Any], HookContext], object]

LOGGER = "django_confiture.hooks"


def hook(body: Body, name: str = "Example", **attributes: object) -> Hook:
    """Return a hook whose ``execute`` is ``body``."""

    def execute(self: Hook, conn: Connection[Any], context: HookContext) -> HookResult:
        result = body(conn, context)
        return result if isinstance(result, HookResult) else HookResult("AFTER_DDL", name)

    hook_class = type(name, (Hook,), {"execute": execute, "__module__": "shop.hooks", **attributes})
    made: Hook = hook_class()
    return made


def inserts(value: str, **attributes: object) -> Hook:
    return hook(lambda conn, _: conn.execute(INSERT, [value]), "Inserts", **attributes)


def fails_after_insert(value: str, **attributes: object) -> Hook:
    def body(conn: Connection[Any], context: HookContext) -> None:
        conn.execute(INSERT, [value])
        raise ValueError("no backup today")

    return hook(body, "Fails", **attributes)


INSERT = "INSERT INTO auth_group (name) VALUES (%s)"


def names(conn: Connection[Any] | None = None) -> list[str]:
    rows = (
        query("SELECT name FROM auth_group ORDER BY name")
        if conn is None
        else conn.execute("SELECT name FROM auth_group ORDER BY name").fetchall()
    )
    return [name for (name,) in rows]


def run(conn: Connection[Any], *hooks: Hook, context: HookContext | None = None) -> list[Any]:
    context = context or HookContext("0003_add_segment", "0003")
    return HookExecutor().execute_phase(conn, HookPhase.AFTER_DDL, hooks, context)


@pytest.fixture
def django_conn(transactional_db: None) -> Connection[Any]:
    """Return the psycopg connection that Django holds, in autocommit mode."""
    connection.ensure_connection()
    conn: Connection[Any] = connection.connection
    return conn


@pytest.fixture
def connect(transactional_db: None) -> Iterator[Callable[..., Connection[Any]]]:
    """Return a function that opens a connection Django knows nothing of."""
    opened: list[Connection[Any]] = []

    def open_one(**options: Any) -> Connection[Any]:
        params = {**connection.get_connection_params(), **options}
        for ours in ("cursor_factory", "context", "prepare_threshold"):
            params.pop(ours, None)
        opened.append(psycopg.connect(**params))
        return opened[-1]

    yield open_one
    for conn in opened:
        conn.close()


# Results, order, skipping


def test_results_come_in_the_order_of_the_hooks(django_conn: Connection[Any]) -> None:
    order: list[str] = []

    def noting(name: str) -> Hook:
        return hook(lambda *_: order.append(name), name)

    results = run(django_conn, noting("First"), noting("Second"), noting("Third"))
    assert order == ["First", "Second", "Third"]
    assert [result.hook_name for result in results] == order


def test_a_class_is_instantiated(django_conn: Connection[Any]) -> None:
    class Simple(Hook):
        def execute(self, conn: Connection[Any], context: HookContext) -> HookResult:
            return HookResult("CLEANUP", "Simple", rows_affected=3)

    context = HookContext("0001_initial", "0001")
    (result,) = HookExecutor().execute_phase(django_conn, HookPhase.CLEANUP, [Simple], context)
    assert result.rows_affected == 3


def test_the_executor_measures_the_time_that_a_hook_does_not_report(
    django_conn: Connection[Any],
) -> None:
    sleeping = hook(lambda conn, _: conn.execute("SELECT pg_sleep(0.01)"))
    (measured,) = run(django_conn, sleeping)
    assert measured.execution_time_ms >= 10
    (reported,) = run(django_conn, hook(lambda *_: HookResult("X", "Y", execution_time_ms=7)))
    assert reported.execution_time_ms == 7


def test_hooks_of_one_context_share_statistics_and_each_sees_its_own_options(
    django_conn: Connection[Any],
) -> None:
    def count(conn: Connection[Any], context: HookContext) -> None:
        context.set_stat("rows", context.options["rows"])

    def compare(conn: Connection[Any], context: HookContext) -> None:
        assert "rows" not in context.options
        assert context.get_stat("rows") == 12

    counting = hook(count)
    counting.options = {"rows": 12}
    assert len(run(django_conn, counting, hook(compare))) == 2


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"directions": ("backward",)}, "direction forward is not in its directions"),
        ({"directions": ()}, "direction forward is not in its directions"),
        ({"runs_in_dry_run": False}, "runs_in_dry_run is False"),
    ],
)
def test_a_hook_that_does_not_apply_is_skipped(
    django_conn: Connection[Any],
    caplog: pytest.LogCaptureFixture,
    attributes: dict[str, object],
    reason: str,
) -> None:
    caplog.set_level(logging.DEBUG, LOGGER)
    context = HookContext("0003_add_segment", "0003", dry_run=True)
    assert run(django_conn, inserts("never", **attributes), context=context) == []
    assert names() == []
    ((_, fields),) = events(caplog, "hook_skipped")
    assert fields["reason"].startswith(reason)
    assert events(caplog, "hook_start") == []


def test_outside_a_dry_run_a_hook_that_stays_out_of_it_runs(django_conn: Connection[Any]) -> None:
    run(django_conn, inserts("real", runs_in_dry_run=False))
    assert names() == ["real"]


# Transactions


def test_in_djangos_transaction_only_the_failing_hooks_work_is_lost(
    django_conn: Connection[Any],
) -> None:
    with transaction.atomic():
        with pytest.raises(HookError):
            run(django_conn, inserts("kept"), fails_after_insert("lost"), inserts("never"))
        assert names() == ["kept"]
        Group.objects.create(name="later")
    assert names() == ["kept", "later"]


def test_in_djangos_autocommit_each_hook_has_a_transaction_that_commits(
    django_conn: Connection[Any], connect: Callable[..., Connection[Any]]
) -> None:
    with pytest.raises(HookError):
        run(django_conn, inserts("kept"), fails_after_insert("lost"))
    assert names(connect()) == ["kept"]
    assert connection.get_autocommit()
    assert django_conn.info.transaction_status == TransactionStatus.IDLE


def test_djangos_connection_is_recognized_without_a_context_that_names_it(
    django_conn: Connection[Any],
) -> None:
    def tolerated(conn: Connection[Any], context: HookContext) -> None:
        Group.objects.create(name="twice")

    with transaction.atomic():
        Group.objects.create(name="twice")
        run(django_conn, hook(tolerated, on_failure="continue"))
        assert Group.objects.count() == 1


def test_on_a_connection_of_ones_own_in_autocommit_each_hook_commits(
    connect: Callable[..., Connection[Any]],
) -> None:
    conn = connect(autocommit=True)
    with pytest.raises(HookError):
        run(conn, inserts("kept"), fails_after_insert("lost"))
    assert conn.info.transaction_status == TransactionStatus.IDLE
    assert names() == ["kept"]


def test_on_an_idle_connection_of_ones_own_the_caller_decides_about_the_commit(
    connect: Callable[..., Connection[Any]],
) -> None:
    conn = connect()
    with pytest.raises(HookError):
        run(conn, inserts("kept"), fails_after_insert("lost"))
    assert names(conn) == ["kept"]
    assert names() == []
    conn.commit()
    assert names() == ["kept"]


@pytest.mark.parametrize("autocommit", [False, True])
def test_in_an_open_transaction_of_ones_own_the_callers_work_stays(
    connect: Callable[..., Connection[Any]], autocommit: bool
) -> None:
    conn = connect(autocommit=autocommit)
    with conn.transaction():
        conn.execute(INSERT, ["before"])
        with pytest.raises(HookError):
            run(conn, inserts("kept"), fails_after_insert("lost"))
        assert names(conn) == ["before", "kept"]
        assert names() == []
    assert conn.info.transaction_status == TransactionStatus.IDLE
    conn.rollback()
    assert names() == ["before", "kept"]


def test_a_connection_of_ones_own_may_have_other_rows_and_cursors(
    connect: Callable[..., Connection[Any]],
) -> None:
    conn = connect(row_factory=dict_row, cursor_factory=psycopg.RawCursor)
    conn.execute("SET statement_timeout = '7s'")
    run(conn, hook(lambda c, _: c.execute("SELECT 1"), timeout="3s"))
    assert conn.execute("SHOW statement_timeout").fetchone() == {"statement_timeout": "7s"}


def test_an_aborted_transaction_is_reported_not_used(connect: Callable[..., Any]) -> None:
    conn = connect()
    with pytest.raises(psycopg.errors.UndefinedTable):
        conn.execute("SELECT * FROM nowhere")
    with pytest.raises(HookError, match="current transaction is aborted"):
        run(conn, inserts("never"))


# Failures


def test_the_error_is_raised_from_the_original_and_says_where_and_what_to_do(
    django_conn: Connection[Any],
) -> None:
    context = HookContext("0003_add_segment", "0003", app_label="shop")
    with pytest.raises(HookError) as caught:
        run(django_conn, fails_after_insert("lost"), context=context)
    error = caught.value
    assert str(error) == "Hook Fails failed in phase AFTER_DDL: no backup today"
    assert isinstance(error.original_error, ValueError)
    assert error.__cause__ is error.original_error
    (note,) = error.__notes__
    assert note == (
        "Migration shop.0003_add_segment, forward: what this hook did was rolled back. "
        "Fix shop.hooks.Fails; a hook that may fail without stopping the migration says "
        'on_failure = "continue".'
    )


def test_a_veto_is_an_error_that_migrate_prints_without_a_traceback(
    django_conn: Connection[Any],
) -> None:
    def refuses(conn: Connection[Any], context: HookContext) -> None:
        raise HookVeto("the shop is open")

    with pytest.raises(CommandError) as caught:
        run(django_conn, hook(refuses, "RequireClosedShop"))
    assert isinstance(caught.value, HookError)
    assert isinstance(caught.value.original_error, HookVeto)
    said = "Hook RequireClosedShop failed in phase AFTER_DDL: the shop is open"
    assert str(caught.value) == said


def test_a_tolerated_failure_is_logged_and_the_next_hook_runs(
    django_conn: Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, LOGGER)
    with transaction.atomic():
        results = run(
            django_conn, fails_after_insert("lost", on_failure="continue"), inserts("kept")
        )
    assert [result.hook_name for result in results] == ["Inserts"]
    assert names() == ["kept"]
    (failed,) = [record for record in caplog.records if record.msg == "hook_failed"]
    assert failed.levelno == logging.ERROR
    assert failed.exc_info is not None
    assert isinstance(failed.exc_info[1], ValueError)
    assert [fields["hooks_executed"] for _, fields in events(caplog, "phase_completed")] == [1]


def test_after_a_failure_the_phase_is_not_logged_as_completed(
    django_conn: Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, LOGGER)
    with pytest.raises(HookError):
        run(django_conn, fails_after_insert("lost"), inserts("never"))
    assert [name for name, _ in events(caplog)] == ["executing_hooks", "hook_start", "hook_failed"]


def test_an_orm_error_in_a_tolerated_hook_leaves_the_orm_usable(
    django_conn: Connection[Any],
) -> None:
    def twice(conn: Connection[Any], context: HookContext) -> None:
        Group.objects.create(name="unique")
        Group.objects.create(name="unique")

    with transaction.atomic():
        assert run(django_conn, hook(twice, on_failure="continue")) == []
        Group.objects.create(name="unique")
    assert names() == ["unique"]


def test_a_failed_hooks_on_commit_callbacks_are_dropped_and_the_others_called(
    django_conn: Connection[Any],
) -> None:
    called: list[str] = []

    def registers(name: str, *, fail: bool) -> Body:
        def body(conn: Connection[Any], context: HookContext) -> None:
            context.on_commit(lambda: called.append(name))
            if fail:
                raise ValueError(name)

        return body

    context = HookContext("0003_add_segment", "0003", connection=connection)
    with transaction.atomic():
        run(
            django_conn,
            hook(registers("kept", fail=False)),
            hook(registers("dropped", fail=True), on_failure="continue"),
            context=context,
        )
        assert called == []
    assert called == ["kept"]


@pytest.mark.parametrize("ending", ["ROLLBACK", "ROLLBACK; BEGIN"])
def test_django_refuses_to_go_on_after_a_tolerated_hook_that_ended_the_transaction(
    django_conn: Connection[Any], ending: str
) -> None:
    with transaction.atomic():
        Group.objects.create(name="lost")
        assert (
            run(django_conn, hook(lambda conn, _: conn.execute(ending), on_failure="continue"))
            == []
        )
        with pytest.raises(transaction.TransactionManagementError):
            Group.objects.create(name="refused")
    assert names() == []


def test_what_a_deferred_constraint_says_at_commit_is_the_hooks_failure(
    django_conn: Connection[Any],
) -> None:
    orphan = hook(
        lambda conn, _: conn.execute(
            "INSERT INTO auth_group_permissions (group_id, permission_id) VALUES (-1, -1)"
        )
    )
    with pytest.raises(HookError, match="violates foreign key constraint") as caught:
        run(django_conn, orphan)
    assert isinstance(caught.value.original_error, IntegrityError)
    assert django_conn.info.transaction_status == TransactionStatus.IDLE


def test_an_interrupt_is_no_failure_of_the_hook_and_rolls_its_savepoint_back(
    django_conn: Connection[Any],
) -> None:
    def interrupted(conn: Connection[Any], context: HookContext) -> None:
        conn.execute(INSERT, ["lost"])
        raise KeyboardInterrupt

    with transaction.atomic():
        with pytest.raises(KeyboardInterrupt):
            run(django_conn, hook(interrupted, on_failure="continue"))
        assert names() == []


@pytest.mark.parametrize("result", [None, 12, "AFTER_DDL", HookResult])
def test_what_is_no_result_is_an_error_that_says_the_fix(
    django_conn: Connection[Any], result: object
) -> None:
    class Forgot(Hook):
        def execute(self, conn: Connection[Any], context: HookContext) -> HookResult:
            conn.execute(INSERT, ["lost"])
            return result  # type: ignore[return-value]

    with transaction.atomic(), pytest.raises(HookError) as caught:
        run(django_conn, Forgot())
    assert str(caught.value) == (
        "Hook Forgot failed in phase AFTER_DDL: execute() returned "
        f"{type(result).__name__}, not a HookResult; let it return "
        "HookResult(phase=..., hook_name=...) at its end."
    )
    assert names() == []


@pytest.mark.parametrize("wrong", [int, 12, "backfill"])
def test_what_is_no_hook_is_an_error_and_is_not_even_created(
    django_conn: Connection[Any], wrong: Any
) -> None:
    with pytest.raises(
        HookError, match=r"is not a Hook; subclass django_confiture\.Hook"
    ) as caught:
        run(django_conn, wrong)
    assert isinstance(caught.value.original_error, TypeError)


def test_a_class_that_cannot_be_created_is_the_hooks_failure(django_conn: Connection[Any]) -> None:
    class NeedsMore(Hook):
        def __init__(self, more: str) -> None:
            raise AssertionError("not reached")

        def execute(self, conn: Connection[Any], context: HookContext) -> HookResult:
            raise AssertionError("not reached")

    with pytest.raises(HookError, match=r"Hook NeedsMore failed.*missing 1 required positional"):
        run(django_conn, NeedsMore)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("on_failure", "ignore", 'on_failure is \'ignore\'; use "abort" or "continue".'),
        ("directions", "forward", 'directions is \'forward\'; use ("forward",), ("backward",)'),
        ("directions", ("up",), 'directions is (\'up\',); use ("forward",), ("backward",)'),
        ("directions", ([],), 'directions is ([],); use ("forward",), ("backward",)'),
        ("directions", None, 'directions is None; use ("forward",), ("backward",)'),
        ("runs_in_dry_run", "no", "runs_in_dry_run is 'no'; use True or False."),
        ("phase", "AFTER_DDL", "phase is 'AFTER_DDL'; use a HookPhase"),
        ("timeout", "soon", "timeout is 'soon', which is not a duration; write"),
        ("timeout", 30, "timeout is 30, which is not a duration; write"),
        ("timeout", "0s", "timeout is '0s'; use a duration of 1ms or more, or None."),
        ("timeout", "900us", "timeout is '900us'; use a duration of 1ms or more, or None."),
    ],
)
def test_an_attribute_that_makes_no_sense_is_one_clear_error(
    django_conn: Connection[Any], attribute: str, value: object, message: str
) -> None:
    with pytest.raises(HookError) as caught:
        run(django_conn, inserts("never", **{attribute: value}))
    assert f"AFTER_DDL: Inserts.{message}" in str(caught.value)
    assert isinstance(caught.value.original_error, ImproperlyConfigured)
    assert names() == []


async def awaits(self: Hook, conn: object, context: object) -> None:
    raise AssertionError("not reached")


def needs_more(self: Hook, conn: object, context: object, more: object) -> None:
    raise AssertionError("not reached")


@pytest.mark.parametrize(
    ("execute", "message"),
    [
        (awaits, "execute() is async; write def instead of async def."),
        (
            needs_more,
            (
                "execute() cannot take conn and context (missing a required argument: 'more'); "
                "write def execute(self, conn, context)."
            ),
        ),
    ],
)
def test_an_execute_that_cannot_be_called_is_one_clear_error(
    django_conn: Connection[Any], execute: object, message: str
) -> None:
    with pytest.raises(HookError) as caught:
        run(django_conn, inserts("never", execute=execute))
    assert f"AFTER_DDL: Inserts.{message}" in str(caught.value)


# What a hook does with transactions of its own


def own_block(conn: Connection[Any], context: HookContext) -> None:
    with conn.transaction():
        conn.execute(INSERT, ["own"])


def own_failed_block(conn: Connection[Any], context: HookContext) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable), conn.transaction():
        conn.execute("SELECT * FROM nowhere")
    conn.execute(INSERT, ["own"])


def own_atomic(conn: Connection[Any], context: HookContext) -> None:
    with transaction.atomic():
        Group.objects.create(name="own")


def own_failed_atomic(conn: Connection[Any], context: HookContext) -> None:
    Group.objects.create(name="own")
    with pytest.raises(IntegrityError), transaction.atomic():
        Group.objects.create(name="own")


def own_savepoint(conn: Connection[Any], context: HookContext) -> None:
    conn.execute("SAVEPOINT mine")
    conn.execute(INSERT, ["gone"])
    conn.execute("ROLLBACK TO mine")
    conn.execute(INSERT, ["own"])


def own_nest(conn: Connection[Any], context: HookContext) -> None:
    with conn.transaction(), transaction.atomic(), conn.transaction():
        Group.objects.create(name="own")


OWN = [own_block, own_failed_block, own_atomic, own_failed_atomic, own_savepoint, own_nest]


@pytest.mark.parametrize("body", OWN)
@pytest.mark.parametrize("atomic", [True, False])
def test_transactions_of_a_hooks_own_do_no_harm(
    django_conn: Connection[Any], body: Body, atomic: bool
) -> None:
    if atomic:
        with transaction.atomic():
            run(django_conn, hook(body), inserts("next"))
            Group.objects.create(name="later")
    else:
        run(django_conn, hook(body), inserts("next"))
        Group.objects.create(name="later")
    assert names() == ["later", "next", "own"]


@pytest.mark.parametrize("body", OWN)
@pytest.mark.parametrize("atomic", [True, False])
def test_a_failing_hook_loses_also_what_its_own_transactions_did(
    django_conn: Connection[Any], body: Body, atomic: bool
) -> None:
    def then_fail(conn: Connection[Any], context: HookContext) -> None:
        body(conn, context)
        raise ValueError("too late")

    if atomic:
        with transaction.atomic():
            run(django_conn, hook(then_fail, on_failure="continue"), inserts("next"))
    else:
        run(django_conn, hook(then_fail, on_failure="continue"), inserts("next"))
    assert names() == ["next"]


@pytest.mark.parametrize("ending", ["commit", "rollback"])
@pytest.mark.parametrize("atomic", [True, False])
def test_a_hook_cannot_end_the_migrations_transaction(
    django_conn: Connection[Any], ending: str, atomic: bool
) -> None:
    def ends(conn: Connection[Any], context: HookContext) -> None:
        conn.execute(INSERT, ["lost"])
        getattr(conn, ending)()

    def attempt() -> None:
        with pytest.raises(HookError, match=rf"Explicit {ending}\(\) forbidden"):
            run(django_conn, hook(ends))

    if atomic:
        with transaction.atomic():
            Group.objects.create(name="before")
            attempt()
            transaction.set_rollback(True)
    else:
        attempt()
    assert names() == []


def test_a_rollback_that_leaves_the_hook_is_its_failure(django_conn: Connection[Any]) -> None:
    def leaves(conn: Connection[Any], context: HookContext) -> None:
        conn.execute(INSERT, ["lost"])
        raise psycopg.Rollback

    with pytest.raises(HookError, match=r"psycopg\.Rollback left execute\(\)"):
        run(django_conn, hook(leaves))
    assert names() == []


def swallows_sql(conn: Connection[Any], context: HookContext) -> None:
    with contextlib.suppress(psycopg.Error):
        conn.execute("SELECT * FROM nowhere")


def swallows_orm(conn: Connection[Any], context: HookContext) -> None:
    with contextlib.suppress(LookupError), transaction.atomic(savepoint=False):
        Group.objects.create(name="lost")
        raise LookupError


@pytest.mark.parametrize("body", [swallows_sql, swallows_orm])
@pytest.mark.parametrize("atomic", [True, False])
def test_a_swallowed_error_that_aborted_the_transaction_is_no_success(
    django_conn: Connection[Any], body: Body, atomic: bool
) -> None:
    def attempt() -> None:
        with pytest.raises(HookError, match="had aborted the transaction; let the error out"):
            run(django_conn, hook(body))
        Group.objects.create(name="later")

    if atomic:
        with transaction.atomic():
            attempt()
    else:
        attempt()
    assert names() == ["later"]


# Timeouts


@pytest.mark.parametrize("atomic", [True, False])
def test_a_timeout_ends_a_statement_and_is_gone_after_the_failure(
    django_conn: Connection[Any], atomic: bool
) -> None:
    django_conn.execute("SET statement_timeout = '42s'")
    slow = hook(lambda conn, _: conn.execute("SELECT pg_sleep(30)"), timeout="20ms")

    def attempt() -> None:
        with pytest.raises(HookError, match="canceling statement due to statement timeout"):
            run(django_conn, slow)
        assert query("SHOW statement_timeout") == [("42s",)]

    try:
        if atomic:
            with transaction.atomic():
                attempt()
        else:
            attempt()
    finally:
        django_conn.execute("RESET statement_timeout")


@pytest.mark.parametrize("atomic", [True, False])
def test_a_timeout_holds_in_the_hook_and_is_restored_after_its_success(
    django_conn: Connection[Any], atomic: bool
) -> None:
    seen: list[str] = []

    def look(conn: Connection[Any], context: HookContext) -> None:
        seen.extend(conn.execute("SHOW statement_timeout").fetchone() or ())

    def attempt() -> None:
        run(django_conn, hook(look, timeout="1.5s"))
        seen.extend(query("SHOW statement_timeout")[0])

    django_conn.execute("SET statement_timeout = '42s'")
    try:
        if atomic:
            with transaction.atomic():
                attempt()
        else:
            attempt()
    finally:
        django_conn.execute("RESET statement_timeout")
    assert seen == ["1500ms", "42s"]


def test_python_that_blocks_longer_than_the_timeout_is_a_warning(
    django_conn: Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    (result,) = run(django_conn, hook(lambda *_: time.sleep(0.03), timeout="20ms"))
    assert result.execution_time_ms >= 20
    ((_, fields),) = events(caplog, "hook_over_timeout")
    assert fields.pop("duration_ms") >= 20
    assert fields == {
        "hook": "Example",
        "phase": "AFTER_DDL",
        "migration": "0003_add_segment",
        "app_label": "",
        "timeout_ms": 20,
    }


def test_a_hook_within_its_timeout_warns_of_nothing(
    django_conn: Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    run(django_conn, hook(lambda *_: None, timeout="1h"), hook(lambda *_: None))
    assert events(caplog) == []


# The signal


def test_hook_finished_tells_every_outcome_and_a_receivers_error_stops_nothing(
    django_conn: Connection[Any],
) -> None:
    told: list[tuple[object, ...]] = []

    def receiver(**facts: Any) -> None:
        told.append((facts["hook"], facts["outcome"], facts["result"] is not None, facts["reason"]))
        raise RuntimeError("a receiver may not veto")

    hook_finished.connect(receiver)
    try:
        run(
            django_conn,
            inserts("kept"),
            fails_after_insert("lost", on_failure="continue"),
            inserts("never", directions=("backward",)),
        )
    finally:
        hook_finished.disconnect(receiver)
    assert [each[:3] for each in told] == [
        ("Inserts", "completed", True),
        ("Fails", "failed", False),
        ("Inserts", "skipped", False),
    ]
    assert "direction forward" in str(told[2][3])


@pytest.mark.django_db
def test_a_hook_that_runs_another_one_keeps_its_own_options_and_phase() -> None:
    seen: list[tuple[object, str]] = []

    def note(conn: Connection[Any], context: HookContext) -> None:
        seen.append((context.options["name"], context.phase))

    def outer(conn: Connection[Any], context: HookContext) -> None:
        note(conn, context)
        HookExecutor().execute_phase(
            conn, HookPhase.CLEANUP, [hook(note, options={"name": 2})], context
        )
        note(conn, context)

    connection.ensure_connection()
    context = HookContext("0001_a", "0001", connection=connection)
    given = [hook(outer, options={"name": 1})]
    HookExecutor().execute_phase(connection.connection, HookPhase.AFTER_DDL, given, context)
    assert seen == [(1, "AFTER_DDL"), (2, "CLEANUP"), (1, "AFTER_DDL")]
