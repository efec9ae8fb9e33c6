"""What receivers of pre_migrate and post_migrate do: for real, naively, rehearsed.

Naively is by Django's own executor, in one transaction, which sends no signals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.core.management.sql import emit_pre_migrate_signal
from django.db import connection, models, transaction
from django.db.migrations import CreateModel, RenameModel
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations.base import Operation
from django.db.models.signals import post_migrate, pre_migrate
from django.dispatch import Signal

from tests.cases.migrations_on_disk import Cases, query
from tests.support.dry_run import python, runs
from tests.support.outcomes import WAYS

each_way = pytest.mark.parametrize("way", WAYS)

THING = CreateModel("Thing", [("id", models.BigAutoField(primary_key=True))])
ran: list[str] = []


def noted(what: str) -> Operation:
    """Return an operation that notes in which direction it runs."""
    operation = python(lambda: ran.append(f"{what} forwards"))
    operation.reverse_code = lambda apps, editor: ran.append(f"{what} backwards")
    return operation


@pytest.fixture(autouse=True)
def _nothing_ran() -> Iterator[None]:
    ran.clear()
    yield
    ContentType.objects.clear_cache()


@contextmanager
def connected(signal: Signal, receiver: Callable[..., None]) -> Iterator[None]:
    signal.connect(receiver, sender=apps.get_app_config("cases"), weak=False)
    try:
        yield
    finally:
        signal.disconnect(receiver, sender=apps.get_app_config("cases"))


@contextmanager
def rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def migrate(way: str, target: str | None = None) -> None:
    """Migrate the app "cases" one of :data:`WAYS`."""
    if way == "real":
        call_command("migrate", "cases", *filter(None, [target]), verbosity=0)
    elif way == "rehearsed":
        call_command("migrate_dryrun", "cases", *filter(None, [target]), stdout=StringIO())
    else:
        with rolled_back():
            executor = MigrationExecutor(connection)
            executor.migrate(targets(executor, target))


def targets(executor: MigrationExecutor, target: str | None) -> list[tuple[str, str | None]]:
    if target == "zero":
        return [("cases", None)]
    return [node for node in executor.loader.graph.leaf_nodes() if node[0] == "cases"]


# The plan that receivers may change.


@pytest.mark.parametrize(
    ("way", "renamed"), [("real", True), ("naive", False), ("rehearsed", True)]
)
def test_content_types_are_renamed_by_a_receiver(way: str, renamed: bool, cases: Cases) -> None:
    def look() -> None:
        names = query("SELECT model FROM django_content_type WHERE app_label = 'cases'")
        ran.extend(name for (name,) in names)

    def after(**_: object) -> None:
        look()

    cases.add("0001_thing", THING)
    cases.migrate()
    ContentType.objects.get_or_create(app_label="cases", model="thing")
    cases.add("0002_rename", RenameModel("Thing", "Item"))
    with connected(post_migrate, after):
        if way == "naive":
            with rolled_back():
                executor = MigrationExecutor(connection)
                executor.migrate(targets(executor, None))
                look()
        else:
            migrate(way)

    assert ran == (["item"] if renamed else ["thing"])
    left = ContentType.objects.filter(app_label="cases").values_list("model", flat=True)
    assert list(left) == (["item"] if way == "real" else ["thing"])


def append_to_the_plan(*, plan: Any, **_: object) -> None:
    for migration, _backwards in plan:
        migration.operations.insert(0, noted("inserted"))
        migration.operations.append(noted("appended"))


FORWARDS = ["inserted forwards", "own forwards", "appended forwards"]
BACKWARDS = ["appended backwards", "own backwards", "inserted backwards"]


@pytest.mark.parametrize(
    ("way", "forwards", "backwards"),
    [
        ("real", FORWARDS, BACKWARDS),
        ("naive", ["own forwards"], ["own backwards"]),
        ("rehearsed", FORWARDS, BACKWARDS),
    ],
)
def test_operations_that_a_receiver_adds(
    way: str, forwards: list[str], backwards: list[str], cases: Cases
) -> None:
    cases.add("0001_own", noted("own"))
    with connected(pre_migrate, append_to_the_plan):
        migrate(way)
        assert ran == forwards
        if way != "real":
            MigrationExecutor(connection).recorder.record_applied("cases", "0001_own")
        ran.clear()
        migrate(way, "zero")
        assert ran == backwards


@pytest.mark.parametrize("own", [True, False], ids=["own plan", "plan of another executor"])
def test_a_naive_signal_about_a_plan(own: bool, cases: Cases) -> None:
    """The executor takes the migrations to apply from its own plan, those to undo do not."""
    cases.add("0001_own", noted("own"))

    def run(target: str | None) -> None:
        with connected(pre_migrate, append_to_the_plan), rolled_back():
            executor = MigrationExecutor(connection)
            planner = executor if own else MigrationExecutor(connection)
            wanted = targets(executor, target)
            plan = planner.migration_plan(wanted)
            emit_pre_migrate_signal(0, False, "default", plan=plan)
            executor.migrate(wanted, plan=plan)

    run(None)
    assert ran == (FORWARDS if own else ["own forwards"])

    ran.clear()
    MigrationExecutor(connection).recorder.record_applied("cases", "0001_own")
    run("zero")
    assert ran == BACKWARDS


def test_the_plan_holds_the_instances_of_the_loader(cases: Cases) -> None:
    cases.add("0001_own", noted("own"))
    executor = MigrationExecutor(connection)
    ((migration, _backwards),) = executor.migration_plan([("cases", "0001_own")])

    assert executor.loader.graph.nodes["cases", "0001_own"] is migration


def test_a_naive_signal_sent_twice_adds_twice(cases: Cases) -> None:
    cases.add("0001_own", noted("own"))
    with connected(pre_migrate, append_to_the_plan), rolled_back():
        executor = MigrationExecutor(connection)
        wanted = targets(executor, None)
        plan = executor.migration_plan(wanted)
        emit_pre_migrate_signal(0, False, "default", plan=plan)
        emit_pre_migrate_signal(0, False, "default", plan=plan)
        executor.migrate(wanted, plan=plan)

    assert ran.count("appended forwards") == 2


def test_each_of_two_dry_runs_adds_once(cases: Cases) -> None:
    cases.add("0001_own", noted("own"))
    with connected(pre_migrate, append_to_the_plan):
        migrate("rehearsed")
        migrate("rehearsed")

    assert ran == FORWARDS * 2


@each_way
def test_operations_are_shared_and_left_as_they_were(way: str, cases: Cases) -> None:
    """The list is each loader's own, what is in it belongs to the class of the migration."""
    cases.add("0001_own", operation := noted("own"))
    before = dict(vars(operation))
    first, second = (
        MigrationExecutor(connection).loader.graph.nodes["cases", "0001_own"] for _ in range(2)
    )
    assert first.operations is not second.operations
    assert first.operations[0] is second.operations[0] is operation

    migrate(way)

    assert vars(operation) == before


