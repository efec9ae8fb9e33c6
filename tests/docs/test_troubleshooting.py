"""Every heading of the troubleshooting pages is a message that exists, word for word."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.support.paths import DOCS, ROOT

HEADINGS = [
    heading
    for name in ("TROUBLESHOOTING.md", "troubleshooting-clone.md")
    for line in re.findall(r"^## (.*)$", (DOCS / name).read_text(), re.M)
    for heading in re.findall(r"`([^`]+)`", line)
]
POSTGRESQL = {
    "must be owner of table ...",
    "permission denied for table ...",
    "cannot execute INSERT in a read-only transaction",
    'cannot ALTER TABLE "..." because it has pending trigger events',
    'unsafe use of new value "..." of enum type ...',
    "CREATE INDEX CONCURRENTLY cannot run inside a transaction block",
}
"""PostgreSQL's own words; tests of the dry run provoke them."""
GIT = {"--since ...: fatal: detected dubious ownership in repository"}
VALUE = re.compile(r"\.\.\.|'[^']*'|\"[^\"]*\"|[\d,.]+(?: (?:ms|s|GB))?|\([^)]*\)")
GAP = "\0"


@cache
def templates() -> tuple[str, ...]:
    """Return every text of the package, with a gap for each value that is filled in."""
    found = []
    for path in (ROOT / "django_confiture").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [e.value if isinstance(e, ast.Constant) else GAP for e in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return tuple(found)


def fixed(heading: str) -> list[str]:
    """Return the parts of a message that are the same whatever the values are."""
    parts = [part.strip(" .:;,") for part in VALUE.split(heading)]
    return [part for part in parts if len(part.split()) > 3] or [parts[0] or parts[1]]


@pytest.mark.parametrize("heading", sorted({*HEADINGS} - POSTGRESQL - GIT))
def test_the_message_exists(heading: str) -> None:
    for part in fixed(heading):
        assert any(run in template for run in runs(part) for template in templates()), part


def runs(part: str) -> list[str]:
    """Return each half of a part's words, and all of it: single words of it may be values."""
    words = part.split()
    size = max(2, -(-len(words) // 2))
    return [" ".join(words[at : at + size]) for at in range(max(len(words) - size, 0) + 1)]


def test_the_words_of_others_are_headings() -> None:
    assert {*HEADINGS} >= POSTGRESQL | GIT
