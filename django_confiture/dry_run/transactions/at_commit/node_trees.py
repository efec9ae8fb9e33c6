"""What the trees of expressions that the catalogs keep (``pg_node_tree``) call and name.

They are read as they are: PostgreSQL locks a table to write out an expression of it. A tree names
a function by its OID, and ``CURRENT_TIMESTAMP`` and the like by their numbers. The conditions are
SQL, for an expression that gives the tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

TIME = (1299, 2647)
"""``now()``, ``transaction_timestamp()``."""
NUMBER = (*range(2943, 2949), 3348, 3360, *range(5059, 5067))
"""What tells the transaction's number or its snapshot: ``txid_current()``, ``pg_xact_status()``."""
CURRENT_SETTING = (2077, 3294)
SET_CONFIG = (2078,)

_TIME_VALUES = ":op [1-8] "
"""``CURRENT_TIME`` to ``LOCALTIMESTAMP(n)``; 0 is ``CURRENT_DATE``, which changes at midnight."""


def reads_time(tree: str) -> str:
    """Return the condition that a tree reads the time of the transaction."""
    return f"({calls(tree, TIME)} OR {tree} ~ 'SQLVALUEFUNCTION {_TIME_VALUES}')"


def calls(tree: str, oids: Iterable[int]) -> str:
    """Return the condition that a tree calls one of some functions."""
    return f"{tree} ~ ':funcid ({'|'.join(map(str, oids))}) '"


def calls_one(tree: str, oid: str) -> str:
    """Return the condition that a tree calls a function, by an expression that gives its OID."""
    return f"position(':funcid ' || {oid} || ' ' IN {tree}) > 0"


def constants(names: Iterable[str]) -> re.Pattern[str]:
    """Return what finds a constant with one of the names in a tree, which has its bytes."""
    return re.compile("|".join(" ".join(str(ord(char)) for char in name) for name in names))
