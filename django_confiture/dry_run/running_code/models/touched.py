"""Which tables of a release a plan touches, before it runs and after each step of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.locks.rules import Lookup, statement_locks
from django_confiture.dry_run.locks.user_code import runs_user_code
from django_confiture.dry_run.running_code.catalog.tables import Named, TableCatalog
from django_confiture.dry_run.sql.parsing.enums import AlterTableType
from django_confiture.dry_run.sql.parsing.nodes import names_relation, quoted_relation, subcommands
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement
from django_confiture.sql_text import names_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_confiture.dry_run.plan.planned import Planned
    from django_confiture.dry_run.server.side_channel import Session

_WRITING = LockMode.RowExclusiveLock
"""From here on a lock may mean that a table's rows have changed."""
_OF_NO_ONE = (
    "comment_stmt",
    "create_domain_stmt",
    "create_enum_stmt",
    "create_extension_stmt",
    "create_schema_stmt",
    "create_seq_stmt",
    "create_stmt",
)

"""DDL that affects no user of what was there before."""
_ALTERING = LockMode.ShareUpdateExclusiveLock
"""From here on a lock may mean that the table itself has changed."""


@dataclass(frozen=True)
class OperationStep:
    """What one operation, or the code around all of them, has done."""

    operation: int | None
    locks: Mapping[str, LockMode] = field(default_factory=dict)
    """Relation, as the reports name it → the strongest lock on it."""
    texts: tuple[str, ...] = ()
    """The statements that may have changed the schema."""
    outside: bool = False
    """Whether one of those is about something else than tables: a function, a right."""
    of_tables: bool = False
    """Whether each of its statements changes nothing but tables that it names or locks."""
    renames: bool = False
    """Whether it may have renamed something, such as a column: other tables may tell of it."""
    filled: frozenset[str] = frozenset()
    """The relations that have got rows."""
    sets_sequence: bool = False
    """Whether it may have put a sequence elsewhere."""
    sends_any: bool = True
    """Whether it has sent a statement of its own: else no table can have got rows."""

    @cached_property
    def words(self) -> frozenset[str]:
        """The words of its statements."""
        return names_in(*self.texts)

    @property
    def changes_any(self) -> bool:
        """Whether it may have changed the schema."""
        return bool(self.texts or self.altered or self.outside)

    def is_beside(self, relations: Set[str]) -> bool:
        """Return whether it can have changed none of some relations, named without a schema."""
        altered = {name.rpartition(".")[2] for name in self.altered}
        is_known = self.of_tables and not self.outside
        return is_known and relations.isdisjoint(altered | self.words)

    @property
    def written(self) -> frozenset[str]:
        """The relations whose rows it may have changed."""
        return frozenset(name for name, mode in self.locks.items() if mode >= _WRITING)

    @property
    def altered(self) -> frozenset[str]:
        """The relations that it may have changed."""
        return frozenset(name for name, mode in self.locks.items() if mode >= _ALTERING)


class PlannedTables:
    """What a plan touches, looked up before it runs."""

    def __init__(self, planned: Planned, session: Session, catalog: TableCatalog) -> None:
        lookup = Lookup(session.query)
        self._names = frozenset(planned.tables)
        oids = {each.oid for each in lookup.relations(planned.tables).values()}
        others = [each for each in planned.statements if is_of_others(each)]
        for statement in planned.statements:
            if statement.node is not None:
                locks = statement_locks(statement.node, lookup)
                oids |= {each.oid for each in locks if each.mode >= _WRITING}
        # A table that the plan makes is not there yet to be locked: what it is told to refer to is.
        naming = [*others, *filter(_is_of_tables, planned.statements)]
        named = {quoted_relation(each) for statement in naming for each in statement.relations}
        oids |= {each.oid for each in lookup.relations(named).values()}
        oids |= catalog.with_sequences(sorted(oids))
        if others:
            oids |= catalog.of_types_and_functions()
        unread = [each for each in planned.statements if _cannot_be_read(each, lookup)]
        self.may_be_any = bool(planned.unknown or others or unread)
        """Whether some of it runs what can't be read."""
        self._words = names_in(*(each.sql for each in unread))
        self._oids = catalog.with_those_above(sorted(oids)) | catalog.with_code()

    def of(
        self, tables: Iterable[str], quote: Callable[[str], str], catalog: TableCatalog
    ) -> Iterator[str]:
        """Yield those of ``tables``, as Django names them, that the plan touches."""
        wanted = {quote(table): table for table in tables}
        found: Mapping[str, Named] = catalog.named(list(wanted))
        for quoted, table in wanted.items():
            there = found.get(quoted)
            known = quoted in self._names or table in self._words
            if known or (there is not None and there.oid in self._oids):
                yield table


def _cannot_be_read(statement: Statement, lookup: Lookup) -> bool:
    """Return whether a statement runs code that its text does not show, such as DO."""
    return statement.node is None or runs_user_code(statement.node, lookup)


def _is_of_tables(statement: Statement) -> bool:
    return statement.what in ("alter_table_stmt", "create_stmt")


def sets_sequence(statement: Statement) -> bool:
    """Return whether a statement may put a sequence elsewhere, that of an identity as well."""
    if statement.what == "alter_table_stmt":
        parts = subcommands(statement.node.alter_table_stmt)
        return any(each.subtype == AlterTableType.SetIdentity for each in parts)
    return statement.kind is Kind.OPAQUE or _is_of_sequence(statement)


def _is_of_sequence(statement: Statement) -> bool:
    if statement.what == "alter_seq_stmt":
        return True
    return "setval" in statement.sql.lower() and "setval" in statement.functions_called


def is_of_others(statement: Statement) -> bool:
    """Return whether a statement is about something else than tables, and may affect their users.

    A function, a type, a right, a sequence.
    """
    if _is_of_sequence(statement):
        return True
    if statement.kind is not Kind.DDL or statement.what in _OF_NO_ONE or statement.node is None:
        return False
    return not names_relation(statement.node)


def altered_by(steps: Iterable[OperationStep]) -> Set[str]:
    """Return the relations that some of the steps may have changed."""
    return frozenset(name for step in steps for name in step.altered)
