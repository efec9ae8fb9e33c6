"""Annotations of a GitHub Actions run: one workflow command per line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django_confiture.dry_run.results import Report
from django_confiture.formatting import count
from django_confiture.reports.phrases.headline import headline
from django_confiture.reports.phrases.problems import Level, Problem, problems
from django_confiture.reports.phrases.wording import clipped

_COMMANDS: dict[Level, str] = {
    "failure": "error",
    "exceeded": "error",
    "danger": "error",
    "warning": "warning",
    "notice": "notice",
}
_SHOWN = 10
"""Annotations of one kind that GitHub shows per step; it drops the rest silently."""
_TITLE, _MESSAGE = 200, 4000


def render(report: Report, **_options: object) -> str:
    """Return the commands: the verdict, then the problems, the worst first."""
    return "".join(f"{line}\n" for line in _commands(report))


def _commands(report: Report) -> Iterator[str]:
    yield command("notice", headline(report), title="migrate_dryrun")
    found = [each for each in problems(report) if each.silenced is None]
    for kind, room in (("error", _SHOWN), ("warning", _SHOWN), ("notice", _SHOWN - 1)):
        yield from _of_kind(kind, [p for p in found if _COMMANDS[p.level] == kind], room)


def _of_kind(kind: str, found: Sequence[Problem], room: int) -> Iterator[str]:
    shown = found if len(found) <= room else found[: room - 1]
    for problem in shown:
        yield command(
            kind,
            problem.message,
            title=problem.title,
            file=problem.file,
            line=problem.line,
            endLine=problem.end_line,
        )
    if rest := found[len(shown) :]:
        names = "\n".join(f"{each.title}: {each.message}" for each in rest)
        title = f"{len(rest)} more: GitHub shows {_SHOWN} of a kind"
        yield command(kind, f"{count(len(rest), 'more problem')}:\n{names}", title=title)


def command(kind: str, message: str, **properties: str | int | None) -> str:
    """Return one workflow command, without the properties that are None."""
    given = ",".join(
        f"{name}={_property(str(value))}"
        for name, value in properties.items()
        if value is not None and (name != "title" or value)
    )
    return f"::{kind} {given}::{_data(clipped(message, _MESSAGE))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(clipped(text, _TITLE)).replace(":", "%3A").replace(",", "%2C")
