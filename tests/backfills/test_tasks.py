"""Ranges as tasks: django-tasks-db and its worker, as processes."""

from __future__ import annotations

import signal
import subprocess
from time import sleep
from typing import Any

import pytest

from tests.backfills.test_processes import done, started
from tests.support.backfills import PATH, books, counters, execute, shelf, wait_for

__all__ = ["shelf"]  # a fixture

ROWS = 80_000
OPTIONS: dict[str, Any] = {
    "MIN": 20,
    "MAX": 1000,
    "LOCK_TIMEOUT": "300ms",
    "STATEMENT_TIMEOUT": "2s",
    "LEASE": "2500ms",
    "SLICE": "1s",
    "WORKERS": 4,
}


@pytest.fixture
def queue(shelf: None) -> Any:
    """Give the tables of django-tasks-db."""
    command("migrate", "--verbosity", "0", "django_tasks_database")
    yield
    execute("DROP TABLE django_tasks_database_dbtaskresult")
    execute("DELETE FROM django_migrations WHERE app = 'django_tasks_database'")


def command(*arguments: str, **options: Any) -> str:
    """Run manage.py in its own process, in a project that has workers."""
    process = started(*arguments, **{**OPTIONS, **options})
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    return output


def worker() -> subprocess.Popen[str]:
    return started("db_worker", "--interval", "0.1", "--no-startup-delay", **OPTIONS)


def state(name: str) -> Any:
    ((found,),) = execute("SELECT state FROM confiture_backfills_backfillrun WHERE name = %s", name)
    return found


def ready(when: str = "true") -> int:
    """Return how many tasks wait or run."""
    ((count,),) = execute(
        "SELECT count(*) FROM django_tasks_database_dbtaskresult"
        f" WHERE status IN ('READY', 'RUNNING') AND {when}"
    )
    return int(count)


AT_ONCE = "run_after > now() + interval '1 year'"
"""As django-tasks-db writes tasks that need not wait."""


@pytest.mark.usefixtures("queue")
def test_two_workers_share_it_and_the_queue_is_empty_at_the_end() -> None:
    books(ROWS)
    said = command("confiture_backfills", "start", PATH + "CountBooks")
    assert f"{PATH}CountBooks is queued, with 4 tasks queued." in said
    assert (ready(AT_ONCE), ready()) == (4, 8)  # a spare of each, in case it is lost
    workers = [worker(), worker()]
    wait_for(lambda: state(PATH + "CountBooks") == "completed", 180)
    wait_for(lambda: ready() == 0, 60)
    for process in workers:
        process.terminate()
        process.wait(20)
    assert counters() == {1: ROWS}
    names = execute("SELECT DISTINCT task_path FROM django_tasks_database_dbtaskresult")
    assert names == [("django_confiture.backfills.tasks.work_on_backfill",)]


@pytest.mark.usefixtures("queue")
def test_killed_and_frozen_workers_are_replaced_by_the_others() -> None:
    books(ROWS)
    execute("UPDATE shelf_book SET times_filled = 0")
    command("confiture_backfills", "start", PATH + "CountBooks", MAX=200)
    workers = [started("db_worker", "--interval", "0.1", **{**OPTIONS, "MAX": 200}) for _ in "1234"]
    wait_for(lambda: done() > 2000)
    workers[0].kill()
    workers[1].send_signal(signal.SIGSTOP)
    wait_for(lambda: state(PATH + "CountBooks") == "completed", 180)
    assert counters() == {1: ROWS}
    workers[1].send_signal(signal.SIGCONT)
    sleep(1)
    wait_for(lambda: ready() <= 1, 60)  # the one that was killed stays "running" forever
    assert counters() == {1: ROWS}


