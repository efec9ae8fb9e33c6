"""Every system check with its exact id, text, hint and object."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.apps import apps
from django.core import checks as django_checks
from django.core.checks import CheckMessage, Error, Info, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections, migrations, models
from django.db.utils import ConnectionHandler
from pytest_django import Settings

from django_confiture import (
    Hook,
    HookContext,
    HookPhase,
    HookResult,
    RunHook,
    checks,
    hook_checks,
    register_hook,
)
from django_confiture.backfills import Backfill
from django_confiture.hooks.builtin import options
from django_confiture.hooks.shipped import SHIPPED
from django_confiture.operations import RequireBackfill, StartBackfill
from django_confiture.testing import isolated_registry
from shop.hooks import BackfillCustomerLifetimeValue
from tests.cases.migrations_on_disk import Cases

RECORD = "tests.support.recording.Record"


class NeedsHours(Hook):
    """Rejects options, as hooks may."""

    phase = HookPhase.BEFORE_DDL

    def execute(self, conn: Any, context: HookContext) -> HookResult:
        raise NotImplementedError

    def check(self) -> list[CheckMessage]:
        if not isinstance(self.options.get("hours"), int):
            problem = f"hours is {self.options.get('hours')!r}."
            return [Error(problem, hint="Write a number.", id="ops.E001")]
        return []


class SpeaksForItself(NeedsHours):
    def check(self) -> list[CheckMessage]:
        return [Info("All is well.", obj="ops", id="ops.I001")]


class Breaks(NeedsHours):
    def check(self) -> list[CheckMessage]:
        raise RuntimeError("no network")


class NoPhase(Hook):
    def execute(self, conn: Any, context: HookContext) -> HookResult:
        raise NotImplementedError


class FillGroups(Backfill):
    model = "auth.Group"
    where = models.Q(name="")
    values: ClassVar = {"name": models.Value("staff")}


HERE = "tests.test_checks"


@pytest.fixture(autouse=True)
def _hook_of_the_shop() -> Iterator[None]:
    """Register what the shop's migrations name, whatever a test says in settings."""
    with isolated_registry():
        register_hook("backfill_customer_lifetime_value", BackfillCustomerLifetimeValue)
        yield


@pytest.fixture
def on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Cases]:
    """Give the app "cases" migrations, without a database."""
    package = tmp_path / "checked_migrations"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings.MIGRATION_MODULES = {"cases": package.name}
    yield Cases(package)
    for module in [name for name in sys.modules if name.partition(".")[0] == package.name]:
        del sys.modules[module]


def found(settings: Settings, given: Any, **options: Any) -> list[CheckMessage]:
    settings.CONFITURE = given
    return run_checks(tags=["confiture"], **options)


def one(settings: Settings, given: Any, **options: Any) -> CheckMessage:
    (message,) = found(settings, given, **options)
    return message


def error(number: str, problem: str, hint: str, obj: str = "settings") -> Error:
    return Error(problem, hint=hint, obj=obj, id=f"confiture.{number}")


def warning(number: str, problem: str, hint: str, obj: str = "settings") -> CheckMessage:
    return django_checks.Warning(problem, hint=hint, obj=obj, id=f"confiture.{number}")


FINE: list[dict[str, Any]] = [
    {},
    {"HOOKS": {"record": RECORD}, "PHASES": {"CLEANUP": ["record"]}},
    {"HOOKS": {"record": {"HOOK": RECORD, "OPTIONS": {"name": "x"}}}},
    {"PHASES": {"CLEANUP": (RECORD,), "ON_ERROR": []}},
    {"PHASES": {"CLEANUP": [{"HOOK": RECORD, "MIGRATIONS": ["shop.*", "auth.0001_initial"]}]}},
    {"PHASES": {"CLEANUP": [{"HOOK": RECORD, "DATABASES": ["default", "other"]}]}},
    {"MIGRATE": {"LOCK_TIMEOUT": "2s", "LOCK_RETRIES": 3}, "DRY_RUN": {"LOCK_TIMEOUT": None}},
    {"HOOKS": None, "PHASES": None, "MIGRATE": None},
]


