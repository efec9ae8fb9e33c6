"""``CONFITURE["PHASES"]`` around real migrations: which ones, in what order, with what context."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import DataError, connection, migrations, models, transaction
from django.db.migrations.state import ProjectState, StateApps
from pytest_django import Settings

from django_confiture import (
    Hook,
    HookContext,
    HookError,
    HookLookupError,
    HookPhase,
    HookResult,
    RunHook,
)
from django_confiture.migrate import phases
from django_confiture.migrate.weave import weave
from tests.cases.migrations_on_disk import Cases, query, table_exists
from tests.support import recording

RECORD = "tests.support.recording.Record"


@pytest.fixture(autouse=True)
def _tables(cases: Cases) -> Iterator[None]:
    with recording.recording():
        yield


def record(name: str, **more: Any) -> dict[str, Any]:
    """Return an entry of ``CONFITURE["PHASES"]``."""
    return {"HOOK": RECORD, "OPTIONS": {"name": name}, **more}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["cases.*"], ["0001", "0002"]),
        (["*"], ["0001", "0002"]),
        (["*.0002_*"], ["0002"]),
        (["cases.0001_first"], ["0001"]),
        (["cases.0001_first", "*.0002_second"], ["0001", "0002"]),
        (["cases.0001"], []),
        (["CASES.*"], []),
        (["shop.*"], []),
        ([], ["0001", "0002"]),
    ],
)
def test_migrations_are_chosen_by_patterns(
    cases: Cases, settings: Settings, patterns: list[str], expected: list[str]
) -> None:
    cases.add("0001_first", recording.operation())
    cases.add("0002_second", recording.operation())
    settings.CONFITURE = {"PHASES": {"BEFORE_DDL": [record("hook", MIGRATIONS=patterns)]}}
    cases.migrate()
    assert [each.migration_version for each in recording.contexts] == expected


def test_a_third_party_app_is_wrapped(cases: Cases, settings: Settings, tmp_path: Path) -> None:
    package = tmp_path / "foreign_migrations"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "0001_foreign.py").write_text(
        "from django.db import migrations\n\n\n"
        "class Migration(migrations.Migration):\n"
        "    operations = [migrations.RunSQL('SELECT 1')]\n"
    )
    settings.MIGRATION_MODULES = {**settings.MIGRATION_MODULES, "postgres": package.name}
    settings.CONFITURE = {"PHASES": recording.in_every_phase(MIGRATIONS=["postgres.*"])}
    try:
        call_command("migrate", "postgres", verbosity=0)
    finally:
        query_nothing("DELETE FROM django_migrations WHERE app = 'postgres'")
    assert len(recording.ran) == 5
    assert recording.contexts[0].label == "postgres.0001_foreign"


def query_nothing(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_databases_are_chosen_by_alias(cases: Cases, settings: Settings) -> None:
    cases.add("0001_empty")
    settings.CONFITURE = {
        "PHASES": {
            "BEFORE_DDL": [
                {"HOOK": "tests.migrate.test_weave_settings.Using", "DATABASES": ["other"]},
            ]
        }
    }
    Using.seen.clear()
    cases.migrate()
    assert Using.seen == []
    cases.migrate(database="other")
    cases.migrate("zero", database="other")
    assert Using.seen == ["other"]


class Using(Hook):
    phase = HookPhase.BEFORE_DDL
    seen: list[str | None] = []  # noqa: RUF012

    def execute(self, conn: Any, context: HookContext) -> HookResult:
        assert context.connection is not None
        assert context.connection.connection is conn
        self.seen.append(context.using)
        return HookResult("BEFORE_DDL", "Using")


def test_a_router_that_keeps_the_app_away_keeps_its_hooks_away(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_empty")
    settings.DATABASE_ROUTERS = ["tests.migrate.test_weave_settings.Nowhere"]
    settings.CONFITURE = {"PHASES": recording.in_every_phase()}
    cases.migrate()
    assert recording.ran == []


class Nowhere:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "cases" else None


def test_hooks_run_as_listed_and_those_of_the_file_where_they_stand(
    cases: Cases, settings: Settings
) -> None:
    def in_file(name: str, phase: HookPhase | None = None) -> RunHook:
        return RunHook(recording.Record, phase=phase, options={"name": name})

    cases.add(
        "0001_mixed",
        in_file("file 1"),
        recording.operation(),
        in_file("file 2", HookPhase.AFTER_DDL),
        in_file("file cleanup", HookPhase.CLEANUP),
        in_file("file error", HookPhase.ON_ERROR),
        in_file("file 3"),
    )
    settings.CONFITURE = {
        "PHASES": {
            "CLEANUP": [record("settings cleanup")],
            "ON_ERROR": [record("settings error")],
            "AFTER_DDL": [record("b"), record("a"), record("a")],
            "BEFORE_DDL": [record("c")],
        }
    }
    cases.migrate()
    in_phases = ["c", "file 1", "operation", "file 2", "file 3", "b", "a", "a"]
    assert recording.ran == [*in_phases, "settings cleanup", "file cleanup"]
    assert len(set(map(id, recording.contexts))) == 1

    recording.forget()
    recording.fails["operation"] = "raise"
    with pytest.raises(ValueError, match="operation was told to fail"):
        cases.migrate("zero")
    after = ["settings error", "file error", "settings cleanup", "file cleanup"]
    assert recording.ran == ["c", "file 3", "file 2", "operation", *after]


def test_each_cleanup_hook_runs_once_though_one_of_them_fails(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_empty")
    settings.CONFITURE = {"PHASES": {"CLEANUP": [record("a"), record("b"), record("c")]}}
    recording.fails["b"] = "raise"
    with pytest.raises(HookError, match="Hook Record failed in phase CLEANUP: b was told to fail"):
        cases.migrate()
    assert recording.ran == ["a", "b", "c"]
    assert recording.persisted() == ["c"]


def test_statistics_pass_from_phase_to_phase(cases: Cases, settings: Settings) -> None:
    cases.add("0001_empty", RunHook(Counts))
    settings.CONFITURE = {
        "PHASES": {
            phase: ["tests.migrate.test_weave_settings.Counts"]
            for phase in ("BEFORE_VALIDATION", "AFTER_VALIDATION", "CLEANUP")
        }
    }
    Counts.seen.clear()
    cases.migrate()
    assert Counts.seen == [1, 2, 3, 4]


class Counts(Hook):
    phase = HookPhase.BEFORE_DDL
    seen: list[int] = []  # noqa: RUF012

    def execute(self, conn: Any, context: HookContext) -> HookResult:
        context.set_stat("count", (context.get_stat("count") or 0) + 1)
        self.seen.append(context.get_stat("count"))
        return HookResult("", "Counts")


def test_a_direction_that_a_hook_does_not_handle_is_skipped(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_empty", recording.operation())
    settings.CONFITURE = {
        "PHASES": recording.in_every_phase("tests.support.recording.ForwardRecord"),
    }
    cases.migrate()
    assert len(recording.ran) == 6
    recording.forget()
    cases.migrate("zero")
    assert recording.ran == ["operation"]


def test_faked_migrations_run_no_hooks(cases: Cases, settings: Settings) -> None:
    cases.add("0001_initial", recording.operation())
    settings.CONFITURE = {"PHASES": recording.in_every_phase()}
    cases.migrate(fake=True)
    assert cases.applied() == {"0001_initial"}
    cases.migrate("zero", fake=True)
    assert cases.applied() == set()
    assert recording.ran == []


def test_an_initial_migration_that_is_found_applied_runs_no_hooks(
    cases: Cases, settings: Settings
) -> None:
    cases.add(
        "0001_initial",
        migrations.CreateModel("Thing", [("id", models.AutoField(primary_key=True))]),
    )
    settings.CONFITURE = {"PHASES": recording.in_every_phase()}
    query_nothing("CREATE TABLE cases_thing (id serial PRIMARY KEY)")
    cases.migrate(fake_initial=True)
    assert cases.applied() == {"0001_initial"}
    assert recording.ran == []


class LooksAtForeignKeys(Hook):
    phase = HookPhase.AFTER_DDL
    found: list[int] = []  # noqa: RUF012

    def execute(self, conn: Any, context: HookContext) -> HookResult:
        row = conn.execute(
            "SELECT count(*) FROM pg_constraint"
            " WHERE contype = 'f' AND conrelid = 'cases_book'::regclass"
        ).fetchone()
        self.found.append(row[0])
        return HookResult("AFTER_DDL", "LooksAtForeignKeys")


@pytest.mark.parametrize("atomic", [True, False])
def test_deferred_sql_has_run_before_after_ddl(
    cases: Cases, settings: Settings, atomic: bool
) -> None:
    cases.add("0001_books", *_books(), atomic=atomic)
    settings.CONFITURE = {
        "PHASES": {"AFTER_DDL": ["tests.migrate.test_weave_settings.LooksAtForeignKeys"]}
    }
    LooksAtForeignKeys.found.clear()
    cases.migrate()
    assert LooksAtForeignKeys.found == [1]


def _model(name: str, *fields: tuple[str, models.Field[Any, Any]]) -> migrations.CreateModel:
    return migrations.CreateModel(name, [("id", models.AutoField(primary_key=True)), *fields])


def _books() -> list[migrations.CreateModel]:
    author = models.ForeignKey("cases.Author", models.CASCADE)
    return [_model("Author"), _model("Book", ("author", author))]


class LooksAtModels(Hook):
    phase = HookPhase.AFTER_DDL
    directions = ("forward", "backward")
    seen: list[tuple[str, bool, int | None]] = []  # noqa: RUF012

    def execute(self, conn: Any, context: HookContext) -> HookResult:
        models = {model._meta.model_name for model in context.apps.get_models()}
        count = None
        if "book" in models:
            count = context.apps.get_model("cases", "Book").objects.count()  # type: ignore[misc]
        self.seen.append((self.options["name"], "book" in models, count))
        return HookResult("", "LooksAtModels")


def test_context_apps_are_the_models_at_that_point(cases: Cases, settings: Settings) -> None:
    cases.add("0001_books", *_books(), recording.operation())
    settings.CONFITURE = {
        "PHASES": recording.in_every_phase("tests.migrate.test_weave_settings.LooksAtModels")
    }
    LooksAtModels.seen.clear()
    cases.migrate()
    assert LooksAtModels.seen == [
        ("BEFORE_VALIDATION", False, None),
        ("BEFORE_DDL", False, None),
        ("AFTER_DDL", True, 0),
        ("AFTER_VALIDATION", True, 0),
        ("CLEANUP", True, 0),
    ]
    LooksAtModels.seen.clear()
    cases.migrate("zero")
    assert LooksAtModels.seen == [
        ("BEFORE_VALIDATION", True, 0),
        ("BEFORE_DDL", True, 0),
        ("AFTER_DDL", False, None),
        ("AFTER_VALIDATION", False, None),
        ("CLEANUP", False, None),
    ]


def test_hooks_that_do_not_ask_for_models_have_none_copied_or_rendered(
    cases: Cases, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the phases at the end, which may look at the state that Django has changed."""
    done: list[str] = []
    for method in ("clone", "render_multiple"):
        original = getattr(StateApps, method)

        def counted(*args: Any, method: str = method, original: Any = original) -> Any:
            done.append(method)
            return original(*args)

        monkeypatch.setattr(StateApps, method, counted)

    def migrated(name: str, phases: dict[str, Any]) -> int:
        cases.add(name, migrations.RunSQL("SELECT 1"))
        settings.CONFITURE = {"PHASES": phases}
        done.clear()
        cases.migrate()
        return len(done)

    plain = migrated("0001_plain", {})
    hooked = migrated("0002_hooked", recording.in_every_phase())
    assert hooked <= plain


