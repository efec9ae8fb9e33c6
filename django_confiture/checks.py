"""System checks: each mistake with an id, the exact value, and a hint that says the fix.

=======  =======================================================================================
id       problem
=======  =======================================================================================
E001     ``CONFITURE`` is not a dictionary
E002     an unknown key
E003     a value of the wrong kind
E004     a value that is not a duration, or not a size
E005     an entry of ``HOOKS`` that does not lead to a hook
E006     an unknown phase
E007     an entry of ``PHASES`` whose hook cannot be found or used
E008     an unknown database alias
E009     a ``RunHook`` in a migration file that cannot be used, or another of our operations
E010     a hook's own ``check()`` raised an error
E011     an unknown option of a shipped hook
E012     a wrong value of an option of a shipped hook
E013     a mistake in ``SILENCED``
E014     ``RESUME`` without the app that keeps the journal
E015     a calibration file that cannot be used
W001     a pattern that matches no migration
W002     a ``RunHook`` of BEFORE_VALIDATION or BEFORE_DDL after schema operations
W003     a database that is not PostgreSQL
W004     hooks are configured, but ``ENABLED`` is False
=======  =======================================================================================

No check connects to a database.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from os import PathLike
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's name
from django.db import connections

from django_confiture import conf
from django_confiture.calibration_file import read_calibration
from django_confiture.exceptions import HookLookupError
from django_confiture.hook_checks import (
    lookup_error,
    messages_of_hook,
    messages_of_operations,
    migrations_on_disk,
)
from django_confiture.hooks.base import HookPhase
from django_confiture.hooks.registry import build_hook, registry
from django_confiture.migrate import phases
from django_confiture.silencing import silenced_in_settings

if TYPE_CHECKING:
    from django.apps import AppConfig
    from django.db.migrations.migration import Migration


def check_confiture(
    app_configs: Sequence[AppConfig] | None = None,
    **_kwargs: object,
) -> list[CheckMessage]:
    """Check ``CONFITURE``, our operations in migration files, and what the hooks themselves say.

    With ``app_configs``, check only these apps' migrations, and the settings only with our app.
    """
    try:
        given = conf.user_settings()
    except conf.SettingError as error:
        return [_error("E001", error)]
    migrations, messages = migrations_on_disk()
    if app_configs is None or any(each.name == "django_confiture" for each in app_configs):
        messages += _settings(given, migrations)
    labels = None if app_configs is None else {each.label for each in app_configs}
    for migration in migrations if _is_usable(given, "HOOKS") else ():
        if labels is None or migration.app_label in labels:
            messages += messages_of_operations(migration)
    return [each for index, each in enumerate(messages) if each not in messages[:index]]


def _settings(given: Mapping[str, Any], migrations: Sequence[Migration]) -> Iterator[CheckMessage]:
    """Yield what is wrong with the settings; what has the wrong shape is not looked into."""
    yield from _shape(given)
    if _is_usable(given, "HOOKS"):
        yield from _hooks(given)
        used = list(_phases(given, migrations)) if _is_usable(given, "PHASES") else []
        yield from used
        said = {each.msg for each in used}
        yield from (each for each in _unknown_options(given) if each.msg not in said)
    if _is_usable(given, "SILENCED"):
        yield from _silenced(migrations)
    if _is_usable(given, "MIGRATE"):
        yield from _resume(given)
    if _is_usable(given, "DRY_RUN"):
        yield from _calibration(given)
    yield from _switched_off(given)


def _is_usable(given: Mapping[str, Any], key: str) -> bool:
    return given.get(key) is None or isinstance(given[key], Mapping)


def _error(number: str, error: conf.SettingError) -> Error:
    fix = error.fix[0].upper() + error.fix[1:]
    return Error(f"{error.problem}.", hint=f"{fix}.", obj="settings", id=f"confiture.{number}")


# The shape of the settings.


def _shape(given: Mapping[str, Any]) -> Iterator[CheckMessage]:
    yield from _unknown_keys(given, conf.DEFAULTS, "CONFITURE")
    for key, default in conf.DEFAULTS.items():
        where, value = f'CONFITURE["{key}"]', given.get(key, default)
        if not isinstance(default, dict):
            try:
                conf.parse_switch(value, name=where)
            except conf.SettingError as error:
                yield _error("E003", error)
            continue
        try:
            nested = conf.mapping(value, where)
        except conf.SettingError as error:
            yield _error("E003", error)
            continue
        if default:
            yield from _unknown_keys(nested, default, where)
            yield from _values({**default, **nested}, default, where)


def _unknown_keys(
    given: Mapping[str, Any], known: Iterable[str], where: str
) -> Iterator[CheckMessage]:
    known = list(known)
    for key in given:
        if key not in known:
            close = get_close_matches(str(key).upper(), known, n=1)
            hint = f'Did you mean "{close[0]}"?' if close else f"Known are: {', '.join(known)}."
            problem = f"{where} has the unknown key {key!r}."
            yield Error(problem, hint=hint, obj="settings", id="confiture.E002")


def _values(
    given: Mapping[str, Any], defaults: Mapping[str, Any], where: str
) -> Iterator[CheckMessage]:
    for key, default in defaults.items():
        name, value = f'{where}["{key}"]', given[key]
        if not isinstance(default, int) or isinstance(default, bool):
            try:
                conf.parse(key, value, name=name)
            except conf.SettingError as error:
                yield _error("E004" if error.quantity else "E003", error)
        elif not isinstance(value, int) or isinstance(value, bool) or value < 0:
            fix = "write a number, 0 or more"
            yield _error("E003", conf.SettingError(f"{name} is {value!r}", fix))


# What the settings name.


def _calibration(given: Mapping[str, Any]) -> Iterator[CheckMessage]:
    path = (given.get("DRY_RUN") or {}).get("CALIBRATION")
    if not path or not isinstance(path, str | PathLike):
        return  # its shape is checked above
    try:
        read_calibration(str(path))
    except conf.SettingError as error:
        yield _error("E015", error)


def _hooks(given: Mapping[str, Any]) -> Iterator[CheckMessage]:
    for name, entry in (given.get("HOOKS") or {}).items():
        where = f'CONFITURE["HOOKS"][{name!r}]'
        if not isinstance(name, str):
            fix = "write a name in quotes"
            yield _error("E003", conf.SettingError(f"{where}: its name is {name!r}", fix))
            continue
        if isinstance(entry, Mapping):
            yield from _unknown_keys(entry, ("HOOK", "OPTIONS"), where)
        try:
            registry.registration(name)
        except HookLookupError as error:
            yield lookup_error("E005", error, "settings")


def _unknown_options(given: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Yield what entries give that their hooks don't know; ``RunHook`` may still add the rest."""
    for name, entry in (given.get("HOOKS") or {}).items():
        if not isinstance(name, str) or not isinstance(entry, Mapping) or not entry.get("OPTIONS"):
            continue
        where = f'CONFITURE["HOOKS"][{name!r}]'
        try:
            hook = build_hook(name, where=where)
        except HookLookupError:
            continue  # it is in _hooks, or where the hook is used
        for message in messages_of_hook(hook, where):
            if message.id == "confiture.E011":
                yield message


