"""Patterns that look for words in the text of every statement, which hardly any has."""

from __future__ import annotations

import re
from collections.abc import Iterator


class Suspects:
    """A pattern, in any case, that is tried only on a text with one of the words it needs.

    Most patterns of many words try all of them at each place of the text.
    """

    def __init__(self, pattern: str, *words: str) -> None:
        """``words`` are in lower case: whatever the pattern matches has one of them."""
        self.words = words
        self._pattern = re.compile(pattern, re.IGNORECASE)

    def _may_match(self, text: str) -> bool:
        lowered = text.lower()
        return any(word in lowered for word in self.words)

    def search(self, text: str) -> re.Match[str] | None:
        """Return the first match."""
        return self._pattern.search(text) if self._may_match(text) else None

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        """Yield all matches."""
        return self._pattern.finditer(text) if self._may_match(text) else iter(())
