"""No break is missed and none is invented: the truth is what both releases really did."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pytest
from django.db import connection, transaction
from django.db.migrations.state import ProjectState

from django_confiture.dry_run.results.deploy import Break, Deploy
from django_confiture.dry_run.running_code.releases import Happened
from django_confiture.dry_run.running_code.watch import ReleaseWatch
from tests.support.dry_run import clean_up, migration
from tests.support.release_cases import CASES
from tests.support.releases import Case, Outcomes, Writer, after, applied

Outcome = tuple[str, str, str]
"""Model, action, and SQLSTATE or the error's name."""

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _clean(case: Case) -> Iterator[None]:
    clean_up("default")
    yield
    connection.close()
    if case.cleanup:
        with connection.cursor() as cursor:
            cursor.execute(case.cleanup)
    clean_up("default")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_breaks(case: Case) -> None:
    found, after_each = claimed(case)

    old, new = truth(case)
    assert not (wrong := compared(old, found.old_code)), "\n".join((*wrong, *found.not_checked))
    assert not (wrong := compared(new, found.new_code)), "\n".join((*wrong, *found.not_checked))


def compared(really: set[Outcome], claimed: Collection[Break]) -> list[str]:
    """Return what is missed or invented."""
    keys = set(map(as_key, claimed))
    missed = [f"missed {each}" for each in sorted(really - keys)]
    return missed + [
        f"invented {as_key(each)}: {each.error} ({each.sql})"
        for each in claimed
        if as_key(each) not in really
    ]


def as_key(each: Break) -> Outcome:
    return (each.model or "", each.action, each.sqlstate or each.error.partition(":")[0])


def first_state(case: Case, *, empty: bool = False) -> ProjectState:
    """Commit the schema of the running release, and its rows."""
    state = applied(ProjectState(), migration(*case.first, name="0001_first"))
    if not empty:
        Writer(state, case.rows).fill()
    if case.setup:
        with connection.cursor() as cursor:
            cursor.execute(case.setup)
    return state


def claimed(case: Case) -> tuple[Deploy, list[list[Break]]]:
    """Return what the engine finds, along a plan that is rolled back."""
    state = first_state(case, empty=case.empty)
    migrations = case.migrations()
    steps = []
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")  # psycopg begins with the first statement
        watch = ReleaseWatch(connection, state.clone(), after(state, *migrations))
        watch.plan_started(
            [each.db_table for each in watched_models(state, after(state, *migrations))]
        )
        current = state
        for each in migrations:
            with connection.schema_editor(atomic=False) as editor:
                current = each.apply(current.clone(), editor)
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
            steps.append(watch.applied(Happened(f"cases.{each.name}")))
        found = watch.plan_ended()
        transaction.set_rollback(True)
    return found, steps


def watched_models(*states: ProjectState) -> Iterator[object]:
    for state in states:
        apps = ProjectState({key: model.clone() for key, model in state.models.items()}).apps
        for model in apps.get_models(include_auto_created=True):
            yield model._meta


def truth(case: Case) -> tuple[set[Outcome], set[Outcome]]:
    """Return what breaks, by having both releases work on the schema of the other one."""
    clean_up("default")
    state = first_state(case)
    new_state = after(state, *case.migrations())
    old = Writer(state, case.rows)
    new = Writer(new_state, {**case.rows, **case.new_rows})
    held = old.captured()
    old_before = old.outcomes(held, upserts=True)
    keys = {label: [row.pk for row in rows] for label, rows in held.items()}
    new_before = new.outcomes(new.captured(keys))
    old_found: dict[tuple[str, str], str] = {}
    for each in case.migrations():
        state = applied(state, each)
        for key, error in old.outcomes(held, upserts=True).items():
            if error and not old_before.get(key):
                old_found.setdefault(key, error)
    new_after = new.outcomes(new.captured(keys))
    of_rows = {key for key, error in new_after.items() if _is_of_rows(error)}
    new_found = {k: e for k, e in new_before.items() if e and k not in of_rows}
    return as_keys(old_found), as_keys(new_found)


def _is_of_rows(error: str) -> bool:
    return error[:2] in ("22", "23") and error != "23502" or error == "ProtectedError"


def as_keys(found: Outcomes) -> set[Outcome]:
    return {(model, action, error) for (model, action), error in found.items()}
