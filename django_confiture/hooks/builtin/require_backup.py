"""``require_backup``: a recent backup exists, as a function, a file or the server says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from django_confiture import conf
from django_confiture.exceptions import HookVeto
from django_confiture.formatting import count, duration, path_of
from django_confiture.hooks.base import HookContext, HookPhase, HookResult
from django_confiture.hooks.builtin import options
from django_confiture.hooks.builtin.base import ShippedHook
from django_confiture.hooks.builtin.options import Option, optional
from django_confiture.hooks.builtin.tables import rows

if TYPE_CHECKING:
    import psycopg

_ARCHIVER = """
SELECT current_setting('archive_mode'),
  extract(epoch FROM clock_timestamp() - last_archived_time)::float8,
  last_failed_time > coalesce(last_archived_time, '-infinity'), last_failed_wal
FROM pg_catalog.pg_stat_archiver
"""

# Of a standby that a role may not look into, all is NULL but its process. An idle one has no lag.
_STANDBYS = """
SELECT count(*) FILTER (WHERE state = 'streaming'
         AND coalesce(replay_lag, '0') <= make_interval(secs => %s)),
  count(*), count(*) FILTER (WHERE state IS NULL),
  extract(epoch FROM max(replay_lag))::float8
FROM pg_catalog.pg_stat_replication
"""

_SOURCES = ("provider", "file", "archiver", "standbys")


class RequireBackup(ShippedHook):
    """Refuses a migration where the last backup is older than ``max_age``, or there is none.

    Options, of which at least one of ``provider``, ``file``, ``archiver`` and ``standbys`` is
    needed; where several are given, each has to hold:

    ``provider``
        A function, or the dotted path of one, that gets the hook's context and returns when the
        last good backup was made (an aware ``datetime``), or True; False and None are a veto. What
        it raises fails the hook.
    ``file``
        A path of a backup on this machine, or a pattern such as ``"/backups/shop-*.dump"``; the
        newest one that is not empty counts.
    ``archiver``
        True: the server's ``pg_stat_archiver`` has archived WAL within ``max_age``, and its last
        attempt did not fail.
    ``standbys``
        How many replicas have to stream (``pg_stat_replication``) with at most ``max_lag``. A
        replica repeats a mistake at once, so this does not replace a backup.
    ``max_age``
        A duration: how old the backup may be.
    ``max_lag``
        A duration: how far behind a standby may be.

    It is skipped in a dry run, which changes nothing that would need a backup. Backwards it does
    the same as forwards.
    """

    registered_name = "require_backup"
    phase = HookPhase.BEFORE_VALIDATION
    directions: ClassVar[tuple[str, ...]] = ("forward", "backward")
    runs_in_dry_run = False

    provider = Option(optional(options.function), default=None)
    file = Option(optional(options.text), default=None)
    archiver = Option(options.flag, default=False)
    standbys = Option(options.whole_number, default=0)
    max_age = Option(options.duration, default="24h")
    max_lag = Option(options.duration, default="10s")

    def contradictions(self) -> Iterator[conf.SettingError]:
        """Without a source there is nothing to ask."""
        if not any(getattr(self, name) for name in _SOURCES):
            yield conf.SettingError(
                "require_backup has none of 'provider', 'file', 'archiver', 'standbys'",
                'say where backups are, such as {"file": "/backups/shop-*.dump"}',
            )

    def run(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        """Ask each source; veto with the words of all that are not satisfied."""
        asked: list[Callable[[], str]] = []
        if self.provider is not None:
            asked.append(lambda: self._provided(context))
        if self.file is not None:
            asked.append(self._of_file)
        if self.archiver:
            asked.append(lambda: self._archived(conn))
        if self.standbys:
            asked.append(lambda: self._replicated(conn))
        if problems := list(filter(None, (ask() for ask in asked))):
            raise HookVeto(f"{' '.join(problems)} Make a backup, and migrate again.")
        return self.result()

    def _provided(self, context: HookContext) -> str:
        assert self.provider is not None
        answer = self.provider(context)
        if isinstance(answer, datetime):
            made = answer if answer.tzinfo is not None else answer.replace(tzinfo=UTC)
            return self._too_old("The last backup", datetime.now(UTC) - made)
        if answer is True:
            return ""
        if answer is False or answer is None:
            return f"{path_of(self.provider)} knows of no good backup."
        raise TypeError(
            f"{path_of(self.provider)} returned {type(answer).__name__}; let it return the "
            "datetime of the last backup, True, False or None."
        )

    def _of_file(self) -> str:
        assert self.file is not None
        made = [
            found.st_mtime
            for path in glob(self.file)  # noqa: PTH207 - an absolute pattern
            if (found := Path(path).stat()).st_size
        ]
        if not made:
            return f"There is no backup at {self.file!r} that is not empty."
        age = datetime.now(UTC) - datetime.fromtimestamp(max(made), UTC)
        return self._too_old(f"The newest backup at {self.file!r}", age)

    def _archived(self, conn: psycopg.Connection[Any]) -> str:
        ((mode, seconds, failed, wal),) = rows(conn, _ARCHIVER)
        if mode == "off":
            return "The server archives no WAL: its archive_mode is off."
        if failed:
            return f"The server's last attempt to archive WAL failed, at {wal}."
        if seconds is None:
            return "The server has archived no WAL yet."
        return self._too_old("The last WAL that was archived", timedelta(seconds=seconds))

    def _replicated(self, conn: psycopg.Connection[Any]) -> str:
        ((good, standbys, hidden, lag),) = rows(conn, _STANDBYS, [self.max_lag.total_seconds()])
        if good >= self.standbys:
            return ""
        behind = f", the slowest {duration(lag * 1000)} behind" if lag is not None else ""
        unseen = f"; {hidden} can't be seen without pg_monitor" if hidden else ""
        limit = duration(self.max_lag.total_seconds() * 1000)
        return (
            f"{count(good, 'standby') if good == 1 else f'{good} standbys'} of {self.standbys} "
            f"stream with a lag of {limit} or less ({standbys} connected{behind}{unseen})."
        )

    def _too_old(self, what: str, age: timedelta) -> str:
        if age <= self.max_age:
            return ""
        return f"{what} is {_age(age)} old, and max_age is {_age(self.max_age)}."


def _age(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours:.1f} h" if hours >= 1 else duration(age.total_seconds() * 1000)