# What receivers of post_migrate write.

PERMISSIONS = "SELECT count(*) FROM auth_permission WHERE codename ~ '_thing$'"


@pytest.mark.parametrize(("way", "inside"), [("real", [4]), ("naive", []), ("rehearsed", [4])])
def test_permissions_and_content_types(way: str, inside: list[int], cases: Cases) -> None:
    found: list[int] = []

    def after(**_: object) -> None:
        found.append(query(PERMISSIONS)[0][0])

    cases.add("0001_thing", THING)
    with connected(post_migrate, after):
        migrate(way)

    assert found == inside
    assert query(PERMISSIONS) == [(4 if way == "real" else 0,)]
    assert stale_content_types() == []
    Permission.objects.filter(codename__endswith="_thing").delete()


def stale_content_types() -> list[str]:
    """Return the content types of Django's cache that are not in the database."""
    there = set(ContentType.objects.values_list("pk", flat=True))
    manager: Any = ContentType.objects
    cached = {each for cache in manager._cache.values() for each in cache.values()}
    return [each.model for each in cached if each.pk not in there]


def test_no_stale_content_type_is_left_by_a_naive_migrate(cases: Cases) -> None:
    cases.add("0001_thing", THING)
    with rolled_back():
        migrate("real")
        thing = ContentType.objects.get(app_label="cases", model="thing")

    assert stale_content_types() == []

    with rolled_back():
        thing.save(force_insert=True)
        ContentType.objects.get_for_id(thing.pk)
    assert stale_content_types() == ["thing"]  # that would be seen


@each_way
def test_a_receiver_that_writes_elsewhere(way: str, cases: Cases) -> None:
    """What leaves the database, as mail does, no rollback holds."""

    def after(**_: object) -> None:
        ran.append("sent")

    cases.add("0001_own", runs("SELECT 1"))
    with connected(post_migrate, after):
        migrate(way)

    assert ran == ([] if way == "naive" else ["sent"])