@pytest.mark.parametrize("given", FINE)
def test_nothing_to_say(settings: Settings, given: dict[str, Any]) -> None:
    assert found(settings, given) == []


def test_without_the_setting(settings: Settings) -> None:
    del settings.CONFITURE
    assert run_checks(tags=["confiture"]) == []


@pytest.mark.parametrize("given", [["shop"], [], "", 0, False])
def test_e001_no_dictionary(settings: Settings, given: Any) -> None:
    assert one(settings, given) == error("E001", f"CONFITURE is {given!r}.", "Write a dictionary.")


@pytest.mark.parametrize(
    ("given", "problem", "hint"),
    [
        ({"PHASE": {}}, "CONFITURE has the unknown key 'PHASE'.", 'Did you mean "PHASES"?'),
        ({"hooks": {}}, "CONFITURE has the unknown key 'hooks'.", 'Did you mean "HOOKS"?'),
        (
            {"XYZ": {}},
            "CONFITURE has the unknown key 'XYZ'.",
            (
                "Known are: HOOKS, PHASES, ENTRY_POINTS, ENABLED, TEST_DATABASES, SILENCED, "
                "MIGRATE, DRY_RUN, BACKFILLS."
            ),
        ),
        (
            {"MIGRATE": {"LOCK_TIMEOUTS": "1s"}},
            "CONFITURE[\"MIGRATE\"] has the unknown key 'LOCK_TIMEOUTS'.",
            'Did you mean "LOCK_TIMEOUT"?',
        ),
        (
            {"DRY_RUN": {"LOCKS": "1s"}},
            "CONFITURE[\"DRY_RUN\"] has the unknown key 'LOCKS'.",
            None,
        ),
        (
            {"HOOKS": {"record": {"HOOK": RECORD, "OPTION": {}}}},
            "CONFITURE[\"HOOKS\"]['record'] has the unknown key 'OPTION'.",
            'Did you mean "OPTIONS"?',
        ),
        (
            {"PHASES": {"CLEANUP": [{"HOOK": RECORD, "MIGRATION": ["x"]}]}},
            'CONFITURE["PHASES"]["CLEANUP"][0] has the unknown key \'MIGRATION\'.',
            'Did you mean "MIGRATIONS"?',
        ),
    ],
)
def test_e002_unknown_key(settings: Settings, given: Any, problem: str, hint: str | None) -> None:
    message = one(settings, given)
    assert message == error("E002", problem, hint or str(message.hint))


