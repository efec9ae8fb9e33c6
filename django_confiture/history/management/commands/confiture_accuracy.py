"""``manage.py confiture_accuracy``: how good past forecasts were."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections, router

from django_confiture.database_errors import COULD_NOT_START, could_not_start
from django_confiture.history import hash_chain
from django_confiture.history.accuracy import Accuracy, Comparison, MigrationForecast, accuracies
from django_confiture.history.management.commands import LEDGER
from django_confiture.history.models import MigrationExecution
from django_confiture.history.stored_forecasts import forecasts_in, observed

_HEADINGS = ("", "count", "median error", "in range", "stated", "p10", "median", "p90")


class Command(BaseCommand):
    """Compare forecasts with real runs."""

    help = (
        "Compares what dry runs forecast with the real runs in the migration history: the error, "
        "and how often a run was in the range. Exit codes: 0 done, 2 the report can't be used."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the database, a report from elsewhere, and the format."""
        parser.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            choices=tuple(connections),
            help='The database that was migrated; "default" by default.',
        )
        parser.add_argument(
            "--forecast",
            type=Path,
            metavar="REPORT.json",
            help="Take the forecasts of this report of migrate_dryrun --format json, such as of a "
            "dry run on a copy, instead of those of dry runs on this database.",
        )
        parser.add_argument("--format", default="text", choices=("text", "json"))

    def handle(self, *_args: object, **options: Any) -> None:
        """Compare, then print."""
        alias, given = options["database"], options["forecast"]
        file = None if given is None else Path(given)
        forecasts = None if file is None else _read_report(file)
        using = router.db_for_read(MigrationExecution)
        with could_not_start(connections[using], **LEDGER):
            comparisons = observed(alias, forecasts)
            problems = hash_chain.verify(using)
        for problem in problems:
            self.stderr.write(f"The ledger was tampered with: {problem.message}.")
        if options["format"] == "json":
            document = {
                "schema_version": 1,
                "database": alias,
                "kinds": [asdict(each) for each in accuracies(comparisons)],
                "comparisons": [_as_document(each) for each in comparisons],
                "problems": [asdict(each) for each in problems],
            }
            self.stdout.write(json.dumps(document, indent=2))
        elif not comparisons:
            self.stdout.write(_nothing(alias, file))
        else:
            self._print(alias, accuracies(comparisons))

    def _print(self, alias: str, found: Sequence[Accuracy]) -> None:
        self.stdout.write(
            self.style.MIGRATE_HEADING(f"Forecasts for {alias!r} and what came of them:")
        )
        rows = [_HEADINGS, *(_row(each) for each in found)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for kind, *figures in rows:
            cells = (cell.rjust(width) for cell, width in zip(figures, widths[1:], strict=True))
            self.stdout.write("  ".join(["", kind.ljust(widths[0]), *cells]))
        self.stdout.write(
            "p10, median, p90: the actual duration as a multiple of the expected one."
        )


def _row(accuracy: Accuracy) -> tuple[str, ...]:
    spread = accuracy.spread
    return (
        accuracy.kind,
        str(accuracy.count),
        f"{accuracy.median_error_percent:.0f} %",
        f"{accuracy.inside_percent:.0f} %",
        f"{accuracy.confidence_percent:.0f} %",
        *(f"{ratio:.2f}" for ratio in (spread.low, spread.median, spread.high)),
    )


def _as_document(comparison: Comparison) -> dict[str, Any]:
    return {**asdict(comparison), "ratio": comparison.ratio, "inside": comparison.inside}


def _nothing(alias: str, file: Path | None) -> str:
    if file is not None:
        return f"Nothing to compare: no migration of {file} that has a forecast ran on {alias!r}."
    return (
        f"Nothing to compare: no migration ran on {alias!r} after a dry run of it there. "
        "For a dry run that was made elsewhere, use --forecast REPORT.json."
    )


def _read_report(file: Path) -> list[MigrationForecast]:
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(
            f"Cannot read {file}: {error.strerror}", returncode=COULD_NOT_START
        ) from error
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{file} is not JSON: {error}", returncode=COULD_NOT_START) from error
    if not isinstance(report, dict) or report.get("schema_version") != 1:
        raise CommandError(
            f"{file} is not a report of this release; make one with: "
            "manage.py migrate_dryrun --format json --output FILE",
            returncode=COULD_NOT_START,
        )
    try:
        return forecasts_in(report["migrations"])
    except (KeyError, TypeError, AttributeError) as error:
        raise CommandError(
            f"{file} is a damaged report: {type(error).__name__}: {error}",
            returncode=COULD_NOT_START,
        ) from error
