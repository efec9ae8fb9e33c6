"""Makes the code of a RunPython batches: one file for each update and each loop over rows."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import FunctionType

from django.db.migrations import RunPython

from django_confiture.dry_run.rewriting.batching import (
    batches_of,
    key_to_go_by,
    refuse_counting_trigger,
)
from django_confiture.dry_run.rewriting.data.bodies import BodyPart, parts_of
from django_confiture.dry_run.rewriting.data.functions import (
    body_of,
    definitions,
    head_of,
    plain,
    source_of,
    unparsed,
)
from django_confiture.dry_run.rewriting.data.literals import with_constants
from django_confiture.dry_run.rewriting.data.own_batches import OwnBatches
from django_confiture.dry_run.rewriting.data.plain_sql import sends_alone
from django_confiture.dry_run.rewriting.data.row_loops import RowLoop
from django_confiture.dry_run.rewriting.data.sent import judge, writing
from django_confiture.dry_run.rewriting.data.updates import Update, is_lookup, updates_in
from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import CodeInBatches, NoRecipe, RewrittenFile
from django_confiture.dry_run.rewriting.parts.parts import WHAT, WHY, Phase
from django_confiture.dry_run.sql.parsing.parser import Kind, Statement

_NO_WAY_BACK: tuple[str | None, str, set[str]] = (None, "", set())
_WAY_BACK = "The way back, in one transaction as its authors wrote it"


def files_of_code(
    operation: RunPython, statements: Sequence[Statement], facts: Facts
) -> Iterator[RewrittenFile]:
    """Yield a file for each part of the code; raises :class:`NoRecipe` where it does more.

    An interrupted file begins again, so each part has to be one that can run twice. Behind it,
    the next one finds the rows as the original's code does.
    """
    if operation.atomic:
        raise NoRecipe("its code has its own transaction")
    changes = writing(statements)
    function = plain(operation.code)
    node = source_of(function)
    if sends_alone(node, function):
        yield from _of_sql(operation, function, statements, changes, facts)
        return
    body = parts_of(node, function)
    parts = body.parts
    judge(statements, body, facts)
    _refuse_other_ids(statements, parts, facts)
    if any(isinstance(each.does, OwnBatches) for each in parts):
        changes = []
    if len(parts) == len(changes) == 1 and isinstance(only := parts[0].does, Update):
        changes = [with_constants(changes[0], only, function)]
    for each in changes:
        refuse_counting_trigger(each, facts)
        key_to_go_by(each, facts, by_models=True)
    sources = [_source(node, function, each) for each in parts]
    yield from _with_way_back(operation, function, node.name, sources)


def _of_sql(
    operation: RunPython,
    function: FunctionType,
    statements: Sequence[Statement],
    changes: Sequence[Statement],
    facts: Facts,
) -> Iterator[RewrittenFile]:
    """Yield a file for each statement of code that sends SQL alone."""
    if len(changes) < len([each for each in statements if each.kind is not Kind.SAVEPOINT]):
        raise NoRecipe("its code does more than update and delete rows")
    if any(each.what == "insert_stmt" for each in changes):
        raise NoRecipe("its code inserts rows")
    for change in changes:
        refuse_counting_trigger(change, facts)
    fills = [batches_of(each, facts) for each in changes]
    if operation.reverse_code not in (None, RunPython.noop):
        yield _file_of_way_back(operation, *_way_back(operation.reverse_code, function))
    elidable, hints = operation.elidable, operation.hints or None
    reversible = operation.reverse_code is not None
    for each in fills:
        fill = replace(each, reversible=reversible, elidable=elidable, hints=hints)
        yield RewrittenFile(WHAT[Phase.FILL], WHY[Phase.FILL], atomic=False, fill=fill)


def _refuse_other_ids(
    statements: Sequence[Statement], parts: Sequence[BodyPart], facts: Facts
) -> None:
    """Refuse a loop that goes by ``id`` where that need not be the primary key."""
    by_id = any(isinstance(each.does, RowLoop) and each.does.goes_by_id for each in parts)
    tables = [table for each in statements for table in each.relations]
    if by_id and any(facts.key(table) != "id" for table in tables):
        raise NoRecipe(
            "its loop goes by id, which is not the primary key of all its tables: use pk"
        )


def _source(node: ast.FunctionDef, function: FunctionType, part: BodyPart) -> tuple[str, set[str]]:
    """Return the source of a function that does one part, and what it needs of its module."""
    body, text = part.body(f"{node.args.args[1].arg}.connection.alias")
    tree = ast.parse(f"{head_of(node)}\n    pass").body[0]
    assert isinstance(tree, ast.FunctionDef)
    tree.body = body
    needed = {*definitions(tree, function, part.does.helpers)}
    if not isinstance(part.does, Update):
        needed.add("from django.db import transaction")
    return f"{head_of(node)}\n{textwrap.indent(text, '    ')}\n", needed


def _with_way_back(
    operation: RunPython,
    function: FunctionType,
    name: str,
    sources: Sequence[tuple[str, set[str]]],
) -> Iterator[RewrittenFile]:
    back, text, needed = _NO_WAY_BACK
    if operation.reverse_code not in (None, RunPython.noop):
        back, text, needed = _way_back(operation.reverse_code, function)
    short = back is None or _is_short(operation.reverse_code)
    elidable, hints = operation.elidable, operation.hints or None
    reversible = operation.reverse_code is not None
    if not short:
        yield _file_of_way_back(operation, back, text, needed)
        back, text, needed = _NO_WAY_BACK
    for number, (source, lines) in enumerate(sources):
        if number == 0 and back is not None:
            source, lines = f"{source}\n\n{text}", lines | needed
        own = back if number == 0 else None
        fill = CodeInBatches(name, source, tuple(sorted(lines)), reversible, own, elidable, hints)
        yield RewrittenFile(WHAT[Phase.FILL], WHY[Phase.FILL], atomic=False, fill=fill)


def _file_of_way_back(
    operation: RunPython, back: str | None, text: str, needed: set[str]
) -> RewrittenFile:
    elidable, hints = operation.elidable, operation.hints or None
    fill = CodeInBatches(
        None, text, tuple(sorted(needed)), back=back, elidable=elidable, hints=hints
    )
    return RewrittenFile("way_back", _WAY_BACK, fill=fill)


def _way_back(back: object, function: FunctionType) -> tuple[str, str, set[str]]:
    """Return name, source and needs of the way back, as it is."""
    back = plain(back)
    node = source_of(back)
    if back.__module__ != function.__module__ or back.__name__ == function.__name__:
        raise NoRecipe("its way back is the same function, or one of another module")
    return node.name, f"{unparsed(node)}\n", {*definitions(node, back)}


def _is_short(back: object) -> bool:
    """Return whether the way back is one statement, or none: it needs no transaction."""
    *before, last = body_of(source_of(plain(back)))
    if isinstance(last, ast.Pass):
        return not before
    update = updates_in(last, plain(back))
    lookups = all(isinstance(each, ast.Assign) and is_lookup(each.value) for each in before)
    return lookups and update is not None and update.loop is None