@pytest.mark.parametrize(
    ("given", "problem", "hint"),
    [
        ({"HOOKS": ["x"]}, "CONFITURE[\"HOOKS\"] is ['x'].", "Write a dictionary."),
        ({"HOOKS": []}, 'CONFITURE["HOOKS"] is [].', "Write a dictionary."),
        (
            {"HOOKS": {5: RECORD}},
            'CONFITURE["HOOKS"][5]: its name is 5.',
            "Write a name in quotes.",
        ),
        ({"SILENCED": ()}, 'CONFITURE["SILENCED"] is ().', "Write a dictionary."),
        ({"DRY_RUN": ""}, "CONFITURE[\"DRY_RUN\"] is ''.", "Write a dictionary."),
        (
            {"DRY_RUN": {"TABLES": []}},
            'CONFITURE["DRY_RUN"]["TABLES"] is [].',
            "Write a dictionary.",
        ),
        ({"PHASES": "x"}, "CONFITURE[\"PHASES\"] is 'x'.", "Write a dictionary."),
        ({"MIGRATE": "1s"}, "CONFITURE[\"MIGRATE\"] is '1s'.", "Write a dictionary."),
        ({"ENABLED": "no"}, "CONFITURE[\"ENABLED\"] is 'no'.", "Write True or False."),
        ({"ENTRY_POINTS": 0}, 'CONFITURE["ENTRY_POINTS"] is 0.', "Write True or False."),
        ({"TEST_DATABASES": 1}, 'CONFITURE["TEST_DATABASES"] is 1.', "Write True or False."),
        (
            {"MIGRATE": {"LOCK_RETRIES": -1}},
            'CONFITURE["MIGRATE"]["LOCK_RETRIES"] is -1.',
            "Write a number, 0 or more.",
        ),
        (
            {"MIGRATE": {"LOCK_RETRIES": True}},
            'CONFITURE["MIGRATE"]["LOCK_RETRIES"] is True.',
            "Write a number, 0 or more.",
        ),
        (
            {"PHASES": {"CLEANUP": "record"}},
            'CONFITURE["PHASES"]["CLEANUP"] is \'record\'.',
            "Write a list of hooks.",
        ),
        (
            {"PHASES": {"CLEANUP": [3]}},
            'CONFITURE["PHASES"]["CLEANUP"][0] is 3.',
            (
                "Write a registered name, a dotted path, or a dictionary with "
                '"HOOK" and, as needed, "OPTIONS", "MIGRATIONS", "DATABASES".'
            ),
        ),
        (
            {"PHASES": {"CLEANUP": [{"HOOK": RECORD, "MIGRATIONS": "shop.*"}]}},
            'CONFITURE["PHASES"]["CLEANUP"][0]["MIGRATIONS"] is \'shop.*\'.',
            "Write a list of strings.",
        ),
        (
            {"PHASES": {"CLEANUP": [{"HOOK": RECORD, "DATABASES": [1]}]}},
            'CONFITURE["PHASES"]["CLEANUP"][0]["DATABASES"] is [1].',
            "Write a list of strings.",
        ),
        (
            {"PHASES": {"CLEANUP": [{"HOOK": RECORD, "OPTIONS": "x"}]}},
            'CONFITURE["PHASES"]["CLEANUP"][0]["OPTIONS"] is \'x\'.',
            "Write a dictionary.",
        ),
        (
            {"DRY_RUN": {"FAIL_ON": "notice"}},
            'CONFITURE["DRY_RUN"]["FAIL_ON"] is \'notice\'.',
            'Write one of "failure", "danger", "warning".',
        ),
        (
            {"DRY_RUN": {"TABLES": ["shop_order"]}},
            'CONFITURE["DRY_RUN"]["TABLES"] is [\'shop_order\'].',
            "Write a dictionary.",
        ),
    ],
)
def test_e003_wrong_kind(settings: Settings, given: Any, problem: str, hint: str) -> None:
    assert one(settings, given) == error("E003", problem, hint)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            {"MIGRATE": {"LOCK_TIMEOUT": 5}},
            'CONFITURE["MIGRATE"]["LOCK_TIMEOUT"] is 5, which is not a duration.',
        ),
        (
            {"MIGRATE": {"RETRY_DELAY": "soon"}},
            'CONFITURE["MIGRATE"]["RETRY_DELAY"] is \'soon\', which is not a duration.',
        ),
        (
            {"DRY_RUN": {"LOCK_TIMEOUT": "1 year"}},
            'CONFITURE["DRY_RUN"]["LOCK_TIMEOUT"] is \'1 year\', which is not a duration.',
        ),
        (
            {"DRY_RUN": {"MAX_BLOCKING": 500}},
            'CONFITURE["DRY_RUN"]["MAX_BLOCKING"] is 500, which is not a duration.',
        ),
        (
            {"DRY_RUN": {"TABLES": {"shop_order": "soon"}}},
            'CONFITURE["DRY_RUN"]["TABLES"]["shop_order"] is \'soon\', which is not a duration.',
        ),
    ],
)
def test_e004_no_duration(settings: Settings, given: Any, problem: str) -> None:
    hint = 'Write a number and a unit, such as "500ms", "2s" or "5min".'
    assert one(settings, given) == error("E004", problem, hint)


def test_e004_no_size(settings: Settings) -> None:
    problem = 'CONFITURE["DRY_RUN"]["MAX_WAL"] is \'much\', which is not a size.'
    hint = 'Write a number and a unit, such as "512MB" or "1GB".'
    assert one(settings, {"DRY_RUN": {"MAX_WAL": "much"}}) == error("E004", problem, hint)


