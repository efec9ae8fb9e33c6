"""Statements of a release's ORM, kept to be sent in another way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FirstStatement:
    """What something begins with."""

    sql: str
    """As the ORM has it, with placeholders."""
    text: str


@dataclass(frozen=True)
class SentByORM:
    """A statement as the ORM sent it, which is put together where it is wanted."""

    sql: str
    params: Any


Script = Sequence[str | SentByORM]
"""Statements that can be run again."""
