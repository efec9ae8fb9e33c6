"""The second part of what is promised, word for word: names, defaults, keys and codes."""

from __future__ import annotations

from dataclasses import fields

import pytest

from django_confiture import Hook, conf, get_hook, operations
from django_confiture.backfills import operations as backfill_operations
from django_confiture.dry_run.results.deploy import Break, Deploy, NewCodeBreak
from django_confiture.finding_ids import SEVERITIES
from django_confiture.hooks import builtin
from django_confiture.management import exit_codes
from tests.support.backfills import shelf

__all__ = ["shelf"]  # a fixture

BREAK = ["model", "table", "action", "sqlstate", "error", "sql", "migration", "operation"]
SHIPPED = (
    "capture_counts",
    "verify_consistency",
    "require_no_long_transactions",
    "require_backup",
    "require_recent_dry_run",
    "require_free_space",
    "require_no_drift",
    "analyze",
    "run_queries",
    "validate_tenant",
    "remove_invalid_indexes",
    "notify",
    "backfill",
)


def test_settings_have_the_promised_defaults() -> None:
    promised = {"LOCK_RETRIES": 0, "MAX_BLOCKING": None, "ONE_AT_A_TIME": True, "RESUME": False}
    assert promised.items() <= conf.DEFAULTS["MIGRATE"].items()
    assert conf.DEFAULTS["DRY_RUN"]["LOCK_TIMEOUT"] == "2s"
    assert conf.DEFAULTS["DRY_RUN"]["RUNNING_CODE"] is True


def test_breaks_have_the_promised_keys() -> None:
    assert [each.name for each in fields(Break)] == BREAK
    assert [each.name for each in fields(NewCodeBreak)] == [*BREAK, "still_after"]
    assert [each.name for each in fields(Deploy)] == [
        "order", "old_code", "new_code", "checked", "not_checked",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["running-code-breaks", "schema-differs-from-models"])
def test_findings_that_are_dangers(name: str) -> None:
    assert SEVERITIES[name] == "danger"


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_hook_has_a_name_a_file_and_options_that_it_checks(name: str) -> None:
    found = get_hook(name)
    assert found is not None
    assert issubclass(found, Hook)
    assert found.__module__ == f"django_confiture.hooks.builtin.{name}"
    hook = found()
    hook.options = {"nonsense": 1}
    assert "confiture.E011" in {message.id for message in hook.check()}


def test_migrations_import_the_operations_of_backfills_from_operations() -> None:
    assert operations.StartBackfill is backfill_operations.StartBackfill
    assert operations.RequireBackfill("shop.backfills.FillSearchText").finish is False


@pytest.mark.usefixtures("shelf")
def test_a_backfill_has_the_promised_states_and_keys() -> None:
    from django_confiture.backfills.models import BackfillState
    from django_confiture.backfills.status import BackfillStatus

    assert list(BackfillState.values) == [
        "queued", "running", "paused", "cancelled", "failed", "completed",
    ]  # fmt: skip
    assert [each.name for each in fields(BackfillStatus)] == [
        "name", "state", "done", "total", "percent", "rows_per_second", "remaining_seconds",
        "batch_size", "workers", "throttled_by", "last_error", "started_at", "finished_at",
    ]  # fmt: skip


def test_exit_codes() -> None:
    assert (exit_codes.FAILED, exit_codes.USAGE, exit_codes.EXCEEDED) == (1, 2, 3)
    assert (exit_codes.YIELDED, exit_codes.UNPROVEN) == (4, 5)


def test_the_room_of_the_shipped_hooks_lists_their_classes() -> None:
    classes = {found for name in dir(builtin) if isinstance(found := getattr(builtin, name), type)}
    assert {get_hook(name) for name in SHIPPED} <= classes
