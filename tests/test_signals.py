"""The signals, as ``django_confiture/signals.py`` documents them: what, when, and to whom."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, migrations
from django.dispatch import Signal
from pytest_django import Settings

from django_confiture import HookContext, HookError, HookResult, RunHook, signals
from django_confiture.dry_run.results import Report
from django_confiture.reports import render
from tests.cases.migrations_on_disk import Cases
from tests.support import recording

Sent = list[tuple[str, dict[str, Any]]]

DOCUMENTED = ["migration_started", "migration_finished", "migration_failed", "hook_finished"]


@pytest.fixture(autouse=True)
def _tables(cases: Cases) -> Iterator[None]:
    with recording.recording():
        yield


@contextmanager
def listening(*names: str) -> Iterator[Sent]:
    sent: Sent = []
    receivers = []
    for name in names or DOCUMENTED:

        def receive(name: str = name, **facts: Any) -> None:
            sent.append((name, {**facts, "transaction": connection.in_atomic_block}))

        signal: Signal = getattr(signals, name)
        signal.connect(receive)
        receivers.append((signal, receive))
    try:
        yield sent
    finally:
        for signal, receiver in receivers:
            signal.disconnect(receiver)


def test_every_signal_is_documented() -> None:
    existing = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    assert signals.__doc__ is not None
    assert set(re.findall(r"^``(\w+_\w+)``", signals.__doc__, re.MULTILINE)) == existing


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
def test_a_migration_that_succeeds(
    cases: Cases, settings: Settings, atomic: bool, direction: str
) -> None:
    cases.add("0001_fine", recording.operation(), atomic=atomic)
    settings.CONFITURE = {}
    if direction == "backward":
        cases.migrate()
    with listening() as sent:
        cases.migrate("zero" if direction == "backward" else "")
    assert [name for name, _ in sent] == ["migration_started", "migration_finished"]
    (_, started), (_, finished) = sent
    for facts in (started, finished):
        assert facts["sender"] is apps.get_app_config("cases")
        assert str(facts["migration"]) == "cases.0001_fine"
        assert facts["using"] == "default"
        assert facts["direction"] == direction
        assert isinstance(facts["context"], HookContext)
    assert started["transaction"] is atomic
    assert finished["transaction"] is False
    assert finished["duration_ms"] > 0
    assert finished["context"] is started["context"]


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
def test_a_migration_that_fails(cases: Cases, settings: Settings, atomic: bool) -> None:
    cases.add("0001_fails", recording.operation(), atomic=atomic)
    settings.CONFITURE = {}
    recording.fails["operation"] = "raise"
    with listening() as sent, pytest.raises(ValueError, match="told to fail") as caught:
        cases.migrate()
    assert [name for name, _ in sent] == ["migration_started", "migration_failed"]
    assert sent[1][1]["error"] is caught.value
    assert sent[1][1]["transaction"] is False
    assert sent[1][1]["sender"] is apps.get_app_config("cases")


def test_deferred_sql_that_fails_is_a_failed_migration(cases: Cases, settings: Settings) -> None:
    def defer(apps: Any, schema_editor: Any) -> None:
        schema_editor.deferred_sql.append("SELECT 1/0")

    cases.add("0001_fails", migrations.RunPython(defer))
    settings.CONFITURE = {}
    with listening() as sent, pytest.raises(Exception, match="division by zero"):
        cases.migrate()
    assert [name for name, _ in sent] == ["migration_started", "migration_failed"]
    assert not connection.in_atomic_block


def test_hooks_that_complete_fail_and_are_skipped(cases: Cases, settings: Settings) -> None:
    def hook(name: str) -> RunHook:
        return RunHook(recording.ForwardRecord, options={"name": name})

    cases.add("0001_hooks", hook("fine"))
    cases.add("0002_fails", hook("fails"))
    recording.fails["fails"] = "raise"
    with listening("hook_finished") as sent:
        with pytest.raises(HookError):
            cases.migrate()
        cases.migrate("zero")
    completed, failed, skipped = (facts for _, facts in sent)
    for facts in (completed, failed, skipped):
        assert facts["sender"] is apps.get_app_config("cases")
        assert (facts["hook"], facts["phase"]) == ("ForwardRecord", "BEFORE_DDL")
    assert (completed["outcome"], completed["error"], completed["reason"]) == (
        "completed",
        None,
        "",
    )
    assert isinstance(completed["result"], HookResult)
    assert completed["context"].label == "cases.0001_hooks"
    assert completed["duration_ms"] > 0
    assert (failed["outcome"], failed["result"]) == ("failed", None)
    assert str(failed["error"]) == "fails was told to fail"
    assert skipped["outcome"] == "skipped"
    assert "backward" in skipped["reason"]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_receiver_that_raises_is_logged_and_changes_nothing(
    cases: Cases, settings: Settings, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    def receive(**_facts: Any) -> None:
        raise ValueError("the receiver failed")

    cases.add("0001_fails", recording.operation())
    settings.CONFITURE = {"PHASES": recording.in_every_phase()}
    recording.fails["AFTER_DDL"] = "raise"
    signal: Signal = getattr(signals, name)
    signal.connect(receive)
    try:
        with pytest.raises(HookError, match="AFTER_DDL was told to fail"):
            cases.migrate()
        recording.fails.clear()
        cases.migrate()
    finally:
        signal.disconnect(receive)
    assert cases.applied() == {"0001_fails"}
    logged = [each for each in caplog.records if each.name == "django.dispatch"]
    assert logged
    assert {(each.levelname, str((each.exc_info or (0, 0))[1])) for each in logged} == {
        ("ERROR", "the receiver failed")
    }


def test_faked_migrations_send_nothing(cases: Cases) -> None:
    cases.add("0001_fine", recording.operation())
    with listening() as sent:
        cases.migrate(fake=True)
    assert sent == []


def test_a_dry_run_sends_that_it_has_finished(cases: Cases) -> None:
    cases.add("0001_fine", recording.operation())
    with listening("dry_run_finished") as sent:
        call_command("migrate_dryrun", "cases", verbosity=0, stdout=StringIO())
    ((_, facts),) = sent
    assert facts["sender"] is apps.get_app_config("django_confiture")
    assert facts["using"] == "default"
    assert isinstance(facts["report"], Report)
    assert facts["report_json"] == render(facts["report"], "json")
    assert facts["headline"] == (
        "Dry run of 1 migration: all would apply. "
        "Either order: the running release and the new one live with both schemas"
    )
    assert (facts["verdict"], facts["shows_values"]) == ("passed", False)


def test_an_app_that_is_not_installed_has_no_sender() -> None:
    assert signals.sender_for("gone") is None
