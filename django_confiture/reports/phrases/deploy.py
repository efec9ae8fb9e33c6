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


def order(report: Report) -> str:
    """Return the order in one line; ``""`` where there is nothing to say of it."""
    deploy = report.deploy
    old, new = _cannot(deploy.old_code), _cannot(deploy.new_code)
    match deploy.order:
        case "either":
            line = "Either order: the running release and the new one live with both schemas"
        case "migrate_first":
            line = "Migrate first, then deploy: the running release lives with the new schema"
            line += f", and the new one can't {new} before"
        case "code_first":
            line = "Deploy first, then migrate: the new release lives with the old schema"
            line += f", and the running one can't {old} after"
        case "neither":
            line = f"Neither order: the running release can't {old}; the new one can't {new} before"
            line += ". Split it: two releases are needed"
        case _:
            return ""
    return line + _never_cured(deploy.new_code)


def _cannot(breaks: Sequence[Break]) -> str:
    tables = dict.fromkeys(each.table for each in breaks)
    parts = []
    for table in list(tables)[:_NAMED]:
        own = [each for each in breaks if each.table == table]
        actions = listed([each.action.upper() for each in own])
        parts.append(f"{actions} {table} ({why(own[0])})")
    more = len(tables) - len(parts)
    return "; ".join([*parts, *([f"and so on with {count(more, 'more table')}"] if more else [])])


def why(found: Break) -> str:
    """Return why it fails, in the fewest words."""
    names = re.findall(r'"([^"]+)"', found.error)
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


def _never_cured(breaks: Sequence[NewCodeBreak]) -> str:
    left = [each for each in breaks if each.still_after]
    if not left:
        return ""
    return f". No order helps: after the plan the new one still can't {_cannot(left)}"


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
class Row:
    """One model in the matrix of releases: a cell for each action."""

    model: str
    release: str
    cells: tuple[tuple[str, str, str], ...]
    """(``good`` or ``bad``, what it says, the error)."""


def matrix(deploy: Deploy) -> tuple[Row, ...]:
    """Return the models that break, the running release first, with a cell for each action."""
    rows = [*_rows("running", deploy.old_code), *_rows("new", deploy.new_code)]
    return tuple(rows)


def _rows(release: str, breaks: Sequence[Break]) -> Iterator[Row]:
    for name in dict.fromkeys(each.model or each.table for each in breaks):
        own = {each.action: each for each in breaks if name in (each.model, each.table)}
        yield Row(name, release, tuple(_cell(own.get(action)) for action in ACTIONS[:4]))


def _cell(found: Break | None) -> tuple[str, str, str]:
    if found is None:
        return "good", "✓", ""
    if found.migration is not None:
        return "bad", f"✗ after {found.migration}", first_line(found.error)
    still = isinstance(found, NewCodeBreak) and found.still_after
    return "bad", "✗ before and after" if still else "✗ before", first_line(found.error)