@pytest.mark.usefixtures("queue")
def test_a_worker_of_an_old_release_leaves_it_for_others() -> None:
    books(100)
    execute(
        "INSERT INTO confiture_backfills_backfillrun (name, state, pass_number, workers_wanted,"
        " class_hash, mirrored, last_error, queued_at)"
        " VALUES (%s, 'queued', 1, 1, '', false, '', now())",
        "shelf.backfills.NotThereYet",
    )
    code = (
        "import django; django.setup();"
        "from django_confiture.backfills import tasks;"
        "from django_confiture.backfills.models import BackfillRun;"
        "from django_confiture.backfills import queueing;"
        "queueing.enqueue(BackfillRun.objects.get(), using='default')"
    )
    command("shell", "--no-imports", "-c", code, WORKERS=1, SLICE="1min")
    command("db_worker", "--batch", "--no-startup-delay", "--interval", "0.1", SLICE="1min")
    assert state("shelf.backfills.NotThereYet") == "queued"
    waits = execute(
        "SELECT run_after > now() + interval '20 seconds', (args_kwargs -> 'args' ->> 4)::int"
        " FROM django_tasks_database_dbtaskresult WHERE status = 'READY' ORDER BY 1"
    )
    assert sorted(waits) == [(True, 0), (True, 0), (True, 1)]  # the first two are spares


DIES = """
import os
from django.core.management import call_command
from django_confiture.backfills import tasks


def die(*arguments, **options):
    os._exit(9)


tasks.{moment} = die
call_command("db_worker", interval=0.1, startup_delay=False)
"""


@pytest.mark.usefixtures("queue")
def test_the_only_worker_dies_at_each_moment_of_a_task_and_the_next_goes_on() -> None:
    books(20_000)
    command("confiture_backfills", "start", PATH + "CountBooks", WORKERS=1)
    for moment in ("enqueue_spare", "overdue", "_queue_next"):
        dying = started("shell", "--no-imports", "-c", DIES.format(moment=moment), **OPTIONS)
        assert dying.wait(180) == 9, moment
    healthy = worker()
    wait_for(lambda: state(PATH + "CountBooks") == "completed", 180)
    # Each of the dead has left its own "running"; the healthy one may still end its last.
    wait_for(lambda: ready("status = 'READY'") == 0 and ready() == 3, 60)
    healthy.terminate()
    assert counters() == {1: 20_000}


@pytest.mark.usefixtures("queue")
def test_without_a_spare_the_tasks_of_the_other_chains_queue_what_was_lost() -> None:
    books(ROWS)
    command("confiture_backfills", "start", PATH + "CountBooks", WORKERS=2)
    execute(
        "DELETE FROM django_tasks_database_dbtaskresult WHERE args_kwargs -> 'args' ->> 2 = '1'"
    )
    execute("UPDATE confiture_backfills_backfillchain SET queued_at = now() - interval '1 hour'")
    healthy = worker()
    of_the_other = "args_kwargs -> 'args' ->> 2 = '1'"
    wait_for(lambda: ready(of_the_other) > 0, 180)
    healthy.terminate()


@pytest.mark.usefixtures("queue")
def test_started_again_there_are_no_more_workers_than_wanted() -> None:
    books(4 * ROWS)  # enough for a second worker that takes its time to start
    for _ in range(2):
        command("confiture_backfills", "start", PATH + "CountBooks", WORKERS=1)
    assert ready(AT_ONCE) == 2
    workers = [worker(), worker()]
    replaced = (
        "SELECT count(*) FROM django_tasks_database_dbtaskresult"
        " WHERE return_value #>> '{}' = 'replaced'"
    )
    wait_for(lambda: execute(replaced) == [(1,)], 180)
    for process in workers:
        process.terminate()


DIES_AT_COMMIT = """
import os
from django.apps import apps
from django.db import connection, transaction
from django_confiture.backfills import in_migrations

with transaction.atomic():
    transaction.on_commit(lambda: os._exit(9))
    in_migrations.start("{name}", connection, apps)
"""


@pytest.mark.usefixtures("queue")
def test_a_migrate_that_dies_right_after_its_commit_has_queued_the_tasks() -> None:
    books(100)
    code = DIES_AT_COMMIT.format(name=PATH + "CountBooks")
    assert started("shell", "--no-imports", "-c", code, **OPTIONS).wait(180) == 9
    assert ready(AT_ONCE) == 4
    command("db_worker", "--batch", "--no-startup-delay", "--interval", "0.1")
    assert state(PATH + "CountBooks") == "completed"
    assert counters() == {1: 100}
