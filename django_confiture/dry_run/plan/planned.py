"""What a plan will touch according to its operations, before the database is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django_confiture.dry_run.sql.parsing.parser import Statement


@dataclass(frozen=True)
class Fill:
    """An UPDATE that Django sends where a column becomes NOT NULL; both names are quoted."""

    table: str
    column: str


@dataclass(frozen=True)
class Planned:
    """What a plan will touch, by its operations."""

    tables: tuple[str, ...]
    """Quoted names of tables, whether they exist or not."""
    statements: tuple[Statement, ...]
    """The statements of ``RunSQL``."""
    fills: tuple[Fill, ...]
    unknown: Mapping[str, int]
    """What runs code that can't be read, such as ``RunPython`` → how often."""
    new_locks: int
    """About how many locks it takes on relations that it creates or drops."""