def test_a_budget_that_is_fine(settings: Settings) -> None:
    settings.CONFITURE = {
        "DRY_RUN": {
            "FAIL_ON": "danger",
            "MAX_BLOCKING": "500ms",
            "TABLES": {"shop_order": "100ms"},
            "MAX_WAL": "1GB",
            "MAX_DURATION": "5min",
        }
    }
    assert checks.check_confiture() == []


@pytest.mark.parametrize(
    ("entry", "problem", "hint"),
    [
        (
            "shop.hooks.Nothing",
            (
                "CONFITURE[\"HOOKS\"]['broken']: 'shop.hooks.Nothing' cannot be imported "
                '(ImportError: Module "shop.hooks" does not define a "Nothing" '
                "attribute/class)."
            ),
            'Write the dotted path of a Hook subclass, such as "shop.hooks.Backfill".',
        ),
        (
            "shop.models.Order",
            (
                "CONFITURE[\"HOOKS\"]['broken']: 'shop.models.Order' is <class "
                "'shop.models.Order'>, which is not a subclass of django_confiture.Hook."
            ),
            'Write the dotted path of a Hook subclass, such as "shop.hooks.Backfill".',
        ),
        (
            5,
            "CONFITURE[\"HOOKS\"]['broken']: 5 is not a subclass of django_confiture.Hook.",
            'Write the dotted path of a Hook subclass, such as "shop.hooks.Backfill".',
        ),
        (
            {"OPTIONS": {}},
            "CONFITURE[\"HOOKS\"]['broken'] has no HOOK.",
            'Write the dotted path of a Hook subclass, such as "shop.hooks.Backfill".',
        ),
        (
            {"HOOK": RECORD, "OPTIONS": "x"},
            "CONFITURE[\"HOOKS\"]['broken'][\"OPTIONS\"] is 'x'.",
            "Write a dictionary.",
        ),
    ],
)
def test_e005_no_hook(settings: Settings, entry: Any, problem: str, hint: str) -> None:
    assert one(settings, {"HOOKS": {"broken": entry}}) == error("E005", problem, hint)


def test_e006_unknown_phase(settings: Settings) -> None:
    assert one(settings, {"PHASES": {"BEFORE_DDLS": []}}) == error(
        "E006",
        'CONFITURE["PHASES"]["BEFORE_DDLS"]: there is no such phase.',
        "Use one of BEFORE_VALIDATION, BEFORE_DDL, AFTER_DDL, AFTER_VALIDATION, CLEANUP, ON_ERROR.",
    )


def test_e007_hook_of_a_phase_not_found(settings: Settings) -> None:
    given = {"HOOKS": {"record": RECORD}, "PHASES": {"CLEANUP": ["recrod"]}, "ENTRY_POINTS": False}
    registered = ", ".join(sorted({*SHIPPED, "backfill_customer_lifetime_value", "record"}))
    assert one(settings, given) == error(
        "E007",
        'CONFITURE["PHASES"]["CLEANUP"][0]: no hook is registered as \'recrod\'.',
        f"Did you mean 'record'? Registered: {registered}. "
        'Add it to CONFITURE["HOOKS"], or give a dotted path or a class.',
    )


def test_e008_unknown_database(settings: Settings) -> None:
    given = {"PHASES": {"CLEANUP": [{"HOOK": RECORD, "DATABASES": ["defualt", "other"]}]}}
    assert one(settings, given) == error(
        "E008",
        'CONFITURE["PHASES"]["CLEANUP"][0]["DATABASES"] names \'defualt\', '
        "which is not in DATABASES.",
        "Known are: default, other.",
    )


def test_e009_hook_of_a_file_not_found(settings: Settings, on_disk: Cases) -> None:
    on_disk.add("0001_unknown", RunHook("no.such.Hook"))
    message = one(settings, {})
    assert message == error(
        "E009",
        "Migration cases.0001_unknown, RunHook('no.such.Hook') in the hook's own phase: "
        "'no.such.Hook' cannot be imported (ModuleNotFoundError: No module named 'no').",
        'Write the dotted path of a Hook subclass, such as "shop.hooks.Backfill".',
        "cases.0001_unknown",
    )
    assert str(message).startswith("cases.0001_unknown: (confiture.E009) Migration cases.0001")


