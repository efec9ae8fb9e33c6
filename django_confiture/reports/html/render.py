"""The report as one page that needs no network, no build step, and no JavaScript.

Django's templates escape all text; ``harmless`` first makes control characters visible. The page's
content security policy lets it load and send nothing.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

from django.template import Context, Engine, Template
from django.utils.safestring import SafeString

import django_confiture
from django_confiture.dry_run.results import MigrationResult, Report, ReverseResult
from django_confiture.formatting import duration, listed, size
from django_confiture.reports.html.details import (
    Details,
    details,
    kept_open,
    rows_at_fault,
)
from django_confiture.reports.html.forecast import forecast
from django_confiture.reports.html.text import harmless
from django_confiture.reports.html.timeline import timeline
from django_confiture.reports.phrases import (
    closing,
    deploy,
    fix_command,
    harm,
    headline,
    schema,
)
from django_confiture.reports.phrases import forecast as forecast_phrases
from django_confiture.reports.phrases import preflight as preflight_phrases
from django_confiture.reports.phrases.facts import reason_label
from django_confiture.reports.phrases.problems import own
from django_confiture.reports.phrases.wording import first_line

_TEMPLATES = Path(__file__).parent / "templates"
_LIMIT = 4_950_000
"""Bytes; browsers open a page of this size at once."""

_BLOCKS = "<!-- migrations -->"
"""A placeholder that no escaped text can equal."""

_CALM = ("safe", "skipped")
_LISTED = 30
"""The most harmless migrations that the verdict lists without folding them."""


def render(report: Report, **_options: object) -> str:
    """Return the page."""
    report = harmless(report)
    style, script = _asset("report.css"), _asset("report.js")
    shown = _details(own(report), {each.migration for each in report.exceeded}, "m")
    context = {
        "style": SafeString(style),
        "script": SafeString(script),
        "policy": f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        "version": django_confiture.__version__,
        **_context(report, shown),
    }
    page = _rendered("report.html", context)
    blocks = _blocks(shown, _LIMIT - len(page.encode()), forecast=context["forecast"])
    return page.replace(_BLOCKS, "".join(blocks), 1)


def _blocks(shown: Sequence[Details], room: int, *, forecast: object) -> list[str]:
    """Return the migrations; if they don't fit, shorten them, the worst ones last."""

    def block(each: Details) -> str:
        return _rendered("migration.html", {"each": each, "forecast": forecast})

    blocks = [block(each) for each in shown]
    over = sum(len(each.encode()) for each in blocks) - room
    for at in sorted(range(len(shown)), key=lambda at: (shown[at].worth, -at)):
        if over <= 0:
            break
        long = len(blocks[at].encode())
        blocks[at] = block(shown[at].shortened())
        over -= long - len(blocks[at].encode())
    return blocks


def _rendered(name: str, context: Mapping[str, object]) -> str:
    return str(_template(name).render(Context(context, use_l10n=False)))


@cache
def _template(name: str) -> Template:
    return _engine().get_template(name)


@cache
def _engine() -> Engine:
    return Engine(dirs=[str(_TEMPLATES)], autoescape=True)


