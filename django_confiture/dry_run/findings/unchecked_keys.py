"""Rows that were written while their foreign keys were off, and whether each refers to a row.

Under ``session_replication_role = replica``, or with a table's triggers off, PostgreSQL looks at no
foreign key: not at the write, not at the COMMIT, and not later, as the constraint counts as valid.
So the rows are looked at here, at the migration's end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import errors
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.findings.subject import JudgedStatement, UncheckedKey
from django_confiture.sql_text import is_written_in

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.relations import Relation
    from django_confiture.dry_run.server.side_channel import Session

_TIMEOUT = "5s"
_ROLE = "role"
_EVERY = "*"
"""All tables, as far as the text tells."""

_SWITCH = re.compile(
    r"""(?P<reset>\breset\s+|\bdiscard\s+)(?:all\b|session_replication_role\b)
    | \bsession_replication_role\b ['"]? \s* (?:=|,|\bto\b) \s* '?(?P<value>\w+|%s|\$\d)
    | \b(?P<switch>disable|enable(?:\s+\w+)?) \s+ trigger \s+ (?:all\b|"?RI_)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ON = {"origin", "local", "default", "enable", "enable always"}

# What switches them off in a function is not in the migration's text.
_FUNCTIONS = """
SELECT p.proname FROM pg_catalog.pg_proc p
WHERE p.oid >= 16384 AND concat_ws(' ', p.proconfig::text, p.prosrc)
    ~* 'session_replication_role|disable\\s+trigger'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
"""

_NAMES = """
  SELECT concat(CASE WHEN c.relkind <> 'p' THEN 'ONLY ' END, c.oid::regclass) AS named,
    concat(CASE WHEN NOT pg_catalog.pg_table_is_visible(c.oid) THEN n.nspname || '.' END, c.relname)
      AS shown
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"""

# A key of a partition stands for that of the whole: what it refers to may be in another one.
_KEYS = f"""
WITH RECURSIVE written AS (SELECT t::oid AS oid FROM json_array_elements_text($1) t),
up AS (
  SELECT k.oid, k.conparentid, k.conrelid, k.confrelid, k.oid AS below
  FROM pg_catalog.pg_constraint k WHERE k.contype = 'f'
    AND (k.conrelid IN (TABLE written) OR k.confrelid IN (TABLE written))
  UNION
  SELECT k.oid, k.conparentid, up.conrelid, up.confrelid, up.below
  FROM up JOIN pg_catalog.pg_constraint k ON k.oid = up.conparentid
)
SELECT json_build_object(
  'name', k.conname, 'own', own.named, 'own_shown', own.shown, 'far', far.named,
  'far_shown', far.shown,
  'off', EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgenabled IN ('D', 'R')
    AND (t.tgconstraint = k.oid OR t.tgconstraint IN (
      SELECT below FROM up WHERE up.oid = k.oid))),
  'written', (SELECT json_agg(DISTINCT w.oid) FROM up JOIN written w
    ON w.oid IN (up.conrelid, up.confrelid) WHERE up.oid = k.oid),
  'matches', (SELECT string_agg(format('p.%I = t.%I', r.attname, a.attname), ' AND ')
    FROM unnest(k.conkey, k.confkey) c(own, far)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.own
    JOIN pg_catalog.pg_attribute r ON r.attrelid = k.confrelid AND r.attnum = c.far),
  'given', (SELECT string_agg(format('t.%I IS NOT NULL', a.attname), ' AND ')
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)))
FROM pg_catalog.pg_constraint k,
LATERAL ({_NAMES} WHERE c.oid = k.conrelid) own,
LATERAL ({_NAMES} WHERE c.oid = k.confrelid) far
WHERE k.oid IN (SELECT oid FROM up WHERE conparentid = 0)
  AND k.convalidated AND to_jsonb(k) ->> 'conenforced' IS DISTINCT FROM 'false'
ORDER BY own.shown, k.conname
"""


@dataclass(frozen=True)
class _Written:
    """Which statement wrote a table last, and which one while keys were off."""

    last: Mapping[int, int]
    unchecked: Mapping[int, int]
    says_role: bool
    """Whether the migration's text sets the role by itself."""


def unchecked_keys(
    session: Session, steps: Iterable[JudgedStatement], relations: Mapping[str, Relation]
) -> Iterator[UncheckedKey]:
    """Yield the foreign keys of tables that were written while nothing checked them."""
    steps = list(steps)
    if not any(step.result.writes for step in steps):
        return
    if session.status not in (TransactionStatus.INTRANS, TransactionStatus.IDLE):
        return
    written = _written(session, steps, relations)
    role = session.value("SELECT current_setting('session_replication_role')")
    from_before = role == "replica" and not written.says_role
    for (text,) in session.query(_KEYS, [json.dumps([*map(str, written.last)])]):
        key = json.loads(text or "")
        for oid in map(int, key["written"] or ()):
            if oid in written.unchecked or key["off"] or from_before:
                step_id = written.unchecked.get(oid, written.last[oid])
                dangling = _dangling(session, key)
                yield UncheckedKey(
                    step_id, key["own_shown"], key["far_shown"], key["name"], dangling
                )
                break


def _written(
    session: Session, steps: Iterable[JudgedStatement], relations: Mapping[str, Relation]
) -> _Written:
    last: dict[int, int] = {}
    unchecked: dict[int, int] = {}
    off: set[str] = set()
    says_role = False
    functions = [name or "" for (name,) in session.query(_FUNCTIONS)]
    for step in steps:
        calls = any(is_written_in(name, step.statement.sql) for name in functions)
        switched = [*_switched(step)]
        says_role |= any(what == _ROLE for what, _is_off in switched)
        off |= {what for what, is_off in switched if is_off}
        for write in step.result.writes:
            oid = relations[write.relation].oid
            last[oid] = step.id
            if calls or _is_off(write.relation, off, step):
                unchecked[oid] = step.id
        for what, is_off in switched:
            if is_off:
                off.add(what)
            elif what == _EVERY:
                off.clear()
            else:
                off.discard(what)
    return _Written(last, unchecked, says_role)


def _switched(step: JudgedStatement) -> Iterator[tuple[str, bool]]:
    """Yield what a statement's text switches, and whether off, in order."""
    for found in _SWITCH.finditer(step.statement.sql):
        if found["reset"] or found["value"]:
            yield _ROLE, not found["reset"] and found["value"].lower() not in _ON
        else:
            how = " ".join(found["switch"].lower().split())
            named = step.statement.what == "alter_table_stmt"
            yield step.node.relation.relname if named else _EVERY, how not in _ON


def _is_off(relation: str, off: Collection[str], step: JudgedStatement) -> bool:
    name = relation.rpartition(".")[2]
    in_parts = any(step.kinds.get(each) == "p" for each in off)
    return bool({_ROLE, _EVERY, name} & {*off}) or in_parts


def _dangling(session: Session, key: Mapping[str, str]) -> int | None:
    """Return how many rows refer to nothing; None where it takes too long to tell."""
    question = (
        f"SELECT count(*) FROM {key['own']} t WHERE {key['given']}"
        f" AND NOT EXISTS (SELECT FROM {key['far']} p WHERE {key['matches']})"
    )
    try:
        with session.undone():
            session.query("SELECT set_config('statement_timeout', $1, true)", [_TIMEOUT])
            return int(session.value(question))
    except errors.QueryCanceled:
        return None
