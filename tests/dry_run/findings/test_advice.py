"""The code that findings print is run as printed: it ends as the migration does, without harm."""

from __future__ import annotations

import ast
import html
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import combinations
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections, models
from django.db.migrations import AddConstraint, AddField, AddIndex, AlterField, Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.test import override_settings

from django_confiture.dry_run.findings.advice.of_operations import SOLVED
from django_confiture.dry_run.findings.advice.sentences import SENTENCES
from django_confiture.dry_run.migrate import migrate_with
from django_confiture.dry_run.migration_executor import RehearsalExecutor
from django_confiture.dry_run.results import Finding, Report
from django_confiture.dry_run.transaction_rehearsal import transaction_rehearsal
from django_confiture.finding_ids import SEVERITIES
from django_confiture.reports import render
from tests.corpus import CASES
from tests.corpus.case import sql
from tests.corpus.database import MIGRATIONS, PATIENT, corpus, dry_run
from tests.support.dry_run import fingerprint, migration, plain_connection, rehearse

__all__ = ["corpus"]

LONG = "a_column_whose_name_is_so_long_that_postgresql_cuts_constraints"


def pasted(advice: str) -> list[Migration]:
    """Return the migrations of an advice, each class by itself."""
    found: list[Migration] = []
    names: dict[str, Any] = {}
    for node in ast.parse(advice).body:
        exec(compile(ast.Module([node], []), "advice", "exec"), names)
        if isinstance(node, ast.ClassDef):
            found.append(names["Migration"](f"{len(found) + 2:04}_advice", "cases"))
    return found


def _null(**options: Any) -> models.Field[Any, Any]:
    return models.ForeignKey("cases.Customer", models.CASCADE, null=True, **options)


def _of(field: str, to: models.Field[Any, Any], model: str = "order") -> AlterField:
    return AlterField(model, field, to)


def _add(to: models.Field[Any, Any], name: str = "new") -> AddField:
    return AddField("order", name, to)


OPERATIONS: dict[str, Operation] = {
    "index": AddIndex("order", models.Index(fields=["total", "-id"], name="cases_total")),
    "index with everything": AddIndex(
        "order",
        models.Index(
            models.F("total").desc(), condition=models.Q(total__gt=3), include=["price"],
            name="cases_total_all"),
    ),
    "check": AddConstraint(
        "order", models.CheckConstraint(condition=models.Q(total__gte=0), name="cases_sane")
    ),
    "unique": AddConstraint("order", models.UniqueConstraint(fields=["number"], name="cases_u")),
    "unique, NULLs not distinct": AddConstraint(
        "order", models.UniqueConstraint(fields=["number"], nulls_distinct=False, name="cases_u")
    ),
    "unique, deferrable": AddConstraint(
        "order",
        models.UniqueConstraint(
            fields=["number"], deferrable=models.Deferrable.DEFERRED, name="Cases U"),
    ),
    "unique index": AddConstraint(
        "order",
        models.UniqueConstraint(
            fields=["number"], condition=models.Q(total__gt=1), include=["price"], name="cases_u"),
    ),
    "foreign key": _add(_null()),
    "foreign key, long and quoted": _add(_null(db_column="New Key"), LONG),
    "foreign key with a default": _add(
        models.ForeignKey("cases.Customer", models.CASCADE, default=7)
    ),
    "one to one": _add(models.OneToOneField("cases.Customer", models.CASCADE, null=True)),
    "positive": _add(models.PositiveIntegerField(null=True)),
    "positive, indexed, unique, long": _add(
        models.PositiveIntegerField(null=True, unique=True, db_column=LONG)
    ),
    "text with its like index": _add(models.CharField(max_length=9, null=True, db_index=True)),
    "db_index": _of("number", models.CharField(max_length=20, db_index=True)),
    "unique=True": _of("number", models.CharField(max_length=20, unique=True)),
    "an index that is dropped": _of("code", models.CharField(max_length=20, unique=True)),
    "not null": _of("currency", models.CharField(max_length=3)),
    "not null, filled": _of("note", models.TextField(default="it's 100 %")),
    "not null, filled by the database": _of("note", models.TextField(db_default="it's 100 %")),
    "not null, filled by the database, not by Django": _of(
        "note", models.TextField(default="x", db_default="y", db_comment="it IS 'new'")
    ),
    "longer and indexed": _of("number", models.CharField(max_length=40, db_index=True)),
    "longer and not null": _of("currency", models.CharField(max_length=9)),
    "not null, filled, indexed": _of("note", models.TextField(default="none", db_index=True)),
}  # fmt: skip
"""Operations that harm, whose findings print code."""

IN_WORDS: dict[str, Operation] = {
    "type": _of("total", models.BigIntegerField()),
    "type and index": _of("total", models.BigIntegerField(db_index=True)),
    "type and NOT NULL": _of("currency", models.CharField(max_length=3, db_collation="C")),
    "type and CHECK": _of("total", models.PositiveBigIntegerField()),
    "type, default, and NOT NULL": _of("note", models.BinaryField(default=b"")),
    "shorter type, default, and NOT NULL": _of("note", models.CharField(max_length=5, default="")),
    "a value of a function": _of("note", models.TextField(default=lambda: "x")),
}
"""Operations that harm, for which no recipe covers all that they do."""


