"""The form in which a query of production can be prepared.

PostgreSQL counts a query with a parameter in place of each value. What the types of the values
said is lost with them, and so is that two of them were the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import psycopg

from django_confiture.dry_run.sql.parsing.nodes import Node
from django_confiture.dry_run.sql.parsing.parameters import parameters_at, repeated
from django_confiture.dry_run.sql.parsing.parser import parse

NAME = "confiture_query"
_TYPES = (
    ("integer", "integer"),
    ("bigint", "bigint"),
    ("timestamptz", "interval"),
    ("date", "integer"),
    ("interval", "interval"),
    ("timestamptz", "timestamptz"),
    ("text", "text"),
    ("numeric", "numeric"),
)
"""What parameters are tried as, where the server can't choose a function or operator: all but the
last of several, and the last one."""
_TRIES = 30
_PARAMETER = re.compile(r"\$(\d+)")
_NOT_GROUPED = "42803"
_UNKNOWN_TYPE = "42P18"
_NOT_FOUND = ("42725", "42883")
"""More than one function or operator, or none, takes what it is given."""


@dataclass(frozen=True)
class PreparedForm:
    """What ``PREPARE`` is told of a query."""

    text: str
    types: Mapping[int, str] = field(default_factory=dict)
    """Number of a parameter → its type; that of the others is left to the server."""

    @property
    def sql(self) -> str:
        """The statement that prepares it."""
        return f"{self._head}{self.text}"

    @property
    def _head(self) -> str:
        numbers = range(1, max(self.types, default=0) + 1)
        types = ", ".join(self.types.get(each, "unknown") for each in numbers)
        return f"PREPARE {NAME}{f' ({types})' if types else ''} AS "

    def at(self, error: psycopg.Error) -> int | None:
        """Return the place in the text, in bytes, that an error names."""
        position = int(error.diag.statement_position or 0) - 1 - len(self._head)
        return len(self.text[:position].encode()) if position >= 0 else None


def form_of(text: str, attempt: Callable[[str], psycopg.Error | None]) -> PreparedForm:
    """Return a form of a query that the server takes; the text as it is if there is none.

    ``attempt`` prepares a statement, undoes that, and returns why it failed.
    """
    original = form = PreparedForm(text)
    tried: Counter[tuple[int, ...]] = Counter()
    """Parameters that were guessed together → how often."""
    for _try in range(_TRIES):
        error = attempt(form.sql)
        if error is None:
            return form
        changed = _changed(form, error, tried)
        if changed is None or changed == form:
            break
        form = changed
    return original


def _changed(
    form: PreparedForm, error: psycopg.Error, tried: Counter[tuple[int, ...]]
) -> PreparedForm | None:
    """Return another form, by what the server says of the last one."""
    if error.sqlstate == _NOT_GROUPED:
        return _with_the_same(form)
    if error.sqlstate == _UNKNOWN_TYPE:
        named = _PARAMETER.search(error.diag.message_primary or "")
        return PreparedForm(form.text, {**form.types, int(named[1]): "text"}) if named else None
    at = form.at(error)
    if error.sqlstate not in _NOT_FOUND or at is None:
        return None
    given = tuple(number for node in _nodes(form) for number in parameters_at(node, at))
    given = given or next(reversed(tried), ())  # the last guess may be what does not fit there
    if not given or tried[given] == len(_TYPES):
        return None
    several, last = _TYPES[tried[given]]
    tried[given] += 1
    types = dict.fromkeys(given, several) | ({given[-1]: last} if len(given) > 1 else {})
    return PreparedForm(form.text, {**form.types, **types})


def _with_the_same(form: PreparedForm) -> PreparedForm:
    same = {own: known for node in _nodes(form) for own, known in repeated(node).items()}
    text = _PARAMETER.sub(lambda found: f"${same.get(int(found[1]), found[1])}", form.text)
    return PreparedForm(text, form.types)


def _nodes(form: PreparedForm) -> Iterator[Node]:
    for each in parse(form.text, placeholders=False):
        if each.node is not None:
            yield each.node
