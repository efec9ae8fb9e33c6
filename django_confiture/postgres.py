"""PostgreSQL's own numbers and names: object ids, server versions, types."""

from __future__ import annotations

FIRST_NORMAL_OID = 16384
"""``FirstNormalObjectId``: objects that ``initdb`` makes have lower OIDs."""

POSTGRESQL_15 = 150000
POSTGRESQL_17 = 170000
POSTGRESQL_18 = 180000
"""Versions as ``server_version_num`` counts them."""

KEYS_THAT_TELL_NOTHING = frozenset({"int2", "int4", "int8", "uuid"})
"""Types of primary keys that name a row without telling anything about it."""


def major_version(number: int) -> int:
    """Return 18 for 180006."""
    return number // 10000