@pytest.mark.parametrize("target", ["", "zero"], ids=["forward", "backward"])
def test_after_a_rollback_context_apps_are_those_before_the_migration(
    cases: Cases, settings: Settings, target: str
) -> None:
    cases.add("0001_books", *_books(), recording.operation())
    settings.CONFITURE = {}
    if target:
        cases.migrate()
    settings.CONFITURE = {
        "PHASES": {
            "ON_ERROR": [
                {
                    "HOOK": "tests.migrate.test_weave_settings.LooksAtModels",
                    "OPTIONS": {"name": "error"},
                }
            ]
        }
    }
    LooksAtModels.seen.clear()
    recording.fails["operation"] = "raise"
    with pytest.raises(ValueError, match="told to fail"):
        cases.migrate(target)
    assert LooksAtModels.seen == [("error", bool(target), 0 if target else None)]


def test_on_error_gets_the_error(cases: Cases, settings: Settings) -> None:
    cases.add("0001_fails", recording.operation())
    settings.CONFITURE = {"PHASES": {"ON_ERROR": [record("error")], "CLEANUP": [record("clean")]}}
    recording.fails["operation"] = "raise"
    with pytest.raises(ValueError, match="told to fail") as caught:
        cases.migrate()
    assert [context.error for context in recording.contexts] == [caught.value, caught.value]


