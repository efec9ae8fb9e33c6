"""RunHook, through real migrations: what is written to files, and what runs where and when."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import IntegrityError, connection, connections, migrations, models
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations.base import Operation
from django.db.migrations.optimizer import MigrationOptimizer
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter, OperationWriter
from psycopg import Connection
from pytest_django import Settings

from django_confiture import (
    Hook,
    HookContext,
    HookError,
    HookLookupError,
    HookPhase,
    HookResult,
)
from django_confiture.operations import RunHook
from tests.cases.migrations_on_disk import Cases, query, table_exists
from tests.support.logs import events

HERE = __name__
LOGGER = "django_confiture.hooks"


class Recorder(Hook):
    """Notes what it was given; a test reads ``Recorder.seen``."""

    phase = HookPhase.AFTER_DDL
    seen: ClassVar[list[HookContext]] = []

    def execute(self, conn: Connection[Any], context: HookContext) -> HookResult:
        type(self).seen.append(context)
        return HookResult("AFTER_DDL", "Recorder")


class Nested:
    class Inner(Recorder):
        pass


class NoHook:
    pass


class InsertsGroup(Hook):
    phase = HookPhase.AFTER_DDL

    def execute(self, conn: Connection[Any], context: HookContext) -> HookResult:
        name = context.options.get("name", "from the hook")
        cursor = conn.execute("INSERT INTO auth_group (name) VALUES (%s)", [name])
        return HookResult("AFTER_DDL", "InsertsGroup", rows_affected=cursor.rowcount)


class InsertsBothWays(InsertsGroup):
    directions = ("forward", "backward")


class Raises(Hook):
    phase = HookPhase.AFTER_DDL

    def execute(self, conn: Connection[Any], context: HookContext) -> HookResult:
        conn.execute("INSERT INTO auth_group (name) VALUES ('lost')")
        raise ValueError("no backup today")


class ReturnsNothing(Hook):
    phase = HookPhase.AFTER_DDL

    def execute(self, conn: Connection[Any], context: HookContext) -> HookResult:
        conn.execute("INSERT INTO auth_group (name) VALUES ('lost')")
        return None  # type: ignore[return-value]


class ReturnsANumber(ReturnsNothing):
    def execute(self, conn: Connection[Any], context: HookContext) -> HookResult:
        return 12  # type: ignore[return-value]


class HasNoPhase(Hook):
    def execute(self, conn: Connection[Any], context: HookContext) -> HookResult:
        return HookResult(context.options["phase"], "HasNoPhase")


class Impatient(Recorder):
    timeout = "soon"


class RefusesAll:
    """A database router."""

    hints: ClassVar[list[dict[str, Any]]] = []

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        type(self).hints.append(hints)
        return False if hints.get("only") == "elsewhere" else None


@pytest.fixture(autouse=True)
def _forget_what_was_seen() -> Iterator[None]:
    yield
    Recorder.seen.clear()
    RefusesAll.hints.clear()


def create(name: str, **fields: models.Field[Any, Any]) -> Operation:
    return migrations.CreateModel(
        name=name,
        fields=[("id", models.BigAutoField(primary_key=True)), *fields.items()],
        options={"app_label": "cases"},
    )


def foreign_key(to: str) -> models.ForeignKey[Any, Any]:
    return models.ForeignKey(to, models.CASCADE)


def doing(
    body: Callable[[Connection[Any], HookContext], object],
    phase: HookPhase = HookPhase.AFTER_DDL,
    **attributes: object,
) -> type[Hook]:
    """Return a hook class whose ``execute`` is ``body``."""

    def execute(self: Hook, conn: Connection[Any], context: HookContext) -> HookResult:
        body(conn, context)
        return HookResult(phase.name, "Doing")

    return type("Doing", (Hook,), {"phase": phase, "execute": execute, **attributes})


def groups() -> list[str]:
    return [name for (name,) in query("SELECT name FROM auth_group ORDER BY name")]


# Files


OPERATIONS = [
    (RunHook("backfill"), "RunHook(\n    hook='backfill',\n),"),
    (RunHook("shop.hooks.Backfill"), "RunHook(\n    hook='shop.hooks.Backfill',\n),"),
    (RunHook(Recorder), f"RunHook(\n    hook={HERE}.Recorder,\n),"),
    (RunHook(Nested.Inner), f"RunHook(\n    hook={HERE}.Nested.Inner,\n),"),
    (
        RunHook(
            "backfill",
            phase=HookPhase.BEFORE_DDL,
            options={"batch_size": 500, "phase": HookPhase.CLEANUP},
            elidable=True,
            hints={"target": "default"},
        ),
        (
            "RunHook(\n    hook='backfill',\n    phase=django_confiture.HookPhase['BEFORE_DDL'],\n"
            "    options={'batch_size': 500, 'phase': django_confiture.HookPhase['CLEANUP']},\n"
            "    elidable=True,\n    hints={'target': 'default'},\n),"
        ),
    ),
]


@pytest.mark.parametrize(("operation", "written"), OPERATIONS)
def test_an_operation_is_written_as_it_was_given(operation: RunHook, written: str) -> None:
    text, imports = OperationWriter(operation, indentation=0).serialize()
    assert text == f"django_confiture.operations.{written}"
    assert "import django_confiture.operations" in imports


@pytest.mark.parametrize("operation", [operation for operation, _ in OPERATIONS])
def test_a_written_file_holds_the_same_operation_when_it_is_run(operation: RunHook) -> None:
    migration = type("Migration", (migrations.Migration,), {"operations": [operation]})
    source = MigrationWriter(migration("0001_initial", "cases")).as_string()
    written: dict[str, Any] = {}
    exec(compile(source, "0001_initial.py", "exec"), written)
    (read,) = written["Migration"].operations
    assert type(read) is RunHook
    assert read.deconstruct() == operation.deconstruct()


def test_an_operation_deconstructs_to_what_was_given_and_no_more() -> None:
    assert RunHook("backfill").deconstruct() == ("RunHook", ["backfill"], {})
    full = RunHook("x", phase="CLEANUP", options={"a": 1}, elidable=True, hints={"b": 2})
    name, args, kwargs = full.deconstruct()
    assert (name, args) == ("RunHook", ["x"])
    assert kwargs == {
        "phase": HookPhase.CLEANUP,
        "options": {"a": 1},
        "elidable": True,
        "hints": {"b": 2},
    }
    assert RunHook(*args, **kwargs).deconstruct() == full.deconstruct()


def test_options_and_hints_are_copied() -> None:
    options = {"a": 1}
    operation = RunHook("x", options=options, hints=options)
    options["a"] = 2
    assert operation.options == operation.hints == {"a": 1}


@pytest.mark.parametrize("wrong", ["after_ddl", "LATER", 3, [], NoHook])
def test_an_unknown_phase_is_an_error_that_lists_the_six(wrong: Any) -> None:
    with pytest.raises(ValueError, match="use one of BEFORE_VALIDATION, BEFORE_DDL, AFTER_DDL,"):
        RunHook("x", phase=wrong)


@pytest.mark.parametrize("argument", ["options", "hints"])
@pytest.mark.parametrize("wrong", [3, "max_age", ["max_age"]])
def test_what_is_not_a_dictionary_is_refused(argument: str, wrong: Any) -> None:
    with pytest.raises(TypeError, match=rf"RunHook\({argument}=.*\): write a dictionary"):
        RunHook("x", **{argument: wrong})


@pytest.mark.parametrize(
    ("operation", "description", "fragment"),
    [
        (RunHook("backfill"), "Run hook backfill", "run_hook_backfill"),
        (
            RunHook("shop.hooks.Backfill", phase=HookPhase.CLEANUP),
            "Run hook shop.hooks.Backfill (CLEANUP)",
            "run_hook_backfill",
        ),
        (RunHook(Recorder), "Run hook Recorder", "run_hook_recorder"),
    ],
)
def test_an_operation_describes_itself(operation: RunHook, description: str, fragment: str) -> None:
    assert operation.describe() == description
    assert operation.formatted_description() == f"p {description}"
    assert operation.migration_name_fragment == fragment


def test_the_optimizer_drops_an_elidable_hook_and_keeps_the_others_in_place() -> None:
    table, column = create("Thing"), migrations.AddField("thing", "size", models.IntegerField())
    elidable, kept = RunHook("once", elidable=True), RunHook("always")
    optimized = MigrationOptimizer().optimize([table, elidable, column], "cases")
    assert [type(operation).__name__ for operation in optimized] == ["CreateModel"]
    assert MigrationOptimizer().optimize([table, kept, column], "cases") == [table, kept, column]


def test_squashmigrations_writes_the_hooks_that_must_stay(
    cases: Cases, capsys: pytest.CaptureFixture[str]
) -> None:
    header = "from django.db import migrations\nfrom django_confiture import HookPhase\n"
    header += "from django_confiture.operations import RunHook\n"
    header += "class Migration(migrations.Migration):\n"
    cases.write("0001_initial", f"{header}    operations = [RunHook('once', elidable=True)]\n")
    cases.write(
        "0002_more",
        f"{header}    dependencies = [('cases', '0001_initial')]\n"
        "    operations = [RunHook('kept', phase=HookPhase.CLEANUP, options={'rows': 5})]\n",
    )
    call_command("squashmigrations", "cases", "0002", interactive=False, verbosity=0)
    (squashed,) = cases.package.glob("0001_*squashed*.py")
    text = squashed.read_text()
    assert "once" not in text
    assert "phase=django_confiture.HookPhase['CLEANUP']" in text
    assert "'rows': 5" in text
    assert "django_confiture.operations.RunHook(" in text


def test_migrate_plan_shows_the_hook_and_sqlmigrate_does_not_run_it(cases: Cases) -> None:
    cases.add("0001_initial", RunHook(InsertsGroup))
    out = StringIO()
    call_command("migrate", "cases", plan=True, stdout=out)
    assert "Run hook InsertsGroup" in out.getvalue()
    out = StringIO()
    call_command("sqlmigrate", "cases", "0001", stdout=out)
    assert "-- Run hook InsertsGroup\n--\n-- THIS OPERATION CANNOT BE WRITTEN AS SQL" in (
        out.getvalue()
    )
    assert groups() == []


@pytest.mark.parametrize("backwards", [False, True])
def test_sqlmigrate_runs_no_hook_inside_separate_database_and_state(
    cases: Cases, *, backwards: bool
) -> None:
    nested = migrations.SeparateDatabaseAndState(database_operations=[RunHook(InsertsBothWays)])
    cases.add("0001_initial", nested)
    out = StringIO()
    call_command("sqlmigrate", "cases", "0001", backwards=backwards, stdout=out)
    assert "-- Run hook InsertsBothWays: no SQL" in out.getvalue()
    assert groups() == []


# Forward and backward


def test_a_name_a_path_and_a_class_run_with_their_options(cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = {
        "HOOKS": {
            "named": {"HOOK": f"{HERE}.InsertsGroup", "OPTIONS": {"name": "name"}},
            "over": {"HOOK": f"{HERE}.InsertsGroup", "OPTIONS": {"name": "not this"}},
        }
    }
    cases.add(
        "0001_initial",
        RunHook("named"),
        RunHook("over", options={"name": "name, options over"}),
        RunHook(f"{HERE}.InsertsGroup", options={"name": "path"}),
        RunHook(InsertsGroup, options={"name": "class"}),
    )
    cases.migrate()
    assert groups() == ["class", "name", "name, options over", "path"]


def test_backwards_a_hook_that_handles_forward_only_is_skipped_and_says_so(
    cases: Cases, caplog: pytest.LogCaptureFixture
) -> None:
    cases.add("0001_initial", create("Thing"), RunHook(InsertsGroup))
    cases.migrate()
    caplog.set_level(logging.DEBUG, LOGGER)
    cases.migrate("zero")
    assert groups() == ["from the hook"]
    assert not table_exists("cases_thing")
    assert events(caplog, "hook_skipped", "hook_start") == [
        (
            "hook_skipped",
            {
                "hook": "InsertsGroup",
                "phase": "AFTER_DDL",
                "migration": "0001_initial",
                "app_label": "cases",
                "reason": "direction backward is not in its directions ('forward',)",
            },
        )
    ]


def test_a_hook_that_handles_both_directions_runs_backwards_too(cases: Cases) -> None:
    directions: list[str] = []

    def note(conn: Connection[Any], context: HookContext) -> None:
        directions.append(context.direction)

    cases.add("0001_initial", RunHook(doing(note, directions=("forward", "backward"))))
    cases.migrate()
    cases.migrate("zero")
    assert directions == ["forward", "backward"]


def test_a_skipped_hook_does_not_even_check_constraints(cases: Cases) -> None:
    """AFTER_VALIDATION checks them for its hook; backwards this one does not run."""
    cases.add(
        "0001_initial",
        migrations.RunSQL(migrations.RunSQL.noop, "DELETE FROM auth_group_permissions"),
        RunHook(doing(lambda *_: None, HookPhase.AFTER_VALIDATION)),
        migrations.RunSQL(
            migrations.RunSQL.noop,
            "INSERT INTO auth_group_permissions (group_id, permission_id) VALUES (-1, -1)",
        ),
    )
    cases.migrate()
    cases.migrate("zero")
    assert cases.applied() == set()


def test_fake_and_unapplied_migrations_run_no_hook(cases: Cases) -> None:
    cases.add("0001_initial", RunHook(InsertsGroup))
    cases.migrate(fake=True)
    assert cases.applied() == {"0001_initial"}
    assert groups() == []


# What the hook receives


def test_the_hook_gets_djangos_own_connection_inside_the_migrations_transaction(
    cases: Cases,
) -> None:
    seen: list[object] = []

    def look(conn: Connection[Any], context: HookContext) -> None:
        seen.append(conn is connection.connection)
        seen.append(context.connection is connections["default"])
        seen.append(conn.execute("SELECT to_regclass('cases_thing') IS NOT NULL").fetchone())

    cases.add("0001_initial", create("Thing"), RunHook(doing(look)))
    cases.migrate()
    assert seen == [True, True, (True,)]


def test_the_context_names_the_migration(cases: Cases) -> None:
    cases.add("0007_add_segment", RunHook(Recorder))
    cases.migrate()
    (context,) = Recorder.seen
    assert context.migration_name == "0007_add_segment"
    assert context.migration_version == "0007"
    assert context.app_label == "cases"
    assert context.using == "default"
    assert context.direction == "forward"
    assert not context.dry_run
    assert context.error is None


def test_all_hooks_of_a_migration_share_one_context_and_the_next_has_its_own(
    cases: Cases,
) -> None:
    def leave(conn: Connection[Any], context: HookContext) -> None:
        context.set_stat("rows", 12)

    cases.add("0001_initial", RunHook(doing(leave)), RunHook(Recorder))
    cases.add("0002_more", RunHook(Recorder))
    cases.migrate()
    first, second = Recorder.seen
    assert first.get_stat("rows") == 12
    assert second.get_stat("rows") is None


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_apps_are_the_historical_models_where_the_hook_stands(cases: Cases, direction: str) -> None:
    fields: list[set[str]] = []

    def look(conn: Connection[Any], context: HookContext) -> None:
        thing = context.apps.get_model("cases", "Thing")  # type: ignore[misc]
        thing.objects.using(context.using).create()
        fields.append({field.name for field in thing._meta.fields})

    cases.add(
        "0001_initial",
        create("Thing"),
        migrations.AddField("thing", "size", models.IntegerField(null=True)),
        RunHook(doing(look, directions=(direction,))),
        migrations.AddField("thing", "color", models.TextField(null=True)),
    )
    cases.migrate()
    if direction == "backward":
        cases.migrate("zero")
    # As RunPython: backwards, too, it is the state before the operation.
    assert fields == [{"id", "size"}]


def test_apps_are_consistent_when_django_has_put_off_reloading_related_models(
    cases: Cases,
) -> None:
    same: list[bool] = []

    def look(conn: Connection[Any], context: HookContext) -> None:
        grandchild = context.apps.get_model("cases", "Grandchild")  # type: ignore[misc]
        child = grandchild._meta.get_field("child").related_model
        same.append(child is context.apps.get_model("cases", "Child"))  # type: ignore[misc]

    cases.add(
        "0001_initial",
        create("Parent"),
        create("Child", parent=foreign_key("cases.Parent")),
        create("Grandchild", child=foreign_key("cases.Child")),
        migrations.AddField("parent", "size", models.IntegerField(null=True)),
        RunHook(doing(look)),
    )
    cases.migrate()
    assert same == [True]


def test_on_commit_callbacks_run_after_the_commit_and_never_without_it(cases: Cases) -> None:
    called: list[str] = []

    def register(conn: Connection[Any], context: HookContext) -> None:
        context.on_commit(lambda: called.append(context.migration_name))
        assert called == []

    cases.add("0001_initial", RunHook(doing(register)))
    cases.add("0002_more", RunHook(doing(register)), RunHook(Raises))
    cases.migrate("0001")
    with pytest.raises(HookError):
        cases.migrate()
    assert called == ["0001_initial"]


# Where it stands


def test_the_foreign_key_of_a_created_table_exists_when_an_after_ddl_hook_runs(
    cases: Cases,
) -> None:
    found: dict[str, int] = {}

    def count(name: str) -> Callable[[Connection[Any], HookContext], None]:
        def body(conn: Connection[Any], context: HookContext) -> None:
            row = conn.execute(
                "SELECT count(*) FROM pg_constraint"
                " WHERE contype = 'f' AND conrelid = 'cases_line'::regclass"
            ).fetchone()
            assert row is not None
            found[name] = row[0]

        return body

    cases.add(
        "0001_initial",
        create("Order"),
        create("Line", order=foreign_key("cases.Order")),
        RunHook(doing(count("before"), HookPhase.BEFORE_DDL)),
        RunHook(doing(count("after"), HookPhase.AFTER_DDL)),
    )
    cases.migrate()
    assert found == {"before": 0, "after": 1}


def test_a_deferred_constraint_is_checked_before_an_after_validation_hook_and_deferred_again(
    cases: Cases,
) -> None:
    """The first hook is reached with valid rows; the second not, as a row is an orphan."""
    reached: list[str] = []
    orphan = "INSERT INTO cases_line (order_id) VALUES (-1)"

    def reach(name: str) -> type[Hook]:
        return doing(lambda *_: reached.append(name), HookPhase.AFTER_VALIDATION)

    cases.add(
        "0001_initial",
        create("Order"),
        create("Line", order=foreign_key("cases.Order")),
        RunHook(reach("valid")),
        migrations.RunSQL(orphan),
        RunHook(doing(lambda *_: reached.append("deferred again"))),
        RunHook(reach("never")),
    )
    with pytest.raises(IntegrityError, match="violates foreign key constraint"):
        cases.migrate()
    assert reached == ["valid", "deferred again"]
    assert not table_exists("cases_line")


def test_a_constraint_that_is_checked_at_once_is_so_again_after_the_check(cases: Cases) -> None:
    cases.add(
        "0001_initial",
        create("Thing", size=models.IntegerField()),
        migrations.AddConstraint(
            "thing",
            models.UniqueConstraint(
                fields=["size"], name="size_once", deferrable=models.Deferrable.IMMEDIATE
            ),
        ),
        RunHook(doing(lambda *_: None, HookPhase.AFTER_VALIDATION)),
        migrations.RunSQL("INSERT INTO cases_thing (size) VALUES (1), (1)"),
        RunHook(Recorder),
    )
    with pytest.raises(IntegrityError, match="size_once"):
        cases.migrate()
    assert Recorder.seen == []


def test_constraints_in_a_schema_that_the_role_may_not_use_are_no_obstacle(cases: Cases) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA locked")
        cursor.execute("CREATE TABLE locked.thing (size int UNIQUE DEFERRABLE)")
        cursor.execute("CREATE ROLE confiture_cases")
        cursor.execute("GRANT ALL ON SCHEMA public TO confiture_cases")
        cursor.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO confiture_cases")
        cursor.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO confiture_cases")
    cases.add("0001_initial", RunHook(Recorder, phase=HookPhase.AFTER_VALIDATION))
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE confiture_cases")
        cases.migrate()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")
            cursor.execute("DROP SCHEMA locked CASCADE")
            cursor.execute("DROP OWNED BY confiture_cases")
            cursor.execute("DROP ROLE confiture_cases")
    assert len(Recorder.seen) == 1


def test_a_hook_inside_separate_database_and_state_runs(cases: Cases) -> None:
    order: list[str] = []
    cases.add(
        "0001_initial",
        migrations.SeparateDatabaseAndState(
            database_operations=[
                RunHook(doing(lambda *_: order.append("cleanup"), HookPhase.CLEANUP)),
                RunHook(doing(lambda *_: order.append("here"))),
            ],
            state_operations=[create("Thing")],
        ),
        RunHook(doing(lambda *_: order.append("next"))),
    )
    cases.migrate()
    assert order == ["here", "next", "cleanup"]
    assert not table_exists("cases_thing")


def test_in_a_non_atomic_migration_a_hook_has_a_transaction_of_its_own(cases: Cases) -> None:
    cases.add(
        "0001_initial",
        create("Thing"),
        RunHook(InsertsGroup, options={"name": "committed"}),
        RunHook(Raises),
        atomic=False,
    )
    with pytest.raises(HookError, match="Hook Raises failed in phase AFTER_DDL: no backup today"):
        cases.migrate()
    assert groups() == ["committed"]
    assert table_exists("cases_thing")
    assert cases.applied() == set()


def test_a_tolerated_hook_leaves_the_rest_of_the_migration_working(cases: Cases) -> None:
    def twice(conn: Connection[Any], context: HookContext) -> None:
        Group.objects.create(name="unique")
        Group.objects.create(name="unique")

    cases.add(
        "0001_initial",
        RunHook(doing(twice, on_failure="continue")),
        create("Thing"),
        migrations.RunPython(lambda apps, _: apps.get_model("cases", "Thing").objects.create()),
        RunHook(InsertsGroup, options={"name": "after it"}),
    )
    cases.migrate()
    assert cases.applied() == {"0001_initial"}
    assert groups() == ["after it"]
    assert query("SELECT count(*) FROM cases_thing") == [(1,)]


# Routers, other databases, disabled


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_the_hook_runs_on_the_database_that_is_migrated(cases: Cases) -> None:
    cases.add("0001_initial", RunHook(Recorder), RunHook(InsertsGroup))
    cases.migrate(database="other")
    (context,) = Recorder.seen
    assert context.using == "other"
    assert groups() == []
    assert query("SELECT name FROM auth_group", using="other") == [("from the hook",)]
    cases.migrate("zero", database="other")


def test_a_router_that_refuses_the_hints_keeps_the_hook_away(
    cases: Cases, settings: Settings
) -> None:
    settings.DATABASE_ROUTERS = [f"{HERE}.RefusesAll"]
    cases.add(
        "0001_initial",
        RunHook(InsertsGroup, hints={"only": "elsewhere"}),
        RunHook("not registered", hints={"only": "elsewhere"}),
        RunHook(InsertsGroup, hints={"only": "here"}, options={"name": "here"}),
    )
    cases.migrate()
    assert groups() == ["here"]
    assert {"only": "elsewhere"} in RefusesAll.hints


def test_disabled_hooks_are_skipped_and_say_so(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, LOGGER)
    settings.CONFITURE = {"ENABLED": False}
    cases.add("0001_initial", RunHook(InsertsGroup))
    cases.migrate()
    assert groups() == []
    ((name, fields),) = events(caplog)
    assert name == "hook_skipped"
    assert fields["reason"] == 'CONFITURE["ENABLED"] is False'
    assert fields["migration"] == "0001_initial"


SQLITE_PROJECT = """
import logging
import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    INSTALLED_APPS=["django_confiture", "tests.cases"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}},
    MIGRATION_MODULES={"cases": "sqlite_migrations"},
)
logging.basicConfig(format="%(levelname)s %(message)s")
django.setup()
call_command("migrate", verbosity=0)
"""
SQLITE_MIGRATION = """
from django.db import migrations, models
from django_confiture.operations import RunHook


