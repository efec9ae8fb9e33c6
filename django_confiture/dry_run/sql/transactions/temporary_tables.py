"""Temporary tables that SQL and code make, and what a COMMIT does to each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from django_confiture.dry_run.sql.parsing.parser import Statement, parse
from django_confiture.dry_run.sql.parsing.plpgsql import code_block, strings_in

_SAYS_ON_COMMIT = re.compile(r"\bON\s+COMMIT\b", re.IGNORECASE)
_SAYS_TEMPORARY = re.compile(r"\bTEMP(?:ORARY)?\b", re.IGNORECASE)
_TEMPORARY = "t"


def says_on_commit(text: str) -> bool:
    """Return whether SQL or code speaks of what a COMMIT does to a table."""
    return _SAYS_ON_COMMIT.search(text) is not None


def says_temporary(text: str) -> bool:
    """Return whether SQL or code speaks of temporary tables."""
    return _SAYS_TEMPORARY.search(text) is not None


def temporary_tables(statement: Statement) -> Iterator[tuple[str, int]]:
    """Yield (table, on commit) of what a statement makes, by :class:`.enums.OnCommitAction`."""
    if statement.what == "create_stmt":
        made = statement.node.create_stmt
        table, on_commit = made.relation, made.oncommit
    elif statement.what == "create_table_as_stmt":
        made = statement.node.create_table_as_stmt.into
        table, on_commit = made.rel, made.on_commit
    else:
        return
    if table.relpersistence == _TEMPORARY:
        yield table.relname, on_commit


def made_by_code(codes: Iterable[str]) -> dict[str, int]:
    """Return what DO blocks, functions and strings of SQL may make, by the tables' names.

    Of two that make a table of one name, the later counts.
    """
    found: dict[str, int] = {}
    for code in codes:
        block = code_block(code)
        inside = [*strings_in(code)] if block is None else [*block.sql, *block.literals]
        for text in (code, *inside):
            for statement in parse(text, placeholders=False):
                found.update(temporary_tables(statement))
    return found