def test_a_callback_that_fails_after_the_commit_is_no_failed_migration(
    cases: Cases, settings: Settings
) -> None:
    def callback() -> None:
        raise ValueError("the callback failed")

    def register(apps: Any, schema_editor: Any) -> None:
        transaction.on_commit(callback)

    cases.add("0001_callback", migrations.RunPython(register))
    settings.CONFITURE = {"PHASES": recording.in_every_phase()}
    with pytest.raises(ValueError, match="the callback failed"):
        cases.migrate()
    assert "ON_ERROR" not in recording.ran
    assert recording.persisted()[-1] == "CLEANUP"
    assert cases.applied() == {"0001_callback"}


@pytest.mark.parametrize("atomic", [True, False])
def test_after_a_lost_connection_on_error_and_cleanup_get_a_new_one(
    cases: Cases, settings: Settings, atomic: bool
) -> None:
    kill = "SELECT pg_terminate_backend(pg_backend_pid())"
    cases.add("0001_kills", migrations.RunSQL(kill), atomic=atomic)
    settings.CONFITURE = {
        "PHASES": {"ON_ERROR": [record("error")], "CLEANUP": [record("clean")]},
        "MIGRATE": {"LOCK_TIMEOUT": "1s"},
    }
    with pytest.raises(Exception, match="terminating connection"):
        cases.migrate()
    assert recording.persisted() == ["error", "clean"]


