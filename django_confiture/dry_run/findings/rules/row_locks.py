"""Rows that are locked and not written: SELECT … FOR UPDATE and its like, in functions as well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from django.apps import apps

from django_confiture.dry_run.findings.finding import evidence, finding
from django_confiture.dry_run.findings.subject import JudgedStatement, Subject
from django_confiture.dry_run.findings.thresholds import LONG_MS
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.results import Finding
from django_confiture.formatting import count, duration

_WORTH_SAYING_MS = 100.0
"""Rows that are locked for less than this make no one wait for long."""


def rows_locked(subject: Subject) -> Iterator[Finding]:
    """Yield the tables of which rows stay locked for long; how long makes the severity."""
    found: dict[str, JudgedStatement] = {}
    own = {*_own_tables()}
    for step in subject.steps:
        for table in sorted(step.row_locks & step.locks.keys()):
            if table.rpartition(".")[2] not in own:
                found.setdefault(table, step)
    for table, step in found.items():
        held_ms = _longest_ms(subject, table)
        if held_ms < _WORTH_SAYING_MS:
            continue
        each = finding(
            "rows-locked-while-working",
            step,
            table,
            f"{_rows_locked(step, table)} locked for {duration(held_ms)}: sessions that write "
            "them wait",
            evidence=[*evidence(subject, step, table), *_unknown(step)],
        )
        yield replace(each, severity="danger") if held_ms >= LONG_MS else each


def _own_tables() -> Iterator[str]:
    """Yield the tables of this package, whose rows it locks itself: a backfill's, the ledger's."""
    for config in apps.get_app_configs():
        if config.name.startswith("django_confiture"):
            yield from (model._meta.db_table for model in config.get_models())


def _rows_locked(step: JudgedStatement, table: str) -> str:
    """Say how many stay so; a join returns rows of several tables, so there it is not told."""
    tables = [mode for mode in step.locks.values() if mode is LockMode.RowShareLock]
    rows = step.result.rows_locked
    if rows is None or len(tables) != 1:
        return f"Rows of {table} stay"
    return f"{count(rows, 'row')} of {table} {'stays' if rows == 1 else 'stay'}"


def _unknown(step: JudgedStatement) -> Iterator[str]:
    if step.result.rows_locked is None:
        yield "how many rows it locks is not known: code or a cursor of the server does"


def _longest_ms(subject: Subject, relation: str) -> float:
    """Return the longest time for which rows of a table were locked while the table was not."""
    spans = (s for t in subject.result.tables if t.relation == relation for s in t.row_locks)
    return max((each.end_ms - each.start_ms for each in spans), default=0.0)
