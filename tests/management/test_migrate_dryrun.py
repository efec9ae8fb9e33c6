"""The command: the plan and the messages of ``migrate``, exit codes, where the report goes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import connection, connections, models
from django.db.migrations import AddField, CreateModel, RenameModel, RunPython
from django.db.models.signals import post_migrate, pre_migrate
from django.dispatch import Signal
from django.test.utils import override_settings

from django_confiture import signals
from django_confiture.dry_run.results import Report
from tests.cases.migrations_on_disk import Cases, query, table_exists
from tests.support.clone import alone
from tests.support.dry_run import python, runs
from tests.support.published_schema import errors

ID = ("id", models.BigAutoField(primary_key=True))
THING = CreateModel("Thing", [ID])
NUMBER = AddField("thing", "number", models.IntegerField(null=True))


class Ran(NamedTuple):
    """How the command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        assert errors(document) == []
        return document


def dry_run(*args: str, **options: Any) -> Ran:
    """Run the command as ``manage.py`` does."""
    out, err = StringIO(), StringIO()
    try:
        call_command("migrate_dryrun", *args, stdout=out, stderr=err, no_color=True, **options)
    except CommandError as error:
        return Ran(error.returncode, out.getvalue(), f"{err.getvalue()}CommandError: {error}")
    except SystemExit as error:
        return Ran(int(error.code or 0), out.getvalue(), err.getvalue())
    return Ran(0, out.getvalue(), err.getvalue())


def in_json(*args: str, code: int = 0) -> dict[str, Any]:
    ran = dry_run(*args, "--format", "json")
    assert ran.code == code, ran
    return ran.json


def plan(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(m["name"], m["direction"], m["outcome"]) for m in document["migrations"]]


@contextmanager
def connected(signal: Signal, receiver: Callable[..., None]) -> Iterator[None]:
    signal.connect(receiver, sender=apps.get_app_config("cases"), weak=False)
    try:
        yield
    finally:
        signal.disconnect(receiver, sender=apps.get_app_config("cases"))


@pytest.fixture
def two(cases: Cases) -> Cases:
    cases.add("0001_thing", THING)
    cases.add("0002_number", NUMBER)
    return cases


# The plan.


def test_everything_that_is_pending(two: Cases) -> None:
    document = in_json()

    assert plan(document) == [
        ("0001_thing", "forward", "passed"),
        ("0002_number", "forward", "passed"),
    ]
    assert document["outcome"] == "passed"
    assert not table_exists("cases_thing")
    assert two.applied() == set()


def test_up_to_a_migration(two: Cases) -> None:
    assert plan(in_json("cases", "0001")) == [("0001_thing", "forward", "passed")]


def test_what_is_applied_is_left_out(two: Cases) -> None:
    two.migrate("0001")

    assert plan(in_json("cases")) == [("0002_number", "forward", "passed")]


def test_backwards(two: Cases) -> None:
    two.migrate()

    assert plan(in_json("cases", "0001")) == [("0002_number", "backward", "passed")]
    assert plan(in_json("cases", "zero")) == [
        ("0002_number", "backward", "passed"),
        ("0001_thing", "backward", "passed"),
    ]
    assert two.applied() == {"0001_thing", "0002_number"}


def test_backwards_where_there_is_no_way_back(cases: Cases) -> None:
    cases.add("0001_thing", RunPython(RunPython.noop))
    cases.migrate()

    document = in_json("cases", "zero", code=1)

    assert plan(document) == [("0001_thing", "backward", "failed")]
    assert document["migrations"][0]["error"]["type"] == "IrreversibleError"


def test_no_pending_migrations(cases: Cases) -> None:
    assert dry_run() == Ran(0, "No migration is pending: nothing to rehearse.\n", "")
    assert in_json()["migrations"] == []


def test_the_plan_is_the_same_on_a_second_run(two: Cases) -> None:
    assert plan(in_json()) == plan(in_json())


