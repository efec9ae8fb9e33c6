"""The parts that a statement of a schema change is split into, and the order of the parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from django.db.migrations import RunSQL

from django_confiture.dry_run.rewriting.files import Batches, NumbersInPlace


class Phase(IntEnum):
    """The order in which the parts of an operation run; each phase has its own files."""

    SCHEMA = 1
    """Short locks: columns, constraints that only new rows have to obey."""
    FILL = 2
    """Rows get their values, in batches."""
    ROWS = 3
    """One statement that reads and writes rows, and can't be several."""
    CHECK = 4
    """Short locks again: no new row may lack a value from now on."""
    FILL_AGAIN = 5
    """Rows that came in between the batches and the CHECK."""
    INDEX = 6
    """CREATE INDEX CONCURRENTLY, in no transaction."""
    REFERENCE = 7
    """Short locks again: foreign keys to a column that has its unique index now."""
    VALIDATE = 8
    """Reads the table, and lets others write to it."""
    SWITCH = 9
    """Short locks again, for what the validated constraint or the new index makes cheap."""
    CLEAN_UP = 10
    """DROP INDEX CONCURRENTLY, of what has been replaced."""
    NEXT_RELEASE = 11
    """Short locks, once no code runs that needs what goes."""
    NEXT_VALIDATE = 12
    """Reads the table after that, and lets others write to it."""


NOT_ATOMIC = {Phase.FILL, Phase.FILL_AGAIN, Phase.INDEX, Phase.CLEAN_UP}
"""In no transaction: where one fails, the others are done."""
ALONE = {*NOT_ATOMIC, Phase.ROWS}
"""One a file."""

WHY = {
    Phase.SCHEMA: "Short locks only: existing rows are not read",
    Phase.FILL: "Each batch commits by itself, so no row stays locked",
    Phase.ROWS: "By itself: it locks its rows until it commits, and no table",
    Phase.CHECK: "Short locks only: new rows have to obey it, the others are not read",
    Phase.FILL_AGAIN: "Each batch commits by itself: rows that came in before the CHECK",
    Phase.INDEX: "CONCURRENTLY lets others write; it can't run in a transaction",
    Phase.REFERENCE: "Short locks only: new rows have to obey it, the others are not read",
    Phase.VALIDATE: "Reads the table under a lock that lets others read and write",
    Phase.SWITCH: "Short locks only: PostgreSQL uses what has been built or validated",
    Phase.CLEAN_UP: "CONCURRENTLY waits for others without making them wait",
    Phase.NEXT_RELEASE: "The next release: apply it once all running code knows the change",
    Phase.NEXT_VALIDATE: "The next release, too: reads the table, and lets others write to it",
}

WHAT = {
    Phase.SCHEMA: "columns",
    Phase.FILL: "fill",
    Phase.ROWS: "rows",
    Phase.CHECK: "check",
    Phase.FILL_AGAIN: "fill_again",
    Phase.INDEX: "index",
    Phase.REFERENCE: "foreign_keys",
    Phase.VALIDATE: "validate",
    Phase.SWITCH: "switch",
    Phase.CLEAN_UP: "drop_index",
    Phase.NEXT_RELEASE: "next_release",
    Phase.NEXT_VALIDATE: "validate",
}


@dataclass(frozen=True)
class Part:
    """One statement of the rewritten operation, and the one that reverses it."""

    phase: Phase
    sql: str
    reverse: str | tuple[str, ...] = RunSQL.noop
    batches: Batches | NumbersInPlace | None = None
    """What runs in place of ``sql``, in the phase FILL."""
    why_whole: str = ""
    """Why it can't be batches, in the phase ROWS."""

    def operation(self, hints: Mapping[str, str]) -> RunSQL:
        """Return the operation that runs it; ``hints`` are for the database routers."""
        return RunSQL(self.sql, self.reverse, hints=dict(hints) or None)