@cache
def _asset(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _context(report: Report, shown: Sequence[Details]) -> dict[str, object]:
    migrations = own(report)
    calm = [each for each in shown if each.badge.css in _CALM]
    folded = calm if len(calm) > _LISTED else []
    ranked = [shown[position] for position in harm.ranked(migrations)]
    return {
        "report": report,
        "title": headline.headline(report),
        "subject": headline.subject(report),
        "outcome": headline.outcome(report),
        "order": deploy.decision(report),
        "why_this_order": deploy.why_this_order(report),
        "fixes": fix_command.commands(report),
        "releases": deploy.matrix(report.deploy),
        "not_tried": list(deploy.not_checked(report)),
        "tone": _tone(report),
        "findings": headline.severities(report.measured),
        "where": _where(report),
        "ending": closing.ending(report),
        "failing": [each for each in shown if each.badge.css in ("fails", "stopped")],
        "over": headline.over_budget(report),
        "yielded": [headline.waited(each) for each in report.yielded_to],
        "error": first_line(report.error.message) if report.error is not None else "",
        "verdicts": [each for each in ranked if not folded or each.badge.css not in _CALM],
        "folded": folded,
        "of_folded": _of_folded(folded),
        "number": len(shown),
        "blocks": SafeString(_BLOCKS),
        "timeline": timeline(migrations),
        "forecast": forecast(migrations),
        "whose_times": forecast_phrases.whose_times(report),
        **_limits(report, migrations),
    }


def _of_folded(folded: Sequence[Details]) -> str:
    safe = sum(each.badge.css == "safe" for each in folded)
    idle = len(folded) - safe
    said = [f"{safe} more are safe"] if safe else []
    return listed([*said, *([f"{idle} did not run"] if idle else [])])


_TONES = {
    "passed": "good",
    "failed": "bad",
    "exceeded": "warn",
    "yielded": "warn",
    "stopped": "warn",
}


def _tone(report: Report) -> str:
    if not own(report) and report.error is None:
        return "good"
    harmful = report.verdict == "passed" and headline.has_danger(report.measured)
    return "warn" if harmful else _TONES[report.verdict]


def _details(migrations: Sequence[MigrationResult], over: set[str], prefix: str) -> list[Details]:
    opened = kept_open(migrations, over)
    return [
        details(each, target=f"{prefix}{number}", opened=number in opened, share=share)
        for number, (each, share) in enumerate(
            zip(migrations, harm.shares(migrations), strict=True)
        )
    ]


def _where(report: Report) -> str:
    database = report.database
    name = database.name
    if report.clone is not None:
        name = f"a clone of {name}, made in {duration(report.clone.duration_ms)}"
    return (
        f"On {name}, PostgreSQL {database.server_version}, {size(database.size_bytes)}; "
        f"took {duration(report.duration_ms)}."
    )


# The limits of the report.


def _limits(report: Report, migrations: Sequence[MigrationResult]) -> dict[str, object]:
    reverse, preflight = report.reverse, report.preflight
    return {
        "coverage": closing.coverage(report),
        "not_exact": list(_not_exact(migrations)),
        "first": [each.label for each in report.migrations if each not in migrations],
        "dead": size(report.dead_bytes) if report.dead_bytes else "",
        "reversed": _reversed(reverse) if reverse is not None else None,
        "undone": _details(reverse.migrations, set(), "r") if reverse is not None else [],
        "differences": list(schema.lines(reverse.differences)) if reverse else [],
        "reverse_message": first_line(reverse.error.message) if reverse and reverse.error else "",
        "reverse_rows": _reverse_rows(report),
        "preflight": _preflight(report) if preflight is not None else None,
    }


def _not_exact(migrations: Sequence[MigrationResult]) -> Iterator[tuple[str, str, str, str, str]]:
    for number, migration in enumerate(migrations):
        for operation in migration.operations:
            if operation.rehearsed != "exact":
                yield (
                    f"m{number}",
                    migration.label,
                    operation.description,
                    reason_label(operation),
                    operation.reason,
                )


def _reversed(reverse: ReverseResult) -> tuple[str, str]:
    tone = "good" if reverse.outcome == "same" else "bad"
    return tone, f"{closing.undone(reverse)}."


def _reverse_rows(report: Report) -> str:
    failing = (
        [e for e in report.reverse.migrations if e.error is not None] if report.reverse else []
    )
    return rows_at_fault(failing[0]) if failing else ""


def _preflight(report: Report) -> dict[str, object]:
    preflight = report.preflight
    assert preflight is not None
    said = [("touches", each) for each in preflight_phrases.unknown(preflight)]
    said += [("at work", each) for each in preflight_phrases.others(preflight)]
    if preflight.dead_space:
        said += [("leaves", each) for each in preflight_phrases.dead_space(preflight)]
    said += [("limits", each) for each in preflight_phrases.limits(preflight)]
    locks = preflight.locks
    room = f"{locks.taken:,} of {locks.capacity:,} were taken"
    said.append(("locks", f"needs about {locks.needed:,}; {room}"))
    return {
        "said": said,
        "tables": [
            (
                each.relation,
                "unknown" if each.rows is None else f"{each.rows:,}",
                size(each.size_bytes),
                f"{each.sessions:,}",
            )
            for each in preflight.tables[:_TABLES]
        ],
        "more": max(len(preflight.tables) - _TABLES, 0),
    }


_TABLES = 50
