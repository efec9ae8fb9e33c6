"""Silences a finding of the dry run for one migration or operation, with a written reason.

::

    class Migration(migrations.Migration):
        confiture_silenced = {"index-build-blocks-writes": "the table has 40 rows"}

        operations = [
            silenced(
                migrations.RemoveField("order", "note"),
                {"column-dropped": "no released code has read it since 3.1"},
            ),
        ]

Of a migration that can't be edited, the settings say it, with the same rules::

    CONFITURE = {"SILENCED": {"thirdparty.0007_*": {"table-rewrite": "a table of 40 rows"}}}

A silenced finding is still reported, with its reason; only its severity no longer counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

from django_confiture import conf
from django_confiture.finding_ids import SEVERITIES
from django_confiture.hooks.nested_operations import walk_operations

if TYPE_CHECKING:
    from django.db.migrations.migration import Migration
    from django.db.migrations.operations.base import Operation

ATTRIBUTE = "confiture_silenced"
COMPLETED_BY = "confiture_completed_by"
"""The attribute of a migration whose models and schema agree again only after a later one."""

AnOperation = TypeVar("AnOperation", bound="Operation")


def silenced(operation: AnOperation, reasons: Mapping[str, str]) -> AnOperation:
    """Accept the findings named in ``reasons`` for this operation, and return the operation.

    Raises :class:`~django_confiture.conf.SettingError` for an id that does not exist and for an
    empty reason.
    """
    setattr(operation, ATTRIBUTE, _checked(reasons, f"silenced({type(operation).__name__})"))
    return operation


def reasons_of_migration(migration: Migration) -> Mapping[str, str]:
    """Return finding id → reason, as the settings and the migration's file say.

    Where both name a finding, the file's reason counts.
    """
    label = str(migration)
    where = f"Migration {label}: {ATTRIBUTE}"
    found: dict[str, str] = {}
    for pattern, reasons in silenced_in_settings().items():
        if fnmatchcase(label, pattern):
            found.update(reasons)
    return {**found, **_checked(getattr(migration, ATTRIBUTE, {}), where)}


def silenced_in_settings() -> Mapping[str, Mapping[str, str]]:
    """Return ``CONFITURE["SILENCED"]``: pattern of ``app_label.name`` → finding id → reason.

    Raises :class:`~django_confiture.conf.SettingError` for the first mistake.
    """
    given: Mapping[str, object] = conf.get("SILENCED")
    return {
        _pattern(pattern): _checked(reasons, f'CONFITURE["SILENCED"]["{pattern}"]')
        for pattern, reasons in given.items()
    }


def _pattern(given: object) -> str:
    if isinstance(given, str):
        return given
    problem = f'CONFITURE["SILENCED"] has {given!r}, which is not a pattern'
    raise conf.SettingError(problem, 'write one such as "shop.*"')


def reasons_of_operation(operation: Operation) -> Mapping[str, str]:
    """Return finding id → reason of an operation and of its ``database_operations``."""
    return {
        name: reason
        for each in walk_operations([operation])
        for name, reason in getattr(each, ATTRIBUTE, {}).items()
    }


def check_plan(plan: Iterable[tuple[Migration, bool]]) -> None:
    """Raise ``SettingError`` for the first mistake, before anything is rehearsed."""
    for migration, _backwards in plan:
        reasons_of_migration(migration)


def _checked(reasons: object, where: str) -> Mapping[str, str]:
    if not isinstance(reasons, Mapping):
        raise conf.SettingError(
            f"{where} is {reasons!r}", "write a dictionary of finding ids and reasons"
        )
    for name, reason in reasons.items():
        if name not in SEVERITIES:
            close = get_close_matches(str(name), SEVERITIES, 1)
            fix = f"write {close[0]!r}" if close else "write an id that a report shows"
            raise conf.SettingError(f"{where} names {name!r}, which is not a finding", fix)
        if not isinstance(reason, str) or not reason.strip():
            raise conf.SettingError(
                f"{where} gives no reason for {name!r}", "write why it is accepted"
            )
    return reasons
