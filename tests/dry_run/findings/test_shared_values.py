"""``same-value-for-all-rows``: what it is told by, what it leaves alone, and its printed code."""

from __future__ import annotations

import random
import secrets
import uuid
from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Any

import pytest
from django.contrib.postgres.functions import RandomUUID
from django.db import connection, models
from django.db.migrations import (
    AddField,
    CreateModel,
    Migration,
    SeparateDatabaseAndState,
)
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations.base import Operation
from django.test import override_settings
from django.utils import timezone
from django.utils.crypto import get_random_string

from django_confiture.dry_run.findings.made_up_values import returns_its_own
from django_confiture.dry_run.results import Finding
from django_confiture.dry_run.schema_check.check import check_schema
from django_confiture.dry_run.server.side_channel import Session
from tests.corpus.case import sql
from tests.corpus.database import MIGRATIONS, corpus
from tests.dry_run.findings.test_advice import _findings, _models, _patient, _schema, pasted
from tests.support.dry_run import migration, rehearse

__all__ = ["corpus"]

ID = "same-value-for-all-rows"
TENANT = uuid.UUID(int=7)


def token() -> str:
    return secrets.token_hex(8)


def token_by_another() -> str:
    return f"t-{token()}"


def imported_inside() -> str:
    import uuid as made

    return made.uuid4().hex


def nothing_of_its_own() -> uuid.UUID:
    return TENANT


def of_a_name() -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_DNS, "example.com")


def attribute_called_like_a_module() -> Any:
    return connection.settings_dict.uuid4.random  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("function", "own"),
    [
        (uuid.uuid4, True),
        (uuid.uuid1, True),
        (random.random, True),
        (partial(random.randint, 1, 9), True),
        (secrets.token_urlsafe, True),
        (get_random_string, True),
        (token, True),
        (token_by_another, True),
        (lambda: token_by_another().upper(), True),
        (imported_inside, True),
        (nothing_of_its_own, False),
        (of_a_name, False),
        (attribute_called_like_a_module, False),
        (partial(uuid.uuid5, uuid.NAMESPACE_DNS, "example.com"), False),
        (timezone.now, False),
        (date.today, False),
        (dict, False),
        (list, False),
        (str, False),
    ],
)
def test_a_function_is_told_by_what_it_calls(function: Callable[[], object], *, own: bool) -> None:
    assert returns_its_own(function) == own


def _add(field: models.Field[Any, Any], model: str = "order") -> AddField:
    return AddField(model, "token", field)


def found(*plan: Migration) -> list[Finding]:
    with _patient():
        return [each for each in _findings(rehearse(*plan)) if each.id == ID]


def test_all_rows_have_one_value(corpus: None) -> None:
    (each,) = found(migration(_add(models.UUIDField(default=uuid.uuid4))))
    assert (each.severity, each.basis, each.relation) == ("warning", "measured", "cases_order")
    assert each.message == "All rows of cases_order get one value of uuid4() in token"
    assert each.evidence == ("100 rows of those that were looked at have it",)


def test_a_unique_column_fails_for_it(corpus: None) -> None:
    (each,) = found(migration(_add(models.UUIDField(default=uuid.uuid4, unique=True))))
    assert each.severity == "danger"
    assert each.message.endswith("get one value of uuid4() in token, which has to be unique")
    (evidence,) = each.evidence
    assert evidence.startswith("UniqueViolation: could not create unique index")


def test_a_unique_text_has_words(corpus: None) -> None:
    field = models.CharField(max_length=20, default=token, unique=True)
    (each,) = found(migration(_add(field)))
    assert each.severity == "danger"
    assert all(line.startswith("# ") for line in each.advice.splitlines())


def test_the_database_has_it_before_the_models(corpus: None) -> None:
    operation = _add(models.UUIDField(default=uuid.uuid4))
    (each,) = found(migration(SeparateDatabaseAndState([operation], [operation])))
    assert each.advice.splitlines()[-1] == (
        "# There is no code for the whole operation: "
        "the database has the field before the models do."
    )


NULLABLE = models.UUIDField(default=uuid.uuid4, null=True)

FILL: list[Operation] = [*sql("UPDATE cases_order SET token = gen_random_uuid()")]
NEW = CreateModel("New", [("id", models.BigAutoField(primary_key=True))])
EMPTIED: list[Operation] = [*sql("DELETE FROM cases_line")]
LEFT_ALONE: dict[str, list[list[Operation]]] = {
    "a time": [[_add(models.DateTimeField(default=timezone.now))]],
    "a constant": [[_add(models.UUIDField(default=TENANT))]],
    "a function that returns a constant": [[_add(models.UUIDField(default=nothing_of_its_own))]],
    "the database's own": [[_add(models.UUIDField(db_default=RandomUUID()))]],
    "a table without rows": [EMPTIED, [_add(models.UUIDField(default=uuid.uuid4), "line")]],
    "a table of the plan": [[NEW, _add(models.UUIDField(default=uuid.uuid4), "new")]],
    "filled in the same migration": [[_add(NULLABLE), *FILL]],
    "filled in a later migration": [[_add(NULLABLE)], FILL],
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_is_left_alone(corpus: None, name: str) -> None:
    steps = LEFT_ALONE[name]
    plan = [migration(*each, name=f"{n:04}_x") for n, each in enumerate(steps, 2)]
    assert found(*plan) == []


PRINTED: dict[str, models.Field[Any, Any]] = {
    "nullable": models.UUIDField(default=uuid.uuid4, null=True),
    "required": models.UUIDField(default=uuid.uuid4, editable=False),
    "unique": models.UUIDField(default=uuid.uuid4, unique=True, db_column="The Token"),
    "token": models.CharField(max_length=20, default=token, db_index=True),
}


@pytest.mark.parametrize(
    "name", [pytest.param(e, marks=[] if e == "unique" else pytest.mark.fixes) for e in PRINTED]
)
def test_printed_code_gives_each_row_its_own(corpus: None, name: str) -> None:
    model_name = "customer" if name == "required" else "tag"  # more than one batch, or less
    operation = _add(PRINTED[name], model_name)
    (advice,) = {each.advice for each in found(migration(operation))}
    plan = pasted(advice)
    with _patient():
        report = rehearse(*plan)
    assert [each.error for each in report.migrations] == [None] * len(plan)
    left = {each.id for each in _findings(report) if each.severity == "danger" or each.id == ID}
    assert left <= {"running-code-breaks"}
    with override_settings(MIGRATION_MODULES=MIGRATIONS):
        start = MigrationExecutor(connection).loader.project_state(("cases", "0001_base"))
    wanted = start.clone()
    operation.state_forwards("cases", wanted)
    before = _schema()
    states = [start]
    for each in plan:
        with connection.schema_editor(atomic=each.atomic) as editor:
            states.append(each.apply(states[-1].clone(), editor))
    assert _models(states[-1]) == _models(wanted)
    model = states[-1].apps.get_model("cases", model_name)
    assert model.objects.values("token").distinct().count() == model.objects.count()
    session = Session(connection.connection)
    with session.undone():
        checked = check_schema(session, connection, states[-1].apps, tables={f"cases_{model_name}"})
    assert checked.not_compared == {}
    assert [each for each in checked.differences if "oken" in each.sentence] == []
    for each, state in reversed([*zip(plan, states, strict=False)]):
        with connection.schema_editor(atomic=each.atomic) as editor:
            each.unapply(state.clone(), editor)
    assert _schema() == before
