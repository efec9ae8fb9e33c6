"""The settings in ``CONFITURE["BACKFILLS"]``, read and validated."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

from django_confiture import conf
from django_confiture.backfills.batching.batch_sizer import BatchSizer

FIRST_BATCH = 1000


class UnusableOption(conf.SettingError):
    """A value of the right kind that can't be used, alone or with the others."""


@dataclass(frozen=True)
class BackfillOptions:
    """The settings of backfills; each attribute is a key in lower case."""

    target: timedelta
    """How long a batch should take."""
    min: int
    """Rows of the smallest batch."""
    max: int
    """Rows of the largest batch."""
    lock_timeout: timedelta
    """PostgreSQL's ``lock_timeout`` in a batch."""
    statement_timeout: timedelta
    """PostgreSQL's ``statement_timeout`` in a batch."""
    lease: timedelta
    """For how long a range belongs to a worker that doesn't commit."""
    slice: timedelta
    """For how long a task works before it queues the next."""
    workers: int
    """How many tasks work on one backfill."""
    attempts: int
    """How often a batch that meets a lock, a deadlock or a lost connection is tried."""
    max_row_errors: int
    """With so many rows at fault a backfill fails."""
    task_backend: str
    """The alias in ``TASKS``."""
    queue: str
    """The queue's name."""
    throttles: tuple[Any, ...]
    """What may hold a backfill; entries as the project wrote them."""

    def sizer(
        self,
        *,
        size: int | None = None,
        seconds_per_row: float | None = None,
        most: int | None = None,
    ) -> BatchSizer:
        """Return what sizes the batches, from what is known of those before.

        ``most`` is how many rows a batch can have at all; it counts more than ``MIN``.
        """
        maximum = min(self.max, most or self.max)
        minimum = min(self.min, maximum)
        return BatchSizer(
            target=self.target.total_seconds(),
            minimum=minimum,
            maximum=maximum,
            size=max(minimum, min(maximum, size or FIRST_BATCH)),
            seconds_per_row=seconds_per_row,
        )


def backfill_options() -> BackfillOptions:
    """Return the project's settings; a ``SettingError`` names what can't be used."""
    given = conf.get("BACKFILLS")
    read = {each.name: _read_option(each.name.upper(), given) for each in fields(BackfillOptions)}
    options = BackfillOptions(**read)
    for problem, fix in contradictions(options):
        raise UnusableOption(problem, fix)
    return options


def contradictions(options: BackfillOptions) -> list[tuple[str, str]]:
    """Return the settings that contradict each other, with the fix."""
    found = []
    if options.min > options.max:
        problem = f'CONFITURE["BACKFILLS"] has MIN {options.min} above MAX {options.max}'
        found.append((problem, "write a smaller MIN"))
    if options.lease < options.statement_timeout + options.lock_timeout:
        problem = (
            f'CONFITURE["BACKFILLS"]["LEASE"] is {options.lease.total_seconds():g} s, but a batch '
            "may take LOCK_TIMEOUT and STATEMENT_TIMEOUT"
        )
        found.append((problem, "write a LEASE that is longer than both together"))
    return found


def _read_option(key: str, given: dict[str, Any]) -> Any:
    name = f'CONFITURE["BACKFILLS"]["{key}"]'
    value, default = given[key], conf.DEFAULTS["BACKFILLS"][key]
    if isinstance(default, int):
        if not isinstance(value, int) or isinstance(value, bool):
            raise conf.SettingError(f"{name} is {value!r}", "write a number, 1 or more")
        if value < 1:
            raise UnusableOption(f"{name} is {value!r}", "write a number, 1 or more")
        return value
    parsed = conf.parse(key, value, name=name)
    if parsed is None or parsed == timedelta(0):
        raise UnusableOption(f"{name} is {value!r}", 'write a duration, such as "2s"')
    return parsed