def _phases(given: Mapping[str, Any], migrations: Sequence[Migration]) -> Iterator[CheckMessage]:
    labels = [str(migration) for migration in migrations]
    for name, entries in (given.get("PHASES") or {}).items():
        try:
            phase, where = phases.read_phase(name, entries)
        except conf.SettingError as error:
            yield _error("E003" if name in HookPhase.__members__ else "E006", error)
            continue
        for index, entry in enumerate(entries):
            yield from _entry(phase, entry, f"{where}[{index}]", labels)


def _entry(
    phase: HookPhase, given: object, where: str, labels: Sequence[str]
) -> Iterator[CheckMessage]:
    if isinstance(given, Mapping):
        yield from _unknown_keys(given, phases.ENTRY_KEYS, where)
    try:
        entry = phases.read_entry(phase, given, where)
    except conf.SettingError as error:
        yield _error("E003", error)
        return
    yield from _databases(entry)
    yield from _unmatched(entry.migrations, labels, f'{where}["MIGRATIONS"]')
    try:
        hook = entry.build()
    except HookLookupError as error:
        yield lookup_error("E007", error, "settings")
    else:
        yield from messages_of_hook(hook, where)


def _unmatched(
    patterns: Iterable[str], labels: Collection[str], where: str
) -> Iterator[CheckMessage]:
    """Warn about patterns that match none of the migrations on disk, if there are any."""
    for pattern in patterns:
        if labels and not any(fnmatchcase(label, pattern) for label in labels):
            problem = f"{where} has {pattern!r}, which matches no migration."
            hint = 'Patterns match app_label.name, such as "shop.*" or "shop.0003_add_segment".'
            yield Warning(problem, hint=hint, obj="settings", id="confiture.W001")


def _silenced(migrations: Iterable[Migration]) -> Iterator[CheckMessage]:
    try:
        patterns = silenced_in_settings()
    except conf.SettingError as error:
        yield _error("E013", error)
        return
    labels = {str(migration) for migration in migrations}
    labels |= {"receivers.pre_migrate", "receivers.post_migrate"}
    yield from _unmatched(patterns, labels, 'CONFITURE["SILENCED"]')


def _databases(entry: phases.PhaseEntry) -> Iterator[CheckMessage]:
    for alias in entry.databases:
        named = f'{entry.where}["DATABASES"] names {alias!r}, which is'
        if alias not in connections:
            hint = f"Known are: {', '.join(connections)}."
            problem = f"{named} not in DATABASES."
            yield Error(problem, hint=hint, obj="settings", id="confiture.E008")
        elif connections[alias].vendor != "postgresql":
            problem = f"{named} {connections[alias].display_name}: hooks do not run there."
            hint = "Leave it out: hooks need PostgreSQL."
            yield Warning(problem, hint=hint, obj="settings", id="confiture.W003")


def _switched_off(given: Mapping[str, Any]) -> Iterator[CheckMessage]:
    if given.get("ENABLED") is False and (given.get("HOOKS") or given.get("PHASES")):
        yield Warning(
            'Hooks are configured, but CONFITURE["ENABLED"] is False, so none of them runs.',
            hint="Remove ENABLED, or silence this check if that is intended.",
            obj="settings",
            id="confiture.W004",
        )


def _resume(given: Mapping[str, Any]) -> Iterator[CheckMessage]:
    migrate = {**conf.DEFAULTS["MIGRATE"], **(given.get("MIGRATE") or {})}
    if migrate["RESUME"] is True and not apps.is_installed("django_confiture.history"):
        where = 'CONFITURE["MIGRATE"]["RESUME"] is True'
        fix = "add it to INSTALLED_APPS: it keeps the journal of what was done"
        problem = f"{where}, but django_confiture.history is not installed"
        yield _error("E014", conf.SettingError(problem, fix))
