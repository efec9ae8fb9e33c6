"""What the running release can no longer do, as it was executed."""

from __future__ import annotations

from collections.abc import Sequence

from django_confiture.dry_run.findings.advice import running_code
from django_confiture.dry_run.findings.finding import finding
from django_confiture.dry_run.findings.subject import Subject
from django_confiture.dry_run.results import Finding
from django_confiture.dry_run.results.deploy import Break
from django_confiture.formatting import listed

_NAMES_GONE = ("42703", "42P01")
_NO_VALUE = "23502"
_TOO_LARGE = ("22001", "22003")
_REFUSED = ("23505", "23514", "23P01", "23503")


def running_code_breaks(
    subject: Subject, relation: str, breaks: Sequence[Break], guessed: Sequence[Finding]
) -> Finding:
    """Return the finding of one table; ``guessed`` is what the migration's text says of it."""
    actions = listed([each.action.upper() for each in breaks])
    operations = {each.operation for each in breaks}
    return finding(
        "running-code-breaks",
        operations.pop() if len(operations) == 1 else None,
        relation,
        f"The running release can no longer {actions} in {relation}"
        if any(each.action == "insert" for each in breaks)
        else f"The running release can no longer {actions} rows of {relation}",
        _advice(subject, breaks, guessed),
        [_said(each) for each in breaks],
    )


def _said(each: Break) -> str:
    code = f" ({each.sqlstate})" if each.sqlstate else ""
    return f"{each.action.upper()} of {each.model}: {each.error}{code}"


def _advice(subject: Subject, breaks: Sequence[Break], guessed: Sequence[Finding]) -> str:
    codes = {each.sqlstate for each in breaks}
    if guessed and not codes.isdisjoint(_NAMES_GONE):
        return guessed[0].advice
    first = breaks[0]
    operation = (
        subject.migration.operations[first.operation] if first.operation is not None else None
    )
    if first.sqlstate == _NO_VALUE:
        return running_code.default_in_database(operation, first.table)
    if first.sqlstate in _TOO_LARGE:
        return running_code.narrower_type()
    if first.sqlstate in _REFUSED:
        return running_code.stricter_rule()
    return running_code.two_releases()
