"""PostgreSQL's own numbers, and SQL that more than one part of the package sends."""

from __future__ import annotations

FIRST_NORMAL_OID = 16384
"""``FirstNormalObjectId``: whatever ``initdb`` makes has a lower OID."""

POSTGRESQL_15 = 150000
POSTGRESQL_17 = 170000
POSTGRESQL_18 = 180000
"""Versions as ``server_version_num`` counts them."""

IMMEDIATE_CONSTRAINTS = """
SELECT string_agg(DISTINCT format('%I.%I', n.nspname, c.conname), ', ')
FROM pg_catalog.pg_constraint c
JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
WHERE c.condeferrable AND NOT c.condeferred
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
  AND NOT pg_catalog.pg_is_other_temp_schema(n.oid)
"""
"""The constraints that are DEFERRABLE, and not deferred unless a transaction says so.

``SET CONSTRAINTS ALL DEFERRED`` defers them, too, so they are set back to IMMEDIATE by name; not
where that is forbidden, as nothing is done there.
"""


def major_version(number: int) -> int:
    """Return 18 for 180006."""
    return number // 10000