def test_a_replacing_migration(cases: Cases) -> None:
    cases.add("0001_thing", THING)
    cases.add("0002_number", NUMBER)
    cases.write(
        "0001_squashed_0002_number",
        "from django.db import migrations\n"
        "class Migration(migrations.Migration):\n"
        "    replaces = [('cases', '0001_thing'), ('cases', '0002_number')]\n"
        "    operations = []\n",
    )

    assert plan(in_json()) == [("0001_squashed_0002_number", "forward", "passed")]


# The messages of migrate.


@pytest.mark.parametrize(
    "arguments",
    [
        ["no_such_app"],
        ["postgres"],
        ["cases", "0003"],
        ["cases", "no_such_migration"],
        ["cases", "000"],
    ],
    ids=["unknown app", "app without migrations", "unknown", "unknown name", "ambiguous"],
)
def test_what_migrate_refuses_is_refused_in_its_words(two: Cases, arguments: list[str]) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("migrate", *arguments, verbosity=0)

    ran = dry_run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"CommandError: {refused.value}")  # a hint may follow


def test_conflicting_migrations_are_refused_in_the_words_of_migrate(cases: Cases) -> None:
    cases.add("0001_thing", THING)
    cases.names = []
    cases.add("0001_other", NUMBER)
    with pytest.raises(CommandError) as refused:
        call_command("migrate", verbosity=0)

    assert "Conflicting migrations detected" in str(refused.value)
    assert dry_run() == Ran(2, "", f"CommandError: {refused.value}")


def test_an_inconsistent_history_is_one_line(two: Cases) -> None:
    two.migrate()
    query("DELETE FROM django_migrations WHERE name = '0001_thing' RETURNING 1")

    ran = dry_run()

    assert ran.code != 0
    assert (
        "Migration cases.0002_number is applied before its dependency cases.0001_thing"
        in " ".join((ran.out + ran.err).split())
    )
    assert "Traceback" not in ran.out + ran.err


# Exit codes.


def test_a_migration_that_would_fail(cases: Cases) -> None:
    cases.add("0001_fails", runs("SELECT 1 / 0"))
    cases.add("0002_never", THING)

    ran = dry_run()
    document = in_json(code=1)

    assert ran.code == 1
    assert "DivisionByZero: division by zero" in " ".join(ran.out.split())
    assert "Traceback" not in ran.out + ran.err
    assert plan(document) == [
        ("0001_fails", "forward", "failed"),
        ("0002_never", "forward", "not_run"),
    ]
    assert document["outcome"] == "failed"


def test_a_migration_that_refuses_itself(cases: Cases) -> None:
    """Some data migrations raise CommandError, which is no usage error of ours."""

    def refuse() -> None:
        raise CommandError("fill in the e-mail addresses first")

    cases.add("0001_refuses", python(refuse))

    assert dry_run().code == 1
    assert "fill in the e-mail addresses first" in dry_run().out


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (0, "exit code 0, so that whatever called it takes it for done"),
        (None, "exit code 0, so that whatever called it takes it for done"),
        (3, "exit code 3"),
        (-1, "exit code 255"),
        ("set X first", "exit code 1: set X first"),
    ],
)
@pytest.mark.parametrize("way", [(), ("--clone",)], ids=["transaction", "clone"])
def test_a_migration_that_exits_ends_migrate_so_and_is_not_applied(
    cases: Cases, way: tuple[str, ...], code: int | str | None, message: str
) -> None:
    cases.add("0001_exits", THING, python(lambda: sys.exit(code)))
    cases.add("0002_number", NUMBER)

    with alone():
        document = in_json(*way, code=1)

    assert plan(document) == [
        ("0001_exits", "forward", "failed"),
        ("0002_number", "forward", "not_run"),
    ]
    error = document["migrations"][0]["error"]
    assert error["type"] == "SystemExit"
    assert error["message"] == f"migrate would end here with {message}"
    with pytest.raises(SystemExit) as ended:
        cases.migrate()
    assert ended.value.code == code
    assert not table_exists("cases_thing")
    assert connection.autocommit


