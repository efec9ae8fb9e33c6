"""Changes to the schema, one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from django_confiture.dry_run.results import SchemaChange
from django_confiture.formatting import count, listed, one_line

SIGNS = {"added": "+", "removed": "-", "renamed": "~", "changed": "~"}

_WIDEST = 160
"""The most characters of a definition; functions and views are longer."""

_PLURALS = {"index": "indexes", "policy": "policies"}


def lines(changes: Sequence[SchemaChange]) -> Iterator[tuple[str, str]]:
    """Yield sign and text; a table that is added or removed is one line with all its parts."""
    whole = {(c.kind, c.name) for c in changes if c.object == "table"}
    for change in changes:
        if (change.kind, change.relation) in whole:
            continue
        text = _described(change)
        if change.object == "table" and change.kind in ("added", "removed"):
            parts = Counter(
                c.object for c in changes if (c.kind, c.relation) == (change.kind, change.name)
            )
            text += " with " + listed([_counted(n, what) for what, n in parts.items()])
        yield SIGNS[change.kind], text


def _counted(number: int, what: str) -> str:
    return f"{number} {_PLURALS[what]}" if what in _PLURALS and number != 1 else count(number, what)


def _described(change: SchemaChange) -> str:
    what = f"{change.object} {_qualified_name(change)}"
    before, after = _short(change.before), _short(change.after)
    if change.kind == "renamed":
        return f"{what} was {before}"
    if change.kind == "changed":
        if before == after:
            return f"{what} has another definition"
        return f"{what} was {before}, is {after}"
    definition = before or after
    if change.object == "table" and definition == "TABLE":
        return what
    return f"{what} {definition}" if change.object == "column" else f"{what}: {definition}"


def _qualified_name(change: SchemaChange) -> str:
    if change.object == "column":
        return f"{change.relation}.{change.name}"
    return f"{change.name} on {change.relation}" if change.relation else change.name


def _short(definition: str | None) -> str:
    text = one_line(definition or "")
    return text if len(text) <= _WIDEST else f"{text[:_WIDEST]}..."
