"""What the rules judge: one migration's statements in the order in which they ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.measuring.relations import Relation
from django_confiture.dry_run.results import MigrationResult, StatementResult
from django_confiture.dry_run.results.deploy import Break, Regressed
from django_confiture.dry_run.rewriting.facts import PartitionIndex
from django_confiture.dry_run.rewriting.known_objects import KNOWS_NOTHING, KnownObjects
from django_confiture.dry_run.sql.parsing.nodes import Node, names_shown
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement
from django_confiture.migrate.invalid_indexes import InvalidIndex


@dataclass(frozen=True)
class Held:
    """A lock that an earlier statement of the same transaction took."""

    mode: LockMode
    step: JudgedStatement


@dataclass(frozen=True)
class JudgedStatement:
    """One statement, or all runs of one DML text in an operation."""

    operation: int | None
    """The operation's index; None for a hook around them."""
    django: Operation | None
    statement: Statement
    result: StatementResult
    runs: Mapping[int, int]
    """Number of the transaction → how often it ran in it."""
    row_locks: frozenset[str] = frozenset()
    """Tables whose rows it has locked without writing them."""
    truncated: frozenset[str] = frozenset()
    """Tables that it emptied by giving them a new file."""
    columns_gone: Sequence[tuple[str, str]] = ()
    """(table, name) of each column that it has dropped without naming it."""
    names: Mapping[str, str] = field(default_factory=dict)
    """New name → name before the dry run, of relations renamed by it."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Relation that existed before the dry run → its ``relkind``."""
    held: Mapping[str, Held] = field(default_factory=dict)
    """Table → the strongest lock that blocks writes, held when this began."""

    @property
    def id(self) -> int:
        """The statement's number in the dry run; it grows in the order of the first runs."""
        return self.result.id

    @property
    def node(self) -> Node:
        """The statement's own node, such as an ``IndexStmt``; None if it could not be parsed."""
        node = self.statement.node
        return None if node is None else getattr(node, node.WhichOneof("node"))

    @cached_property
    def locks(self) -> Mapping[str, LockMode]:
        """The strongest lock that the statement needs on each table."""
        found: dict[str, LockMode] = {}
        for lock in self.result.locks:
            if lock.relation in self.kinds:
                mode = LockMode[lock.mode]
                found[lock.relation] = max(mode, found.get(lock.relation, mode))
        return found

    @cached_property
    def scanned(self) -> Mapping[str, int | None]:
        """Rows read by full scans of each table; None where they are not known."""
        found: dict[str, int | None] = {}
        for scan in self.result.scans:
            before = found.get(scan.relation, 0)
            found[scan.relation] = (
                None if scan.rows is None or before is None else before + scan.rows
            )
        return found

    @property
    def hides_effects(self) -> bool:
        """Whether its text does not show what it does."""
        return self.statement.kind in (Kind.OPAQUE, Kind.UNPARSED, Kind.UNSEEN)

    def existing(self, range_var: Node) -> str | None:
        """Return the relation that ``range_var`` names, None if it is of the dry run itself."""
        touched = (*self.locks, *self.scanned)
        for name in names_shown(range_var):
            original = self.names.get(name, name)
            if original in self.kinds and original in touched:
                return original
        # Where the migration has its own search path, the reports' name has the schema, too.
        ending = {n for n in touched if n in self.kinds and n.endswith(f".{range_var.relname}")}
        return ending.pop() if len(ending) == 1 and not range_var.schemaname else None

    def of(self, relation: str, found: Iterable[str]) -> list[str]:
        """Return which of ``found`` are ``relation``, or its partitions where it is in parts."""
        names = list(found)
        if self.kinds.get(relation) == "p":
            return [name for name in names if self.blocks_writes(name)]
        return [relation] if relation in names else []

    def scans(self, relation: str) -> bool:
        """Return whether it read all of a table, or of its partitions."""
        return bool(self.of(relation, self.scanned))

    def rewrites(self, relation: str) -> bool:
        """Return whether it rewrote a table, or its partitions."""
        return bool(self.of(relation, self.result.rewrites))

    def blocks_writes(self, relation: str) -> bool:
        """Return whether its own lock on a relation blocks writes."""
        return relation in self.locks and self.locks[relation].blocks_writes

    def blocks_reads(self, relation: str) -> bool:
        """Return whether its own lock on a relation blocks reads, too."""
        return relation in self.locks and self.locks[relation].blocks_reads

    def effective(self, relation: str) -> LockMode | None:
        """Return the strongest lock while it ran, its own or one held before."""
        held = self.held.get(relation)
        modes = [self.locks.get(relation), held.mode if held else None]
        return max((mode for mode in modes if mode is not None), default=None)


@dataclass(frozen=True)
class OtherShape:
    """Something that is there under the name of what was to be made, and is something else."""

    step_id: int
    relation: str | None
    """None where it is no relation and in none."""
    what: str
    """``index cases_i``, for example."""
    there: str
    asked: str


@dataclass(frozen=True)
class SharedValue:
    """A new column whose rows have one value of a function that makes up another each time."""

    step_id: int
    relation: str
    column: str
    function: str
    query: str
    """For how many rows have that value, and how many are looked at."""
    unique: bool
    """Whether the statement itself says that it is."""
    rows: int = 0
    """How many have it."""


@dataclass(frozen=True)
class UncheckedKey:
    """A foreign key that was off while rows of its table, or of the one it refers to, changed."""

    step_id: int
    relation: str
    target: str
    """The table that it refers to."""
    constraint: str
    rows: int | None
    """How many refer to nothing; None where it took too long to tell."""


