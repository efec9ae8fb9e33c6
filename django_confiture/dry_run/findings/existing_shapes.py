"""What IF NOT EXISTS has found in place of what it would make, compared by PostgreSQL itself.

The statement is run again on an empty table, which is then undone, and the catalog's own words for
the two are compared. The same for what a DO block makes where it is not there: it asks a catalog
first, or goes on after the error. Constraints, types and the like are in :mod:`.existing_objects`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.findings.existing_objects import (
    OF_OBJECTS,
    Wanted,
    other_constraints,
)
from django_confiture.dry_run.findings.subject import JudgedStatement, OtherShape
from django_confiture.dry_run.sql.parsing.nodes import names_relation, quoted_relation, written_name
from django_confiture.dry_run.sql.parsing.parser import SyntaxUnknown, parse
from django_confiture.dry_run.sql.parsing.plpgsql import code_block
from django_confiture.dry_run.sql.texts.shapes import (
    columns_elsewhere,
    index_elsewhere,
    table_elsewhere,
    table_kind,
)

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session

_SCHEMA, _TABLE = "pg_temp", "confiture_shape"
_NEW = f"{_SCHEMA}.{_TABLE}"

_INDEX = """
    SELECT t.oid::regclass::text, i.indisvalid, c.relkind,
      CASE WHEN i.indisunique THEN 'UNIQUE INDEX' ELSE 'INDEX' END
        || substring(pg_get_indexdef(c.oid) from ' USING .*$')
    FROM pg_catalog.pg_class c
    LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
    LEFT JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
    WHERE c.relname = $1
      AND c.relnamespace = (SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = $2::regclass)
"""

_KIND = """
    SELECT CASE WHEN c.relkind IN ('r', 'p') THEN concat_ws(' ',
        CASE c.relpersistence WHEN 'u' THEN 'unlogged' END,
        CASE c.relkind WHEN 'p' THEN 'partitioned' END, 'table',
        CASE WHEN $2::boolean THEN 'partition of ' || p.relname END)
      ELSE 'no table at all' END
    FROM pg_catalog.pg_class c
    LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid AND c.relispartition
    LEFT JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
    WHERE c.oid = $1::regclass
"""

# Its own sequence has another name.
_COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod)
      || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
      || CASE WHEN a.attidentity <> '' THEN ' IDENTITY' ELSE '' END
      || coalesce(' DEFAULT ' || regexp_replace(
        pg_get_expr(d.adbin, d.adrelid), 'nextval\\(.*\\)', 'nextval(...)'), '')
    FROM pg_catalog.pg_attribute a
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
"""


def other_shapes(session: Session, steps: Iterable[JudgedStatement]) -> Iterator[OtherShape]:
    """Yield what was left as it was though it differs from what was asked for, or is not usable."""
    if session.status not in (TransactionStatus.INTRANS, TransactionStatus.IDLE):
        return
    steps = list(steps)
    for wanted in _wanted(steps):
        look = _LOOKS.get(wanted.what)
        if look is None or _changed(wanted, steps):
            continue
        with suppress(psycopg.Error, SyntaxUnknown), session.undone():
            yield from list(look(session, wanted))


def _wanted(steps: Iterable[JudgedStatement]) -> Iterator[Wanted]:
    """Yield the statements that may make nothing, those of DO blocks as well."""
    for step in steps:
        statement = step.statement
        if statement.what != "do_stmt":
            if "EXISTS" in statement.sql.upper():
                yield Wanted(step.id, statement.what, step.node)
            continue
        block = code_block(statement.sql)
        for text in () if block is None else block.sql:
            for each in parse(text, placeholders=False):
                if each.node is not None and each.what in _LOOKS:
                    yield Wanted(step.id, each.what, getattr(each.node, each.what), in_code=True)


