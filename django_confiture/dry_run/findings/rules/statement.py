"""What a single statement does to tables that others use; everything is measured.

Where the statement's text says what it is, the finding is about that. Where it doesn't (DO, CALL,
a function), and for statements that have no rule, the measurements alone decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter

from django_confiture.dry_run.findings.advice.sentences import in_words
from django_confiture.dry_run.findings.finding import finding, measured
from django_confiture.dry_run.findings.rules.alter_table import of_alter_table
from django_confiture.dry_run.findings.subject import JudgedStatement, Subject
from django_confiture.dry_run.findings.thresholds import most_rows
from django_confiture.dry_run.results import Finding
from django_confiture.dry_run.sql.parsing.enums import ObjectType
from django_confiture.dry_run.sql.parsing.nodes import option_is_on, written_name
from django_confiture.dry_run.sql.parsing.parser import Kind
from django_confiture.formatting import listed

Rule = Callable[[Subject, JudgedStatement], Iterator[Finding]]


def of_statement(subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    """Yield what one statement does."""
    if step.statement.kind not in (Kind.DDL, Kind.OPAQUE, Kind.UNPARSED, Kind.UNSEEN):
        return
    if not step.result.executions:
        return  # it failed, and what it did until then does not tell what it would have done
    rule = _RULES.get(step.statement.what)
    found = list(rule(subject, step)) if rule is not None else []
    yield from found
    yield from _truncated(subject, step)
    yield from _columns_gone(subject, step)
    yield from _skipped(subject, step)
    yield from _by_measurement(subject, step, {each.relation for each in found})


def _by_measurement(
    subject: Subject, step: JudgedStatement, said: set[str | None]
) -> Iterator[Finding]:
    """Yield what was measured and no rule has spoken of."""
    if said & set(step.kinds) and not step.hides_effects:
        return
    if step.statement.what == "alter_table_stmt" and step.existing(step.node.relation) is None:
        return  # a table of the dry run itself; its foreign keys have a rule
    sql = step.statement.command
    for table in step.result.rewrites:
        message = f"{sql} rewrites {table} while no one can read or write it"
        yield measured("table-rewrite", subject, step, table, message)
    for table in step.scanned:
        if table in step.result.rewrites or not _locked(step, table):
            continue
        if step.result.indexes_built:
            message = f"{sql} builds an index of {table} while writes are blocked"
            yield measured("index-build-blocks-writes", subject, step, table, message)
        elif not most_rows(subject, step, table):
            message = f"{sql} reads all of {table} while writes are blocked"
            yield measured("scan-blocks-writes", subject, step, table, message)


def _locked(step: JudgedStatement, table: str) -> bool:
    """Return whether the statement itself blocks writes.

    A new valid constraint proves it where an earlier migration of the dry run holds the lock.
    """
    hidden = step.hides_effects and bool(step.result.constraints)
    if step.kinds.get(table) == "m":  # which can't be written to
        return table in step.locks and step.locks[table].blocks_reads
    return step.blocks_writes(table) or (hidden and table not in step.locks)


def _index(subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    table = step.existing(step.node.relation)
    if table is None or step.node.concurrent or not step.result.indexes_built:
        return
    name = step.node.idxname or "the index"
    mode = step.effective(table)
    what = "reads and writes of" if mode is not None and mode.blocks_reads else "writes to"
    message = f"Building {name} blocks {what} {table}"
    yield measured("index-build-blocks-writes", subject, step, table, message)


def _reindex(subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    if option_is_on(step.node.params, "concurrently"):
        return
    for table in step.scanned:
        message = f"REINDEX blocks writes to {table}, and reads that use the index"
        yield measured("reindex-blocks-writes", subject, step, table, message)


def _refresh(subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    view = step.existing(step.node.relation)
    if view is not None and not step.node.concurrent and not step.node.skip_data:
        message = f"REFRESH MATERIALIZED VIEW blocks reads of {view} while it runs"
        yield measured("refresh-blocks-reads", subject, step, view, message)


def _vacuum(_subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    if not any(each.def_elem.defname == "full" for each in step.node.options):
        return
    names = [written_name(each.vacuum_relation.relation) for each in step.node.rels]
    for name in names or ["every table"]:
        yield finding(
            "table-rewrite",
            step,
            name,
            f"VACUUM FULL rewrites {name} while no one can read or write it",
            evidence=["VACUUM can't run in a transaction, so it was not rehearsed"],
        )


def _domain(subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    for table in step.scanned:
        if step.blocks_writes(table):
            name = ".".join(part.string.sval for part in step.node.type_name)
            message = f"The new constraint of the domain {name} reads all of {table}"
            yield measured("domain-constraint-scan", subject, step, table, message)


def _create_trigger(subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    table = step.existing(step.node.relation)
    if table is not None:
        message = f"CREATE TRIGGER blocks writes to {table} until the commit"
        yield measured("trigger-blocks-writes", subject, step, table, message)


def _skipped(subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    maker = "The DO block" if step.statement.what == "do_stmt" else "IF NOT EXISTS"
    for each in subject.other_shapes.get(step.id, ()):
        yield finding(
            "if-not-exists-skips",
            step,
            each.relation,
            f"{maker} makes nothing: the {each.what} that is there is another",
            in_words("if-not-exists-skips"),
            [f"there: {each.there}", f"asked for: {each.asked}"],
        )


def _truncated(subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    for table in sorted(step.truncated):
        if subject.relations[table].size:
            message = f"TRUNCATE removes every row of {table}, and blocks it until the commit"
            yield measured("truncate-loses-rows", subject, step, table, message)


def _columns_gone(subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    for table, columns in groupby(sorted(step.columns_gone), key=itemgetter(0)):
        lost = [name for _, name in columns if (table, name) not in subject.columns_added]
        if lost and subject.relations[table].size:
            held = "it holds" if len(lost) == 1 else "they hold"
            message = f"CASCADE drops {listed(lost)} of {table} as well, with what {held}"
            yield measured("cascade-drops-columns", subject, step, table, message)


def _drop(subject: Subject, step: JudgedStatement) -> Iterator[Finding]:
    kind = step.node.remove_type
    if kind == ObjectType.INDEX and not step.node.concurrent:
        for table, mode in step.locks.items():
            if mode.blocks_reads:
                message = f"DROP INDEX blocks reads and writes of {table}"
                yield measured("index-drop-blocks-reads", subject, step, table, message)
    if kind == ObjectType.TRIGGER:
        for table, mode in step.locks.items():
            if mode.blocks_reads:
                message = f"DROP TRIGGER blocks reads and writes of {table} until the commit"
                yield measured("trigger-blocks-writes", subject, step, table, message)


_RULES: Mapping[str, Rule] = {
    "alter_table_stmt": of_alter_table,
    "index_stmt": _index,
    "reindex_stmt": _reindex,
    "refresh_mat_view_stmt": _refresh,
    "vacuum_stmt": _vacuum,
    "alter_domain_stmt": _domain,
    "create_trig_stmt": _create_trigger,
    "drop_stmt": _drop,
}
