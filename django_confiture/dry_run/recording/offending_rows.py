"""Counts the rows that violate a constraint or don't fit a type, and names the first few.

PostgreSQL stops at the first row. These queries count the others, in the state right before the
statement that failed, bounded by a timeout: the report says where that was not enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors

from django_confiture.dry_run.recording.duplicate_value import has_value_of
from django_confiture.dry_run.results import Violations
from django_confiture.dry_run.server.side_channel import Row, Session
from django_confiture.dry_run.sql.parsing.building import expression_sql
from django_confiture.dry_run.sql.parsing.enums import ConstrType
from django_confiture.dry_run.sql.parsing.parser import Statement, SyntaxUnknown
from django_confiture.dry_run.sql.texts.redaction import are_shown
from django_confiture.postgres import KEYS_THAT_TELL_NOTHING

_TIMEOUT = "5s"
_SAVEPOINT = "confiture_violations"
_QUESTION = "confiture_violations_question"
_SHOWN = 5


@dataclass(frozen=True)
class _Rows:
    """The rows at fault: of ``table`` (quoted), those for which ``where`` holds."""

    table: str
    where: str
    some: str = ""
    """What holds for some of them and is quickly found, where counting all takes too long."""


def explain(
    error: psycopg.Error, statement: Statement | None, session: Session
) -> Violations | None:
    """Return the rows at fault, None where the error is not about existing rows.

    ``statement`` is the one that failed, None for the COMMIT. Call it with the transaction usable
    and as it was before the statement.
    """
    find = _FINDERS.get(type(error)) or (_cast if isinstance(error, errors.DataError) else None)
    if find is None:
        return None
    session.query(f"SAVEPOINT {_SAVEPOINT}")
    try:
        session.query("SELECT set_config('statement_timeout', $1, true)", [_TIMEOUT])
        rows = find(error, statement, session)
        return None if rows is None else _counted(rows, error, session)
    except (psycopg.Error, SyntaxUnknown, ValueError):
        return None  # a form that these queries don't know
    finally:
        session.query(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        session.query(f"RELEASE SAVEPOINT {_SAVEPOINT}")


def _counted(rows: _Rows, error: psycopg.Error, session: Session) -> Violations | None:
    counted = _in_time(session, f"SELECT count(*) FROM {rows.table} t WHERE {rows.where}")
    count = None if counted is None else int(counted[0][0] or 0)
    if count == 0:
        return None
    return Violations(
        relation=error.diag.table_name or rows.table.replace('"', ""),
        constraint=error.diag.constraint_name,
        count=count,
        keys=_keys(rows, session, in_order=count is not None),
    )


def _in_time(session: Session, question: str) -> Sequence[Row] | None:
    """Return the answer, or None where it takes too long."""
    session.query(f"SAVEPOINT {_QUESTION}")
    try:
        return session.query(question)
    except errors.QueryCanceled:
        session.query(f"ROLLBACK TO SAVEPOINT {_QUESTION}")
        return None
    finally:
        session.query(f"RELEASE SAVEPOINT {_QUESTION}")


def _keys(rows: _Rows, session: Session, *, in_order: bool) -> tuple[str, ...]:
    """Return a few primary keys, if they reveal nothing or may be shown.

    They are the first ones where there was time to count all; else those that are found first.
    """
    columns = session.query(
        "SELECT a.attname, format('%I', a.attname), y.typname FROM pg_catalog.pg_index i"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)"
        " JOIN pg_catalog.pg_type y ON y.oid = a.atttypid"
        " WHERE i.indrelid = $1::regclass AND i.indisprimary",
        [rows.table],
    )
    if len(columns) != 1 or not (columns[0][2] in KEYS_THAT_TELL_NOTHING or are_shown()):
        return ()
    name, quoted, _type = columns[0]
    where = f"{rows.where} ORDER BY 1" if in_order else rows.some or rows.where
    found = _in_time(session, f"SELECT t.{quoted} FROM {rows.table} t WHERE {where} LIMIT {_SHOWN}")
    return tuple(f"{name}={value}" for (value,) in found or ())


def _table(error: psycopg.Error, session: Session) -> str | None:
    schema, table = error.diag.schema_name, error.diag.table_name
    if not schema or not table:
        return None
    return session.value("SELECT format('%I.%I', $1::text, $2::text)", [schema, table])


def _quoted(names: Iterable[str], session: Session, prefix: str = "t.") -> list[str]:
    return [prefix + session.value("SELECT quote_ident($1)", [name]) for name in names]


def _not_null(error: psycopg.Error, statement: Statement | None, session: Session) -> _Rows | None:
    """SET NOT NULL over NULLs; or ADD COLUMN ... NOT NULL, which every row violates."""
    table, column = _table(error, session), error.diag.column_name
    if table is None or not column or statement is None or statement.what != "alter_table_stmt":
        return None
    exists = session.value(
        "SELECT count(*) FROM pg_catalog.pg_attribute"
        " WHERE attrelid = $1::regclass AND attname = $2 AND NOT attisdropped",
        [table, column],
    )
    if exists == "0":
        return _Rows(table, "true")
    return _Rows(table, f"{_quoted([column], session)[0]} IS NULL")


def _check(error: psycopg.Error, statement: Statement | None, session: Session) -> _Rows | None:
    table, name = _table(error, session), error.diag.constraint_name
    if table is None or not name:
        return None
    known = session.query(
        "SELECT pg_catalog.pg_get_expr(conbin, conrelid) FROM pg_catalog.pg_constraint"
        " WHERE conrelid = $1::regclass AND conname = $2",
        [table, name],
    )
    if known:
        return _Rows(table, f"NOT ({known[0][0]})")
    if (constraint := _violated(statement, name, ConstrType.CHECK)) is not None:
        return _Rows(table, f"NOT ({expression_sql(constraint.raw_expr)})")
    if statement is not None and statement.adds_column:
        return _Rows(table, "true")  # each row would get the same default
    return None


def _foreign_key(
    error: psycopg.Error, statement: Statement | None, session: Session
) -> _Rows | None:
    table, name = _table(error, session), error.diag.constraint_name
    if table is None or not name:
        return None
    known = session.query(
        "SELECT confrelid::regclass,"
        " string_agg(format('p.%I = t.%I', r.attname, a.attname), ' AND '),"
        " string_agg(format('t.%I IS NOT NULL', a.attname), ' AND ')"
        " FROM pg_catalog.pg_constraint c"
        " CROSS JOIN LATERAL unnest(c.conkey, c.confkey) k(own, far)"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.own"
        " JOIN pg_catalog.pg_attribute r ON r.attrelid = c.confrelid AND r.attnum = k.far"
        " WHERE c.conrelid = $1::regclass AND c.conname = $2 GROUP BY 1",
        [table, name],
    )
    if known:
        far, matches, given = known[0]
        return _Rows(table, f"{given} AND NOT EXISTS (SELECT FROM {far} p WHERE {matches})")
    constraint = _violated(statement, name, ConstrType.FOREIGN)
    return None if constraint is None else _dangling(table, constraint, session)


def _dangling(table: str, constraint: Any, session: Session) -> _Rows:
    own = _quoted((each.string.sval for each in constraint.fk_attrs), session)
    parts = filter(None, (constraint.pktable.schemaname, constraint.pktable.relname))
    far = ".".join(_quoted(parts, session, prefix=""))
    names = [each.string.sval for each in constraint.pk_attrs] or _primary_key(far, session)
    matches = zip(_quoted(names, session, prefix="p."), own, strict=True)
    match = " AND ".join(f"{left} = {right}" for left, right in matches)
    given = " AND ".join(f"{column} IS NOT NULL" for column in own)
    return _Rows(table, f"{given} AND NOT EXISTS (SELECT FROM {far} p WHERE {match})")


def _primary_key(table: str, session: Session) -> list[str]:
    rows = session.query(
        "SELECT a.attname FROM pg_catalog.pg_constraint c"
        " CROSS JOIN LATERAL unnest(c.conkey) WITH ORDINALITY k(number, place)"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number"
        " WHERE c.conrelid = $1::regclass AND c.contype = 'p' ORDER BY k.place",
        [table],
    )
    return [name or "" for (name,) in rows]


def _unique(error: psycopg.Error, statement: Statement | None, session: Session) -> _Rows | None:
    table = _table(error, session)
    if table is None or statement is None:
        return None
    keys, where, nulls_differ = _unique_keys(statement, error, session)
    if not keys:
        return None
    condition = where or "true"
    given = " AND ".join(f"{key} IS NOT NULL" for key in keys) if nulls_differ else "true"
    listed = ", ".join(keys)
    # In the inner query "t" is the table too, so the expressions mean the same there.
    return _Rows(
        table,
        f"({condition}) AND {given} AND ({listed}) IN (SELECT {listed} FROM {table} t"
        f" WHERE ({condition}) AND {given} GROUP BY {listed} HAVING count(*) > 1)",
        has_value_of(keys, error.diag.message_detail, where=condition),
    )


def _unique_keys(
    statement: Statement, error: psycopg.Error, session: Session
) -> tuple[list[str], str, bool]:
    if statement.what == "index_stmt":
        index = statement.node.index_stmt
        keys = [
            _quoted([e.index_elem.name], session)[0]
            if e.index_elem.name
            else f"({expression_sql(e.index_elem.expr)})"
            for e in index.index_params
        ]
        where = expression_sql(index.where_clause) if index.HasField("where_clause") else ""
        return keys, where, not index.nulls_not_distinct
    name = error.diag.constraint_name
    constraint = _violated(statement, name, ConstrType.UNIQUE, ConstrType.PRIMARY)
    if constraint is None:
        return [], "", True
    names = [each.string.sval for each in constraint.keys]
    return _quoted(names, session), "", not constraint.nulls_not_distinct


def _exclusion(error: psycopg.Error, statement: Statement | None, session: Session) -> _Rows | None:
    table = _table(error, session)
    constraint = _violated(statement, error.diag.constraint_name, ConstrType.EXCLUSION)
    if constraint is not None and table is not None:
        pairs = []
        for each in constraint.exclusions:
            element, operators = each.list.items
            (name,) = [element.index_elem.name]
            if not name:
                return None
            (column,) = _quoted([name], session, prefix="")
            operator = operators.list.items[-1].string.sval
            pairs.append(f"o.{column} {operator} t.{column}")
        return _Rows(
            table,
            f"EXISTS (SELECT FROM {table} o WHERE o.ctid <> t.ctid AND {' AND '.join(pairs)})",
        )
    return None


def _cast(_error: psycopg.Error, statement: Statement | None, session: Session) -> _Rows | None:
    """Return the rows whose value does not fit the new type of a column.

    Each row is tried in a function that catches the error: no expression tells beforehand.
    """
    if statement is None or statement.what != "alter_table_stmt":
        return None
    for column, new_type, using in statement.type_changes:
        table = statement.relation
        (quoted,) = _quoted([column], session)
        value = using or quoted
        session.query(
            f"CREATE FUNCTION pg_temp.confiture_does_not_fit(whole {table}) RETURNS boolean"
            f" LANGUAGE plpgsql AS $f$ #variable_conflict use_column\nDECLARE fits {new_type};"
            f" BEGIN SELECT {value} INTO fits FROM (SELECT (whole).*) t; RETURN false;"
            " EXCEPTION WHEN data_exception THEN RETURN true; END $f$"
        )
        return _Rows(table, "pg_temp.confiture_does_not_fit(t)")
    return None


def _violated(statement: Statement | None, name: str | None, *kinds: ConstrType) -> Any | None:
    """Return the constraint of that name; else the one that PostgreSQL had to name itself."""
    added = [] if statement is None else statement.added_constraints(*kinds)
    named = [each for each in added if each.conname == name]
    found = named or [each for each in added if not each.conname]
    return found[0] if len(found) == 1 else None


_Finder = Callable[[psycopg.Error, "Statement | None", Session], "_Rows | None"]

_FINDERS: dict[type[psycopg.Error], _Finder] = {
    errors.NotNullViolation: _not_null,
    errors.CheckViolation: _check,
    errors.ForeignKeyViolation: _foreign_key,
    errors.UniqueViolation: _unique,
    errors.ExclusionViolation: _exclusion,
}
