"""What the running release can no longer do, as it was executed."""

from __future__ import annotations

from collections.abc import Sequence

from django_confiture.dry_run.findings.advice import sentences
from django_confiture.dry_run.findings.finding import finding
from django_confiture.dry_run.results import Finding
from django_confiture.dry_run.results.deploy import Break
from django_confiture.formatting import count, listed

_NAMES_GONE = ("42703", "42P01")
_NO_VALUE = "23502"
_LONGEST = 200
"""Of a query that is shown."""
_TOO_LARGE = ("22001", "22003")
_REFERENCE = "23503"
_REFUSED = ("23505", "23514", "23P01", _REFERENCE)


def running_code_breaks(
    relation: str, breaks: Sequence[Break], guessed: Sequence[Finding]
) -> Finding:
    """Return the finding of one table; ``guessed`` is what the migration's text says of it."""
    operations = {each.operation for each in breaks}
    return finding(
        "running-code-breaks",
        operations.pop() if len(operations) == 1 else None,
        relation,
        _what_fails(relation, breaks),
        _advice(breaks, guessed),
        [_said(each) for each in breaks],
    )


def _what_fails(relation: str, breaks: Sequence[Break]) -> str:
    actions = listed([each.action.upper() for each in breaks if each.model is not None], word="or")
    queries = sum(each.model is None for each in breaks)
    if not actions:
        return (
            f"{count(queries, 'statement')} of production on {relation} can no longer be prepared"
        )
    more = f"; {count(queries, 'statement')} of production can't be prepared" if queries else ""
    rows = f"into {relation}" if actions == "INSERT" else f"rows of {relation}"
    return f"The running release can no longer {actions} {rows}{more}"


def _said(each: Break) -> str:
    code = f" ({each.sqlstate})" if each.sqlstate else ""
    if each.model is None:
        return f"A query of production: {each.error}{code}: {each.sql[:_LONGEST]}"
    return f"{each.action.upper()} of {each.model}: {each.error}{code}"


def _advice(breaks: Sequence[Break], guessed: Sequence[Finding]) -> str:
    codes = {each.sqlstate for each in breaks}
    if guessed and not codes.isdisjoint(_NAMES_GONE):
        return guessed[0].advice
    state = breaks[0].sqlstate
    if state == _NO_VALUE:
        words = sentences.NO_VALUE
    elif state == _REFERENCE and breaks[0].action == "delete":
        words = sentences.REFERRED_TO
    elif state in _TOO_LARGE:
        words = sentences.NARROWER_TYPE
    else:
        words = sentences.STRICTER_RULE if state in _REFUSED else sentences.TWO_RELEASES
    return sentences.as_comment(words)
