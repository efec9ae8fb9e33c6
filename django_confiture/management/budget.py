"""The budget of ``migrate_dryrun``: its flags, and the settings that they override."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django_confiture import conf
from django_confiture.dry_run.results.budget import Budget, unknown_tables
from django_confiture.dry_run.settings import DryRunSettings, setting_name
from django_confiture.exceptions import DryRunRefused

_KEYS = ("FAIL_ON", "MAX_BLOCKING", "MAX_WAL", "MAX_DURATION")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the flags; a migration that exceeds one of them ends with exit code 3."""
    group = parser.add_argument_group(
        "budget",
        "Exit code 3 if a migration exceeds one of these, by its forecast if there is one, else as "
        "measured here.",
    )
    group.add_argument(
        "--fail-on",
        choices=conf.FAIL_ON,
        help="The least severity of findings that counts; failure: none does.",
    )
    group.add_argument(
        "--max-blocking",
        metavar="DURATION",
        help="For how long a migration may block writes on a table, such as 500ms.",
    )
    group.add_argument(
        "--table",
        action="append",
        metavar="NAME=DURATION",
        help="The same for one table, instead of --max-blocking; may be given again.",
    )
    group.add_argument("--max-wal", metavar="SIZE", help="WAL of a migration, such as 1GB.")
    group.add_argument("--max-duration", metavar="DURATION", help="A migration's time, as 5min.")


def budget_of(options: Mapping[str, Any], settings: DryRunSettings) -> Budget:
    """Return the budget; flags override settings, ``--table`` the setting for the same table."""
    flags = {
        key.lower(): conf.parse(key, options[key.lower()], name=_flag(key))
        for key in _KEYS
        if options[key.lower()] is not None
    }
    given = replace(settings, **flags)
    tables = {name: _ms(limit) for name, limit in given.tables.items()}
    return Budget(
        fail_on=given.fail_on,
        max_blocking_ms=_optional_ms(given.max_blocking),
        tables_ms={**tables, **dict(_given(options["table"] or ()))},
        max_wal_bytes=given.max_wal,
        max_duration_ms=_optional_ms(given.max_duration),
    )


def check_tables(
    budget: Budget, options: Mapping[str, Any], known: Collection[str]
) -> Iterator[str]:
    """Refuse an unknown table in a flag; yield a warning about one in the settings.

    Settings apply to all databases, and not every database has every table.
    """
    flags = {name for name, _ms in _given(options["table"] or ())}
    for name, problem in unknown_tables(budget, known):
        if name in flags:
            raise DryRunRefused(f"--table {name}: {problem}")
        yield f"{setting_name('TABLES')}: {problem}"


def _flag(key: str) -> str:
    return "--" + key.lower().replace("_", "-")


def _ms(value: timedelta) -> float:
    return value.total_seconds() * 1000


def _optional_ms(value: timedelta | None) -> float | None:
    return None if value is None else _ms(value)


def _given(flags: list[str] | tuple[str, ...]) -> list[tuple[str, float]]:
    found = []
    for flag in flags:
        name, equals, value = flag.rpartition("=")
        limit = conf.parse_duration(value, name=f"--table {flag}") if equals and name else None
        if limit is None:
            raise conf.SettingError(
                f"--table {flag} names no table and limit",
                "write a table and a duration, such as --table shop_order=100ms",
            )
        found.append((name, _ms(limit)))
    return found
