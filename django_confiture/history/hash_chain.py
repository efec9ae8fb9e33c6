"""Hash chains over executions and over dry runs, which reveal edited and deleted rows.

Each row's hash covers its content and the hash of the row before, keyed with ``SECRET_KEY``.
Someone who has that key, or can restore an older state of all tables, can forge it; the log has
every number and hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Model
from django.utils.crypto import constant_time_compare, salted_hmac

from django_confiture.history.models import DryRun, LedgerHead, MigrationExecution

_SALT = "django_confiture.history"
_HEAD = ("ledger", "last_number", "last_hash", "pruned_number", "pruned_hash")


@dataclass(frozen=True)
class Ledger:
    """One chain: its rows, and the fields that their hashes cover."""

    name: str
    """The primary key of its head."""
    row: str
    """What messages call a row."""
    model: type[MigrationExecution | DryRun]
    fields: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]]
    """Rows that belong to a row: related name → fields, which also set their order."""
    later_fields: tuple[str, ...] = ()
    """Fields that the first rows were signed without: they count where they are not empty."""


EXECUTIONS = Ledger(
    "executions",
    "row",
    MigrationExecution,
    (
        "number",
        "database",
        "app_label",
        "name",
        "direction",
        "outcome",
        "error_type",
        "attempts",
        "started_at",
        "duration_ms",
        "os_user",
        "host",
        "previous_hash",
    ),
    {
        "statements": ("position", "operation", "sql", "executions", "duration_ms", "rows"),
        "hooks": (
            "position",
            "hook",
            "phase",
            "outcome",
            "started_at",
            "duration_ms",
            "rows",
            "error_type",
        ),
    },
    later_fields=("blockers", "source_hash"),
)
DRY_RUNS = Ledger(
    "dry runs",
    "dry run",
    DryRun,
    (
        "number",
        "made_at",
        "database",
        "database_name",
        "server_version",
        "mode",
        "verdict",
        "headline",
        "migrations",
        "duration_ms",
        "os_user",
        "host",
        "report_hash",
        "previous_hash",
    ),
    {
        "forecasts": (
            "app_label",
            "name",
            "direction",
            "database",
            "made_at",
            "estimate",
            "statements",
        )
    },
    ("plan",),
)
LEDGERS = (EXECUTIONS, DRY_RUNS)


@dataclass(frozen=True)
class Problem:
    """One change that was made to a ledger afterwards, and the row where it starts."""

    number: int
    message: str


def sign(ledger: Ledger, row: Any, parts: Mapping[str, Sequence[Model]]) -> None:
    """Set the hash of a row that will be added."""
    row.hash = _digest(_content(ledger, row, parts), settings.SECRET_KEY)


def sign_head(head: Any) -> None:
    """Set the hash of a head."""
    head.hash = _digest(_hashed_fields(head, _HEAD), settings.SECRET_KEY)


def hash_of(report: str) -> str:
    """Return the digest that stands for a report in the hash of its dry run."""
    return hashlib.sha256(report.encode()).hexdigest()


def verify(using: str, *ledgers: Ledger, reports: bool = True) -> list[Problem]:
    """Return the problems of the given ledgers (by default all), in order.

    ``reports=False`` doesn't read the reports of dry runs, which can be large.
    """
    return [
        each for ledger in ledgers or LEDGERS for each in _verify(using, ledger, reports=reports)
    ]


def is_intact(ledger: Ledger, row: Any) -> bool:
    """Return whether a row, with the rows that belong to it, is as it was signed."""
    parts = {name: list(getattr(row, name).all()) for name in ledger.parts}
    read = isinstance(row, DryRun) and "report" not in row.get_deferred_fields()
    if read and hash_of(row.report) != row.report_hash:
        return False
    return _signed(_content(ledger, row, parts), row.hash)


def _verify(using: str, ledger: Ledger, *, reports: bool) -> Iterator[Problem]:
    head = LedgerHead.objects.using(using).filter(ledger=ledger.name).first()
    rows: Any = ledger.model._default_manager.using(using).order_by("number")
    if ledger is DRY_RUNS and not reports:
        rows = rows.defer("report")
    number, previous = 0, ""
    if head is not None:
        number, previous = head.pruned_number, head.pruned_hash
        if not _signed(_hashed_fields(head, _HEAD), head.hash):
            yield Problem(0, f"{_head_of(ledger)} was changed")
    for row in rows.prefetch_related(*ledger.parts).iterator(chunk_size=100):
        yield from _problems(ledger, row, number, previous)
        if row.number > number:
            number, previous = row.number, row.hash
    yield from _problems_at_the_end(ledger, head, number, previous)


def _problems(ledger: Ledger, row: Any, number: int, previous: str) -> Iterator[Problem]:
    """Yield the problems of a row that comes after the row ``number``."""
    this = f"{ledger.row} {row.number}"
    if row.number <= number:
        yield Problem(row.number, f"{this} was added where the ledger was pruned")
        return
    if row.number > number + 1:
        yield Problem(number + 1, _deleted(ledger, number + 1, row.number - 1))
    elif row.previous_hash != previous:
        yield Problem(row.number, f"{this} does not follow the one before it")
    if not is_intact(ledger, row):
        yield Problem(row.number, f"{this} was changed")


def _problems_at_the_end(
    ledger: Ledger, head: LedgerHead | None, number: int, last: str
) -> Iterator[Problem]:
    if head is None:
        yield Problem(number, f"{_head_of(ledger)} was deleted")
    elif head.last_number > number:
        yield Problem(number + 1, _deleted(ledger, number + 1, head.last_number))
    elif (head.last_number, head.last_hash) != (number, last):
        yield Problem(number, f"{ledger.row} {number} is not the last that was written")


def _head_of(ledger: Ledger) -> str:
    return f"the head of the {ledger.name}, which says where they begin and end,"


def _deleted(ledger: Ledger, first: int, last: int) -> str:
    if first == last:
        return f"{ledger.row} {first} was deleted"
    return f"{ledger.row}s {first} to {last} were deleted"


def _content(
    ledger: Ledger, row: object, parts: Mapping[str, Sequence[object]]
) -> dict[str, object]:
    later = [name for name in ledger.later_fields if getattr(row, name)]
    content = _hashed_fields(row, (*ledger.fields, *later))
    for name, fields in ledger.parts.items():
        found = sorted(parts[name], key=lambda part: _order(part, fields))
        content[name] = [_hashed_fields(each, fields) for each in found]
    return content


def _order(part: object, fields: Sequence[str]) -> tuple[Any, ...]:
    return tuple(getattr(part, name) for name in fields if name in _ORDER)


_ORDER = ("position", "app_label", "name", "direction")


def _hashed_fields(row: object, names: Sequence[str]) -> dict[str, object]:
    return {name: _as_hashed(getattr(row, name)) for name in names}


def _as_hashed(value: object) -> object:
    if isinstance(value, datetime):  # a number does not depend on USE_TZ
        # Of the hour that comes twice, PostgreSQL takes the second, and the fold is not stored.
        moment = value.replace(fold=1) if value.tzinfo is None else value
        return round(moment.timestamp() * 1_000_000)
    if isinstance(value, (dict, list)):  # a database may return 1.0 as 1
        return json.loads(json.dumps(value), parse_int=float)
    return value


def _signed(content: dict[str, object], digest: str) -> bool:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return any(constant_time_compare(digest, _digest(content, key)) for key in keys)


def _digest(content: dict[str, object], key: str | bytes) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return salted_hmac(_SALT, text, secret=key, algorithm="sha256").hexdigest()