class Migration(migrations.Migration):
    operations = [
        migrations.CreateModel("Thing", [("id", models.BigAutoField(primary_key=True))]),
        RunHook("not registered"),
        RunHook("nor this", phase="CLEANUP"),
    ]
"""


def test_on_sqlite_a_project_migrates_with_one_warning_however_many_hooks_there_are(
    tmp_path: Path,
) -> None:
    package = tmp_path / "sqlite_migrations"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "0001_initial.py").write_text(SQLITE_MIGRATION)
    done = subprocess.run(
        [sys.executable, "-c", SQLITE_PROJECT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == (
        "WARNING Hooks are skipped on the database 'default': it is SQLite, and they need "
        "PostgreSQL.\n"
    )
    with contextlib.closing(sqlite3.connect(tmp_path / "db.sqlite3")) as conn:
        tables = conn.execute("SELECT name FROM sqlite_master WHERE name = 'cases_thing'")
        assert tables.fetchall() == [("cases_thing",)]


# Mistakes


ROLLED_BACK: list[tuple[RunHook, type[Exception], list[str]]] = [
    (
        RunHook("backfil"),
        HookLookupError,
        [
            "Migration cases.0001_initial, RunHook('backfil') in the hook's own phase: ",
            "no hook is registered as 'backfil'. Did you mean 'backfill'?",
            'Add it to CONFITURE["HOOKS"], or give a dotted path or a class.',
        ],
    ),
    (
        RunHook("backfil", phase=HookPhase.BEFORE_DDL),
        HookLookupError,
        ["Migration cases.0001_initial, RunHook('backfil') in phase BEFORE_DDL: no hook is"],
    ),
    (
        RunHook(f"{HERE}.Nowhere"),
        HookLookupError,
        [
            "Migration cases.0001_initial, RunHook(",
            f"'{HERE}.Nowhere' cannot be imported (ImportError: ",
            "Write the dotted path of a Hook subclass",
        ],
    ),
    (
        RunHook(NoHook),  # type: ignore[arg-type]
        HookLookupError,
        [
            "Migration cases.0001_initial, RunHook(NoHook) in the hook's own phase: ",
            "NoHook'> is not a subclass of django_confiture.Hook. Give the class itself",
        ],
    ),
    (
        RunHook(12),  # type: ignore[arg-type]
        HookLookupError,
        ["Migration cases.0001_initial, RunHook(12) in", "12 is not a subclass of"],
    ),
    (
        RunHook(HasNoPhase),
        HookLookupError,
        [
            "Migration cases.0001_initial, RunHook(HasNoPhase)",
            (
                "HasNoPhase sets no phase. Write phase = HookPhase.AFTER_DDL in the class, "
                "or RunHook(..., phase=HookPhase.AFTER_DDL)."
            ),
        ],
    ),
    (
        RunHook(Impatient),
        HookLookupError,
        [
            "Migration cases.0001_initial, RunHook(Impatient) in the hook's own phase: ",
            "Impatient.timeout is 'soon', which is not a duration. Write",
        ],
    ),
    (
        RunHook(Raises),
        HookError,
        [
            "Hook Raises failed in phase AFTER_DDL: no backup today",
            "Migration cases.0001_initial, forward: what this hook did was rolled back. ",
            f"Fix {HERE}.Raises",
        ],
    ),
    (
        RunHook(ReturnsNothing),
        HookError,
        [
            (
                "Hook ReturnsNothing failed in phase AFTER_DDL: execute() returned NoneType, not a "
                "HookResult; let it return HookResult(phase=..., hook_name=...) at its end."
            ),
            "Migration cases.0001_initial, forward",
        ],
    ),
    (
        RunHook(ReturnsANumber),
        HookError,
        ["execute() returned int, not a HookResult", "Migration cases.0001_initial, forward"],
    ),
]


@pytest.mark.parametrize(("operation", "kind", "said"), ROLLED_BACK)
def test_a_mistake_is_one_error_that_names_everything_and_the_migration_rolls_back(
    cases: Cases,
    settings: Settings,
    operation: RunHook,
    kind: type[Exception],
    said: list[str],
) -> None:
    settings.CONFITURE = {"HOOKS": {"backfill": Recorder}}
    cases.add("0001_initial", create("Thing"), RunHook(InsertsGroup), operation)
    with pytest.raises(kind) as caught:
        cases.migrate()
    shown = "".join(traceback.format_exception_only(caught.value))
    for part in said:
        assert part in shown
    assert cases.applied() == set()
    assert not table_exists("cases_thing")
    assert groups() == []


def test_what_was_migrated_before_the_mistake_stays_and_the_next_try_goes_on(
    cases: Cases, settings: Settings
) -> None:
    settings.CONFITURE = {"HOOKS": {}}
    cases.add("0001_initial", create("Thing"), RunHook(InsertsGroup, options={"name": "1"}))
    cases.add("0002_more", RunHook(InsertsGroup, options={"name": "2"}), RunHook("later"))
    with pytest.raises(HookLookupError, match=r"Migration cases\.0002_more, RunHook\('later'\)"):
        cases.migrate()
    assert cases.applied() == {"0001_initial"}
    assert groups() == ["1"]

    settings.CONFITURE = {"HOOKS": {"later": f"{HERE}.Recorder"}}
    cases.migrate()
    assert cases.applied() == {"0001_initial", "0002_more"}
    assert groups() == ["1", "2"]


def test_a_hook_without_a_phase_runs_in_the_one_that_the_operation_says(cases: Cases) -> None:
    cases.add(
        "0001_initial", RunHook(HasNoPhase, phase="BEFORE_DDL", options={"phase": "BEFORE_DDL"})
    )
    cases.migrate()
    assert cases.applied() == {"0001_initial"}


def test_a_settings_entry_that_leads_nowhere_names_the_migration_that_wants_it(
    cases: Cases, settings: Settings
) -> None:
    settings.CONFITURE = {"HOOKS": {"backfill": "nowhere.hooks.Backfill"}}
    cases.add("0001_initial", RunHook("backfill"))
    with pytest.raises(HookLookupError) as caught:
        cases.migrate()
    assert str(caught.value) == (
        "Migration cases.0001_initial, RunHook('backfill') in the hook's own phase: "
        "CONFITURE[\"HOOKS\"]['backfill']: 'nowhere.hooks.Backfill' cannot be imported "
        "(ModuleNotFoundError: No module named 'nowhere'). Write the dotted path of a Hook "
        'subclass, such as "shop.hooks.Backfill".'
    )


# Without pre_migrate


def apply(cases: Cases, name: str) -> None:
    """Migrate as tools do that drive Django's executor themselves: without signals."""
    executor = MigrationExecutor(connection)
    target = [("cases", None if name == "zero" else name)]
    executor.migrate(target, plan=executor.migration_plan(target))