def test_the_way_back_exits(cases: Cases) -> None:
    cases.add("0001_exits", RunPython(RunPython.noop, lambda *_: sys.exit(3)))

    document = in_json("--reverse", code=1)

    assert document["reverse"]["outcome"] == "failed"
    assert document["reverse"]["error"]["message"] == "migrate would end here with exit code 3"


def test_a_database_of_another_kind(cases: Cases, tmp_path: Path) -> None:
    connections.databases["lite"] = {
        **connections.databases["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "lite"),
        "OPTIONS": {},
    }
    try:
        ran = dry_run("--database", "lite")
    finally:
        del connections["lite"], connections.databases["lite"]

    message = (
        "The database 'lite' is SQLite; a dry run needs PostgreSQL. "
        "Choose another alias: 'default', 'other'."
    )
    assert ran == Ran(2, "", f"CommandError: {message}")


def test_a_setting_that_is_no_duration(two: Cases) -> None:
    with override_settings(CONFITURE={"DRY_RUN": {"LOCK_TIMEOUT": "soon"}}):
        ran = dry_run(skip_checks=True)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        'CommandError: CONFITURE["DRY_RUN"]["LOCK_TIMEOUT"] is \'soon\', which is not a duration; '
        'write a number and a unit, such as "500ms", "2s" or "5min".'
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"PHASES": {"NOPE": []}}, "there is no such phase"),
        ({"PHASES": {"CLEANUP": ["missing"]}}, "no hook is registered as 'missing'"),
        ({"DRY_RUN": {"YIELD_AFTER": f"{'9' * 400}d"}}, "is not a duration of less than 100 years"),
    ],
)
def test_a_setting_that_is_wrong(two: Cases, given: Any, message: str) -> None:
    with override_settings(CONFITURE=given):
        ran = dry_run(skip_checks=True)

    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert ran.err.count("CommandError") == 1


def test_a_system_check_that_fails(two: Cases) -> None:
    with override_settings(CONFITURE={"PHASES": {"CLEANUP": ["missing"]}}):
        ran = dry_run(skip_checks=False)

    assert (ran.code, ran.out) == (2, "")
    assert "SystemCheckError: System check identified some issues" in ran.err
    assert "(confiture.E007)" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-blocking", "99999999999999999999d"], "is not a duration of less than 100 years"),
        (["--max-wal", f"{'9' * 400}TB"], "is not a size that PostgreSQL knows"),
    ],
)
def test_a_flag_that_is_too_large(two: Cases, arguments: list[str], message: str) -> None:
    ran = dry_run(*arguments)

    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert len(ran.err) < 250


# Signals.


def test_both_signals_are_sent_with_the_plan(two: Cases) -> None:
    sent = []

    def before(*, plan: Any, using: str, **_: object) -> None:
        sent.append(("pre", using, [(migration.name, backwards) for migration, backwards in plan]))

    def after(*, plan: Any, using: str, **_: object) -> None:
        sent.append(("post", using, [(migration.name, backwards) for migration, backwards in plan]))

    with connected(pre_migrate, before), connected(post_migrate, after):
        in_json()

    steps = [("0001_thing", False), ("0002_number", False)]
    assert sent == [("pre", "default", steps), ("post", "default", steps)]


@pytest.mark.parametrize("signal", [pre_migrate, post_migrate], ids=["pre", "post"])
def test_a_receiver_that_fails(two: Cases, signal: Signal) -> None:
    def receiver(**_: object) -> None:
        raise ValueError("receiver failed")

    with connected(signal, receiver):
        ran = dry_run()
        document = in_json(code=1)

    assert ran.code == 1
    assert "receiver failed" in ran.out
    assert "Traceback" not in ran.out + ran.err
    assert document["error"]["type"] == "ValueError"
    assert document["outcome"] == "failed"
    assert not table_exists("cases_thing")


