"""Numbers for values that no row is likely to have: the same ones each time something is tried.

Both schemas are asked about the same values, so a value that only one of them takes is an answer.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from uuid import UUID


class Numbers:
    """Large numbers, by what they are for and how often that was asked for."""

    def __init__(self) -> None:
        self._drawn: Counter[str] = Counter()

    def next(self, purpose: str) -> int:
        """Return a number of 128 bits that was not drawn since the last restart."""
        self._drawn[purpose] += 1
        text = f"{purpose} {self._drawn[purpose]}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest())

    def restart(self) -> None:
        """Draw the same numbers again: what was done with them is undone."""
        self._drawn.clear()


def uuid_of(number: int) -> UUID:
    """Return a number as a random UUID."""
    return UUID(int=number, version=4)