def test_without_pre_migrate_the_context_still_names_the_migration(cases: Cases) -> None:
    cases.add("0001_initial", RunHook(Recorder))
    cases.add(
        "0002_more",
        migrations.SeparateDatabaseAndState(database_operations=[RunHook(Recorder)]),
        RunHook(Recorder),
    )
    apply(cases, "0002_more")
    assert [(each.label, each.migration_version) for each in Recorder.seen] == [
        ("cases.0001_initial", "0001"),
        ("cases.0002_more", "0002"),
        ("cases.0002_more", "0002"),
    ]
    assert Recorder.seen[1] is Recorder.seen[2]


def test_without_pre_migrate_a_cleanup_hook_runs_where_it_stands_also_after_another_hook(
    cases: Cases,
) -> None:
    order: list[str] = []
    cases.add(
        "0001_initial",
        RunHook(doing(lambda *_: order.append("first"))),
        RunHook(doing(lambda *_: order.append("cleanup"), HookPhase.CLEANUP)),
        RunHook(doing(lambda *_: order.append("last"))),
    )
    apply(cases, "0001_initial")
    assert order == ["first", "cleanup", "last"]


def test_without_pre_migrate_an_on_error_hook_is_skipped_and_says_so(
    cases: Cases, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, LOGGER)
    cases.add("0001_initial", RunHook(Recorder, phase=HookPhase.ON_ERROR))
    apply(cases, "0001_initial")
    assert Recorder.seen == []
    ((name, fields),) = events(caplog)
    assert name == "hook_skipped"
    assert fields == {
        "hook": "Recorder",
        "phase": "ON_ERROR",
        "migration": "0001_initial",
        "app_label": "cases",
        "reason": "without pre_migrate, we can't know when the migration fails",
    }


def test_an_operation_that_no_migration_on_disk_holds_runs_without_a_name(
    transactional_db: None,
) -> None:
    class AdHoc(migrations.Migration):
        operations: ClassVar = [RunHook(Recorder)]

    with connection.schema_editor() as editor:
        AdHoc("0001_adhoc", "cases").apply(ProjectState(), editor)
    (context,) = Recorder.seen
    assert (context.migration_name, context.migration_version) == ("", "")
    assert context.label == "cases"


def test_one_schema_editor_for_both_directions_gives_each_its_own_context(
    transactional_db: None,
) -> None:
    seen: list[str] = []
    operation = RunHook(
        doing(lambda _, context: seen.append(context.direction), directions=("forward", "backward"))
    )
    with connection.schema_editor() as editor:
        operation.database_forwards("cases", editor, ProjectState(), ProjectState())
        operation.database_backwards("cases", editor, ProjectState(), ProjectState())
    assert seen == ["forward", "backward"]
