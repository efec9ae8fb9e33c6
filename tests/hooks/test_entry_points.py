"""Third-party packages of hooks, really built, installed and discovered in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, migrations, models
from psycopg.conninfo import make_conninfo

from django_confiture import RunHook
from django_confiture.hooks.registry import registry
from tests.cases.migrations_on_disk import Cases, query
from tests.support.paths import PACKAGES, ROOT

EXAMPLE = PACKAGES / "confiture_example_hooks"

DISCOVER = """
import json, logging, sys
from django.conf import settings

logged = []

class Keep(logging.Handler):
    def emit(self, record):
        logged.append([record.levelname, record.getMessage()])

logger = logging.getLogger("django_confiture.hooks")
logger.addHandler(Keep())
logger.setLevel(logging.DEBUG)
configured = json.loads(sys.argv[1])
if configured is not None:
    settings.configure(CONFITURE=configured)
from django_confiture import Hook, HookRegistry, get_hook, register_hook
from django_confiture.hooks.registry import registry
from django_confiture.hooks.shipped import SHIPPED

class Registered(Hook):
    def execute(self, conn, context): ...

for name in sys.argv[2:]:
    register_hook(name, Registered)
packages = {"confiture_example_hooks", "confiture_broken_hooks"}
early = sorted(packages & set(sys.modules))
found = {name: str(get_hook(name)) for name in registry.list_hooks() if name not in SHIPPED}
json.dump({"early": early, "found": found, "fresh": HookRegistry().list_hooks(),
           "logged": logged}, sys.stdout)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with both packages in it, as pip installs their wheels."""
    target = tmp_path_factory.mktemp("site-packages")
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    packages = [str(EXAMPLE), str(PACKAGES / "confiture_broken_hooks")]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", *options, "--target", target, *packages],
        check=True,
        capture_output=True,
    )
    return target


def discover(installed: Path, confiture: object = None, *registered: str) -> dict[str, Any]:
    """Return what a fresh process finds, and what it logs."""
    done = subprocess.run(
        [sys.executable, "-c", DISCOVER, json.dumps(confiture), *registered],
        env={**environment(), "PYTHONPATH": os.pathsep.join([str(installed), str(ROOT)])},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}


FINE = "<class 'confiture_broken_hooks.Fine'>"
ANALYZE = "<class 'confiture_example_hooks.AnalyzeTables'>"
OVERRIDDEN = {"HOOKS": {"analyze_tables": "confiture_broken_hooks.Fine"}}


@pytest.mark.parametrize("confiture", [None, {}])
def test_the_hooks_of_installed_packages_are_found_with_and_without_settings(
    installed: Path, confiture: object
) -> None:
    discovered = discover(installed, confiture)
    assert discovered["found"] == {"analyze_tables": ANALYZE, "fine": FINE}
    assert discovered["fresh"] == ["analyze_tables", "fine"]


def test_entries_that_fail_are_one_warning_each_that_names_entry_and_error(
    installed: Path,
) -> None:
    logged = [tuple(each) for each in discover(installed, {})["logged"]]
    failing = (
        "WARNING",
        (
            "The confiture.hooks entry point 'failing_import' "
            "(confiture_broken_hooks.failing:Anything) was not loaded: "
            "ImportError: libmigrate.so.3: cannot open shared object file"
        ),
    )
    no_hook = (
        "WARNING",
        (
            "The confiture.hooks entry point 'not_a_hook' (confiture_broken_hooks:NOT_A_HOOK) was "
            "not loaded: HookLookupError: entry point confiture_broken_hooks:NOT_A_HOOK: "
            "'a string' is not a subclass of django_confiture.Hook. "
            "Give the class itself, not an instance."
        ),
    )
    # Twice: the project's registry, and a fresh one.
    assert sorted(logged) == sorted([failing, no_hook] * 2)


def test_nothing_is_loaded_before_it_is_asked_for(installed: Path) -> None:
    assert discover(installed, {}, "registered early")["early"] == []


def test_settings_win_over_a_package_and_register_hook_over_both_and_say_so(
    installed: Path,
) -> None:
    by_settings = discover(installed, OVERRIDDEN)
    assert by_settings["found"]["analyze_tables"] == FINE
    settings_won = [
        "DEBUG",
        (
            "hook 'analyze_tables' from CONFITURE[\"HOOKS\"] overrides the one from entry point "
            "confiture_example_hooks:AnalyzeTables"
        ),
    ]
    assert by_settings["logged"].count(settings_won) == 1

    by_code = discover(installed, OVERRIDDEN, "analyze_tables")
    assert by_code["found"]["analyze_tables"] == "<class '__main__.Registered'>"
    assert settings_won in by_code["logged"]
    assert [
        "DEBUG",
        (
            "hook 'analyze_tables' from register_hook (__main__.Registered) overrides the one from "
            'CONFITURE["HOOKS"]'
        ),
    ] in by_code["logged"]


def test_switched_off_no_package_is_loaded(installed: Path) -> None:
    discovered = discover(installed, {"ENTRY_POINTS": False})
    assert discovered["found"] == {}
    assert discovered["fresh"] == discovered["logged"] == []


@pytest.fixture
def on_path(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(installed))
    registry.__dict__.pop("_entry_points", None)
    yield
    registry.__dict__.pop("_entry_points", None)
    for name in [name for name in sys.modules if name.startswith("confiture_")]:
        del sys.modules[name]


def test_a_migration_runs_the_packages_hook_by_its_name(cases: Cases, on_path: None) -> None:
    cases.add(
        "0001_initial",
        migrations.CreateModel("Fruit", [("id", models.BigAutoField(primary_key=True))]),
        migrations.RunSQL("INSERT INTO cases_fruit SELECT generate_series(1, 7)"),
        RunHook("analyze_tables", options={"tables": ["cases_fruit"]}),
    )
    cases.migrate()
    assert query("SELECT reltuples FROM pg_class WHERE relname = 'cases_fruit'") == [(7,)]


def test_the_packages_own_tests_pass_without_django_settings(
    installed: Path, transactional_db: None
) -> None:
    given = connection.get_connection_params()
    known = {
        key: given[key] for key in ("dbname", "user", "password", "host", "port") if key in given
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", "pyproject.toml", "-p", "no:cacheprovider"],
        cwd=EXAMPLE,
        env={
            **environment(),
            "PYTHONPATH": os.pathsep.join([str(installed), str(ROOT)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "DATABASE_URL": make_conninfo(**known),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
