"""What a RunPython sent in the rehearsal, compared with what its code shows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from django_confiture.dry_run.rewriting.data.bodies import BodyPart, Parts
from django_confiture.dry_run.rewriting.data.collected import model_of
from django_confiture.dry_run.rewriting.data.own_batches import OwnBatches
from django_confiture.dry_run.rewriting.data.row_loops import RowLoop
from django_confiture.dry_run.rewriting.data.updates import Update
from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NoRecipe
from django_confiture.dry_run.rewriting.held_rows import refuse_rows_that_hold_each_other
from django_confiture.dry_run.sql.parsing.nodes import Node, columns_in, functions_called_in
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement

_UPDATE, _DELETE, _INSERT = "update_stmt", "delete_stmt", "insert_stmt"
_READING = {
    "avg", "btrim", "concat", "count", "date_trunc", "left", "length", "lower", "ltrim", "max",
    "md5", "min", "replace", "right", "round", "rtrim", "substring", "sum", "upper",
}  # fmt: skip
"""Functions of PostgreSQL that change nothing."""
_PAGE = re.compile(r"\s+(LIMIT|OFFSET) \d+")
_OTHER_ROWS = "what it writes depends on other rows of the same table"
_OTHER_DELETED = (
    "which rows it deletes depends on other rows that it deletes or changes: choose them by their "
    "own columns, or write the loop over batches in a migration with atomic = False"
)
_MORE = "its code does more than update and delete rows"
_BESIDE = "its code has a loop over batches beside others: give each a function"
_CHOSEN = (
    "its loop over batches chooses rows by what it writes, or in no order, and begins with the "
    "first ones: choose each batch by what is left to do"
)
_ENDS = (
    "it first asks for rows of a table that it writes, and begun again it might end there too "
    "early: ask for those rows alone that it goes on to change, or leave the question out"
)
_BOTH = "its code deletes rows and saves others one by one: give each a function"


def writing(statements: Sequence[Statement]) -> Sequence[Statement]:
    """Return what writes rows; raises :class:`NoRecipe` for what changes more than rows."""
    quiet = (Kind.QUIET, Kind.SAVEPOINT)
    found = [each for each in statements if each.kind not in quiet and not _only_reads(each)]
    if not found:
        raise NoRecipe("its code updates no rows")
    if any(each.what not in (_UPDATE, _DELETE, _INSERT) for each in found):
        raise NoRecipe(_MORE)
    return found


def _only_reads(statement: Statement) -> bool:
    """Return whether it is a SELECT that calls no function but those of Django's lookups."""
    if statement.kind is Kind.SELECT:
        return True
    is_select = statement.kind is Kind.OPAQUE and statement.what == "select_stmt"
    return is_select and functions_called_in(statement.node) <= _READING


def judge(statements: Sequence[Statement], body: Parts, facts: Facts) -> None:
    """Refuse code that did more than it shows, or goes by other rows of the tables it writes."""
    parts = body.parts
    sent = _without_questions(_sent(statements), statements, body)
    own = [each.does for each in parts if isinstance(each.does, OwnBatches)]
    if own:
        _judge_own(own, statements, sent, alone=len(own) == len(parts))
    elif any(each.what == _INSERT for each in statements):
        raise NoRecipe(_MORE)
    elif any(each.does.deletes for each in parts):
        _judge_deleting(sent, parts)
        for by_models in {not (isinstance(e.does, Update) and e.does.is_raw) for e in parts}:
            refuse_rows_that_hold_each_other(sent.deleted, facts, by_models=by_models)
    else:
        _judge_updating(sent, parts)


@dataclass(frozen=True)
class _Sent:
    """The statements about rows that are written: SQL → the tables it names."""

    updates: Mapping[str, Sequence[str]]
    deletes: Mapping[str, Sequence[str]]
    reading: Mapping[str, Sequence[str]]
    updated: frozenset[str]
    deleted: frozenset[str]


def _sent(statements: Sequence[Statement]) -> _Sent:
    names = {each.sql: [e.relname for e in each.relations] for each in statements}
    by_kind: dict[str, dict[str, str]] = {_UPDATE: {}, _DELETE: {}}
    for each in statements:
        if each.what in by_kind:
            by_kind[each.what][each.sql] = getattr(each.node, each.what).relation.relname
    updates, deletes = by_kind[_UPDATE], by_kind[_DELETE]
    written = {*updates.values(), *deletes.values()}
    return _Sent(
        {sql: names[sql] for sql in updates},
        {sql: names[sql] for sql in deletes},
        {
            each.sql: names[each.sql]
            for each in statements
            if _only_reads(each) and written & {*names[each.sql]}
        },
        frozenset(updates.values()),
        frozenset(deletes.values()),
    )


