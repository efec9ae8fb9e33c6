"""The settings in ``CONFITURE["MIGRATE"]``, read and validated."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django_confiture import conf
from django_confiture.dry_run_mark import in_dry_run

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

LONGEST_DELAY = timedelta(minutes=1)


@dataclass(frozen=True)
class MigrateSettings:
    """The settings of a real ``migrate``; a dry run has the defaults."""

    lock_timeout: timedelta | None = None
    """PostgreSQL's ``lock_timeout``; ``None`` leaves it as it is."""
    statement_timeout: timedelta | None = None
    """PostgreSQL's ``statement_timeout``; ``None`` leaves it as it is."""
    lock_retries: int = 0
    """How many times a migration is tried again after a lock timeout or a deadlock."""
    retry_delay: timedelta = timedelta(seconds=1)
    """The wait before the first retry; it doubles with each, up to a minute, with jitter."""
    max_blocking: timedelta | None = None
    """How long other sessions may wait for the migration; ``None``: as long as it takes."""
    one_at_a_time: bool = False
    """Whether a second ``migrate`` of the same database waits for this one."""
    resume: bool = False
    """Whether a non-atomic migration that was cut off goes on where it stopped."""
    analyze: bool = False
    """Whether tables that the migration rewrote or filled are analyzed after the commit."""

    @property
    def is_default(self) -> bool:
        """Return whether nothing is set that changes how migrations run: they cost nothing then."""
        others = replace(self, retry_delay=MigrateSettings.retry_delay, one_at_a_time=False)
        return others == MigrateSettings()

    @property
    def timeouts(self) -> dict[str, str]:
        """PostgreSQL's settings and their values."""
        given = {"lock_timeout": self.lock_timeout, "statement_timeout": self.statement_timeout}
        return {
            name: conf.milliseconds(value) for name, value in given.items() if value is not None
        }

    def delay(self, attempt: int) -> float:
        """Return how many seconds to wait after the failure of ``attempt``, counted from 1."""
        wanted = self.retry_delay.total_seconds() * 2.0 ** min(attempt - 1, 30)
        longest = min(wanted, LONGEST_DELAY.total_seconds())
        return longest * random.uniform(0.5, 1)  # noqa: S311 - jitter, no secret


def migrate_settings(connection: BaseDatabaseWrapper) -> MigrateSettings:
    """Return the project's settings; a dry run has its own timeouts and retries nothing."""
    if in_dry_run(connection):
        return MigrateSettings()
    given = conf.get("MIGRATE")
    return MigrateSettings(
        lock_timeout=_duration(given, "LOCK_TIMEOUT"),
        statement_timeout=_duration(given, "STATEMENT_TIMEOUT"),
        lock_retries=_retries(given),
        retry_delay=_duration(given, "RETRY_DELAY") or timedelta(0),
        max_blocking=_duration(given, "MAX_BLOCKING"),
        one_at_a_time=_switch(given, "ONE_AT_A_TIME"),
        resume=_switch(given, "RESUME"),
        analyze=_switch(given, "ANALYZE"),
    )


def _duration(given: Mapping[str, Any], key: str) -> timedelta | None:
    return conf.parse_duration(given[key], name=f'CONFITURE["MIGRATE"]["{key}"]')


def _retries(given: Mapping[str, Any]) -> int:
    retries = given["LOCK_RETRIES"]
    if isinstance(retries, int) and not isinstance(retries, bool) and retries >= 0:
        return retries
    raise conf.SettingError(
        f'CONFITURE["MIGRATE"]["LOCK_RETRIES"] is {retries!r}',
        "write how many times to try again, such as 3, or 0",
    )


def _switch(given: Mapping[str, Any], key: str) -> bool:
    return conf.parse_switch(given[key], name=f'CONFITURE["MIGRATE"]["{key}"]')
