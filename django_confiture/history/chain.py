"""A chain of hashes over the executions: an edited or deleted row shows.

Each row's hash covers its content and the hash of the row before, with a key made of
``SECRET_KEY``. Who has that key, or can put back an older state of all tables, can forge it; the
log has every number and hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

from django_confiture.history.models import (
    HookExecution,
    LedgerHead,
    MigrationExecution,
    StatementExecution,
)

_SALT = "django_confiture.history"
_THE_HEAD = "the head, which says where the ledger begins and ends,"

_EXECUTION = (
    "number",
    "database",
    "app_label",
    "name",
    "direction",
    "outcome",
    "error_type",
    "attempts",
    "duration_ms",
    "os_user",
    "host",
    "previous_hash",
)
_STATEMENT = ("position", "operation", "sql", "executions", "duration_ms", "rows")
_HOOK = ("position", "hook", "phase", "outcome", "duration_ms", "rows", "error_type")
_HEAD = ("last_number", "last_hash", "pruned_number", "pruned_hash")


@dataclass(frozen=True)
class Problem:
    """What is wrong with the ledger, and from which row on."""

    number: int
    message: str


def sign(
    execution: MigrationExecution,
    statements: Sequence[StatementExecution],
    hooks: Sequence[HookExecution],
) -> None:
    """Set the hash of a row that is about to be added."""
    execution.hash = _digest(_content(execution, statements, hooks), settings.SECRET_KEY)


def sign_head(head: LedgerHead) -> None:
    """Set the hash of the head."""
    head.hash = _digest(_facts(head, _HEAD), settings.SECRET_KEY)


def verify(using: str) -> list[Problem]:
    """Return what is wrong with the ledger in the database ``using``, in order."""
    head = LedgerHead.objects.using(using).first()
    rows = MigrationExecution.objects.using(using).order_by("number")
    found: list[Problem] = []
    number, previous = 0, ""
    if head is not None:
        number, previous = head.pruned_number, head.pruned_hash
        if not _signed(_facts(head, _HEAD), head.hash):
            found.append(Problem(0, f"{_THE_HEAD} was changed"))
    for row in rows.prefetch_related("statements", "hooks").iterator(chunk_size=500):
        found += _problems(row, number, previous)
        if row.number > number:
            number, previous = row.number, row.hash
    return [*found, *_problems_at_the_end(head, number, previous)]


def _problems(row: MigrationExecution, number: int, previous: str) -> Iterator[Problem]:
    """Yield what is wrong with a row that comes after the row ``number``."""
    if row.number <= number:
        yield Problem(row.number, f"row {row.number} was added where the ledger was pruned")
        return
    if row.number > number + 1:
        yield Problem(number + 1, _deleted(number + 1, row.number - 1))
    elif row.previous_hash != previous:
        yield Problem(row.number, f"row {row.number} does not follow the row before it")
    if not _signed(_content(row, list(row.statements.all()), list(row.hooks.all())), row.hash):
        yield Problem(row.number, f"row {row.number} was changed")


def _problems_at_the_end(head: LedgerHead | None, number: int, last: str) -> Iterator[Problem]:
    if head is None:
        if number:
            yield Problem(number, f"{_THE_HEAD} was deleted")
    elif head.last_number > number:
        yield Problem(number + 1, _deleted(number + 1, head.last_number))
    elif (head.last_number, head.last_hash) != (number, last):
        yield Problem(number, f"row {number} is not the last that was written")


def _deleted(first: int, last: int) -> str:
    return f"row {first} was deleted" if first == last else f"rows {first} to {last} were deleted"


def _content(
    execution: MigrationExecution,
    statements: Sequence[StatementExecution],
    hooks: Sequence[HookExecution],
) -> dict[str, object]:
    return {
        **_facts(execution, _EXECUTION),
        # As a number it does not depend on USE_TZ.
        "started_at": round(execution.started_at.timestamp() * 1_000_000),
        "statements": [_facts(each, _STATEMENT) for each in statements],
        "hooks": [_facts(each, _HOOK) for each in hooks],
    }


def _facts(row: object, names: Sequence[str]) -> dict[str, object]:
    return {name: getattr(row, name) for name in names}


def _signed(content: dict[str, object], digest: str) -> bool:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return any(constant_time_compare(digest, _digest(content, key)) for key in keys)


def _digest(content: dict[str, object], key: str | bytes) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return salted_hmac(_SALT, text, secret=key, algorithm="sha256").hexdigest()
