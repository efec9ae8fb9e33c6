"""How a rule says what it found: severity by id, evidence in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from django_confiture.dry_run.findings.advice.sentences import in_words
from django_confiture.dry_run.findings.subject import JudgedStatement, Subject
from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.results import Finding
from django_confiture.finding_ids import SEVERITIES
from django_confiture.formatting import count, duration, listed, one_line, size

POLICY = {
    "column-dropped",
    "column-renamed",
    "enum-value-renamed",
    "foreign-key-without-index",
    "json-column",
    "schema-changed",
    "table-dropped",
    "table-renamed",
}
"""What follows from what the migration says; nothing has to be measured for it."""

_WAL_WORTH_SAYING = 1024 * 1024
_LONGEST = 100
"""Of a statement in a sentence."""


def finding(
    name: str,
    at: JudgedStatement | int | None,
    relation: str | None,
    message: str,
    advice: str = "",
    evidence: Iterable[str] = (),
) -> Finding:
    """Return a finding with the severity and the basis of its id.

    ``at`` is the statement that it is about, or an operation's index, or None for the migration.
    ``advice`` is what to do about it, where what is said of all findings of the id is not enough.
    """
    basis: Literal["measured", "policy"] = "policy" if name in POLICY else "measured"
    return Finding(
        name,
        SEVERITIES[name],
        basis,
        relation,
        at.operation if isinstance(at, JudgedStatement) else at,
        message,
        advice or in_words(name),
        tuple(evidence),
        statements=(at.id,) if isinstance(at, JudgedStatement) else (),
    )


def measured(
    name: str,
    subject: Subject,
    step: JudgedStatement,
    relation: str,
    message: str,
) -> Finding:
    """Return a finding about a statement, with what was measured of it as evidence."""
    return finding(name, step, relation, message, evidence=evidence(subject, step, relation))


def evidence(subject: Subject, step: JudgedStatement, relation: str) -> Iterator[str]:
    """Yield what a statement did to a table, each measurement in words."""
    own = step.locks.get(relation)
    if own is not None:
        yield f"takes {own.name} on {relation}{_blocks(own)}"
    held = step.held.get(relation)
    if held is not None and held.mode > (own or 0):
        since = shortened(held.step.result.text)
        yield f"{held.mode.name} is held since {since}{_blocks(held.mode)}"
    yield from _times(subject, relation)
    yield from _work(step)
    others = [name for name in step.held if name != relation and name not in step.locks]
    others += [name for name, mode in step.locks.items() if name != relation and mode.blocks_writes]
    if others:
        names = list(dict.fromkeys(others))
        yield f"{listed(names)} {'is' if len(names) == 1 else 'are'} locked meanwhile, too"


def _blocks(mode: LockMode) -> str:
    if mode.blocks_reads:
        return ", which blocks reads and writes"
    return ", which blocks writes" if mode.blocks_writes else ""


def _times(subject: Subject, relation: str) -> Iterator[str]:
    reads, writes = subject.blocked_ms(relation)
    if reads:
        yield f"reads of {relation} blocked for {duration(reads)} here, until the commit"
    if writes > reads * 1.05:
        yield f"writes to {relation} blocked for {duration(writes)} here, until the commit"


def _work(step: JudgedStatement) -> Iterator[str]:
    for scan in step.result.scans:
        rows = "every row" if scan.rows is None else count(scan.rows, "row")
        passes = f" in {scan.passes} passes" if scan.passes > 1 else ""
        yield f"reads {rows} of {scan.relation}{passes}"
    if step.result.rewrites:
        yield f"rewrites {listed(step.result.rewrites)}"
    built = step.result.indexes_built
    if built:
        yield f"builds {listed(built) if len(built) < 3 else f'{len(built)} indexes'}"
    for write in step.result.writes:
        written = write.inserted + write.updated + write.deleted
        yield f"writes {count(written, 'row')} of {write.relation}"
    if step.result.rows_locked is not None:
        yield f"locks {count(step.result.rows_locked, 'row')}"
    if (wal := step.result.wal_bytes or 0) >= _WAL_WORTH_SAYING:
        yield f"{size(wal)} of WAL"


def shortened(sql: str) -> str:
    """Return a statement on one line, shortened."""
    line = one_line(sql)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1].rstrip()}…"
