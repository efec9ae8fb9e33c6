"""The printed code on fields of all types, and on tables and columns of any name."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import (
    ArrayField,
    DateRangeField,
    IntegerRangeField,
    RangeOperators,
)
from django.contrib.postgres.indexes import BrinIndex, GinIndex, GistIndex, HashIndex, SpGistIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import connection, connections, models
from django.db.migrations import AddConstraint, AddField, AddIndex, AlterField, CreateModel
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models.functions import Lower

from django_confiture.dry_run.findings.advice.of_operations import SOLVED
from django_confiture.dry_run.results import Report
from django_confiture.dry_run.transaction_rehearsal import transaction_rehearsal
from tests.dry_run.findings.test_advice import _findings, _models, _patient, pasted
from tests.support.dry_run import apply_from, clean_up, fingerprint, migration, plain_connection

ROWS = 11_000
KEY = ("id", models.BigAutoField(primary_key=True))
_Field = Any


def _key(**options: Any) -> _Field:
    return models.ForeignKey("cases.Customer", models.CASCADE, **options)


def _one(**options: Any) -> _Field:
    return models.OneToOneField("cases.Customer", models.CASCADE, **options)


TYPES: dict[str, tuple[Callable[..., _Field], str, Any]] = {
    "text": (models.TextField, "'t' || i", "x"),
    "slug": (models.SlugField, "'t' || i", "x"),
    "email": (models.EmailField, "i || '@example.com'", "x@example.com"),
    "url": (models.URLField, "'http://' || i", "http://x"),
    "decimal": (lambda **o: models.DecimalField(max_digits=9, decimal_places=2, **o), "i", 1),
    "float": (models.FloatField, "i", 1.5),
    "datetime": (models.DateTimeField, "timestamptz '2020-01-01' + i * interval '1 h'", None),
    "duration": (models.DurationField, "i * interval '1 s'", None),
    "uuid": (models.UUIDField, "md5(i::text)::uuid", uuid.UUID(int=1)),
    "json": (models.JSONField, "to_jsonb(i)", dict),
    "array": (lambda **o: ArrayField(models.IntegerField(), **o), "ARRAY[i]", list),
    "binary": (models.BinaryField, "i::text::bytea", b"x"),
    "address": (models.GenericIPAddressField, "inet '10.0.0.0' + i", "9.9.9.9"),
    "positive": (models.PositiveSmallIntegerField, "i", 1),
    "positive big": (models.PositiveBigIntegerField, "i", 1),
    "range": (IntegerRangeField, "int4range(i, i + 1)", None),
    "dates": (DateRangeField, "daterange(date '2020-01-01', date '2020-01-02' + i)", None),
    "search vector": (SearchVectorField, "to_tsvector('t' || i)", None),
    "foreign key": (_key, "i", 1),
    "one to one": (_one, "i", None),
}
NAMES: dict[str, tuple[str | None, str | None]] = {
    "as Django gives them": (None, None),
    "63 bytes": ("cases_" + "o" * 57, "c" * 63),
    "63 bytes, not letters": ("cases_t" + "ö" * 28, "spalte_" + "ü" * 28),
    "quoted": ("cases_The Orders", "New Column"),
    "schema": ('cases_crm"."orders', None),
}


@dataclass(frozen=True)
class _Case:
    """A table with one column more, or without it; and an operation that harms."""

    operation: Operation
    names: str = "as Django gives them"
    column: _Field | None = None
    value: str = "NULL"

    def start(self) -> ProjectState:
        """Make the tables again, with rows."""
        connection.close()
        clean_up("default")
        table = NAMES[self.names][0] or "cases_order"
        column = [("it", self.column)] if self.column else []
        fields = [KEY, ("name", models.TextField()), ("amount", models.IntegerField()), *column]
        base = migration(
            CreateModel("Customer", [KEY, ("name", models.TextField())]),
            CreateModel("Order", fields, {"db_table": table}),
            name="0001_base",
        )
        with connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA IF EXISTS cases_crm CASCADE; CREATE SCHEMA cases_crm")
        state = _applied(ProjectState(), base)
        name = state.apps.get_model("cases", "Order")._meta.get_fields()[-1].column
        of_column = (f', "{name}"', f", {self.value}") if self.column else ("", "")
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO cases_customer (name) SELECT i FROM generate_series(1, %s) i", [ROWS]
            )
            cursor.execute(
                f'INSERT INTO "{table}" (name, amount{of_column[0]})'
                f" SELECT 'n' || i, i{of_column[1]} FROM generate_series(1, %s) i",
                [ROWS],
            )
            cursor.execute(f'ANALYZE cases_customer, "{table}"')
        return state


def _applied(state: ProjectState, each: Migration) -> ProjectState:
    with connection.schema_editor(atomic=each.atomic) as editor:
        return each.apply(state.clone(), editor)


def _rehearsed(state: ProjectState, *plan: Migration) -> Report:
    wrapper = connections["default"]
    rehearsal = transaction_rehearsal(wrapper)
    with _patient():
        apply_from(state, rehearsal, wrapper, plan)
        report = rehearsal.report()
    assert [each.error for each in report.migrations] == [None] * len(plan)
    return report


def _end(state: ProjectState, plan: Sequence[Migration]) -> tuple[dict[str, Any], Any]:
    for each in plan:
        state = _applied(state, each)
    with plain_connection() as observer:
        everything = fingerprint(observer)
        indexes = observer.execute(
            "SELECT pg_get_indexdef(indexrelid), indisvalid FROM pg_index"
            " WHERE indrelid >= 16384 AND indrelid::regclass::text ~ 'cases_'"
        ).fetchall()
    rows = {key: value for key, value in everything.items() if key.startswith("rows of ")}
    parts = {"indexes": indexes, **{n: everything[n] for n in ("columns", "constraints")}}
    return {**{n: sorted(map(str, e)) for n, e in parts.items()}, **rows}, _models(state)


def _of_types() -> Iterator[tuple[str, _Case]]:
    for name, (kind, value, default) in TYPES.items():
        before = kind(null=True)
        if name != "one to one":
            more = {} if name == "foreign key" else {"db_index": True}
            yield f"{name}: required, indexed", _altered(kind(**more), before, value)
            if name != "positive":  # which all rows are not
                yield f"{name}: unique", _altered(kind(null=True, unique=True), before, value)
        if default is not None:
            some = f"CASE WHEN i > 99 THEN {value} END"
            yield f"{name}: filled", _altered(kind(default=default), before, some)
        new = kind(null=True, unique=True) if name != "one to one" else kind(null=True)
        yield f"{name}: new, unique", _Case(AddField("order", "it", new))


def _altered(to: _Field, before: _Field, value: str, names: str = "") -> _Case:
    named = names or "as Django gives them"
    return _Case(AlterField("order", "it", to), named, before, value)


def _of_names() -> Iterator[tuple[str, _Case]]:
    for names, (_table, column) in NAMES.items():
        options: dict[str, Any] = {"db_column": column} if column else {}
        text: Any = models.CharField
        positive: Any = models.PositiveIntegerField
        new = {
            "foreign key": _key(null=True, **options),
            "one to one": _one(null=True, **options),
            "positive": positive(null=True, unique=True, **options),
            "text": text(max_length=9, null=True, db_index=True, **options),
        }
        for name, field in new.items():
            yield f"{names}: new {name}", _Case(AddField("order", "it", field), names)
        before = text(max_length=9, null=True, **options)
        to = text(max_length=9, default="x", db_index=True, **options)
        half = "CASE WHEN i > 99 THEN 'y' END"
        yield f"{names}: filled, indexed", _altered(to, before, half, names)
        to = text(max_length=9, null=True, unique=True, **options)
        yield f"{names}: unique", _altered(to, before, "i", names)
        for name, operation in _of_tables().items():
            yield f"{names}: {name}", _Case(operation, names)


def _of_tables() -> dict[str, Operation]:
    unique = models.UniqueConstraint
    return {
        "index": AddIndex("order", models.Index(fields=["name", "-amount"], name="Cases I")),
        "unique": AddConstraint("order", unique(fields=["name"], name="ü" * 31)),
        "unique expression": AddConstraint("order", unique(Lower("name"), name="u" * 63)),
        "check": AddConstraint(
            "order", models.CheckConstraint(condition=models.Q(amount__gt=0), name="Cases C")
        ),
    }


def _of_indexes() -> Iterator[tuple[str, _Case]]:
    array, spans = ArrayField(models.IntegerField(), null=True), IntegerRangeField(null=True)
    kinds: dict[str, tuple[Any, _Field, str]] = {
        "gin": (GinIndex(fields=["it"], name="cases_i", fastupdate=False), array, "ARRAY[i]"),
        "gist": (
            GistIndex(fields=["it"], name="cases_i", fillfactor=70),
            spans,
            "int4range(1, i)",
        ),
        "spgist": (SpGistIndex(fields=["it"], name="cases_i"), spans, "int4range(i, i + 1)"),
        "brin": (BrinIndex(fields=["amount"], name="cases_i", pages_per_range=4), spans, "NULL"),
        "hash": (HashIndex(fields=["name"], name="cases_i"), spans, "NULL"),
    }
    for name, (index, field, value) in kinds.items():
        yield name, _Case(AddIndex("order", index), column=field, value=value)


CASES = dict([*_of_types(), *_of_names(), *_of_indexes()])
OFTEN = {"63 bytes, not letters: filled, indexed", "schema: new one to one", "array: filled"}
"""The others run with ``make fixes``."""


@pytest.fixture
def clean(both_databases: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield
        connection.close()
        clean_up("default")
        with plain_connection() as observer:
            observer.execute("DROP SCHEMA IF EXISTS cases_crm CASCADE")


@pytest.mark.parametrize(
    "name", [pytest.param(e, marks=[] if e in OFTEN else pytest.mark.fixes) for e in CASES]
)
def test_printed_code_ends_as_the_migration_does(clean: None, name: str) -> None:
    case = CASES[name]
    original = migration(case.operation, name="0002_case")
    state = case.start()
    found = [each for each in _findings(_rehearsed(state, original)) if each.id in SOLVED]
    assert found
    (advice,) = {each.advice for each in found}
    wanted = _end(state, [original])

    state = case.start()
    plan = pasted(advice)
    dangers = [e.id for e in _findings(_rehearsed(state, *plan)) if e.severity == "danger"]
    assert set(dangers) <= {"running-code-breaks"}
    assert _end(state, plan) == wanted


def test_an_exclusion_constraint_has_words_alone(clean: None) -> None:
    excluded = ExclusionConstraint(name="cases_x", expressions=[("it", RangeOperators.OVERLAPS)])
    case = _Case(
        AddConstraint("order", excluded),
        column=IntegerRangeField(null=True),
        value="int4range(i, i + 1)",
    )
    found = _findings(_rehearsed(case.start(), migration(case.operation, name="0002_case")))
    (each,) = (e for e in found if e.id == "exclusion-constraint-builds-index")
    assert all(line.startswith("# ") for line in each.advice.splitlines())
