"""In which order to migrate and to deploy, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django_confiture.dry_run.results import Report
from django_confiture.dry_run.results.deploy import NOTHING, Action, Break, Deploy, NewCodeBreak
from django_confiture.formatting import count, listed
from django_confiture.reports.phrases.wording import first_line

ACTIONS: tuple[Action, ...] = ("select", "insert", "update", "delete", "query")
_NAMED = 2
"""Tables of one release that the line names."""
_SHOWN = 20
_QUOTED = re.compile(r'"([^"]+)"')

_DECISIONS = {
    "either": "Either order: the running release and the new one live with both schemas",
    "migrate_first": "Migrate first, then deploy: the running release lives with the new schema",
    "code_first": "Deploy first, then migrate: the new release lives with the old schema",
    "neither": "Neither order works: split it, two releases are needed",
}


def order(report: Report) -> str:
    """Return the order and why in one line; ``""`` where there is nothing to say of it."""
    return ". ".join(filter(None, [decision(report), why_this_order(report)]))


def decision(report: Report) -> str:
    """Return the order alone, or that none helps; ``""`` where there is nothing to say of it."""
    line = _DECISIONS.get(report.deploy.order, "")
    if line and report.deploy.order != "neither" and report.outcome in ("failed", "yielded"):
        line += ", as far as the plan got"
    if line and _never_cured(report):
        line += ". But no order helps: the new release fails after the plan as well"
    return line


def why_this_order(report: Report) -> str:
    """Return what each release can't do on the other one's schema."""
    return ". ".join(reasons(report))


def reasons(report: Report) -> list[str]:
    """Return a sentence for each release that can't do something; the running one's is first."""
    deploy = report.deploy
    if deploy.order not in _DECISIONS:
        return []
    sentences = []
    if deploy.order in ("code_first", "neither"):
        sentences.append(f"After the plan the running release can't {_cannot(deploy.old_code)}")
    if deploy.order in ("migrate_first", "neither"):
        sentences.append(f"Before the plan the new release can't {_cannot(deploy.new_code)}")
    if never_cured := _never_cured(report):
        sentences.append(f"Even after the plan the new release can't {_cannot(never_cured)}")
    return sentences


def _never_cured(report: Report) -> list[NewCodeBreak]:
    return [each for each in report.deploy.new_code if each.still_after]


def _cannot(breaks: Sequence[Break]) -> str:
    worst_first = sorted(breaks, key=lambda each: ACTIONS.index(each.action))
    tables = dict.fromkeys(each.table for each in worst_first)
    missing = list(dict.fromkeys(each.table for each in worst_first if _is_missing(each)))
    parts = []
    for table in [each for each in tables if each not in missing][:_NAMED]:
        own = [each for each in worst_first if each.table == table]
        parts.append(f"{_actions(own, table)} ({why(own[0])})")
    more = len(tables) - len(parts) - len(missing)
    if missing:
        parts.append(_use(missing))
    if more:
        return f"{', '.join(parts)}, and so on for {count(more, 'more table')}"
    return " or ".join(parts)


def _is_missing(found: Break) -> bool:
    """Return whether it fails because the table itself does not exist."""
    names = [each.rpartition(".")[2] for each in _QUOTED.findall(found.error)]
    return found.sqlstate == "42P01" and found.table.rpartition(".")[2].strip('"') in names


def _use(missing: Sequence[str]) -> str:
    more = len(missing) - _NAMED
    names = [*missing[:_NAMED], *([count(more, "other table")] if more > 0 else [])]
    them = "it doesn't exist" if len(missing) == 1 else "they don't exist"
    return f"use {listed(names, word='or')} ({them})"


def _actions(breaks: Sequence[Break], table: str) -> str:
    actions = list(dict.fromkeys(each.action.upper() for each in breaks))
    if actions == ["QUERY"]:
        return f"run a query of {table}"
    if actions == ["INSERT"]:
        return f"INSERT into {table}"
    return f"{listed(actions, word='or')} rows of {table}"


def why(found: Break) -> str:
    """Return why it fails, in the fewest words."""
    names = _QUOTED.findall(found.error)
    gone = re.search(r"column (?:\"?[\w$]+\"?\.)?\"?([\w$]+)\"?", found.error)
    match found.sqlstate:
        case "23502" if names:
            return f"{names[0]} is NOT NULL and has no default in the database"
        case "42703" if gone is not None:
            return f"there is no column {gone[1]}"
        case "42P01":
            return f"there is no table {names[0]}" if names else first_line(found.error)
        case "23503" if found.action == "delete" and len(names) > 2:
            return f"rows of {names[-1]} refer to it"
        case "22001" | "22003":
            return "a value is too large for the column's type"
        case "23505" | "23514" | "23P01" if names:
            return f"{names[-1]} refuses what was allowed"
    return first_line(found.error)


def new_code(report: Report) -> Iterator[str]:
    """Yield what the new release can't do before the plan; the running one's are findings."""
    shown = report.deploy.new_code[:_SHOWN]
    for each in shown:
        after = "; nor after" if each.still_after else ""
        who = each.model or each.table
        code = f" ({each.sqlstate})" if each.sqlstate else ""
        yield f"{each.action.upper()} of {who}: {first_line(each.error)}{code}{after}"
    if more := len(report.deploy.new_code) - len(shown):
        yield f"and {more} more, in the JSON report"


def not_checked(report: Report) -> Iterator[str]:
    """Yield what could not be tried, and why."""
    texts = [each for each in report.deploy.not_checked if not each.startswith(NOTHING)]
    yield from texts[:_SHOWN]
    if len(texts) > _SHOWN:
        yield f"and {len(texts) - _SHOWN} more, in the JSON report"


@dataclass(frozen=True)
class MatrixRow:
    """One model in the matrix of releases: a cell for each action."""

    model: str
    release: str
    cells: tuple[tuple[str, str, str], ...]
    """(``good`` or ``bad``, what it says, the error)."""


def matrix(deploy: Deploy) -> tuple[MatrixRow, ...]:
    """Return the models that break, the running release first, with a cell for each action."""
    rows = [
        *_rows_of_release("running", deploy.old_code),
        *_rows_of_release("new", deploy.new_code),
    ]
    return tuple(rows)


def _rows_of_release(release: str, breaks: Sequence[Break]) -> Iterator[MatrixRow]:
    for name in dict.fromkeys(each.model or each.table for each in breaks):
        own = {each.action: each for each in breaks if name in (each.model, each.table)}
        yield MatrixRow(name, release, tuple(_cell(own.get(action)) for action in ACTIONS[:4]))


def _cell(found: Break | None) -> tuple[str, str, str]:
    if found is None:
        return "good", "✓", ""
    if found.migration is not None:
        return "bad", f"✗ after {found.migration}", first_line(found.error)
    still = isinstance(found, NewCodeBreak) and found.still_after
    return "bad", "✗ before and after" if still else "✗ before", first_line(found.error)