def by_statement(found: Iterable[OtherShape]) -> dict[int, list[OtherShape]]:
    """Return them by the id of their statement."""
    sorted_: dict[int, list[OtherShape]] = {}
    for each in found:
        sorted_.setdefault(each.step_id, []).append(each)
    return sorted_


def _changed(wanted: Wanted, steps: Iterable[JudgedStatement]) -> bool:
    """Return whether a later statement has changed the same relation's definition."""
    if not names_relation(wanted.node):
        return False
    name = wanted.node.relation.relname
    return any(
        each.id > wanted.step_id
        and each.statement.what in ("alter_table_stmt", "rename_stmt")
        and each.node.relation.relname == name
        for each in steps
    )


def _of_index(session: Session, wanted: Wanted) -> Iterator[OtherShape]:
    node, table = wanted.node, quoted_relation(wanted.node.relation)
    if not (wanted.may_skip(node.if_not_exists) and node.idxname):
        return
    session.query(f"CREATE TEMPORARY TABLE {_TABLE} (LIKE {table})")
    session.query(index_elsewhere(node, _SCHEMA, _TABLE))
    there = session.query(_INDEX, [node.idxname, table])
    asked = session.query(_INDEX, [node.idxname, _NEW])
    if not (there and asked):
        return
    (on, valid, kind, shape), expected = there[0], asked[0][3]
    named = session.value("SELECT $1::regclass::text", [table])
    if kind not in ("i", "I"):
        shape = "no index at all"
    elif on != named:
        shape = f"an index of {on}: {shape}"
    elif valid == "f":
        shape = f"{shape}, INVALID: what built it was cut off"
    if shape != expected:
        what = f"index {node.idxname}"
        yield OtherShape(
            wanted.step_id, written_name(node.relation), what, shape or "", expected or ""
        )


def _of_table(session: Session, wanted: Wanted) -> Iterator[OtherShape]:
    node = wanted.node
    name = written_name(node.relation)
    if wanted.may_skip(node.if_not_exists):
        # What is asked for as a plain table may be attached by the next statement.
        of_partition = "true" if node.HasField("partbound") else "false"
        there_is = session.value(_KIND, [quoted_relation(node.relation), of_partition])
        if there_is != table_kind(node):
            yield OtherShape(wanted.step_id, name, f"table {name}", there_is, table_kind(node))
            return
    create = table_elsewhere(node, _SCHEMA, _TABLE) if wanted.may_skip(node.if_not_exists) else ""
    if not create:
        return
    session.query(create)
    there = session.query(_COLUMNS, [quoted_relation(node.relation)])
    asked = session.query(_COLUMNS, [_NEW])
    if sorted(map(str, there)) != sorted(map(str, asked)):
        yield OtherShape(wanted.step_id, name, f"table {name}", _listed(there), _listed(asked))


def _of_columns(session: Session, wanted: Wanted) -> Iterator[OtherShape]:
    node = wanted.node
    yield from other_constraints(session, wanted)
    for column, add in columns_elsewhere(node, _SCHEMA, _TABLE, always=wanted.in_code):
        session.query(f"CREATE TEMPORARY TABLE {_TABLE} ()")
        session.query(add)
        there = _shapes(session, quoted_relation(node.relation)).get(column)
        asked = _shapes(session, _NEW)[column]
        session.query(f"DROP TABLE {_NEW}")
        if there is not None and there != asked:
            table = written_name(node.relation)
            yield OtherShape(wanted.step_id, table, f"column {column}", there, asked)


def _shapes(session: Session, relation: str) -> dict[str, str]:
    return {name or "": shape or "" for name, shape in session.query(_COLUMNS, [relation])}


def _listed(columns: Iterable[tuple[str | None, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in columns)


_LOOKS: Mapping[str, Callable[[Session, Wanted], Iterator[OtherShape]]] = {
    "index_stmt": _of_index,
    "create_stmt": _of_table,
    "alter_table_stmt": _of_columns,
    **OF_OBJECTS,
}