@dataclass(frozen=True)
class PendingEvents:
    """A statement that fails behind code that finds rows to write; here it found none."""

    step_id: int
    relation: str
    writers: Sequence[int | None]
    """The index of the operation that writes rows, None for a hook; of two, if the same row."""
    constraints: tuple[str, ...]
    """What is checked at the commit."""


@dataclass(frozen=True)
class Subject:
    """One migration as the rules see it."""

    migration: Migration
    result: MigrationResult
    relations: Mapping[str, Relation]
    """What existed before the dry run."""
    steps: Sequence[JudgedStatement]
    columns_added: frozenset[tuple[str, str]] = frozenset()
    """(table, column) that the plan itself has added so far."""
    filled: Mapping[str, int] = field(default_factory=dict)
    """Rows that earlier migrations of the plan have put into tables, by name as written."""
    foreign_keys: Sequence[tuple[str, str, str]] = ()
    """(table, constraint, columns) of new foreign keys that no index supports."""
    lock_timeout: bool = True
    """Whether the real run gives up waiting for locks, or has been told to."""
    breaks: Mapping[str, tuple[Break, ...]] = field(default_factory=dict)
    """Relation → what the running code can no longer do there."""
    other_shapes: Mapping[int, Sequence[OtherShape]] = field(default_factory=dict)
    """Statement's id → what IF NOT EXISTS has left as it was though it differs."""
    invalid_indexes: Sequence[InvalidIndex] = ()
    """INVALID indexes with a name that the statement that failed wanted."""
    tried: frozenset[str] = frozenset()
    """The relations whose models in the running code were tried."""
    regressed: Sequence[Regressed] = ()
    """Queries of production that the planner now plans worse."""
    known: KnownObjects = KNOWS_NOTHING
    """What the database had before the migration."""
    partition_indexes: Mapping[str, Sequence[PartitionIndex]] = field(default_factory=dict)
    """Index of a partitioned table → those of its partitions, at the migration's end."""
    growth: Mapping[str, float] = field(default_factory=dict)
    """Relation → how many times as many rows production has; none where it has fewer."""
    shared: Sequence[SharedValue] = ()
    """The new columns whose rows have one value, where they should have one each."""
    unchecked: Sequence[UncheckedKey] = ()
    """The foreign keys that did not look at rows that were written."""
    pending: Sequence[PendingEvents] = ()
    """The statements that PostgreSQL would refuse behind rows that here were not written."""

    @property
    def forward(self) -> bool:
        """Whether the migration is applied, not taken back."""
        return self.result.direction == "forward"

    def rows(self, relation: str) -> int | None:
        """Return how many rows a table had at the last ANALYZE, None without one."""
        known = self.relations.get(relation)
        return known.rows if known is not None and known.rows >= 0 else None

    def in_production(self, relation: str, rows: float) -> float:
        """Return how many rows of a table it would be in production, as far as that is known."""
        return rows * self.growth.get(relation, 1.0)

    def rows_put_into(self, name: str, before: JudgedStatement) -> int:
        """Return how many rows the plan has put into a table before a statement."""
        earlier = (step for step in self.steps if step.id < before.id)
        return self.filled.get(name, 0) + sum(rows for at, rows in _put(earlier) if at == name)

    @property
    def original_names(self) -> Mapping[str, str]:
        """New name → name before the dry run, of relations renamed by it."""
        return {new: old for step in self.steps for new, old in step.names.items()}

    def code_at(self, relation: str) -> JudgedStatement | None:
        """Return the statement whose code changed a relation, as far as that can be told.

        It is the first that locks it whole, or the only one that runs code: what the plan has
        locked before, no statement locks again.
        """
        running = [step for step in self.steps if step.hides_effects]
        first = next((step for step in running if step.blocks_reads(relation)), None)
        return first or (running[0] if len(running) == 1 else None)

    def blocked_ms(self, relation: str) -> tuple[float, float]:
        """Return for how long reads and writes of a table were blocked, in ms."""
        for table in self.result.tables:
            if table.relation == relation:
                return table.reads_blocked_ms, table.writes_blocked_ms
        return 0.0, 0.0


def _put(steps: Iterable[JudgedStatement]) -> Iterator[tuple[str, int]]:
    """Yield the tables that statements add rows to, and how many."""
    for step in steps:
        if step.statement.what in ("insert_stmt", "copy_stmt"):
            yield step.node.relation.relname, step.result.rows_written


def filled(steps: Iterable[JudgedStatement]) -> Counter[str]:
    """Return how many rows the statements add to which table."""
    found: Counter[str] = Counter()
    for name, rows in _put(steps):
        found[name] += rows
    return found


def with_held(steps: Iterable[JudgedStatement]) -> Iterator[JudgedStatement]:
    """Yield the steps in order, each with the locks that its transactions held before it."""
    held: dict[int, dict[str, Held]] = {}
    for step in sorted(steps, key=lambda step: step.id):
        before: dict[str, Held] = {}
        for transaction in step.runs:
            before.update(held.get(transaction, {}))
        whole = replace(step, held=before) if before else step
        yield whole
        for transaction in step.runs:
            locked = held.setdefault(transaction, {})
            for relation, mode in step.locks.items():
                known = locked.get(relation)
                if mode.blocks_writes and (known is None or known.mode < mode):
                    locked[relation] = Held(mode, whole)