def test_content_types_are_renamed_in_the_rehearsal(cases: Cases) -> None:
    """Django's own receiver of pre_migrate adds an operation to the plan."""
    cases.add("0001_thing", THING)
    cases.add("0002_rename", RenameModel("Thing", "Item"))
    cases.migrate("0001")
    ContentType.objects.get_or_create(app_label="cases", model="thing")

    operations = in_json()["migrations"][0]["operations"]

    assert [operation["name"] for operation in operations] == ["RenameModel", "RenameContentType"]
    assert any("django_content_type" in s["sql"] for s in operations[1]["statements"])
    assert ContentType.objects.filter(app_label="cases", model="thing").exists()


def test_the_report_is_sent_to_receivers_whose_failure_harms_nothing(two: Cases) -> None:
    reports: list[Report] = []

    def receiver(*, report: Report, using: str, **_: object) -> None:
        reports.append(report)
        raise ValueError(using)

    signals.dry_run_finished.connect(receiver)
    try:
        assert dry_run().code == 0
    finally:
        signals.dry_run_finished.disconnect(receiver)
    assert [len(report.migrations) for report in reports] == [2]


# Where the report goes.


def test_only_the_report_is_on_standard_output(
    cases: Cases, capsys: pytest.CaptureFixture[str]
) -> None:
    cases.add("0001_prints", python(lambda: print("noise")))  # noqa: T201

    try:
        call_command("migrate_dryrun", "--format", "json")
    finally:
        out, err = capsys.readouterr()

    assert json.loads(out)["outcome"] == "passed"
    assert "noise" in err
    before, _colon, rest = err.partition("Rehearsing")
    assert before.startswith("Before the first migration:")
    assert rest.split() == ["cases.0001_prints...noise", "passed"]


def test_quietly(two: Cases) -> None:
    ran = dry_run(verbosity=0)

    assert ran.err == ""
    assert "cases.0001_thing" in ran.out


def test_statements_with_verbosity_2(two: Cases) -> None:
    assert 'CREATE TABLE "cases_thing"' in dry_run(verbosity=2).out
    assert 'CREATE TABLE "cases_thing"' not in dry_run().out


@pytest.mark.parametrize("output_format", ["text", "json"])
def test_output_to_a_file(two: Cases, tmp_path: Path, output_format: str) -> None:
    path = tmp_path / "report"

    ran = dry_run("--format", output_format, "--output", str(path))

    assert (ran.code, ran.out) == (0, "")
    assert ran.err.endswith(f"Report written to {path}.\n")
    assert "cases_thing" in path.read_text() or "cases.0001_thing" in path.read_text()
    assert "\x1b" not in path.read_text()


def test_output_to_a_file_that_a_keyword_names(two: Cases, tmp_path: Path) -> None:
    assert dry_run(output=str(tmp_path / "report.txt")).code == 0
    assert (tmp_path / "report.txt").read_text().startswith("Dry run of")


