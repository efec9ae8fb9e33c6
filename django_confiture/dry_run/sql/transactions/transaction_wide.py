"""What SQL and code read that is one for a whole transaction: its time, its number, its locks.

In a dry run all migrations have one transaction in common, so they read the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum

from django_confiture.dry_run.sql.parsing.kinds import HIDING
from django_confiture.dry_run.sql.parsing.library import pg, postgast
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    functions_called_in,
    range_vars_in,
    strings,
)
from django_confiture.dry_run.sql.parsing.parser import Statement
from django_confiture.dry_run.sql.parsing.suspects import Suspects


class Shared(Enum):
    """What is the same in all migrations of a dry run, or hidden from other sessions."""

    TIME = "now()"
    NUMBER = "the number of the transaction"
    ROW_VERSION = "xmin"
    LOCKS = "pg_locks"
    CHANNELS = "pg_listening_channels()"
    SETTINGS = "a setting that the dry run has set for itself"
    SESSIONS = "pg_stat_activity"
    OTHER_SESSION = "a session of its own, through dblink"


_TIMES = r"now|transaction_timestamp"
_NUMBERS = (
    r"txid_\w+|pg_current_xact_id(?:_if_assigned)?|pg_current_snapshot|pg_xact_status"
    r"|pg_visible_in_snapshot|pg_snapshot_\w+"
)
_ROW_VERSIONS = r"xmin|xmax|cmin|cmax"
_CHANNELS = "pg_listening_channels"

OWN_SETTINGS = (
    "application_name",
    "lock_timeout",
    "statement_timeout",
    "transaction_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "client_connection_check_interval",
)
"""Those that a dry run sets for itself."""
_SETTINGS = "|".join(OWN_SETTINGS)

_IN_TEXT = {
    Shared.TIME: rf"(?:{_TIMES})\s*\(|(?:current|local)_?time(?:stamp)?\b",
    Shared.NUMBER: rf"(?:{_NUMBERS})\s*\(",
    Shared.ROW_VERSION: rf"(?:{_ROW_VERSIONS})\b",
    Shared.LOCKS: r"pg_lock(?:s|_status)\b",
    Shared.CHANNELS: rf"{_CHANNELS}\s*\(",
    Shared.SETTINGS: (
        rf"(?:current_setting\s*\(\s*'(?:{_SETTINGS})'|show\s+(?:{_SETTINGS})\b"
        rf"|pg_settings\b(?=[\s\S]*'(?:{_SETTINGS})'))"
    ),
    Shared.SESSIONS: r"pg_stat_(?:activity|get_activity|get_backend_\w+)\b",
    Shared.OTHER_SESSION: r"dblink\w*\s*\(",
}
_MENTIONS = {key: re.compile(rf"\b(?:{text})", re.IGNORECASE) for key, text in _IN_TEXT.items()}
_ANY = Suspects(
    "|".join(rf"\b(?:{text})" for text in _IN_TEXT.values()),
    *("now", "time", "txid_", "pg_", "xmin", "xmax", "cmin", "cmax"),
    *("current_setting", "show", "dblink"),
)

_BY_WORDS = (Shared.SETTINGS, Shared.SESSIONS)
"""What no other thing is called, so that the words of a statement tell."""

_FUNCTIONS = {
    Shared.TIME: re.compile(_TIMES),
    Shared.NUMBER: re.compile(_NUMBERS),
    Shared.LOCKS: re.compile("pg_lock_status"),
    Shared.CHANNELS: re.compile(_CHANNELS),
}


def shared_in_code(code: str) -> frozenset[Shared]:
    """Return what the code of a function or a DO block reads, as far as its words tell."""
    if not _ANY.search(code):
        return frozenset()
    return frozenset(key for key, pattern in _MENTIONS.items() if pattern.search(code))


def shared_in(statement: Statement) -> frozenset[Shared]:
    """Return what a statement itself reads, in the code of a DO block too."""
    if not _ANY.search(statement.sql):
        return frozenset()
    if statement.node is None or statement.what in HIDING:
        return shared_in_code(statement.sql)
    found = frozenset(_in_tree(statement.node))
    return found | {key for key in _BY_WORDS if _MENTIONS[key].search(statement.sql)}


def _in_tree(node: Node) -> Iterator[Shared]:
    functions = functions_called_in(node)
    for key, pattern in _FUNCTIONS.items():
        if any(map(pattern.fullmatch, functions)):
            yield key
    if any(_is_time(each) for each in postgast.find_nodes(node, pg.SQLValueFunction)):
        yield Shared.TIME
    if any(each.relname == "pg_locks" for each in range_vars_in(node)):
        yield Shared.LOCKS
    if not _columns_named(node).isdisjoint(_ROW_VERSIONS.split("|")):
        yield Shared.ROW_VERSION


def _is_time(node: Node) -> bool:
    """Return whether it is CURRENT_TIMESTAMP or the like; the date changes at midnight alone."""
    return bool(pg.SVFOP_CURRENT_TIME <= node.op <= pg.SVFOP_LOCALTIMESTAMP_N)


def _columns_named(node: Node) -> set[str]:
    references = postgast.find_nodes(node, pg.ColumnRef)
    return {name for each in references for name in strings(each.fields[-1:])}
