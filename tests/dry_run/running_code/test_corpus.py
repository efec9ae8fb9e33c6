"""No break is missed and none is invented: the truth is what both releases really did."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy

import pytest
from django.db import connection, transaction
from django.db.migrations.state import ProjectState

from django_confiture.dry_run.plan.planned import Planned
from django_confiture.dry_run.results.deploy import Break, Deploy
from django_confiture.dry_run.running_code.models.touched import OperationStep
from django_confiture.dry_run.running_code.watch import ReleaseWatch
from tests.support.dry_run import clean_up, migration
from tests.support.release_cases import CASES
from tests.support.release_cases.referring import OF_TEXT
from tests.support.releases import Case, Writer, after, applied

Truth = dict[tuple[str, str], tuple[str, str | None]]
"""(model, action) → SQLSTATE, or the error's name; the migration after which it fails."""

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
    found = claimed(case)

    old, new = truth(case)
    wrong = [*compared(old, found.old_code), *compared(new, found.new_code)]
    assert not wrong, "\n".join((*wrong, *found.not_checked))


@pytest.mark.parametrize("case", [OF_TEXT], ids=lambda case: case.name)
def test_a_key_of_another_type_leads_to_a_row(case: Case) -> None:
    # Only ``bulk_create()`` fails: it names the type of the keys, which the column can't take.
    found = claimed(case)

    errors = {(each.action, each.sqlstate) for each in (*found.old_code, *found.new_code)}
    assert errors >= {("insert", "42804")}
    assert not errors & {("insert", "23503"), ("update", "23503")}


def compared(really: Truth, claimed: Collection[Break]) -> list[str]:
    """Return what is missed or invented."""
    keys = {
        (each.model or "", each.action): (
            each.sqlstate or each.error.partition(":")[0],
            each.migration,
        )
        for each in claimed
    }
    missed = [f"missed {key}: {really[key]}" for key in sorted(really) if key not in keys]
    invented = [
        f"invented {each.model} {each.action}: {each.error} ({each.sql})"
        for each in claimed
        if (each.model, each.action) not in really
    ]
    other = [
        f"{key} is {really[key]}, not {keys[key]}"
        for key in sorted(really)
        if key in keys and keys[key] != really[key]
    ]
    return missed + invented + other


def first_state(case: Case, *, empty: bool = False) -> ProjectState:
    """Commit the schema of the running release, and its rows."""
    first = deepcopy(case.first)  # ``RenameField`` changes foreign keys in place
    state = applied(ProjectState(), migration(*first, name="0001_first"))
    if not empty:
        Writer(state, case.rows).fill(unfilled=case.unfilled)
    if case.setup:
        with connection.cursor() as cursor:
            cursor.execute(case.setup)
    return state


def claimed(case: Case) -> Deploy:
    """Return what the engine finds, along a plan that is rolled back."""
    state = first_state(case, empty=case.empty)
    migrations = case.migrations()
    end = after(state, *migrations)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")  # psycopg begins with the first statement
        watch = ReleaseWatch(connection, state.clone(), end)
        watch.start(touching(*tables(state), *tables(end)))
        for each in migrations:
            with connection.schema_editor(atomic=False) as editor:
                state = each.apply(state.clone(), editor)
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
            watch.stepped(each.name, [OperationStep(None, texts=("ALTER",), sets_sequence=True)])
        found = watch.end(complete=True)
        transaction.set_rollback(True)
    return found


def touching(*tables: str) -> Planned:
    """Return a plan that touches them all."""
    quoted = tuple(connection.ops.quote_name(each) for each in tables)
    return Planned(quoted, statements=(), fills=(), unknown={}, new_locks=0)


def tables(state: ProjectState) -> Iterator[str]:
    apps = ProjectState({key: model.clone() for key, model in state.models.items()}).apps
    for model in apps.get_models(include_auto_created=True):
        yield model._meta.db_table


def truth(case: Case) -> tuple[Truth, Truth]:
    """Return what breaks, by having both releases work on the schema of the other one."""
    clean_up("default")
    state = first_state(case)
    migrations = case.migrations()
    old = Writer(state, case.rows)
    new = Writer(after(state, *migrations), {**case.rows, **case.new_rows})
    held = old.captured()
    keys = {label: [row.pk for row in rows] for label, rows in held.items()}
    old_before = old.outcomes(held, upserts=True)
    new_before = new.outcomes(new.captured(keys))
    old_found: Truth = {}
    for each in migrations:
        state = applied(state, each)
        for key, error in old.outcomes(held, upserts=True).items():
            if error and not old_before[key]:
                old_found.setdefault(_action(key), (error, each.name))
    new_after = new.outcomes(new.captured(keys))
    new_found: Truth = {}
    for key, error in new_before.items():
        if (
            error
            and not (error == old_before.get(key) == new_after[key])
            and (
                _leaves_rows_behind(key, error, old_before)
                or not (_is_of_rows(error) and _is_of_rows(new_after[key]))
            )
        ):
            new_found.setdefault(_action(key), (error, None))
    return old_found, new_found


def _action(key: tuple[str, str]) -> tuple[str, str]:
    """Return an action without the way in which it was done."""
    return key[0], key[1].partition(" ")[0]


def _leaves_rows_behind(
    key: tuple[str, str], error: str, old_before: Mapping[tuple[str, str], str]
) -> bool:
    """Whether it no longer deletes rows that the running release deletes along with its own."""
    return key[1] == "delete" and error == "23503" and old_before.get(key) == ""


def _is_of_rows(error: str) -> bool:
    """Whether the rows of the case are at fault, as they fail on the new schema as well."""
    return (error[:2] in ("22", "23") and error != "23502") or error == "ProtectedError"