def test_output_into_a_directory_that_is_not_there(two: Cases, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "report"

    ran = dry_run("--output", str(path))

    message = f"--output {path}: there is no directory {path.parent}."
    assert ran == Ran(2, "", f"CommandError: {message}")


def test_output_that_cannot_be_written(two: Cases, tmp_path: Path) -> None:
    ran = dry_run("--output", str(tmp_path))

    assert (ran.code, ran.out) == (2, "")
    assert f"{tmp_path}" in ran.err
    assert "Traceback" not in ran.err


def test_output_where_nothing_is_pending_is_written_all_the_same(
    cases: Cases, tmp_path: Path
) -> None:
    """A pipeline that reads the file must find one."""
    path = tmp_path / "report"

    dry_run("--output", str(path))

    assert path.exists()


# The shape that other programs rely on.

SHAPE: dict[str, Any] = {
    "schema_version": int,
    "tool": {"name": str, "version": str},
    "database": {"alias": str, "name": str, "server_version": str, "size_bytes": int},
    "outcome": str,
    "rolled_back": bool,
    "mode": str,
    "duration_ms": float,
    "coverage": {
        "exact": int,
        "substituted": int,
        "not_rehearsed": int,
        "skipped_by_router": int,
    },
    "sequences_moved": [{"database": str, "sequence": str, "before": object, "after": int}],
    "dead_bytes": int,
    "yielded_to": [],
    "migrations": [
        {
            "app_label": str,
            "name": str,
            "version": str,
            "direction": str,
            "outcome": str,
            "duration_ms": float,
            "error": object,
            "operations": [
                {
                    "index": int,
                    "name": str,
                    "description": str,
                    "rehearsed": str,
                    "reason": str,
                    "duration_ms": float,
                    "statements": [
                        {
                            "sql": str,
                            "duration_ms": float,
                            "rows_affected": object,
                            "wal_bytes": object,
                            "locks": [{"relation": str, "mode": str, "inherited": bool}],
                            "rewrites": [str],
                            "scans": [{"relation": str, "rows": object}],
                            "writes": [
                                {"relation": str, "inserted": int, "updated": int, "deleted": int}
                            ],
                            "indexes_built": [str],
                            "constraints": [str],
                        }
                    ],
                    "hooks": [
                        {
                            "hook": str,
                            "phase": str,
                            "duration_ms": float,
                            "rows_affected": int,
                            "outcome": str,
                        }
                    ],
                }
            ],
            "hooks": [],
            "tables": [
                {
                    "relation": str,
                    "strongest_lock": str,
                    "reads_blocked_ms": float,
                    "writes_blocked_ms": float,
                    "rewritten": bool,
                    "rows_scanned": object,
                    "rows_written": int,
                    "production": object,
                }
            ],
            "findings": [],
            "estimate": object,
        }
    ],
}


def mismatches(shape: Any, value: Any, path: str = "$") -> list[str]:
    """Return where a value lacks what the shape has."""
    if isinstance(shape, dict):
        missing = [f"{path}.{key} is missing" for key in shape if key not in value]
        there = [key for key in shape if key in value]
        return missing + [
            each for key in there for each in mismatches(shape[key], value[key], f"{path}.{key}")
        ]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{path} is no list"]
        inner = shape[0] if shape else object
        return [
            each for i, item in enumerate(value) for each in mismatches(inner, item, f"{path}[{i}]")
        ]
    return [] if isinstance(value, shape) else [f"{path} is {value!r}, no {shape.__name__}"]


def test_the_shape_of_the_json_report(cases: Cases) -> None:
    cases.add(
        "0001_thing",
        THING,
        runs("CREATE TABLE cases_row AS SELECT i AS id FROM generate_series(1, 9) i"),
    )
    cases.migrate()
    cases.add(
        "0002_more",
        NUMBER,
        runs("ALTER TABLE cases_row ADD PRIMARY KEY (id), ALTER id TYPE bigint"),
        runs("UPDATE cases_row SET id = id"),
    )
    cases.add("0003_fails", runs("SELECT 1 / 0"))

    document = in_json(code=1)

    assert mismatches(SHAPE, document) == []
    assert document["schema_version"] == 1
    assert document["rolled_back"] is True
    assert document["mode"] == "transaction"
    error = document["migrations"][1]["error"]
    assert {"type", "message", "operation", "statement", "violations"} <= error.keys()
    statement = document["migrations"][0]["operations"][1]["statements"][0]
    assert statement["rewrites"] == ["cases_row"]
    assert statement["locks"][0] == {
        "relation": "cases_row",
        "mode": "AccessExclusiveLock",
        "inherited": False,
    }
    assert document["coverage"] == {
        "exact": 4,
        "substituted": 0,
        "not_rehearsed": 0,
        "unseen": 0,
        "skipped_by_router": 0,
    }