def test_e009_hook_of_a_file_without_a_phase(settings: Settings, on_disk: Cases) -> None:
    on_disk.add("0001_no_phase", RunHook(NoPhase))
    assert one(settings, {}) == error(
        "E009",
        "Migration cases.0001_no_phase, RunHook(NoPhase) in the hook's own phase: "
        "NoPhase sets no phase.",
        "Write phase = HookPhase.AFTER_DDL in the class, or "
        "RunHook(..., phase=HookPhase.AFTER_DDL).",
        "cases.0001_no_phase",
    )


@pytest.mark.parametrize(
    ("operation", "problem"),
    [
        (
            'RunHook("x", "AFTER_DDL")',
            "RunHook.__init__() takes 2 positional arguments but 3 were given",
        ),
        (
            'RunHook("x", phase="AFTER_DLL")',
            f"RunHook(phase='AFTER_DLL'): use one of {', '.join(HookPhase.__members__)}.",
        ),
        (
            'RequireBackfill("x", True)',
            "RequireBackfill.__init__() takes 2 positional arguments but 3 were given",
        ),
        (
            "StartBackfill(3)",
            (
                "StartBackfill(3): write the dotted path of a Backfill, such as "
                '"shop.backfills.FillSearchText"; a migration outlives the class.'
            ),
        ),
    ],
)
def test_e009_wrong_arguments(
    settings: Settings, on_disk: Cases, operation: str, problem: str
) -> None:
    lines = ("from django_confiture.operations import *", "class Migration:", f" x = [{operation}]")
    on_disk.write("0001_wrong", "\n".join(lines))
    assert one(settings, {}) == error(
        "E009",
        f"{on_disk.package.name}.0001_wrong, line 3: {problem}",
        "Only the first argument goes without a name, as in "
        'RunHook("shop.hooks.Backfill", phase="AFTER_DDL").',
        "migrations",
    )


@pytest.mark.parametrize("operation", [StartBackfill, RequireBackfill])
def test_e009_a_backfill_that_is_not_there(
    settings: Settings, on_disk: Cases, operation: type[StartBackfill | RequireBackfill]
) -> None:
    on_disk.add("0001_fill", migrations.SeparateDatabaseAndState([operation(f"{HERE}.Nowhere")]))
    (message,) = found(settings, {})
    assert (message.id, message.obj) == ("confiture.E009", "cases.0001_fill")
    assert message.msg.startswith(
        f"Migration cases.0001_fill, {operation.__name__}: '{HERE}.Nowhere' is not a backfill: "
        f'Module "{HERE}" does not define a "Nowhere" attribute/class; '
    )
    assert message.hint is not None
    assert message.hint.startswith("A class stays as long as a migration names it")


def test_a_backfill_that_is_there_is_no_problem(settings: Settings, on_disk: Cases) -> None:
    on_disk.add("0001_fill", StartBackfill(f"{HERE}.FillGroups"))
    assert found(settings, {}) == []


def test_e010_a_check_that_breaks(settings: Settings) -> None:
    where = 'CONFITURE["PHASES"]["CLEANUP"][0]'
    assert one(settings, {"PHASES": {"CLEANUP": [f"{HERE}.Breaks"]}}) == error(
        "E010",
        f"{where}: Breaks.check() raised RuntimeError: no network",
        "Return a list of django.core.checks messages; an empty one if all is well.",
        where,
    )


def test_e011_unknown_option_of_a_shipped_hook(settings: Settings) -> None:
    where = 'CONFITURE["PHASES"]["BEFORE_DDL"][0]'
    entry = {"HOOK": "capture_counts", "OPTIONS": {"tables": ["shop_order"], "key": True}}
    assert one(settings, {"PHASES": {"BEFORE_DDL": [entry]}}) == error(
        "E011",
        "capture_counts has the unknown option 'key'.",
        "Known are: tables, queries, keep_keys.",
        where,
    )