def _findings(report: Report) -> list[Finding]:
    return [each for result in report.migrations for each in result.findings]


def _patient() -> Any:
    return override_settings(CONFITURE={"MIGRATE": {"LOCK_TIMEOUT": "9s"}, "DRY_RUN": PATIENT})


def _code(operation: Operation) -> str:
    with _patient():
        found = [each for each in _findings(rehearse(migration(operation))) if each.id in SOLVED]
    assert found
    (advice,) = {each.advice for each in found}
    return advice


def _end(plan: Sequence[Migration]) -> tuple[dict[str, Any], ProjectState]:
    """Migrate for real, read everything, and go back: the schema before must be there again."""
    with override_settings(MIGRATION_MODULES=MIGRATIONS):
        states = [MigrationExecutor(connection).loader.project_state(("cases", "0001_base"))]
    before = _schema()
    for each in plan:
        with connection.schema_editor(atomic=each.atomic) as editor:
            states.append(each.apply(states[-1].clone(), editor))
    with plain_connection() as observer:
        rows = {k: v for k, v in fingerprint(observer).items() if k.startswith("rows of public.c")}
    found = {**_schema(), **rows}
    for each, state in reversed([*zip(plan, states, strict=False)]):
        with connection.schema_editor(atomic=each.atomic) as editor:
            each.unapply(state.clone(), editor)
    assert _schema() == before
    with plain_connection() as observer:
        observer.execute("UPDATE cases_order SET note = NULL")
    return found, states[-1]


def _schema() -> dict[str, list[str]]:
    """Return the columns, constraints and indexes of the cases, whatever their order."""
    with plain_connection() as observer:
        everything = fingerprint(observer)
        indexes = observer.execute(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid,"
            " indisunique FROM pg_index WHERE indrelid::regclass::text ~ '^cases_'"
        ).fetchall()
    found = {"columns": everything["columns"], "constraints": everything["constraints"]}
    return {name: sorted(map(str, rows)) for name, rows in {**found, "indexes": indexes}.items()}


def _models(state: ProjectState) -> list[Any]:
    """Return the models as the autodetector compares them."""
    return [
        (key, {n: str(f.deconstruct()[1:]) for n, f in model.fields.items()}, str(model.options))
        for key, model in sorted(state.models.items())
    ]


@pytest.mark.parametrize("name", OPERATIONS)
def test_printed_code_ends_as_the_migration_does(corpus: None, name: str) -> None:
    plan = pasted(_code(OPERATIONS[name]))
    wanted, wanted_state = _end([migration(OPERATIONS[name])])

    found, state = _end(plan)

    assert found == wanted
    assert _models(state) == _models(wanted_state)


@pytest.mark.parametrize("name", OPERATIONS)
def test_printed_code_blocks_no_other_session(corpus: None, name: str) -> None:
    plan = pasted(_code(OPERATIONS[name]))
    with _patient():
        report = rehearse(*plan)
    assert [each.error for each in report.migrations] == [None] * len(plan)
    left = {each.id for each in _findings(report) if each.severity == "danger"}
    assert left <= {"running-code-breaks"}  # code that runs leaves the new column out


CHANGES: dict[str, dict[str, Any]] = {
    "NOT NULL": {"null": False},
    "index": {"db_index": True},
    "unique": {"unique": True},
    "default": {"default": "x"},
    "database default": {"db_default": "y"},
    "length": {"max_length": 4},
    "comment": {"db_comment": "of the order"},
    "column": {"db_column": "Renamed"},
}
SLOW = {"NOT NULL", "index", "unique"}
PAIRS = [pair for pair in combinations(CHANGES, 2) if SLOW & {*pair}]


ADDED_WITH_CODE = {
    ("index", "unique"),
    ("index", "default"),
    ("index", "database default"),
    ("index", "length"),
    ("index", "comment"),
    ("index", "column"),
    ("unique", "length"),
    ("unique", "comment"),
    ("unique", "column"),
}
ALTERED_WITH_CODE = {
    ("NOT NULL", "index"),
    ("NOT NULL", "default"),
    ("NOT NULL", "database default"),
    ("NOT NULL", "length"),
    ("NOT NULL", "comment"),
    ("index", "unique"),
    ("index", "default"),
    ("index", "database default"),
    ("index", "length"),
    ("index", "comment"),
    ("unique", "default"),
    ("unique", "database default"),
    ("unique", "length"),
    ("unique", "comment"),
}
"""Of the others, some harm no one, some fail on these rows, and some get words."""
OFTEN = {("NOT NULL", "index"), ("NOT NULL", "default"), ("index", "unique"), ("unique", "column")}
"""The others run with ``make fixes``."""


