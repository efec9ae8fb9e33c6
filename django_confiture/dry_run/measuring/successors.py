"""New tables that were given the name of an old one, as when a table is rebuilt and swapped in.

Relations that a dry run makes are left out of all measuring, since no one else uses them. One that
took the name of a table of the snapshot is another matter: once its migration has committed, the
running code uses it, so what later migrations do to it blocks others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_confiture.dry_run.sql.parsing.parser import Kind

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.effects import Effects
    from django_confiture.dry_run.measuring.prober import Prober
    from django_confiture.dry_run.sql.parsing.parser import Statement

_VACATES = ("rename_stmt", "drop_stmt", "alter_object_schema_stmt")
_HIDES = (Kind.OPAQUE, Kind.UNPARSED, Kind.UNSEEN)
_LOCK = "AccessExclusiveLock"
"""A relation that loses its name was locked so."""


class Successors:
    """Notes when a name of the snapshot becomes free, and looks for its new owner after that."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober
        self._any_vacated = False
        self._to_look = False

    def ran(self, statement: Statement, measured: Effects) -> None:
        """Note what a statement, or something that was not caught, may have done to names."""
        if statement.kind is not Kind.DDL and statement.kind not in _HIDES:
            return
        if statement.what in _VACATES or statement.kind in _HIDES:
            self._any_vacated |= any(mode == _LOCK for _oid, mode, _inherited in measured.locks)
        self._to_look |= self._any_vacated

    def transaction_committed(self) -> None:
        """Count the new owners of old names from now on."""
        if self._to_look and self._prober.take_in_successors():
            self._to_look = False
