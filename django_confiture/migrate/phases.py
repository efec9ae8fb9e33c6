"""Which hooks wrap which migration, from ``CONFITURE["PHASES"]`` and from its file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from django.db import router
from django.db.backends.base.creation import BaseDatabaseCreation

from django_confiture import conf
from django_confiture.hooks.base import Hook, HookPhase
from django_confiture.hooks.nested_operations import walk_operations
from django_confiture.hooks.registry import build_hook
from django_confiture.operations import RunHook

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.migration import Migration

ENTRY_KEYS = ("HOOK", "OPTIONS", "MIGRATIONS", "DATABASES")


@dataclass(frozen=True)
class PlannedHook:
    """A hook, when it runs, and who asked for it."""

    phase: HookPhase
    hook: Hook
    source: str
    operation: int | None = None
    """Where its ``RunHook`` stands in the migration's operations."""


@dataclass(frozen=True)
class PhaseEntry:
    """One entry of ``CONFITURE["PHASES"]``."""

    phase: HookPhase
    where: str
    """The setting and the entry's place in it, as errors name it."""
    reference: str | type[Hook]
    options: Mapping[str, Any] = field(default_factory=dict)
    migrations: tuple[str, ...] = ()
    """Patterns of ``fnmatch`` for ``app_label.name``; none: every migration."""
    databases: tuple[str, ...] = ()
    """Aliases; none: every database."""

    def covers(self, label: str, alias: str) -> bool:
        """Return whether the hook wraps the migration ``label`` on the database ``alias``."""
        wanted = not self.migrations or any(fnmatchcase(label, each) for each in self.migrations)
        return wanted and (not self.databases or alias in self.databases)

    def build(self) -> Hook:
        """Return the hook with its options; a ``HookLookupError`` names the setting."""
        return build_hook(self.reference, self.options, where=self.where)


def read_entries() -> Iterator[PhaseEntry]:
    """Yield the entries of ``CONFITURE["PHASES"]`` in order; errors name the setting."""
    for name, listed in conf.get("PHASES").items():
        phase, where = read_phase(name, listed)
        for index, given in enumerate(listed):
            yield read_entry(phase, given, f"{where}[{index}]")


def read_phase(name: str, listed: object) -> tuple[HookPhase, str]:
    """Return the phase that a key of ``CONFITURE["PHASES"]`` names, and how errors name it."""
    where = f'CONFITURE["PHASES"]["{name}"]'
    if name not in HookPhase.__members__:
        raise conf.SettingError(
            f"{where}: there is no such phase", f"use one of {', '.join(HookPhase.__members__)}"
        )
    if not isinstance(listed, list | tuple):
        raise conf.SettingError(f"{where} is {listed!r}", "write a list of hooks")
    return HookPhase[name], where


def read_entry(phase: HookPhase, given: object, where: str) -> PhaseEntry:
    """Return one entry: a name, a dotted path, a class, or a dictionary that says more."""
    if isinstance(given, str | type):
        return PhaseEntry(phase, where, given)
    if not isinstance(given, Mapping) or not isinstance(given.get("HOOK"), str | type):
        raise conf.SettingError(
            f"{where} is {given!r}",
            "write a registered name, a dotted path, or a dictionary with "
            '"HOOK" and, as needed, "OPTIONS", "MIGRATIONS", "DATABASES"',
        )
    return PhaseEntry(
        phase,
        where,
        given["HOOK"],
        conf.mapping(given.get("OPTIONS"), f'{where}["OPTIONS"]'),
        _strings(given, "MIGRATIONS", where),
        _strings(given, "DATABASES", where),
    )


def _strings(given: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = given.get(key) or ()
    if isinstance(value, list | tuple | set) and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise conf.SettingError(f'{where}["{key}"] is {value!r}', "write a list of strings")


def entries_for(migrations: Iterable[Migration], alias: str) -> list[PhaseEntry]:
    """Return the entries of the settings that wrap any of ``migrations``."""
    labels = [str(migration) for migration in migrations]
    return [
        entry for entry in read_entries() if any(entry.covers(label, alias) for label in labels)
    ]


def hooks_from_settings(
    migration: Migration, alias: str, entries: Iterable[PhaseEntry]
) -> list[PlannedHook]:
    """Return the hooks of ``entries`` that wrap ``migration``, in order."""
    label = str(migration)
    found = [entry for entry in entries if entry.covers(label, alias)]
    if not found or not router.allow_migrate(alias, migration.app_label):
        return []
    return [PlannedHook(entry.phase, entry.build(), entry.where) for entry in found]


def hooks_from_file(
    migration: Migration, schema_editor: BaseDatabaseSchemaEditor
) -> list[PlannedHook]:
    """Return the hooks of the migration's own ``RunHook`` operations, in order."""
    label = str(migration)
    found = []
    for index, outer in enumerate(migration.operations):
        for operation in walk_operations([outer]):
            if not isinstance(operation, RunHook):
                continue
            if operation.allowed(schema_editor, migration.app_label):
                phase, hook = operation.build(label)
                found.append(PlannedHook(phase, hook, f"operation {index + 1}", index))
    return found


def creating_test_database() -> bool:
    """Return whether Django is creating or updating a test database right now.

    Django keeps no record of that, but its test runner, pytest-django and ``testserver`` all call
    ``create_test_db`` of the database's creation object, which calls ``migrate``; so we look for
    it among our callers.
    """
    frame = sys._getframe()  # the only way to one's callers
    caller = frame.f_back
    while caller is not None:
        if caller.f_code.co_name == "create_test_db" and isinstance(
            caller.f_locals.get("self"), BaseDatabaseCreation
        ):
            return True
        caller = caller.f_back
    return False


def settings_hooks_on() -> bool:
    """Return whether hooks from settings run: in test databases only with ``TEST_DATABASES``."""
    return bool(conf.get("TEST_DATABASES")) or not creating_test_database()