def test_e011_unknown_option_of_a_hook_that_no_phase_names(settings: Settings) -> None:
    path = "django_confiture.hooks.builtin.require_backup.RequireBackup"
    entry = {"HOOK": path, "OPTIONS": {"max_age_hour": 24}}
    problem = "require_backup has the unknown option 'max_age_hour'."
    message = one(settings, {"HOOKS": {"backup": entry}})
    assert (message.id, message.msg) == ("confiture.E011", problem)
    assert message.obj == "CONFITURE[\"HOOKS\"]['backup']"
    both = {"HOOKS": {"backup": entry}, "PHASES": {"BEFORE_VALIDATION": ["backup"]}}
    assert one(settings, both).msg == problem


def test_what_a_run_hook_may_add_is_not_missing_in_the_settings(settings: Settings) -> None:
    path = "django_confiture.hooks.builtin.capture_counts.CaptureCounts"
    entry = {"HOOK": path, "OPTIONS": {"keep_keys": False}}
    assert found(settings, {"HOOKS": {"counts": entry}}) == []


def test_e012_wrong_option_of_a_shipped_hook(settings: Settings, on_disk: Cases) -> None:
    on_disk.add("0001_counts", RunHook("capture_counts", options={"tables": 3}))
    assert one(settings, {}) == error(
        "E012",
        'capture_counts: OPTIONS["tables"] is 3.',
        "Write a list of tables, or a dictionary.",
        "cases.0001_counts",
    )


def test_e014_resume_without_the_journal(settings: Settings) -> None:
    assert one(settings, {"MIGRATE": {"RESUME": True}}) == error(
        "E014",
        'CONFITURE["MIGRATE"]["RESUME"] is True, but django_confiture.history is not installed.',
        "Add it to INSTALLED_APPS: it keeps the journal of what was done.",
    )


KINDS = '{"update": {"exponent": 1, "spread": 0.1, "noise": 0.2}}'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (c"),
        ("[]", "is not a calibration of this release: version None"),
        ('{"confiture_calibration": 2}', "is not a calibration of this release: version 2"),
        ('{"confiture_calibration": 1}', "is damaged: KeyError: 'kinds'"),
        (
            '{"confiture_calibration": 1, "kinds": {"update": {"exponent": 99}}}',
            "is damaged: KeyError: 'spread'",
        ),
        (
            f'{{"confiture_calibration": 1, "kinds": {KINDS.replace("0.1", "0")}}}',
            "is damaged: ValueError: spread is 0",
        ),
        (
            f'{{"confiture_calibration": 1, "kinds": {KINDS.replace("0.2", "NaN")}}}',
            "is damaged: ValueError: noise is nan",
        ),
        (f'{{"confiture_calibration": 1, "kinds": {KINDS}}}', "is damaged: KeyError: 'made_at'"),
    ],
)
def test_e015_calibration_file(
    settings: Settings, tmp_path: Path, text: str | None, problem: str
) -> None:
    path = tmp_path / "here.json"
    if text is not None:
        path.write_text(text)
    said = one(settings, {"DRY_RUN": {"CALIBRATION": path}})
    assert said.id == "confiture.E015"
    assert said.msg.startswith(f'CONFITURE["DRY_RUN"]["CALIBRATION"]: {path} {problem}')
    assert said.hint == f"Make one with: python benchmarks/forecast.py --calibrate {path}."


def test_e003_calibration_that_is_not_a_path(settings: Settings) -> None:
    assert one(settings, {"DRY_RUN": {"CALIBRATION": 1}}) == error(
        "E003", 'CONFITURE["DRY_RUN"]["CALIBRATION"] is 1.', "Write the path of a file."
    )


@pytest.mark.parametrize("key", ["ONE_AT_A_TIME", "RESUME", "ANALYZE"])
def test_e003_a_switch_of_migrate_that_is_none(settings: Settings, key: str) -> None:
    assert one(settings, {"MIGRATE": {key: 1}}) == error(
        "E003", f'CONFITURE["MIGRATE"]["{key}"] is 1.', "Write True or False."
    )


