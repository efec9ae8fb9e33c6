"""Findings: what, why, and the code to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from django_confiture.dry_run.results import Finding, MigrationResult
from django_confiture.formatting import count, listed

Escape = Callable[[str], str]

_STYLES = {"danger": "bold red", "warning": "yellow", "notice": "cyan"}


class TextRow(NamedTuple):
    """One row of the report: a label, and text that is wrapped next to it unless it is code."""

    indent: int
    width: int
    label: str
    text: str
    code: bool = False


def rows(findings: Sequence[Finding], escape: Escape, *, full: bool) -> Iterator[TextRow]:
    """Yield the findings that count, then the silenced ones, one line each.

    ``full`` adds the evidence and the code to write instead.
    """
    shown = [each for each in findings if each.silenced is None]
    for position, each in enumerate(shown):
        yield from _finding(each, escape, full=full)
        if full and each.advice not in [other.advice for other in shown[:position]]:
            yield from _advice(each.advice, escape)
    for each in findings:
        if each.silenced is not None:
            where = f" on {each.relation}" if each.relation else ""
            yield TextRow(2, 8, "[dim]silenced[/]", f"[dim]{each.id}{escape(where)}: "
                      f"{escape(each.silenced)}[/]")  # fmt: skip


def _finding(finding: Finding, escape: Escape, *, full: bool) -> Iterator[TextRow]:
    label = f"[{_STYLES[finding.severity]}]{finding.severity}[/]"
    yield TextRow(2, 8, label, f"[bold]{escape(finding.message)}[/]")
    where = "" if finding.operation is None else f", operation {finding.operation + 1}"
    basis = ", by policy, not measured" if finding.basis == "policy" else ""
    yield TextRow(2, 8, "", f"[dim]{finding.id}{where}{basis}[/]")
    for line in finding.evidence if full else ():
        yield TextRow(11, 1, "[dim]-[/]", escape(line))


def _advice(advice: str, escape: Escape) -> Iterator[TextRow]:
    """Yield code as it is, and comments: both are for pasting, so no line is broken."""
    if not advice:
        return
    yield TextRow(2, 8, "[green]instead[/]", "")
    for line in re.sub(r"\n{3,}", "\n\n", advice).splitlines():
        yield TextRow(4, 0, "", escape(line), code=True)


def summary(migrations: Iterable[MigrationResult]) -> str:
    """Return the number of findings of each severity, ``""`` without any."""
    findings = [each for migration in migrations for each in migration.findings]
    severities = [each.severity for each in findings if each.silenced is None]
    parts = [count(severities.count(name), name) for name in _STYLES if name in severities]
    silenced = len(findings) - len(severities)
    if silenced:
        parts.append(f"{silenced:,} silenced")
    return f"Findings: {listed(parts)}." if parts else ""
