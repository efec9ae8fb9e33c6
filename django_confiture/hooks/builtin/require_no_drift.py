"""``require_no_drift``: the schema is the one that the applied migrations make."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import connections

from django_confiture import conf
from django_confiture.exceptions import DryRunRefused, HookVeto
from django_confiture.formatting import count
from django_confiture.hooks.base import HookContext, HookPhase, HookResult
from django_confiture.hooks.builtin import options
from django_confiture.hooks.builtin.base import ShippedHook
from django_confiture.hooks.builtin.options import Option, optional
from django_confiture.postgres import major_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from django_confiture.dry_run.results import SchemaChange

_SHOWN = 10

_MIRROR = re.compile(r"confiture_backfill_\d+\b")
"""The trigger of a backfill that is under way, and its function."""

_OWNED_BY = re.compile(r"OWNED BY (.+)\.[^.]+$")
"""What the definition of a sequence says of the table that it belongs to."""


class RequireNoDrift(ShippedHook):
    """Refuses a migration where the schema was changed without one.

    It carries out all applied migrations in an empty database, made for that and dropped again,
    and compares: tables, columns, indexes, constraints, sequences, views, triggers, policies,
    types, functions, schemas. That takes as long as making a test database does, and is done once
    for each ``migrate``, before its first migration. Extensions, tables of apps without
    migrations, and the trigger of a backfill that is under way are not compared. While the
    history is replayed, hooks in it see ``context.dry_run``, and other databases can't be used.

    Options, none of which is needed:

    ``ignore``
        A list of patterns of what may differ: a table's name stands for all that belongs to it,
        ``"table.name"`` for one column, index or constraint of it, another name for what has no
        table.
    ``server``
        The alias whose server the empty database is made on; without it, the one that is migrated.
        The role needs ``CREATEDB`` there, and the server the same major version.

    It is skipped in a dry run, which may not write past its transaction; ``manage.py
    confiture_drift`` compares with the models and writes nothing. Backwards it does the same as
    forwards.
    """

    registered_name = "require_no_drift"
    phase = HookPhase.BEFORE_VALIDATION
    directions: ClassVar[tuple[str, ...]] = ("forward", "backward")
    runs_in_dry_run = False

    ignore = Option(options.texts, default=())
    server = Option(optional(options.text), default=None)

    def contradictions(self) -> Iterator[conf.SettingError]:
        """The server has an alias."""
        if self.server is not None and self.server not in connections:
            yield conf.SettingError(
                f'require_no_drift: OPTIONS["server"] is {self.server!r}, '
                "which is not in DATABASES",
                f"write one of {', '.join(connections)}",
            )

    def run(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:  # noqa: ARG002
        """Replay and compare, before the first migration of the plan."""
        if context.plan and context.label != context.plan[0]:
            return self.result(compared=False)
        found = [each for each in self._drift(context) if not self._ignored(each)]
        if found:
            shown = [_sentence(each) for each in found[:_SHOWN]]
            if len(found) > _SHOWN:
                shown.append(f"and {len(found) - _SHOWN} more")
            raise HookVeto(
                f"The schema of {context.using!r} is not the one that its migrations make, by "
                f"{count(len(found), 'difference')}: {'; '.join(shown)}. Undo it or write a "
                "migration for it, or name what is meant to differ in the option 'ignore'."
            )
        return self.result(compared=True)

    def _drift(self, context: HookContext) -> list[SchemaChange]:
        from django_confiture.dry_run import history_replay  # which no other hook needs

        wrapper = context.connection
        assert wrapper is not None, "It replays migrations, which run on Django's connection."
        server = wrapper if self.server is None else connections[self.server]
        server.ensure_connection()
        versions = [
            major_version(each.connection.info.server_version) for each in (wrapper, server)
        ]
        if len({*versions}) > 1:
            raise HookVeto(
                f"The server of {self.server!r} is PostgreSQL {versions[1]}, and that of "
                f"{wrapper.alias!r} is {versions[0]}; they write definitions differently. Choose "
                "another one in the option 'server'."
            )
        unmanaged = history_replay.tables_without_migrations(wrapper)
        try:
            found = history_replay.drift_from_history(wrapper, server, progress=context.progress)
        except history_replay.ReplayFailed as error:
            raise HookVeto(f"The history can't be replayed: {error}") from error
        except DryRunRefused as error:
            raise HookVeto(f"{error}; or name another server in the option 'server'.") from error
        return [
            each
            for each in found
            if not {each.relation, each.name} & unmanaged and not _MIRROR.match(each.name)
        ]

    def _ignored(self, change: SchemaChange) -> bool:
        names = {change.name}
        if change.relation is not None:
            names = {change.relation, f"{change.relation}.{change.name}"}
        elif owner := _OWNED_BY.search(change.after or change.before or ""):
            names.add(owner[1])
        return any(fnmatchcase(name, pattern) for name in names for pattern in self.ignore)


def _sentence(change: SchemaChange) -> str:
    of = f" of {change.relation}" if change.relation not in (None, change.name) else ""
    what = f"{change.object} {change.name}{of}"
    if change.before is None:
        return f"{what} is in the database alone"
    if change.after is None:
        return f"{what} is missing"
    return f"{what} is {change.after}, and they make {change.before}"
