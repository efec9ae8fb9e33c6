"""Each package alone, in both orders of ``INSTALLED_APPS``, and all of them together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.compatibility.conftest import MakeProject
from tests.compatibility.environments import MIGRATING, Project, around

ORDERS = ("confiture first", "confiture last")
LAST = "stock.0003_remove_name"

LINEAR = "django-linear-migrations"
PGMIGRATE = "django-pgmigrate"
SAFEMIGRATE = "django-safemigrate"
SYZYGY = "django-syzygy"
TOOLS = "django-pg-migration-tools"
ZERO_DOWNTIME = "django-pg-zero-downtime-migrations"

WITH_TIMEOUTS = ["migrate_with_timeouts", "--lock-timeout-in-ms=500"]
RETRIES = ["--lock-timeout-max-retries=5", "--lock-timeout-retry-min-wait-in-ms=100"]

pytestmark = pytest.mark.compatibility

both_orders = pytest.mark.parametrize("order", ORDERS)


@both_orders
@pytest.mark.parametrize("package", MIGRATING)
def test_hooks_run_around_each_migration_and_a_dry_run_leaves_nothing(
    make_project: MakeProject, package: str, order: str
) -> None:
    project = make_project(package, order=order)
    there_and_back(project)


@both_orders
def test_all_of_them_together(make_project: MakeProject, order: str) -> None:
    there_and_back(make_project(*MIGRATING, order=order))


def there_and_back(project: Project) -> None:
    project.django("check", "--database", "default")
    rehearsed = project.rehearse()
    project.django("migrate")
    assert project.applied() == rehearsed
    assert rehearsed[-1] == LAST
    assert project.notes() == around(rehearsed)
    assert project.rehearse() == []

    project.django("migrate", "stock", "0001")
    backwards = ("stock.0003_remove_name", "stock.0002_add_code")
    assert project.notes(direction="backward") == around(backwards)
    assert project.rehearse() == ["stock.0002_add_code", LAST]


def test_linear_migrations_names_the_last_one_and_it_is_wrapped(make_project: MakeProject) -> None:
    project = make_project(LINEAR)
    project.django("migrate")
    project.notes()
    project.django("makemigrations", "--empty", "--name", "more", "stock")
    named = project.home / "stock" / "migrations" / "max_migration.txt"
    assert named.read_text() == "0004_more\n"
    assert project.rehearse() == ["stock.0004_more"]
    project.django("migrate")
    assert project.notes() == around(["stock.0004_more"])


@both_orders
@pytest.mark.parametrize(
    ("packages", "command"),
    [
        ([SAFEMIGRATE], ["safemigrate"]),
        ([SYZYGY], ["migrate", "--pre-deploy"]),
        (list(MIGRATING), ["safemigrate"]),
    ],
)
def test_a_staged_deployment_runs_the_hooks_of_its_stage(
    make_project: MakeProject, packages: list[str], command: list[str], order: str
) -> None:
    project = make_project(*packages, order=order)
    rehearsed = project.rehearse()
    project.django(*command)
    assert sorted([*project.applied(), LAST]) == sorted(rehearsed)
    assert project.notes() == around(project.applied())
    assert project.rehearse() == [LAST]
    project.django(*command)
    assert project.notes() == []
    project.django("migrate")
    assert project.notes() == around([LAST])


def test_pgmigrate_ends_those_who_block_and_a_dry_run_does_not(make_project: MakeProject) -> None:
    project = make_project(PGMIGRATE)
    project.django("migrate", "stock", "0001")
    project.notes()
    label = "stock.0002_add_code"
    with blocker(project) as blocking:
        project.django("migrate_dryrun", "stock", "0002", code=2)
        blocking.execute("SELECT")
        assert project.notes(dry_run=True)[-1] == (label, "CLEANUP")
        assert "Terminated 1 blocking" in project.django("migrate", "stock", "0002")
        with pytest.raises(psycopg.OperationalError):
            blocking.execute("SELECT")
    assert project.notes() == around([label])


def test_a_lock_timeout_of_pgmigrate_ends_migrate_and_on_error_runs(
    make_project: MakeProject,
) -> None:
    project = make_project(PGMIGRATE)
    project.django("migrate", "stock", "0001")
    project.notes()
    with (project.home / "compat_settings.py").open("a") as settings:
        settings.write("\nPGMIGRATE_BLOCKING_ACTION = None\nPGMIGRATE_LOCK_TIMEOUT = 1\n")
    with blocker(project):
        assert "Lock timeout expired" in project.django("migrate", "stock", "0002", code=1)
    assert [phase for _label, phase in project.notes()] == [
        "BEFORE_VALIDATION",
        "BEFORE_DDL",
        "ON_ERROR",
        "CLEANUP",
    ]


@both_orders
@pytest.mark.parametrize("packages", [[TOOLS], [*MIGRATING]])
def test_migrate_with_timeouts_runs_hooks_again_in_each_retry(
    make_project: MakeProject, packages: list[str], order: str
) -> None:
    project = make_project(*packages, order=order)
    project.django(*WITH_TIMEOUTS, "stock", "0001")
    assert project.notes() == around(project.applied())
    retrying = ["-m", "django", *WITH_TIMEOUTS, *RETRIES, "stock", "0002"]
    with blocker(project) as blocking:
        process = project.start(*retrying)
        wait_until(lambda: '"CLEANUP"' in (project.log.read_text() if project.log.exists() else ""))
        blocking.rollback()
        _out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    label = "stock.0002_add_code"
    failed = [
        (label, phase) for phase in ("BEFORE_VALIDATION", "BEFORE_DDL", "ON_ERROR", "CLEANUP")
    ]
    notes = project.notes()
    attempts = (len(notes) - 5) // 4
    assert attempts >= 1
    assert notes == failed * attempts + around([label])


def test_zero_downtime_is_rehearsed_with_its_own_statements(make_project: MakeProject) -> None:
    project = make_project(ZERO_DOWNTIME)
    project.django("migrate", "stock", "0001")
    project.notes()
    report = project.django("migrate_dryrun", "--format", "json", "stock", "0002")
    assert "CREATE INDEX CONCURRENTLY" in report
    assert '"substituted"' in report


def test_the_migrator_fixture_runs_the_hooks_of_files(make_project: MakeProject) -> None:
    project = make_project("django-test-migrations")
    out = project.run("-m", "pytest", "-p", "no:cacheprovider", "migrator_checks.py")
    assert "2 passed" in out


@contextmanager
def blocker(project: Project) -> Iterator[psycopg.Connection[object]]:
    """Give a session whose transaction reads the table and does not end."""
    given = project.observer.info
    with psycopg.connect(given.dsn, password=given.password or None) as connection:
        connection.execute("SELECT FROM stock_item")
        yield connection
        if not connection.closed:
            connection.rollback()


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)