def test_what_on_error_cannot_do_is_logged_and_hides_nothing(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    def lose_the_server(apps: Any, schema_editor: Any) -> None:
        schema_editor.connection.settings_dict = {**before, "HOST": "/nowhere"}
        schema_editor.connection.connection.close()

    before = connection.settings_dict
    cases.add("0001_loses", migrations.RunPython(lose_the_server), atomic=False)
    settings.CONFITURE = {"PHASES": {"AFTER_DDL": [record("x")], "ON_ERROR": [record("error")]}}
    try:
        with pytest.raises(HookError, match="Hook Record failed in phase AFTER_DDL"):
            cases.migrate()
    finally:
        connection.settings_dict = before
        connection.close()
    assert {each.message for each in caplog.records} == {"hook_failed", "after_failure"}


def test_a_mistake_in_the_settings_stops_migrate_before_the_first_migration(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_fine", recording.operation())
    cases.add("0002_unknown", recording.operation())
    settings.CONFITURE = {"PHASES": {"CLEANUP": [{"HOOK": "recrod", "MIGRATIONS": ["*.0002_*"]}]}}
    with pytest.raises(HookLookupError, match="no hook is registered as 'recrod'"):
        cases.migrate()
    assert recording.ran == []
    cases.migrate("0001")
    assert recording.ran == ["operation"]


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"PHASES": ["x"]}, "CONFITURE[\"PHASES\"] is ['x']; write a dictionary."),
    (
        {"PHASES": {"BEFORE": ["x"]}},
        (
            'CONFITURE["PHASES"]["BEFORE"]: there is no such phase; use one of '
            "BEFORE_VALIDATION, BEFORE_DDL, AFTER_DDL, AFTER_VALIDATION, CLEANUP, ON_ERROR."
        ),
    ),
    (
        {"PHASES": {"CLEANUP": "x"}},
        'CONFITURE["PHASES"]["CLEANUP"] is \'x\'; write a list of hooks.',
    ),
    (
        {"PHASES": {"CLEANUP": [{"NAME": "x"}]}},
        (
            "CONFITURE[\"PHASES\"][\"CLEANUP\"][0] is {'NAME': 'x'}; write a registered name, a "
            'dotted path, or a dictionary with "HOOK" and, as needed, "OPTIONS", "MIGRATIONS", '
            '"DATABASES".'
        ),
    ),
    (
        {"PHASES": {"CLEANUP": [record("x", MIGRATIONS="cases.*")]}},
        'CONFITURE["PHASES"]["CLEANUP"][0]["MIGRATIONS"] is \'cases.*\'; write a list of strings.',
    ),
    (
        {"PHASES": {"CLEANUP": [{"HOOK": RECORD, "OPTIONS": ["name"]}]}},
        'CONFITURE["PHASES"]["CLEANUP"][0]["OPTIONS"] is [\'name\']; write a dictionary.',
    ),
    (
        {"MIGRATE": {"LOCK_RETRIES": "3"}},
        (
            'CONFITURE["MIGRATE"]["LOCK_RETRIES"] is \'3\'; '
            "write how many times to try again, such as 3, or 0."
        ),
    ),
    (
        {"MIGRATE": {"LOCK_TIMEOUT": "3"}},
        (
            'CONFITURE["MIGRATE"]["LOCK_TIMEOUT"] is \'3\', which is not a duration; '
            'write a number and a unit, such as "500ms", "2s" or "5min".'
        ),
    ),
]


