"""Forecasts against what came of them: what is compared, and what is made of it."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import migrations
from django.utils import timezone

from tests.cases.migrations_on_disk import Cases
from tests.support.history import installed

if TYPE_CHECKING:
    from django_confiture.history.accuracy import Comparison

SQL = "INSERT INTO cases_row SELECT generate_series(1, {})"


def _range(expected: float, **more: Any) -> dict[str, Any]:
    return {
        "low_ms": expected / 2,
        "expected_ms": expected,
        "high_ms": expected * 2,
        "confidence_percent": 80,
        **more,
    }


def _statement(sql: str, expected: float, kind: str = "update") -> dict[str, Any]:
    return {"sql": sql, "estimate": _range(expected, kind=kind, basis=["x"])}


def _migration(name: str, expected: float, *statements: dict[str, Any]) -> dict[str, Any]:
    """Return one of a report's migrations, as its JSON has it."""
    return {
        "app_label": "cases",
        "name": name,
        "direction": "forward",
        "estimate": _range(expected, kind="", basis=["no statistics"]),
        "operations": [{"statements": list(statements)}],
        "statements": [],
    }


def _comparison(kind: str, actual: float, expected: float) -> Comparison:
    from django_confiture.history.accuracy import Comparison

    return Comparison(kind, "x", actual, **_range(expected))


@pytest.fixture
def ran(history: None, cases: Cases) -> Cases:
    """Three migrations that have run: 100 ms as a whole, 40 ms by their statement."""
    cases.add("0001_table", migrations.RunSQL("CREATE TABLE cases_row (id integer)"))
    for number in (2, 3, 4):
        cases.add(f"000{number}_fill", migrations.RunSQL(SQL.format(number)))
    cases.migrate()
    apps.get_model("confiture_history", "MigrationExecution").objects.update(duration_ms=100)
    apps.get_model("confiture_history", "StatementExecution").objects.update(duration_ms=40)
    return cases


def _store(name: str, expected: float, *statements: dict[str, Any], age: int = 1) -> None:
    """Store a forecast as if it had been made before the migration ran."""
    from django_confiture.history.hash_chain import hash_of
    from django_confiture.history.ledger import append_dry_run
    from django_confiture.history.models import DryRun
    from django_confiture.history.stored_forecasts import forecasts_in

    made_at = timezone.now() - timedelta(hours=age)
    row = DryRun(made_at=made_at, database="default", duration_ms=1.0, report_hash=hash_of(""))
    append_dry_run(row, forecasts_in([_migration(name, expected, *statements)]), using="default")


def test_each_run_is_compared_with_the_last_forecast_before_it(ran: Cases) -> None:
    from django_confiture.history.stored_forecasts import observed

    _store("0002_fill", 1000, age=3)
    _store("0002_fill", 80, _statement(SQL.format(99), 10), age=2)
    _store("0002_fill", 1, age=-1)
    _store("0003_fill", 300)
    _store("0009_never_ran", 300)
    found = [(each.kind, each.label, each.ratio, each.inside) for each in observed("default")]
    assert found == [
        ("migration", "cases.0002_fill", 1.25, True),
        ("update", "INSERT INTO cases_row SELECT generate_series(?)", 4.0, False),
        ("migration", "cases.0003_fill", 100 / 300, False),
    ]
    assert observed("other") == []


def test_what_says_nothing(ran: Cases) -> None:
    from django_confiture.history.stored_forecasts import observed

    executions = apps.get_model("confiture_history", "MigrationExecution").objects
    _store("0002_fill", 0)
    _store("0003_fill", 100, _statement("SELECT never", 5))
    _store("0004_fill", 100)
    executions.filter(name="0003_fill").update(attempts=2)
    executions.filter(name="0004_fill").update(outcome="failed")
    assert observed("default") == []


def test_noise(ran: Cases) -> None:
    from django_confiture.history.stored_forecasts import observed

    apps.get_model("confiture_history", "StatementExecution").objects.update(duration_ms=0.5)
    _store("0002_fill", 100, _statement(SQL.format(2), 0.2, "constant"))
    _store("0003_fill", 100, _statement(SQL.format(2), 2, "constant"))
    found = [(each.label, each.ratio) for each in observed("default") if each.kind == "constant"]
    assert [ratio for _, ratio in found] == [0.25]


def test_a_text_that_is_there_twice() -> None:
    with installed():
        from django_confiture.history.accuracy import MigrationForecast

        migration = _migration("x", 9, _statement("SELECT 1", 2), _statement("SELECT  2;", 3))
        migration["statements"] = [_statement("SELECT b", 1), {"sql": "SELECT c", "estimate": None}]
        found = MigrationForecast.of(migration)
        assert found.estimate["basis"] == ["no statistics"]
        assert [
            (each["sql"], each["expected_ms"], each["low_ms"]) for each in found.statements
        ] == [
            ("SELECT ?", 5, 2.5),
            ("SELECT b", 1, 0.5),
        ]


