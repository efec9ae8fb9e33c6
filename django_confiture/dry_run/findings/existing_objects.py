"""Constraints, types, sequences, views and extensions that are there, and differ from those wanted.

What is wanted is made once more under another name, and undone; the catalog's own words for the
two are compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_confiture.dry_run.findings.subject import OtherShape
from django_confiture.dry_run.sql.parsing.enums import ConstrType, ObjectType
from django_confiture.dry_run.sql.parsing.identifiers import qualified_name
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    quoted_relation,
    strings,
    written_name,
)
from django_confiture.dry_run.sql.texts.shapes import (
    constraints_elsewhere,
    query_of,
    sequence_elsewhere,
)

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session

_SCHEMA, _NAME = "pg_temp", "confiture_shape"
_NEW = f"{_SCHEMA}.{_NAME}"

_CONSTRAINT = """
    SELECT pg_get_constraintdef(oid) FROM pg_catalog.pg_constraint
    WHERE conrelid = $1::regclass AND conname = $2
"""
_LABELS = """
    SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
    FROM pg_catalog.pg_enum WHERE enumtypid = to_regtype($1)
"""
_SEQUENCE = """
    SELECT concat_ws(' ', 'AS', format_type(seqtypid, NULL), 'START', seqstart, 'INCREMENT',
      seqincrement, 'MINVALUE', seqmin, 'MAXVALUE', seqmax, 'CACHE', seqcache,
      CASE WHEN seqcycle THEN 'CYCLE' END)
    FROM pg_catalog.pg_sequence WHERE seqrelid = to_regclass($1)
"""
_KIND = "SELECT relkind FROM pg_catalog.pg_class WHERE oid = to_regclass($1)"
_VIEW = "SELECT pg_get_viewdef($1::regclass)"
_COLUMNS = """
    SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod)), ', '
      ORDER BY attnum)
    FROM pg_catalog.pg_attribute
    WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped
"""
_REFERENCES = re.compile(r"^(FOREIGN KEY \(.*?\) REFERENCES )(?:[^(.]*\.)?([^(]*)\(.*$")
_EXTENSION = "SELECT extversion FROM pg_catalog.pg_extension WHERE extname = $1"


@dataclass(frozen=True)
class Wanted:
    """A statement that makes nothing where something of the name is there."""

    step_id: int
    what: str
    """The node's name in the parser."""
    node: Node
    in_code: bool = False
    """Whether it is in a DO block, which may run it or not."""

    def may_skip(self, if_not_exists: bool) -> bool:  # noqa: FBT001
        """Return whether it can have made nothing."""
        return if_not_exists or self.in_code


def other_constraints(session: Session, wanted: Wanted) -> Iterator[OtherShape]:
    """Yield the constraints of a table that ADD CONSTRAINT in code has found in its place."""
    if not wanted.in_code:
        return  # it has no IF NOT EXISTS
    table = quoted_relation(wanted.node.relation)
    for constraint, add in constraints_elsewhere(wanted.node, _SCHEMA, _NAME):
        there = session.query(_CONSTRAINT, [table, constraint.conname])
        if not there:
            continue
        if constraint.contype == ConstrType.FOREIGN:  # a temporary table can't have it
            asked = _foreign_key(constraint)
            differs = _foreign_key_of(there[0][0] or "") != asked
        else:
            session.query(f"CREATE TEMPORARY TABLE {_NAME} (LIKE {table})")
            session.query(add)
            asked = session.value(_CONSTRAINT, [_NEW, constraint.conname])
            session.query(f"DROP TABLE {_NEW}")
            differs = there[0][0] != asked
        if differs:
            what = f"constraint {constraint.conname}"
            name = written_name(wanted.node.relation)
            yield OtherShape(wanted.step_id, name, what, there[0][0] or "", asked)


def _foreign_key(constraint: Node) -> str:
    columns = ", ".join(strings(constraint.fk_attrs))
    return f"FOREIGN KEY ({columns}) REFERENCES {constraint.pktable.relname}"


def _foreign_key_of(definition: str) -> str:
    """Return what the catalog says in the words of :func:`_foreign_key`."""
    unquoted = definition.replace('"', "")
    return _REFERENCES.sub(r"\1\2", unquoted)


def _of_enum(session: Session, wanted: Wanted) -> Iterator[OtherShape]:
    name = qualified_name(*strings(wanted.node.type_name))
    there = session.value(_LABELS, [name])
    labels = ", ".join("'" + each.replace("'", "''") + "'" for each in strings(wanted.node.vals))
    if there and there != labels:
        shown = ".".join(strings(wanted.node.type_name))
        yield OtherShape(wanted.step_id, None, f"type {shown}", there, labels)


def _of_sequence(session: Session, wanted: Wanted) -> Iterator[OtherShape]:
    node = wanted.node
    there = session.query(_SEQUENCE, [quoted_relation(node.sequence)])
    if not wanted.may_skip(node.if_not_exists) or not there:
        return
    session.query(sequence_elsewhere(node, _SCHEMA, _NAME))
    asked = session.value(_SEQUENCE, [_NEW])
    if there[0][0] != asked:
        name = written_name(node.sequence)
        yield OtherShape(wanted.step_id, name, f"sequence {name}", there[0][0] or "", asked)


def _of_query(session: Session, wanted: Wanted) -> Iterator[OtherShape]:
    """Compare a materialized view by its query, a table by its columns."""
    node = wanted.node
    relation = quoted_relation(node.into.rel)
    kind = session.query(_KIND, [relation])
    if not wanted.may_skip(node.if_not_exists) or not kind:
        return
    session.query(f"CREATE TEMPORARY VIEW {_NAME} AS {query_of(node)}")
    is_view = node.objtype == ObjectType.MATVIEW
    shape = _VIEW if is_view and kind[0][0] == "m" else _COLUMNS
    there, asked = session.value(shape, [relation]), session.value(shape, [_NEW])
    if (kind[0][0] == "m") is not is_view or there != asked:
        name = written_name(node.into.rel)
        what = f"{'materialized view' if is_view else 'table'} {name}"
        yield OtherShape(wanted.step_id, name, what, _one_line(there), _one_line(asked))


def _of_extension(session: Session, wanted: Wanted) -> Iterator[OtherShape]:
    node = wanted.node
    asked = [
        o.def_elem.arg.string.sval for o in node.options if o.def_elem.defname == "new_version"
    ]
    there = session.query(_EXTENSION, [node.extname])
    if wanted.may_skip(node.if_not_exists) and asked and there and there[0][0] != asked[0]:
        what = f"extension {node.extname}"
        yield OtherShape(
            wanted.step_id, None, what, f"version {there[0][0]}", f"version {asked[0]}"
        )


def _one_line(definition: str) -> str:
    return " ".join(definition.split())


OF_OBJECTS: Mapping[str, Callable[[Session, Wanted], Iterator[OtherShape]]] = {
    "create_enum_stmt": _of_enum,
    "create_seq_stmt": _of_sequence,
    "create_table_as_stmt": _of_query,
    "create_extension_stmt": _of_extension,
}
