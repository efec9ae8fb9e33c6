"""``require_backup``: a function, a file, the archiver and the standbys of a real server."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.db import connection
from pytest_django import Settings

from django_confiture import HookContext, HookError
from django_confiture.exceptions import HookRefusal, HookVeto
from django_confiture.testing import capture_hooks, run_hook
from tests.cases.migrations_on_disk import Cases
from tests.support.server import OwnServer, own_server
from tests.support.shipped_hooks import in_phases, option_messages, rehearse, veto_of

__all__ = ["own_server"]  # a fixture

HERE = __name__
AGAIN = "Make a backup, and migrate again."


def an_hour_ago(context: HookContext) -> datetime:
    assert context.label == "cases.0001_empty"
    return datetime.now(UTC) - timedelta(hours=1)


def naive(context: HookContext) -> datetime:
    return datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=3)


def fine(context: HookContext) -> bool:
    return True


def none(context: HookContext) -> None:
    return None


def text(context: HookContext) -> str:
    return "yesterday"


def breaks(context: HookContext) -> None:
    raise ConnectionError("the bucket is out of reach")


def configure(cases: Cases, settings: Settings, **options: Any) -> None:
    cases.add("0001_empty")
    settings.CONFITURE = in_phases(BEFORE_VALIDATION=("require_backup", options))


@pytest.mark.parametrize("provider", [an_hour_ago, f"{HERE}.an_hour_ago", fine])
def test_a_function_that_knows_of_a_backup_lets_it_run(
    cases: Cases, settings: Settings, provider: Any
) -> None:
    configure(cases, settings, provider=provider)
    cases.migrate()
    assert cases.applied() == {"0001_empty"}


@pytest.mark.parametrize(
    ("provider", "veto"),
    [
        (an_hour_ago, "The last backup is 1.0 h old, and max_age is 30.0 min."),
        (naive, "The last backup is 3.0 h old, and max_age is 30.0 min."),
        (none, f"{HERE}.none knows of no good backup."),
    ],
)
def test_a_function_whose_backup_is_too_old_or_missing_is_a_veto(
    cases: Cases, settings: Settings, provider: Any, veto: str
) -> None:
    configure(cases, settings, provider=provider, max_age="30min")
    assert veto_of(cases) == f"{veto} {AGAIN}"
    assert cases.applied() == set()


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        (breaks, "the bucket is out of reach"),
        (text, f"{HERE}.text returned str; let it return the datetime of the last backup"),
    ],
)
def test_a_function_that_fails_fails_the_hook(
    cases: Cases, settings: Settings, provider: Any, words: str
) -> None:
    configure(cases, settings, provider=provider)
    with pytest.raises(HookError, match=f"RequireBackup failed in phase .*: {words}"):
        cases.migrate()


def test_the_newest_file_that_is_not_empty_counts(
    cases: Cases, settings: Settings, tmp_path: Path
) -> None:
    pattern = str(tmp_path / "shop-*.dump")
    configure(cases, settings, file=pattern, max_age="24h")
    assert veto_of(cases) == f"There is no backup at {pattern!r} that is not empty. {AGAIN}"
    (tmp_path / "shop-3.dump").touch()
    assert "that is not empty" in veto_of(cases)

    old = tmp_path / "shop-1.dump"
    old.write_bytes(b"PGDMP")
    os.utime(old, (0, time.time() - 48 * 3600))
    assert veto_of(cases) == (
        f"The newest backup at {pattern!r} is 48.0 h old, and max_age is 24.0 h. {AGAIN}"
    )

    (tmp_path / "shop-2.dump").write_bytes(b"PGDMP")
    cases.migrate()
    assert cases.applied() == {"0001_empty"}


def test_all_that_is_asked_for_has_to_hold(
    cases: Cases, settings: Settings, tmp_path: Path
) -> None:
    missing = str(tmp_path / "nothing")
    configure(cases, settings, file=missing, provider=none)
    assert veto_of(cases) == (
        f"{HERE}.none knows of no good backup. There is no backup at {missing!r} that is not "
        f"empty. {AGAIN}"
    )


def test_what_migrate_raises_is_printed_in_one_line(cases: Cases, settings: Settings) -> None:
    configure(cases, settings, provider=none)
    with pytest.raises(CommandError) as caught:  # manage.py shows its traceback by --traceback
        cases.migrate()
    assert isinstance(caught.value, HookRefusal)
    assert str(caught.value) == (
        "Hook RequireBackup failed in phase BEFORE_VALIDATION: "
        f"{HERE}.none knows of no good backup. {AGAIN}"
    )


# What the server says.


def veto_by_server(**options: Any) -> str:
    """Run the hook on "default", which has to veto; return its words."""
    with pytest.raises(HookError) as caught:
        run_hook("require_backup", options=options)
    assert isinstance(caught.value.original_error, HookVeto)
    return str(caught.value.original_error)


def wait_for(own_server: OwnServer, condition: str) -> None:
    for _ in range(200):
        if own_server.query(f"SELECT {condition} FROM pg_stat_archiver") == [(True,)]:
            return
        time.sleep(0.05)
    raise AssertionError(condition)


@pytest.mark.django_db(transaction=True)
def test_the_archiver(own_server: OwnServer) -> None:
    with own_server.started():
        assert veto_by_server(archiver=True) == (
            f"The server archives no WAL: its archive_mode is off. {AGAIN}"
        )
    with own_server.started(archive_mode="on", archive_command="true"):
        assert veto_by_server(archiver=True) == f"The server has archived no WAL yet. {AGAIN}"
        own_server.query("SELECT pg_logical_emit_message(true, '', 'x')")
        own_server.query("SELECT pg_switch_wal()")
        wait_for(own_server, "archived_count > 0")
        run_hook("require_backup", options={"archiver": True})
        time.sleep(0.05)
        old = veto_by_server(archiver=True, max_age="10ms")
        assert old.startswith("The last WAL that was archived is ")
    with own_server.started(archive_mode="on", archive_command="false"):
        own_server.query("SELECT pg_logical_emit_message(true, '', 'x')")
        own_server.query("SELECT pg_switch_wal()")
        wait_for(own_server, "failed_count > 0")
        assert veto_by_server(archiver=True).startswith(
            "The server's last attempt to archive WAL failed, at 0000"
        )


@pytest.mark.django_db(transaction=True)
def test_standbys_that_are_missing(own_server: OwnServer) -> None:
    with own_server.started():
        assert veto_by_server(standbys=2) == (
            f"0 standbys of 2 stream with a lag of 10.0 s or less (0 connected). {AGAIN}"
        )


@pytest.mark.django_db(transaction=True)
def test_a_standby_that_streams_and_one_that_falls_behind(own_server: OwnServer) -> None:
    with own_server.started(), own_server.standby() as standby:
        run_hook("require_backup", options={"standbys": 1, "max_lag": "30s"})
        standby.execute("SELECT pg_wal_replay_pause()")
        own_server.query_alone("CREATE TABLE falls_behind ()")
        for _ in range(200):
            own_server.query_alone("INSERT INTO falls_behind DEFAULT VALUES")
        time.sleep(0.5)
        standby.execute("SELECT pg_wal_replay_resume()")
        wait_until_lagging(own_server)
        assert veto_by_server(standbys=1, max_lag="1ms").startswith(
            "0 standbys of 1 stream with a lag of 1 ms or less (1 connected, the slowest "
        )


def wait_until_lagging(own_server: OwnServer) -> None:
    """The primary learns of the lag when what was paused has been replayed."""
    query = "SELECT replay_lag > interval '300 ms' FROM pg_stat_replication"
    for _ in range(400):
        if own_server.query(query) == [(True,)]:
            return
        time.sleep(0.02)
    raise AssertionError("the standby never fell behind")


# Dry run, backwards, options.


def test_a_dry_run_skips_it(cases: Cases, settings: Settings) -> None:
    configure(cases, settings, provider=none)
    with capture_hooks() as hooks:
        assert rehearse(cases, "0001_empty").success
    (run,) = hooks.find("RequireBackup")
    assert (run.outcome, run.reason) == ("skipped", "runs_in_dry_run is False")


def test_backwards_it_vetoes_too(cases: Cases, settings: Settings) -> None:
    configure(cases, settings, provider=fine)
    cases.migrate()
    settings.CONFITURE = in_phases(BEFORE_VALIDATION=("require_backup", {"provider": none}))
    assert "knows of no good backup" in veto_of(cases, "zero")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {},
            (
                "confiture.E012",
                "require_backup has none of 'provider', 'file', 'archiver', 'standbys'.",
                'Say where backups are, such as {"file": "/backups/shop-*.dump"}.',
            ),
        ),
        (
            {"provider": "ops.nothing"},
            (
                "confiture.E012",
                (
                    "require_backup: OPTIONS[\"provider\"] is 'ops.nothing', which cannot be "
                    "imported (ModuleNotFoundError: No module named 'ops')."
                ),
                'Write the dotted path of a function, such as "ops.backups.latest".',
            ),
        ),
        (
            {"provider": 3},
            (
                "confiture.E012",
                'require_backup: OPTIONS["provider"] is 3, which cannot be called.',
                'Write a function, or the dotted path of one, such as "ops.backups.latest".',
            ),
        ),
        (
            {"standbys": -1},
            (
                "confiture.E012",
                'require_backup: OPTIONS["standbys"] is -1.',
                "Write a whole number, 0 or more.",
            ),
        ),
        (
            {"archiver": True, "max_age_hours": 3},
            (
                "confiture.E011",
                "require_backup has the unknown option 'max_age_hours'.",
                "Did you mean 'max_age'?",
            ),
        ),
        (
            {"archiver": 1},
            ("confiture.E012", 'require_backup: OPTIONS["archiver"] is 1.', "Write True or False."),
        ),
        (
            {"file": ""},
            ("confiture.E012", "require_backup: OPTIONS[\"file\"] is ''.", "Write a string."),
        ),
    ],
)
def test_wrong_options_are_system_checks(options: Any, expected: Any) -> None:
    assert option_messages("require_backup", options) == [expected]


def test_wrong_options_fail_where_checks_were_skipped(cases: Cases, settings: Settings) -> None:
    configure(cases, settings)
    with pytest.raises(HookError, match=r"require_backup has none of .*\. Say where backups are"):
        cases.migrate(skip_checks=True)
    assert connection.in_atomic_block is False