def test_djangos_own_record_and_what_has_no_text_are_left_out() -> None:
    with installed():
        from django_confiture.history.accuracy import MigrationForecast

        migration = _migration(
            "x", 9, _statement("SELECT a", 2), {**_statement("", 1), "sql": None}
        )
        record = 'INSERT INTO "django_migrations" ("app") VALUES ($1)'
        migration["statements"] = [_statement(record, 1)]
        assert [each["sql"] for each in MigrationForecast.of(migration).statements] == ["SELECT a"]


def test_accuracy() -> None:
    with installed():
        from django_confiture.history.accuracy import accuracies

        actual = (50, 90, 100, 120, 400)
        found = accuracies(
            [_comparison("scan", 7, 10), *(_comparison("migration", each, 100) for each in actual)]
        )
        first, second = found
        assert (first.kind, first.count, first.confidence_percent) == ("migration", 5, 80)
        assert first.median_error_percent == pytest.approx(20)
        assert first.inside_percent == 80
        assert (first.spread.median, first.spread.low, first.spread.high) == pytest.approx(
            (1.0, 0.66, 2.88)
        )
        assert (second.kind, second.spread.low, second.spread.median) == ("scan", 0.7, 0.7)


def test_factors(ran: Cases) -> None:
    from django_confiture.history.stored_forecasts import factors

    for number in (2, 3):
        _store(f"000{number}_fill", 100, _statement(SQL.format(number), 20))
    assert factors("default") == {}
    _store("0004_fill", 100, _statement(SQL.format(4), 10))
    ((kind, factor),) = factors("default").items()
    assert (kind, factor.count, factor.median) == ("update", 3, 2.0)
    assert (factor.low, factor.high) == pytest.approx((2.0, 3.6))


# The command.


def run(*args: str, **options: str) -> str:
    out = StringIO()
    told: Any = {**options, "stdout": out, "stderr": StringIO(), "no_color": True}
    call_command("confiture_accuracy", *args, **told)
    return out.getvalue()


def test_text(ran: Cases) -> None:
    _store("0002_fill", 80, _statement(SQL.format(2), 10))
    _store("0003_fill", 300)
    assert run() == (
        "Forecasts for 'default' and what came of them:\n"
        "             count  median error  in range  stated   p10  median   p90\n"
        "  migration      2          46 %      50 %    80 %  0.42    0.79  1.16\n"
        "  update         1         300 %       0 %    80 %  4.00    4.00  4.00\n"
        "p10, median, p90: the actual duration as a multiple of the expected one.\n"
    )


def test_json(ran: Cases) -> None:
    _store("0002_fill", 80)
    found = json.loads(run("--format", "json"))
    problems = found.pop("problems")
    assert problems[-1] == {"number": 4, "message": "row 4 was changed"}  # by the fixture
    assert found == {
        "schema_version": 1,
        "database": "default",
        "kinds": [
            {
                "kind": "migration",
                "count": 1,
                "median_error_percent": 25.0,
                "inside_percent": 100.0,
                "confidence_percent": 80.0,
                "spread": {"median": 1.25, "low": 1.25, "high": 1.25, "count": 1},
            }
        ],
        "comparisons": [
            {
                "kind": "migration",
                "label": "cases.0002_fill",
                "actual_ms": 100.0,
                **_range(80),
                "factor": 1.0,
                "ratio": 1.25,
                "inside": True,
            }
        ],
    }


def test_a_changed_ledger_is_told(ran: Cases) -> None:
    err = StringIO()
    call_command("confiture_accuracy", stdout=StringIO(), stderr=err, no_color=True)
    assert "The ledger was tampered with: row 1 was changed.\n" in err.getvalue()


def test_nothing_to_compare(ran: Cases, tmp_path: Path) -> None:
    assert run() == (
        "Nothing to compare: no migration ran on 'default' after a dry run of it there."
        " For a dry run that was made elsewhere, use --forecast REPORT.json.\n"
    )
    file = tmp_path / "report.json"
    file.write_text(json.dumps({"schema_version": 1, "migrations": [_migration("0009_x", 1)]}))
    assert run("--forecast", str(file)) == (
        f"Nothing to compare: no migration of {file} that has a forecast ran on 'default'.\n"
    )