@pytest.mark.parametrize("key", ["HOOKS", "PHASES", "SILENCED", "MIGRATE"])
@pytest.mark.parametrize("only", [False, True], ids=["all apps", "one app"])
def test_e003_a_list_is_said_once(settings: Settings, on_disk: Cases, key: str, only: bool) -> None:
    on_disk.add("0001_hook", RunHook(RECORD))
    options = {"app_configs": [apps.get_app_config("cases")]} if only else {}
    messages = found(settings, {key: ["x"], "ENTRY_POINTS": False}, **options)
    said = error("E003", f"CONFITURE[\"{key}\"] is ['x'].", "Write a dictionary.")
    assert messages == ([] if only else [said])


def test_e003_a_mistake_does_not_hide_others(settings: Settings) -> None:
    given = {"PHASES": ["x"], "SILENCED": {"nowhere.*": {"table-rewrite": "small"}}}
    assert {each.id for each in found(settings, given)} == {"confiture.E003", "confiture.W001"}


def test_w001_pattern_without_a_migration(settings: Settings) -> None:
    given = {"PHASES": {"CLEANUP": [{"HOOK": RECORD, "MIGRATIONS": ["shop.*", "shpo.*"]}]}}
    assert one(settings, given) == warning(
        "W001",
        'CONFITURE["PHASES"]["CLEANUP"][0]["MIGRATIONS"] has \'shpo.*\', '
        "which matches no migration.",
        'Patterns match app_label.name, such as "shop.*" or "shop.0003_add_segment".',
    )


@pytest.mark.parametrize("phase", ["BEFORE_VALIDATION", "BEFORE_DDL"])
def test_w002_before_that_stands_after(settings: Settings, on_disk: Cases, phase: str) -> None:
    on_disk.add(
        "0001_late",
        RunHook(RECORD, phase=phase),
        migrations.RunPython(migrations.RunPython.noop),
        RunHook(RECORD, phase=phase),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.CreateModel("Thing", [("id", models.AutoField(primary_key=True))])
            ]
        ),
        RunHook(RECORD, phase="AFTER_DDL"),
        RunHook(RECORD, phase=phase),
    )
    assert one(settings, {}) == warning(
        "W002",
        f"RunHook('{RECORD}') is of phase {phase}, but stands after 'Create model Thing'.",
        "Move it to the front of operations: it runs where it stands.",
        "cases.0001_late",
    )