@pytest.mark.parametrize(("given", "message"), MALFORMED)
def test_malformed_settings(
    cases: Cases, settings: Settings, given: dict[str, Any], message: str
) -> None:
    cases.add("0001_fine", recording.operation())
    settings.CONFITURE = given
    with pytest.raises(ImproperlyConfigured) as caught:
        cases.migrate()
    assert str(caught.value) == message
    assert recording.ran == []


def test_on_error_is_told_when_a_hook_of_the_file_cannot_be_found(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_unknown", recording.operation(), RunHook("unknown_hook"))
    settings.CONFITURE = {"PHASES": {"ON_ERROR": [record("error")]}}
    with pytest.raises(HookLookupError, match="unknown_hook"):
        cases.migrate()
    assert recording.ran == ["error"]


def test_sqlmigrate_is_left_alone(cases: Cases, settings: Settings) -> None:
    cases.add("0001_books", *_books())
    settings.CONFITURE = {"PHASES": recording.in_every_phase()}
    out = StringIO()
    call_command("sqlmigrate", "cases", "0001", stdout=out)
    assert "CREATE TABLE" in out.getvalue()
    assert recording.ran == []
    assert not table_exists("cases_book")


def test_what_a_woven_migration_collects_as_sql_runs_no_hooks(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_books", *_books())
    settings.CONFITURE = {"PHASES": recording.in_every_phase()}
    migration = cases.loaded("0001_books")
    weave(migration)
    woven = migration.apply
    weave(migration)
    assert migration.apply is woven
    with connection.schema_editor(collect_sql=True) as editor:
        migration.apply(ProjectState(), editor, collect_sql=True)
    assert recording.ran == []
    assert not table_exists("cases_book")


def test_the_schema_editor_still_has_its_transaction(cases: Cases, settings: Settings) -> None:
    def look(apps: Any, schema_editor: Any) -> None:
        assert schema_editor.atomic.using == "default"
        recording.ran.append("looked")

    cases.add("0001_looks", migrations.RunPython(look))
    settings.CONFITURE = {}
    cases.migrate()
    assert recording.ran == ["looked"]


def test_nothing_is_woven_when_hooks_are_off(cases: Cases, settings: Settings) -> None:
    cases.add("0001_fine", recording.operation())
    settings.CONFITURE = {"ENABLED": False, "PHASES": recording.in_every_phase()}
    cases.migrate()
    assert recording.ran == ["operation"]


def test_hooks_in_a_transaction_of_the_caller(cases: Cases, settings: Settings) -> None:
    cases.add("0001_fails", recording.operation())
    settings.CONFITURE = {
        "PHASES": recording.in_every_phase(),
        "MIGRATE": {"LOCK_TIMEOUT": "3s"},
    }
    recording.fails["operation"] = "raise"
    with transaction.atomic():
        before = query("SHOW lock_timeout")
        with pytest.raises(ValueError, match="told to fail"):
            cases.migrate()
        assert query("SHOW lock_timeout") == before
    assert recording.persisted() == ["ON_ERROR", "CLEANUP"]


def test_a_non_atomic_migration_that_breaks_the_transaction_of_the_caller(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    cases.add("0001_breaks", migrations.RunSQL("SELECT 1/0"), atomic=False)
    settings.CONFITURE = {
        "PHASES": {"ON_ERROR": [record("error")], "CLEANUP": [record("clean")]},
        "MIGRATE": {"LOCK_TIMEOUT": "3s"},
    }
    with pytest.raises(DataError, match="division by zero"), transaction.atomic():
        cases.migrate()
    assert recording.persisted() == []
    assert query("SHOW lock_timeout") == [("0",)]


def test_the_settings_are_read_once_for_a_plan(
    cases: Cases, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    original = phases.read_entry

    def counted(phase: HookPhase, given: object, where: str) -> phases.PhaseEntry:
        read.append(where)
        return original(phase, given, where)

    monkeypatch.setattr(phases, "read_entry", counted)
    for number in range(1, 6):
        cases.add(f"000{number}_empty")
    settings.CONFITURE = {"PHASES": {"BEFORE_DDL": recording.in_every_phase()["BEFORE_DDL"]}}
    cases.migrate()
    assert read == ['CONFITURE["PHASES"]["BEFORE_DDL"][0]']
    assert len(recording.ran) == 5
