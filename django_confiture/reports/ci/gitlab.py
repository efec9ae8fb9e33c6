"""GitLab's code quality report: a JSON array with one object per problem."""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256

from django_confiture.dry_run.results import Report
from django_confiture.reports.phrases import deploy
from django_confiture.reports.phrases.problems import Level, Problem, problems

_SEVERITIES: dict[Level, str] = {
    "failure": "blocker",
    "exceeded": "critical",
    "danger": "critical",
    "warning": "major",
    "notice": "minor",
}
_NOWHERE = "manage.py"
"""GitLab wants a path; a problem outside the migrations gets this one."""


def render(report: Report, **_options: object) -> str:
    """Return the array, without silenced findings."""
    seen: Counter[tuple[str, ...]] = Counter()
    entries = [_order_entry(line)] if (line := deploy.order(report)) else []
    for problem in problems(report):
        if problem.silenced is None:
            entries.append(_entry(problem, seen[problem.key]))
            seen[problem.key] += 1
    return json.dumps(entries, indent=2) + "\n"


def _order_entry(line: str) -> dict[str, object]:
    """Return the order of migrating and deploying: the array has no other place for it."""
    return {
        "description": line,
        "check_name": "deploy-order",
        "fingerprint": sha256(line.encode("utf-8", "backslashreplace")).hexdigest()[:40],
        "severity": "info",
        "location": {"path": _NOWHERE, "lines": {"begin": 1, "end": 1}},
    }


def _entry(problem: Problem, before: int) -> dict[str, object]:
    where = f"{problem.migration}: " if problem.migration else ""
    line = problem.line or 1
    return {
        "description": f"{where}{problem.message}",
        "check_name": problem.id,
        "fingerprint": fingerprint(problem, before),
        "severity": _SEVERITIES[problem.level],
        "location": {
            "path": problem.file or _NOWHERE,
            "lines": {"begin": line, "end": problem.end_line or line},
        },
    }


def fingerprint(problem: Problem, before: int = 0) -> str:
    """Return what identifies a problem, the same in each run.

    ``before`` is the number of problems with the same key before it.
    """
    parts = "\0".join((*problem.key, str(before)))
    return sha256(parts.encode("utf-8", "backslashreplace")).hexdigest()[:40]
