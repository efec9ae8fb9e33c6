"""What a recipe makes of statements, as text."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.migrations import RunSQL, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.sql.parsing.parser import parse


def rewritten(operation: Operation, sql: str, facts: Facts) -> Rewriting:
    """Return the files that an operation becomes, which makes these statements."""
    new = rewriting_of(operation, parse(sql, placeholders=False), facts)
    assert isinstance(new, Rewriting), new
    return new


def why_not(operation: Operation, sql: str, facts: Facts) -> str:
    """Return why there is no recipe for an operation."""
    new = rewriting_of(operation, parse(sql, placeholders=False), facts)
    assert isinstance(new, NotRewritten), new
    return new.reason


def there_and_back(new: Rewriting, *, next_release: bool = False) -> list[tuple[str, str]]:
    """Return the SQL of a release's files, each statement with its way back, "" for none."""
    return [
        (_text(each.sql), _text(each.reverse_sql))
        for file in new.files
        if file.next_release is next_release
        for operation in file.operations
        for each in _on_database(operation)
        if isinstance(each, RunSQL)
    ]


def _on_database(operation: Operation) -> Sequence[Operation]:
    if isinstance(operation, SeparateDatabaseAndState):
        return operation.database_operations
    return [operation]


def there(new: Rewriting, *, next_release: bool = False) -> list[str]:
    """Return the SQL of a release's files."""
    return [sql for sql, _back in there_and_back(new, next_release=next_release)]


def _text(sql: object) -> str:
    return "; ".join(sql) if isinstance(sql, list | tuple) else str(sql or "")