@contextmanager
def with_sqlite(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the checks see another project's databases."""
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    handler = ConnectionHandler({"default": connections["default"].settings_dict, "lite": sqlite})
    with monkeypatch.context() as patch:
        patch.setattr(checks, "connections", handler)
        yield


def test_w003_not_postgresql(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"PHASES": {"CLEANUP": [{"HOOK": RECORD, "DATABASES": ["default", "lite"]}]}}
    with with_sqlite(monkeypatch):
        assert one(settings, given) == warning(
            "W003",
            'CONFITURE["PHASES"]["CLEANUP"][0]["DATABASES"] names \'lite\', which is SQLite: '
            "hooks do not run there.",
            "Leave it out: hooks need PostgreSQL.",
        )


def test_w003_not_where_no_database_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There migrate warns, once, when it comes to it."""
    with with_sqlite(monkeypatch):
        assert found(settings, {"PHASES": {"CLEANUP": [RECORD]}}) == []


@pytest.mark.parametrize("given", [{"HOOKS": {"x": RECORD}}, {"PHASES": {"CLEANUP": [RECORD]}}])
def test_w004_switched_off(settings: Settings, given: dict[str, Any]) -> None:
    assert one(settings, {**given, "ENABLED": False}) == warning(
        "W004",
        'Hooks are configured, but CONFITURE["ENABLED"] is False, so none of them runs.',
        "Remove ENABLED, or silence this check if that is intended.",
    )
    assert found(settings, {"ENABLED": False}) == []


def test_a_hook_rejects_its_options(settings: Settings, on_disk: Cases) -> None:
    on_disk.add(
        "0001_hooks",
        RunHook("needs_hours"),
        RunHook("needs_hours", options={"hours": 3}),
        RunHook("needs_hours", options={"hours": "3"}),
    )
    given = {
        "HOOKS": {"needs_hours": {"HOOK": f"{HERE}.NeedsHours", "OPTIONS": {"hours": 1}}},
        "PHASES": {
            "BEFORE_DDL": [
                "needs_hours",
                {"HOOK": "needs_hours", "OPTIONS": {"hours": None}},
                f"{HERE}.SpeaksForItself",
            ]
        },
    }
    assert found(settings, given) == [
        Error(
            "hours is None.",
            hint="Write a number.",
            obj='CONFITURE["PHASES"]["BEFORE_DDL"][1]',
            id="ops.E001",
        ),
        Info("All is well.", obj="ops", id="ops.I001"),
        Error("hours is '3'.", hint="Write a number.", obj="cases.0001_hooks", id="ops.E001"),
    ]


def test_what_two_places_say_alike_is_said_once(settings: Settings) -> None:
    given = {"PHASES": {"CLEANUP": [f"{HERE}.SpeaksForItself", f"{HERE}.SpeaksForItself"]}}
    assert one(settings, given).id == "ops.I001"


def test_only_the_apps_that_are_asked_for(settings: Settings, on_disk: Cases) -> None:
    on_disk.add("0001_unknown", RunHook("no.such.Hook"))
    given = {"ENABLED": "no"}
    assert [each.id for each in found(settings, given)] == ["confiture.E003", "confiture.E009"]
    for label, expected in (
        ("shop", []),
        ("cases", ["confiture.E009"]),
        ("django_confiture", ["confiture.E003"]),
    ):
        configs = [apps.get_app_config(label)]
        assert [each.id for each in found(settings, given, app_configs=configs)] == expected


def test_migrations_that_cannot_be_imported_are_left_to_django(
    settings: Settings, on_disk: Cases
) -> None:
    on_disk.write("0001_broken", "1 / 0\n")
    given = {"PHASES": {"CLEANUP": [{"HOOK": RECORD, "MIGRATIONS": ["nothing.*"]}]}}
    assert found(settings, given) == []


def test_a_broken_setting_does_not_keep_the_others_from_being_checked(settings: Settings) -> None:
    given = {
        "PHASE": {},
        "ENABLED": 1,
        "MIGRATE": "1s",
        "HOOKS": {"x": "nowhere.X"},
        "PHASES": {"CLEANUP": [3, "missing"], "UNKNOWN": []},
    }
    assert [each.id for each in found(settings, given)] == [
        "confiture.E002",
        "confiture.E003",
        "confiture.E003",
        "confiture.E005",
        "confiture.E003",
        "confiture.E007",
        "confiture.E006",
    ]


def test_an_error_stops_migrate_with_one_readable_message(
    settings: Settings, on_disk: Cases
) -> None:
    settings.CONFITURE = {"PHASES": {"CLEANUP": ["missing"]}}
    with pytest.raises(SystemCheckError, match=r"\(confiture.E007\)"):
        call_command("migrate", "cases", skip_checks=False)


def test_e013_a_mistake_in_silenced(settings: Settings) -> None:
    given = {"SILENCED": {"shop.*": {"table-rewrites": "small"}}}
    assert one(settings, given) == error(
        "E013",
        'CONFITURE["SILENCED"]["shop.*"] names \'table-rewrites\', which is not a finding.',
        "Write 'table-rewrite'.",
    )
    problem = 'CONFITURE["SILENCED"] has 5, which is not a pattern.'
    assert one(settings, {"SILENCED": {5: {}}}) == error(
        "E013", problem, 'Write one such as "shop.*".'
    )


def test_every_check_is_listed_and_tested() -> None:
    source = "".join(
        Path(str(each.__file__)).read_text() for each in (checks, hook_checks, options)
    )
    assert checks.__doc__ is not None
    listed = set(re.findall(r"^([EW]\d{3}) ", checks.__doc__, re.MULTILINE))
    used = set(re.findall(r'(?:confiture\.|")([EW]\d{3})"', source))
    tests = Path(__file__).read_text()
    tested = {each.upper() for each in re.findall(r"def test_([ew]\d{3})_", tests)}
    assert listed == used == tested
