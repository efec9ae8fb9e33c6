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
    for line in re.findall(r"^## (.*)$", (DOCS / name).read_text(), re.MULTILINE)
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
DJANGO = {"Unknown command: 'migrate_dryrun'"}
"""What Django says without our app."""
GIT = {"--since ...: fatal: detected dubious ownership in repository"}
VALUE = re.compile(
    r"\.\.\.|'[^']*'|\"[^\"]*\"|\d[\d,.]*(?: (?:ms|s|GB)\b)?"
    r"|\b(?:shop_\w+|AccessExclusiveLock|BackfillReadModel|AFTER_DDL|session 4711)\b"
)
"""Examples that headings have in the places of values."""
GAP = "\0"
"""A value: what a message fills in, and what a heading leaves out."""


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
                found.append(re.sub(r"\{\w*(![rs])?\}|%[rsd]", GAP, node.value))
    return tuple(re.sub(r"^(?:[\s*❌]|- )+", "", text) for text in found)


def agreement(heading: str, template: str) -> float:
    """Return which share of a heading's letters are the template's own; 0 where they disagree.

    The message may go on after the heading's last word. ``reached[j]`` is the most letters in
    common when the heading so far ends before the template's letter ``j``.
    """
    reached: dict[int, int] = {0: 0}
    for letter in heading:
        reached = _next(_past_empty_gaps(reached, template), letter, template)
    return max(reached.values(), default=0) / len(heading.replace(GAP, ""))


def _past_empty_gaps(reached: dict[int, int], template: str) -> dict[int, int]:
    found = dict(reached)
    for j, letter in enumerate(template):
        if letter == GAP and j in found:
            found[j + 1] = max(found.get(j + 1, 0), found[j])
    return found


def _next(reached: dict[int, int], letter: str, template: str) -> dict[int, int]:
    found: dict[int, int] = {}
    for j, common in reached.items():
        if letter == GAP:  # stands for any number of the template's letters
            ends = range(j, len(template) + 1)
        else:  # may be a letter of the value in the gap before
            ends = range(j, j + (j > 0 and template[j - 1] == GAP))
        for end in ends:
            found[end] = max(found.get(end, 0), common)
        if j < len(template) and template[j] == letter:
            found[j + 1] = max(found.get(j + 1, 0), common + (letter != GAP))
    return found


@pytest.mark.parametrize("heading", sorted({*HEADINGS} - POSTGRESQL - DJANGO - GIT))
def test_the_message_exists(heading: str) -> None:
    said = VALUE.sub(GAP, heading).rstrip(f"{GAP} .:?")
    words = {*re.findall(r"\w{4,}", said)}
    alike = [each for each in templates() if len(words & {*re.findall(r"\w{4,}", each)}) > 1]
    # What comes before a colon is often put in front of a message that is used in several places.
    wholes = {said, said.partition(": ")[2] or said}
    assert max(agreement(whole, each) for whole in wholes for each in alike) > 0.7, heading


def test_a_message_that_does_not_exist_is_found_out() -> None:
    template = f"The plan needs about {GAP} locks, and the server has room for {GAP}; {GAP}."
    assert agreement("The plan needs about 9 locks, and the server has room for 7", template) > 0.9
    assert agreement("The plan wants about 9 locks, and the server has room for 7", template) == 0
    assert agreement("The plan needs about 9 locks, the server has room", template) < 0.5


def test_the_words_of_others_are_headings() -> None:
    assert {*HEADINGS} >= POSTGRESQL | DJANGO | GIT
