"""The settings in ``CONFITURE["DRY_RUN"]``, read and validated once for each dry run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta

from django_confiture import conf
from django_confiture.calibration_file import CalibrationFile, read_calibration

KEY = "DRY_RUN"


@dataclass(frozen=True)
class DryRunSettings:
    """The settings of a dry run; each field is named as its key, in lower case."""

    lock_timeout: timedelta | None
    """PostgreSQL's ``lock_timeout``; ``None`` leaves it as it is."""
    statement_timeout: timedelta | None
    """PostgreSQL's ``statement_timeout``; ``None`` leaves it as it is."""
    yield_after: timedelta | None
    """How long other sessions may wait for the dry run; ``None``: as long as it takes."""
    max_dead_space: int | None
    """How many bytes of rolled-back rows it may leave for VACUUM."""
    running_code: bool
    """Whether the models of both releases are tried on each other's schema."""
    calibration: str | None
    """The path of the file with this machine's constants for forecasts."""
    fail_on: conf.FailOn | None
    """The least severity of findings that exceeds the budget."""
    max_blocking: timedelta | None
    """How long a migration may block writes on a table."""
    tables: Mapping[str, timedelta]
    """The same for single tables."""
    max_wal: int | None
    """How many bytes of WAL a migration may write."""
    max_duration: timedelta | None
    """How long a migration may take."""

    @property
    def timeouts(self) -> dict[str, str]:
        """PostgreSQL's settings and their values."""
        given = {"lock_timeout": self.lock_timeout, "statement_timeout": self.statement_timeout}
        return {
            name: conf.milliseconds(value) for name, value in given.items() if value is not None
        }

    def calibration_file(self) -> CalibrationFile | None:
        """Read the calibration; a ``SettingError`` says what is wrong with the file."""
        return None if self.calibration is None else read_calibration(self.calibration)


def dry_run_settings() -> DryRunSettings:
    """Return the project's settings; a ``SettingError`` names one that can't be used."""
    given = conf.get(KEY)
    parsed = {}
    for name in (each.name for each in fields(DryRunSettings)):
        key = name.upper()
        parsed[name] = conf.parse(key, given[key], name=setting_name(key))
    return DryRunSettings(**parsed)


def setting_name(key: str) -> str:
    """Return how messages name a setting."""
    return f'CONFITURE["{KEY}"]["{key}"]'
