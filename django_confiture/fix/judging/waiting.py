"""What earlier operations of a migration leave until the next release: views, and new columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from django.db.migrations import RunSQL, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.rewriting.files import RenamedTable
from django_confiture.dry_run.rewriting.parts.type_parts import columns_moved
from django_confiture.dry_run.sql.parsing.parser import Statement
from django_confiture.fix.judging.judgment import Judgment


@dataclass(frozen=True)
class Waiting:
    """The tables that views stand for, and the columns that have new ones beside them."""

    renamed: Sequence[RenamedTable] = ()
    moving: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def marked(self, judgment: Judgment, statements: Sequence[Statement]) -> Judgment:
        """Return the judgment with whether its files may name the new columns of others."""
        own = columns_moved(statements) if judgment.waits else {}
        new = {
            name
            for table, columns in self.moving.items()
            for old, name in columns.items()
            if old not in own.get(table, ())
        }
        files = judgment.rewriting.files if judgment.rewriting is not None else ()
        texts = [text for file in files for each in file.operations for text in _texts(each)]
        named = any(name in text for name in new for text in texts)
        return replace(judgment, behind_new_columns=named)

    def after(self, judgment: Judgment, statements: Sequence[Statement]) -> Waiting:
        """Return what waits after an operation, too."""
        again = {each.before for each in judgment.renamed}
        renamed = [*(e for e in self.renamed if e.before not in again), *judgment.renamed]
        moving = {**self.moving}
        for table, columns in (columns_moved(statements) if judgment.waits else {}).items():
            moving[table] = {**moving.get(table, {}), **columns}
        return Waiting(renamed, moving)


def _texts(operation: Operation) -> Iterator[str]:
    if isinstance(operation, SeparateDatabaseAndState):
        for each in operation.database_operations:
            yield from _texts(each)
    elif isinstance(operation, RunSQL):
        yield str(operation.sql)
