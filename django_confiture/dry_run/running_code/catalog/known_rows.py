"""What is known of the rows of tables while probes run, so that each is read once."""

from __future__ import annotations

from collections.abc import Mapping

from django_confiture.dry_run.running_code.catalog.numbers import Numbers

Row = Mapping[str, str | None]
"""Column → value as the server writes it."""


class KnownRows:
    """One row of each table, by the table's OID."""

    def __init__(self, numbers: Numbers) -> None:
        self.numbers = numbers
        self.first: dict[int, Row | None] = {}
        """The first row that is there, None where there is none."""
        self.made: dict[int, Row] = {}
        """The first row that was made and is not undone yet."""
        self._before: dict[int, Row | None] = self.first
        """The first rows before something was deleted."""

    def deleted(self) -> None:
        """Forget what was read until what was done is undone: any row may have gone."""
        self.made.clear()
        self.first = {}

    def undone(self) -> None:
        """Forget the rows that were made, and know again what was there before a deletion."""
        self.made.clear()
        self.numbers.restart()
        self.first = self._before

    def forget(self) -> None:
        """Forget everything: other rows may be there."""
        self._before.clear()
        self.undone()
