"""SARIF 2.1.0, for code scanning."""

from __future__ import annotations

import json
from collections import Counter
from urllib.parse import quote

import django_confiture
from django_confiture.dry_run.results import Report
from django_confiture.reports.ci.gitlab import fingerprint
from django_confiture.reports.phrases.headline import headline
from django_confiture.reports.phrases.problems import Level, Problem, problems

_LEVELS: dict[Level, str] = {
    "failure": "error",
    "exceeded": "error",
    "danger": "error",
    "warning": "warning",
    "notice": "note",
}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render(report: Report, **_options: object) -> str:
    """Return one run; a silenced finding is a suppressed result with its reason."""
    found = problems(report)
    rules = list(dict.fromkeys(problem.id for problem in found))
    seen: Counter[tuple[str, ...]] = Counter()
    results = []
    for problem in found:
        results.append(_result(problem, rules.index(problem.id), seen[problem.key]))
        seen[problem.key] += 1
    run = {
        "tool": {
            "driver": {
                "name": "django-confiture",
                "version": django_confiture.__version__,
                "rules": [_rule(name, found) for name in rules],
            }
        },
        "invocations": [
            {
                "executionSuccessful": report.outcome in ("passed", "exceeded"),
                "exitCodeDescription": headline(report),
            }
        ],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(name: str, found: tuple[Problem, ...]) -> dict[str, object]:
    worst = next(problem for problem in found if problem.id == name)
    return {
        "id": name,
        "shortDescription": {"text": name.replace("-", " ").capitalize()},
        "defaultConfiguration": {"level": _LEVELS[worst.level]},
        "properties": {"tags": ["migrations", "postgresql"]},
    }


def _result(problem: Problem, rule: int, before: int) -> dict[str, object]:
    where = f"{problem.migration}: " if problem.migration else ""
    advice = f"\n\nInstead:\n\n{problem.advice}" if problem.advice else ""
    result: dict[str, object] = {
        "ruleId": problem.id,
        "ruleIndex": rule,
        "level": _LEVELS[problem.level],
        "message": {"text": f"{where}{problem.message}{advice}"},
        "partialFingerprints": {"confiture/v1": fingerprint(problem, before)},
    }
    if problem.file is not None:
        line = problem.line or 1
        result["locations"] = [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(problem.file, safe="/", errors="replace")},
                    "region": {"startLine": line, "endLine": problem.end_line or line},
                }
            }
        ]
    if problem.silenced is not None:
        result["suppressions"] = [{"kind": "inSource", "justification": problem.silenced}]
    return result
