"""``CONFITURE["DRY_RUN"]`` is read once, into one object, and each mistake in it is one line."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, fields
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.migrations import RunPython, RunSQL
from pytest_django import Settings

from django_confiture import conf
from django_confiture.dry_run.executor import DryRunExecutor
from django_confiture.dry_run.settings import DryRunSettings, dry_run_settings
from tests.cases.migrations_on_disk import Cases
from tests.management.test_migrate_dryrun import dry_run, in_json

KEYS = sorted(conf.DEFAULTS["DRY_RUN"])


def test_each_setting_has_a_field() -> None:
    assert sorted(each.name.upper() for each in fields(DryRunSettings)) == KEYS


def test_values_are_parsed(settings: Settings) -> None:
    settings.CONFITURE = {
        "DRY_RUN": {"YIELD_AFTER": "1s", "MAX_WAL": "1kB", "TABLES": {"shop_order": "5ms"}}
    }
    found = dry_run_settings()

    assert found.yield_after == timedelta(seconds=1)
    assert found.max_wal == 1024
    assert found.tables == {"shop_order": timedelta(milliseconds=5)}
    assert found.timeouts == {"lock_timeout": "2000ms"}
    with pytest.raises(FrozenInstanceError):
        found.max_wal = None  # type: ignore[misc]


@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_value_is_one_line(cases: Cases, settings: Settings, key: str) -> None:
    cases.add("0001_nothing")
    settings.CONFITURE = {"DRY_RUN": {key: 17}}
    said = f'CONFITURE["DRY_RUN"]["{key}"] is 17'

    ran = dry_run(skip_checks=True)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"CommandError: {said}")
    assert "\n" not in ran.err
    with pytest.raises(conf.SettingError, match=re.escape(said)):
        DryRunExecutor().run(connection, cases.loaded("0001_nothing"))


def test_a_run_keeps_the_settings_that_it_began_with(cases: Cases, settings: Settings) -> None:
    def lift(*_args: Any) -> None:
        settings.CONFITURE = {"DRY_RUN": {"STATEMENT_TIMEOUT": None}}

    cases.add("0001_sleeps", RunPython(lift), RunSQL("SELECT pg_sleep(9)"))
    settings.CONFITURE = {"DRY_RUN": {"STATEMENT_TIMEOUT": "100ms"}}

    error = in_json(code=2)["migrations"][0]["error"]

    assert error["message"].endswith("timeout: the dry run's own (STATEMENT_TIMEOUT)")
