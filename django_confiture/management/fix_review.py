"""A review for GitHub: a fixed migration's last file as a suggestion, at the lines it changes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path

from django_confiture.fix.outcomes import Fix
from django_confiture.management.fix_output import markdown_of

_FENCE = re.compile(r"^\s*(`{3,})", re.MULTILINE)


def review_of(fixes: Iterable[tuple[Fix, Path]]) -> str:
    """Return the body of ``POST /repos/{owner}/{repo}/pulls/{number}/reviews``.

    What could not be fixed is in the review's own text.
    """
    comments: list[dict[str, object]] = []
    rest: list[str] = []
    for fix, path in fixes:
        shown = _in_repository(path.resolve())
        if fix.proof is not None and fix.proof.holds:
            comments.append(_comment(fix, path, shown))
        else:
            rest += markdown_of(fix, shown)
    return json.dumps({"event": "COMMENT", "body": "\n".join(rest), "comments": comments}, indent=2)


def _in_repository(path: Path) -> str:
    """Return a file's path as GitHub has it: from the root of its repository."""
    root = next((each for each in path.parents if (each / ".git").exists()), path.parent)
    return path.relative_to(root).as_posix()


def _comment(fix: Fix, path: Path, shown: str) -> dict[str, object]:
    first, last, lines = _changed(
        path.read_text(encoding="utf-8").splitlines(), fix.files[-1].source.splitlines()
    )
    fence = "`" * max([3, *(len(each) + 1 for each in _FENCE.findall("\n".join(lines)))])
    body = markdown_of(fix, shown, suggestion=[f"{fence}suggestion", *lines, fence])
    comment: dict[str, object] = {
        "path": shown,
        "line": last,
        "side": "RIGHT",
        "body": "\n".join(body),
    }
    if first < last:
        comment |= {"start_line": first, "start_side": "RIGHT"}
    return comment


def _changed(old: Sequence[str], new: Sequence[str]) -> tuple[int, int, Sequence[str]]:
    """Return the first and the last line that change, from 1 on, and what takes their place.

    A suggestion replaces one line at least: where lines only come in, one beside them is in it.
    """
    before = _count_same(old, new)
    behind = _count_same(old[before:][::-1], new[before:][::-1])
    if before + behind == len(old):
        before, behind = (before - 1, behind) if before else (before, behind - 1)
    return before + 1, len(old) - behind, new[before : len(new) - behind]


def _count_same(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many lines are the same from the first on."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
