"""Makes an UPDATE or a DELETE of many rows one of some keys at a time, where that is the same."""

from __future__ import annotations

from django_confiture.dry_run.rewriting.facts import Facts, known_name
from django_confiture.dry_run.rewriting.files import Batches, NoRecipe
from django_confiture.dry_run.rewriting.held_rows import refuse_rows_that_hold_each_other
from django_confiture.dry_run.sql.parsing.identifiers import quote_identifier
from django_confiture.dry_run.sql.parsing.nodes import Node, functions_called_in, quoted_relation
from django_confiture.dry_run.sql.parsing.parser import Statement
from django_confiture.dry_run.sql.rows.running_twice import can_run_twice
from django_confiture.dry_run.sql.texts.batches import (
    between_keys,
    chooses_by_its_key,
    has_parameters,
    names_its_table_again,
    returns_rows,
)

_COUNTING = {"currval", "lastval", "nextval", "setval"}


def batches_of(statement: Statement, facts: Facts) -> Batches:
    """Return the batches of an UPDATE or a DELETE; raises :class:`NoRecipe` where it has to be one.

    Each batch sees what the ones before it wrote, and an interrupted run begins again.
    """
    key = key_to_go_by(statement, facts)
    node = getattr(statement.node, statement.what)
    if has_parameters(node):
        raise NoRecipe("its statement has parameters")
    return Batches(between_keys(node, key), quoted_relation(node.relation), quote_identifier(key))


def refuse_counting_trigger(statement: Statement, facts: Facts) -> None:
    """Refuse an UPDATE for which a trigger does more where an interrupted run begins again."""
    if statement.what != "update_stmt":
        return
    table = known_name(statement.node.update_stmt.relation)
    if (trigger := facts.counting.get(table)) is not None:
        raise NoRecipe(
            f"the trigger {trigger} of {table} counts or writes elsewhere, once more for each row "
            "of a batch that begins again: choose each batch by what is left to do, in a loop of "
            "your own in a migration with atomic = False"
        )


def key_to_go_by(statement: Statement, facts: Facts, *, by_models: bool = False) -> str:
    """Return the primary key by which it can be split; raises :class:`NoRecipe` where it can't.

    ``by_models`` says that the models delete what they have to delete along with a row.
    """
    node = getattr(statement.node, statement.what)
    table = node.relation
    if node.HasField("with_clause") or returns_rows(node):
        raise NoRecipe("its statement has WITH or RETURNING")
    key = facts.key(table)
    if names_its_table_again(node) and not chooses_by_its_key(node, key):
        raise NoRecipe(f"what it writes to {table.relname} depends on other rows of it")
    _refuse_functions(node, facts)
    if not can_run_twice(node):
        raise NoRecipe(
            "it sets a column to a value computed from that column: it must not run twice"
        )
    if statement.what == "delete_stmt" and not by_models:
        refuse_rows_that_hold_each_other({table.relname}, facts, by_models=False)
    if key is None:
        raise NoRecipe(f"{table.relname} has no primary key of one column to go by")
    return key


def _refuse_functions(node: Node, facts: Facts) -> None:
    """Refuse functions whose results depend on other rows, or on how often they were called."""
    called = functions_called_in(node)
    if counted := sorted(called & _COUNTING):
        raise NoRecipe(
            f"{counted[0]}() gives the rows of a batch that begins again other values: choose the "
            "rows that have none yet, in a loop of your own in a migration with atomic = False"
        )
    if own := sorted(called & facts.own_functions):
        raise NoRecipe(
            f"the function {own[0]} is not IMMUTABLE, so what it returns may depend on rows that "
            "other batches write: declare it IMMUTABLE if it does not, or write the loop over "
            "batches yourself in a migration with atomic = False"
        )