def _changed(pair: tuple[str, str], *, adds: bool) -> Operation:
    options = {"max_length": 3, "null": True, **CHANGES[pair[0]], **CHANGES[pair[1]]}
    field = models.CharField(**options)
    return _add(field) if adds else _of("currency", field)


@contextmanager
def _currencies(value: str | None) -> Iterator[None]:
    """Have one currency in all orders; at the end they are as the other tests count on."""
    change = "UPDATE cases_order SET currency = %s WHERE currency IS DISTINCT FROM %s"
    with plain_connection() as observer:
        observer.execute(change, [value, value])
        try:
            yield
        finally:
            observer.execute(change, ["EUR", "EUR"])


@pytest.fixture
def filled(corpus: None, pair: tuple[str, str]) -> Iterator[None]:
    with _currencies(None if "unique" in pair else "EUR"):
        yield


@pytest.mark.parametrize("adds", [True, False], ids=["add", "alter"])
@pytest.mark.parametrize(
    "pair",
    [pytest.param(e, marks=[] if e in OFTEN else pytest.mark.fixes) for e in PAIRS],
    ids=" and ".join,
)
def test_two_changes_of_one_field(filled: None, pair: tuple[str, str], *, adds: bool) -> None:
    operation = _changed(pair, adds=adds)
    with _patient():
        report = rehearse(migration(operation))
    found = [each for each in _findings(report) if each.id in SOLVED]
    code = {each.advice for each in found if not each.advice.startswith("#")}
    assert len(code) == (pair in (ADDED_WITH_CODE if adds else ALTERED_WITH_CODE))
    for advice in code:
        assert _end(pasted(advice))[0] == _end([migration(operation)])[0]


@pytest.mark.parametrize("output", ["text", "json", "markdown", "html"])
def test_every_format_prints_the_code_as_it_is(corpus: None, output: str) -> None:
    operation = OPERATIONS["foreign key, long and quoted"]
    with _patient():
        report = rehearse(migration(operation))
    printed = render(report, output, verbosity=2)
    (advice,) = {each.advice for each in _findings(report) if each.id in SOLVED}
    if output == "json":
        assert advice in [
            each["advice"] for each in json.loads(printed)["migrations"][0]["findings"]
        ]
    else:
        lines = html.unescape(printed).splitlines()
        code = [line for line in advice.splitlines() if line]
        assert {line.strip() for line in code} <= {line.strip() for line in lines}


@pytest.mark.parametrize("name", IN_WORDS)
def test_what_no_recipe_covers_is_said_in_words(corpus: None, name: str) -> None:
    with _patient():
        found = _findings(rehearse(migration(IN_WORDS[name])))
    assert [each for each in found if each.severity == "danger"]
    for each in found:
        assert all(line.startswith("# ") for line in each.advice.splitlines())


def test_each_finding_has_its_words() -> None:
    assert SENTENCES.keys() == SEVERITIES.keys() - {"running-code-breaks"}


def test_partitioned_tables_get_no_code_that_postgresql_refuses(corpus: None) -> None:
    found = _findings(rehearse(migration(*sql("CREATE INDEX ON cases_event (kind)"))))
    (index,) = (each for each in found if each.id == "index-build-blocks-writes")
    assert "ON ONLY" in index.advice
    assert index.advice.startswith("#")


def test_backwards_only_what_was_measured(corpus: None) -> None:
    rehearsal = transaction_rehearsal(connections["default"])
    with rehearsal.open(), override_settings(MIGRATION_MODULES=MIGRATIONS):
        executor = partial(RehearsalExecutor, rehearsal)
        migrate_with(executor, using="default", target=("cases", "zero"))
    (result,) = rehearsal.report().migrations
    assert result.direction == "backward"
    assert result.findings
    assert {each.basis for each in result.findings} == {"measured"}


def test_a_hook_around_the_operations_is_seen(corpus: None) -> None:
    phases = {"AFTER_DDL": [{"HOOK": "tests.corpus.python_code.FillOrders"}]}
    settings = {
        "MIGRATE": {"LOCK_TIMEOUT": "2s"},
        "PHASES": phases,
        "TEST_DATABASES": True,
        "DRY_RUN": PATIENT,
    }
    made = type("Migration", (Migration,), {"operations": []})("0002_hooked", "cases")
    with override_settings(CONFITURE=settings):
        (result,) = rehearse(made).migrations
    (found,) = result.findings
    assert (found.id, found.relation) == ("backfill-in-one-transaction", "cases_order")
    assert found.operation is None


def test_a_lock_timeout_of_the_connection_is_enough(corpus: None) -> None:
    (case,) = (each for each in CASES if each.name == "no_lock_timeout")
    with connections["default"].cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")
        try:
            (result,) = dry_run(case).migrations
        finally:
            cursor.execute("RESET lock_timeout")
    assert result.findings == ()


def test_a_dry_run_without_findings_says_nothing(corpus: None, capsys: Any) -> None:
    with override_settings(MIGRATION_MODULES=MIGRATIONS):
        call_command("migrate_dryrun", "cases", verbosity=0)
    assert "Findings" not in capsys.readouterr().out
