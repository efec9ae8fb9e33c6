"""Types that rewrite the table: new columns that triggers and batches fill take their places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from django.db.migrations import RunSQL

from django_confiture.dry_run.rewriting.facts import Facts, known_name
from django_confiture.dry_run.rewriting.files import NoRecipe
from django_confiture.dry_run.rewriting.parts.changed_column import ChangedColumn
from django_confiture.dry_run.rewriting.parts.column_copies import Columns
from django_confiture.dry_run.rewriting.parts.parts import Part, Phase
from django_confiture.dry_run.sql.parsing.nodes import Node, subcommands
from django_confiture.dry_run.sql.parsing.parser import Statement


def changed_types_parts(
    changes: Sequence[tuple[Node, Node]], facts: Facts, sequences: Sequence[str] = ()
) -> Iterator[Part]:
    """Yield new columns, what fills them, their indexes, and the switch in the next release.

    ``changes`` are tables, each with its ALTER COLUMN ... TYPE: one, or a key and then the
    foreign keys to it. ``sequences`` are statements about the key's sequence.
    """
    if facts.releases == 1:
        raise NoRecipe(
            f"it changes the type of {changes[0][1].name}, which rewrites the table; "
            "--releases 2 spreads that over two releases"
        )
    tables = _changes_by_table(changes, facts)
    for each in tables:
        each.refuse_what_has_no_other_form()
    yield from chain.from_iterable(each.parts() for each in tables)
    yield from _switch(tables, facts, sequences)


def columns_moved(statements: Sequence[Statement]) -> dict[str, dict[str, str]]:
    """Return table → old and new name of each column that statements give another type."""
    found: dict[str, dict[str, str]] = {}
    for each in statements:
        if each.type_changes:
            relation = each.node.alter_table_stmt.relation
            own = (ChangedColumn(relation, e) for e in subcommands(each.node.alter_table_stmt))
            found.setdefault(known_name(relation), {}).update({c.name: c.new_name for c in own})
    return found


def _changes_by_table(changes: Sequence[tuple[Node, Node]], facts: Facts) -> list[Columns]:
    relations: dict[str, Node] = {}
    columns: dict[str, list[ChangedColumn]] = {}
    for relation, subcommand in changes:
        table = known_name(relation)
        relations[table] = relation
        columns.setdefault(table, []).append(ChangedColumn(relation, subcommand))
    moved = {table: {e.name: e.new_name for e in own} for table, own in columns.items()}
    return [Columns(relations[table], tuple(own), moved, facts) for table, own in columns.items()]


def _switch(tables: Sequence[Columns], facts: Facts, sequences: Sequence[str]) -> Iterator[Part]:
    """Yield what puts the new columns in the old ones' places."""
    if not facts.backwards:
        raise NoRecipe("the statements that take it back are not known")
    steps = [
        *chain.from_iterable(each.foreign_keys_dropped() for each in reversed(tables)),
        *chain.from_iterable(each.old_dropped() for each in reversed(tables)),
        *chain.from_iterable(each.new_renamed() for each in tables),
        *sequences,
    ]
    for number, each in enumerate(steps):
        reverse = RunSQL.noop if number else "; ".join(facts.backwards)
        yield Part(Phase.NEXT_RELEASE, each, reverse)
    yield from chain.from_iterable(each.foreign_keys_added() for each in tables)