def test_a_report_from_elsewhere(ran: Cases, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    unfinished = {**_migration("0003_fill", 1), "estimate": None}
    report = {"schema_version": 1, "migrations": [_migration("0002_fill", 50), unfinished]}
    file.write_text(json.dumps(report))
    found = json.loads(run("--forecast", str(file), "--format", "json"))
    assert json.loads(run(forecast=str(file), format="json")) == found
    assert [(each["label"], each["ratio"]) for each in found["comparisons"]] == [
        ("cases.0002_fill", 2.0)
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Cannot read {file}: No such file or directory"),
        (
            "{",
            (
                "{file} is not JSON: Expecting property name enclosed in double quotes: line 1"
                " column 2 (char 1)"
            ),
        ),
        (
            "[]",
            (
                "{file} is not a report of this release; make one with: manage.py migrate_dryrun"
                " --format json --output FILE"
            ),
        ),
        ('{"schema_version": 1}', "{file} is a damaged report: KeyError: 'migrations'"),
        (
            '{"schema_version": 1, "migrations": [1]}',
            ("{file} is a damaged report: AttributeError: 'int' object has no attribute 'get'"),
        ),
    ],
)
def test_a_report_of_no_use(
    history: None, tmp_path: Path, content: str | None, message: str
) -> None:
    file = tmp_path / "report.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CommandError) as caught:
        run("--forecast", str(file))
    assert str(caught.value) == message.format(file=file)
    assert caught.value.returncode == 2


# All of it.


def test_from_a_dry_run_to_its_accuracy(history: None, cases: Cases, tmp_path: Path) -> None:
    cases.add("0001_table", migrations.RunSQL("CREATE TABLE cases_row (id integer)"))
    cases.add("0002_fill", migrations.RunSQL(SQL.format(200_000)))
    cases.add("0003_index", migrations.RunSQL("CREATE INDEX cases_id ON cases_row (id)"))
    file = tmp_path / "report.json"
    call_command("migrate_dryrun", "cases", verbosity=0, format="json", output=file)
    stored = apps.get_model("confiture_history", "Forecast").objects.all()
    assert {each.name for each in stored} == {"0001_table", "0002_fill", "0003_index"}
    assert stored[0].database == "default"
    cases.migrate()
    here, there = (
        json.loads(run("--format", "json", *args)) for args in ([], ["--forecast", str(file)])
    )
    assert here["problems"] == []
    assert {each["label"] for each in here["comparisons"] if each["kind"] == "migration"} == {
        "cases.0001_table",
        "cases.0002_fill",
        "cases.0003_index",
    }
    assert len(here["kinds"]) > 1
    assert [each["label"] for each in here["comparisons"]] == [
        each["label"] for each in there["comparisons"]
    ]


def test_a_run_is_compared_with_the_forecast_of_the_text_that_ran(
    history: None, cases: Cases
) -> None:
    from django_confiture.history.stored_forecasts import observed_runs

    def rehearsed() -> Any:
        call_command("migrate_dryrun", "cases", verbosity=0, stdout=StringIO())
        return apps.get_model("confiture_history", "Forecast").objects.latest("pk")

    cases.add("0001_fill", migrations.RunSQL("SELECT count(*) FROM generate_series(1, 100000)"))
    file = cases.package / "0001_fill.py"
    text = file.read_text()
    expected = rehearsed().estimate["expected_ms"]
    file.write_text(f"{text}# another one\n")
    other = rehearsed()
    other.estimate |= {"expected_ms": expected * 1000}
    other.save()
    file.write_text(text)
    cases.migrate()

    ((_run, compared),) = observed_runs("default")
    assert compared.expected_ms == expected


def test_a_forecast_that_cannot_be_stored(
    transactional_db: None, cases: Cases, tmp_path: Path
) -> None:
    cases.add("0001_empty")
    with installed():
        call_command("migrate_dryrun", "cases", verbosity=0, output=tmp_path / "report")
    assert "would apply" in (tmp_path / "report").read_text()


def test_a_factor_is_that_of_the_model_alone(ran: Cases) -> None:
    """Else a forecast that an earlier factor has put right would take the factor away again."""
    from django_confiture.history.stored_forecasts import factors

    for number in (2, 3, 4):
        corrected = _statement(SQL.format(number), 40)  # it ran for 40 ms
        corrected["estimate"]["factor"] = 2.0
        _store(f"000{number}_fill", 100, corrected)
    assert factors("default")["update"].median == 2.0


def test_the_next_forecast_knows_the_factor(ran: Cases) -> None:
    from django_confiture.history.accuracy import Factor
    from django_confiture.history.past_runs import past_errors

    for number in (2, 3, 4):
        _store(f"000{number}_fill", 100, _statement(SQL.format(number), 10, kind="insert"))
    assert past_errors("default") == {"insert": Factor(4.0, 4.0, 4.0, 3)}
    ran.add("0005_fill", migrations.RunSQL("INSERT INTO cases_row SELECT id FROM cases_row"))
    out = StringIO()
    call_command("migrate_dryrun", "cases", format="json", verbosity=0, stdout=out)
    ((fill,),) = [m["operations"] for m in json.loads(out.getvalue())["migrations"]]
    (estimate,) = [statement["estimate"] for statement in fill["statements"]]
    assert estimate["factor"] == 4.0
    assert (
        "insert: 3 earlier runs on this database took 4 times what was expected"
        in (estimate["basis"])
    )


def test_without_tables_there_are_no_factors(transactional_db: None) -> None:
    from django_confiture.history.past_runs import past_errors

    with installed():
        assert past_errors("default") == {}
    assert past_errors("default") == {}
