"""Which existing tables a plan can change, where its operations tell."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from django_confiture.dry_run.plan.planned import Planned
    from django_confiture.dry_run.server.side_channel import Session

_REACHED = """
WITH RECURSIVE named AS (
  SELECT to_regclass(name)::oid AS oid FROM json_array_elements_text($1::json) name
), family (oid) AS (
  SELECT oid FROM named
  UNION SELECT pg_catalog.pg_partition_root(oid) FROM named
  UNION SELECT k.conrelid FROM pg_catalog.pg_constraint k JOIN named n ON n.oid = k.confrelid
  UNION SELECT k.confrelid FROM pg_catalog.pg_constraint k JOIN named n ON n.oid = k.conrelid
  UNION (
    WITH of AS (SELECT oid FROM family)
    SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN of ON of.oid = i.inhparent
    UNION ALL
    SELECT w.ev_class FROM pg_catalog.pg_depend d JOIN of ON of.oid = d.refobjid
    JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid
    WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass
      AND d.refclassid = 'pg_catalog.pg_class'::regclass
    UNION ALL
    SELECT d.objid FROM pg_catalog.pg_depend d JOIN of ON of.oid = d.refobjid
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
      AND d.refclassid = 'pg_catalog.pg_class'::regclass
  )
)
SELECT oid FROM family WHERE oid > 0
"""
"""The named tables, those on the other end of a key, and what goes with them: partitions and
children, views, sequences."""

_EVENT_TRIGGERS = "SELECT FROM pg_catalog.pg_event_trigger WHERE evtenabled <> 'D'"


def reached(planned: Planned, session: Session) -> frozenset[int] | None:
    """Return the OIDs of the tables that a plan can change; None where it may be any table.

    SQL, Python code, hooks and custom operations can reach all of them, as can event triggers.
    """
    if planned.statements or planned.unknown:
        return None
    with suppress(psycopg.Error), session.undone():
        if session.query(_EVENT_TRIGGERS):
            return None
        rows = session.query(_REACHED, [json.dumps(planned.tables)])
        return frozenset(int(oid or 0) for (oid,) in rows)
    return None