def _without_questions(sent: _Sent, statements: Sequence[Statement], body: Parts) -> _Sent:
    """Return it without what the batches don't ask; refuse what ends them by rows they write."""
    asks = [e.sql for e in statements if _only_reads(e) and _asks(e.node.select_stmt)]
    questions = [sql for sql in dict.fromkeys(asks) if sql in sent.reading]
    unseen = not asks or any(not each.sends for each in body.guards)
    if body.guards and (unseen or len(questions) > body.asked):
        raise NoRecipe(_ENDS)
    left = questions[: body.asked]
    reading = {sql: names for sql, names in sent.reading.items() if sql not in left}
    return replace(sent, reading=reading)


def _asks(select: Node) -> bool:
    """Return whether it is the SELECT of a ``count()`` or an ``exists()``."""
    targets = [each.res_target.val for each in select.target_list]
    if len(targets) != 1:
        return False
    constant = targets[0].WhichOneof("node") in ("a_const", "param_ref")
    return constant or functions_called_in(select) == {"count"}


def _judge_own(
    own: Sequence[OwnBatches], statements: Sequence[Statement], sent: _Sent, *, alone: bool
) -> None:
    """Refuse loops over batches that don't write the same again where they begin again."""
    again = [each for each in own if each.begins_again]
    if not alone or (again and len(own) > 1):
        raise NoRecipe(_BESIDE)
    if not again:
        return
    if sent.deletes or any(each.what == _INSERT for each in statements):
        raise NoRecipe(_MORE)
    updates = [each.node.update_stmt for each in statements if each.what == _UPDATE]
    written = {each.res_target.name for node in updates for each in node.target_list}
    reading = [e.node.select_stmt for e in statements if e.sql in sent.reading]
    counts = [node for node in reading if functions_called_in(node) == {"count"}]
    forms = {_PAGE.sub("", sql) for sql in sent.reading if "COUNT(*)" not in sql}
    unordered = any(not node.sort_clause for node in reading if node not in counts)
    chosen = {
        name
        for node in reading
        for each in (node.where_clause, *node.from_clause, *node.sort_clause)
        for name in columns_in(each)
    }
    if unordered or len(forms) > 1 or chosen & written:
        raise NoRecipe(_CHOSEN)


def _judge_updating(sent: _Sent, parts: Sequence[BodyPart]) -> None:
    loops = _loops_that_read_what_is_written(parts)
    twice = any(names.count(e) > 1 for names in sent.reading.values() for e in sent.updated)
    if twice or len(sent.reading) > len(loops):
        raise NoRecipe(_OTHER_ROWS)
    forms = _forms(parts)
    if sent.deletes:
        raise NoRecipe(_MORE)
    by_update_alone = all(isinstance(each.does, Update) for each in parts)
    if len(sent.updates) < len(forms) or (by_update_alone and len(sent.updates) > len(parts)):
        raise NoRecipe("it sent other UPDATEs than its code shows")


def _loops_that_read_what_is_written(parts: Sequence[BodyPart]) -> set[str]:
    """Return the querysets that loops go through and whose table some part writes.

    A loop may write other rows than its own, of another model: then what it reads of that one is
    no part of its queryset.
    """
    loops = [each.does for each in parts if isinstance(each.does, RowLoop)]
    updates = [each.does for each in parts if isinstance(each.does, Update)]
    written = {model_of(each.call) for each in updates}
    written = written.union(*(each.models for each in loops))
    return {each.rows for each in loops if each.model in written}


def _judge_deleting(sent: _Sent, parts: Sequence[BodyPart]) -> None:
    """Refuse code of which one deletion might choose rows by what another one did.

    Where each row is chosen by its own columns, and by tables that stay, as many are deleted batch
    by batch, with all that refers to them. Django sends a SELECT for these, and an UPDATE where it
    empties their foreign keys.
    """
    loops = [each.does for each in parts if isinstance(each.does, RowLoop)]
    if any(not each.deletes for each in loops):
        raise NoRecipe(_BOTH)
    forms = _forms(parts)
    empties = len(sent.updates) > len(forms)
    written = sent.updated | sent.deleted
    # A condition on other tables names the one that is written again, for its keys.
    changing = [{*names} for names in (*sent.updates.values(), *sent.deletes.values())]
    if (
        (empties and (forms or sent.updated & sent.deleted))
        or any(
            sum(name in written for name in names) > 1
            for names in (*sent.reading.values(), *changing)
        )
        or (loops and len(sent.reading) > len({each.rows for each in loops}))
    ):
        raise NoRecipe(_OTHER_DELETED)
    if len(sent.updates) < len(forms):
        raise NoRecipe("it sent other UPDATEs than its code shows")


def _forms(parts: Sequence[BodyPart]) -> set[str]:
    updates = (each.does for each in parts if isinstance(each.does, Update))
    return {each.form for each in updates if not each.deletes}
