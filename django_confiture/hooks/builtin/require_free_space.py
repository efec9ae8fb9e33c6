"""``require_free_space``: the disk has room for what the migration will write."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from django.apps import apps

from django_confiture import conf
from django_confiture.exceptions import HookVeto
from django_confiture.formatting import size
from django_confiture.hooks.base import HookContext, HookPhase, HookResult
from django_confiture.hooks.builtin import options
from django_confiture.hooks.builtin.base import ShippedHook
from django_confiture.hooks.builtin.options import Option, optional
from django_confiture.hooks.builtin.tables import identifier, rows

if TYPE_CHECKING:
    import psycopg


class RequireFreeSpace(ShippedHook):
    """Refuses a migration that may fill the disk.

    What it needs is what the last passing dry run in the ledger (``django_confiture.history``) says
    of this migration, if its file has not changed since: its forecast of WAL, dead rows and new
    files for production. Without a forecast, as of a dry run on this database itself, it is the WAL
    that was measured, the present size of the tables that were rewritten, and, for new indexes,
    what they wrote to the WAL again.

    Options, of which exactly one of ``path`` and ``free`` is needed:

    ``path``
        A directory on the server's disk, as this machine sees it, such as its data directory.
    ``free``
        A function, or the dotted path of one, that gets the hook's context and returns how many
        bytes are free; for managed databases.
    ``needed``
        A size: what the migration needs, where no dry run is to be asked.
    ``spare``
        A factor: how many times as much has to be free as is needed.
    ``keep_free``
        A size: what has to stay free in any case.

    It is skipped in a dry run, which is where the figures come from. Backwards it does the same as
    forwards.
    """

    registered_name = "require_free_space"
    phase = HookPhase.BEFORE_VALIDATION
    directions: ClassVar[tuple[str, ...]] = ("forward", "backward")
    runs_in_dry_run = False

    path = Option(optional(options.text), default=None)
    free = Option(optional(options.function), default=None)
    needed = Option(optional(options.byte_size), default=None)
    spare = Option(options.number, default=1.5)
    keep_free = Option(options.byte_size, default="0B")

    def contradictions(self) -> Iterator[conf.SettingError]:
        """There is one answer to how much is free, and it needs a source for what is needed."""
        if (self.path is None) is (self.free is None):
            yield conf.SettingError(
                "require_free_space needs exactly one of 'path' and 'free'",
                'name a directory on the server\'s disk, such as {"path": "/var/lib/postgresql"}',
            )
        if self.needed is None and not apps.is_installed("django_confiture.history"):
            yield conf.SettingError(
                "require_free_space asks the ledger what is needed, which is not installed",
                "add \"django_confiture.history\" to INSTALLED_APPS, or write 'needed'",
            )

    def run(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        """Compare what is free with what is needed."""
        needed, source = self._needed(conn, context)
        wanted = round(needed * self.spare) + self.keep_free
        free = self._free(context)
        if free < wanted:
            kept = f", and {size(self.keep_free)} to stay free" if self.keep_free else ""
            raise HookVeto(
                f"{context.label} needs {size(needed)} ({source}); with {self.spare:g} times that"
                f"{kept}, {size(wanted)} have to be free, and {size(free)} are. Make room, and "
                "migrate again."
            )
        return self.result(needed_bytes=needed, wanted_bytes=wanted, free_bytes=free)

    def _free(self, context: HookContext) -> int:
        if self.path is not None:
            return shutil.disk_usage(self.path).free
        assert self.free is not None
        answer = self.free(context)
        if not isinstance(answer, int) or isinstance(answer, bool):
            raise TypeError(
                f'OPTIONS["free"] of require_free_space returned {answer!r}; let it return bytes.'
            )
        return answer

    def _needed(self, conn: psycopg.Connection[Any], context: HookContext) -> tuple[int, str]:
        """Return the bytes that are needed, and who says so."""
        if self.needed is not None:
            return self.needed, "the option 'needed'"
        from django_confiture.history.rehearsals import last_rehearsal  # needs its models

        found = last_rehearsal(context.using or "", context.label, context.direction)
        if found is None:
            raise HookVeto(
                f"No passing dry run in the ledger says how much {context.label} needs; run "
                "manage.py migrate_dryrun, or write the option 'needed'."
            )
        forecast = found.get("estimate") or {}
        parts = [forecast.get(f"{each}_bytes") for each in ("wal", "dead", "disk")]
        known = [each for each in parts if each is not None]
        if len(known) == len(parts):
            return sum(known), "as a dry run forecast"
        return _measured(conn, found), "as a dry run measured"


def _measured(conn: psycopg.Connection[Any], migration: Mapping[str, Any]) -> int:
    """Return the bytes of a migration that was rehearsed on a database of the same size."""
    statements = [each for one in migration["operations"] for each in one["statements"]]
    statements += migration.get("statements") or ()
    wal = sum(each["wal_bytes"] or 0 for each in statements)
    indexes = sum(each["wal_bytes"] or 0 for each in statements if each["indexes_built"])
    rewritten = {each["relation"] for each in migration["tables"] if each["rewritten"]}
    return wal + indexes + sum(_size(conn, table) for table in rewritten)


def _size(conn: psycopg.Connection[Any], table: str) -> int:
    quoted = identifier(table).as_string(conn)
    query = "SELECT coalesce(pg_catalog.pg_total_relation_size(to_regclass(%s)), 0)"
    ((found,),) = rows(conn, query, [quoted])
    return int(found)
