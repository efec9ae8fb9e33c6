"""A dry run's report → its row. It needs the reports, so no real migrate may import it."""

from __future__ import annotations

import json
import socket

from django.utils import timezone

from django_confiture.dry_run.results import Report
from django_confiture.history.accuracy import MigrationForecast
from django_confiture.history.hash_chain import hash_of
from django_confiture.history.models import DryRun
from django_confiture.history.run_recorder import os_user, short
from django_confiture.history.stored_forecasts import forecasts_in
from django_confiture.reports import render
from django_confiture.reports.phrases.headline import headline


def rows_of(report: Report, *, shows_values: bool) -> tuple[DryRun, list[MigrationForecast]]:
    """Return what is to be added to the ledger, without its place there.

    A report that has values of rows in it was made to be read once, and is not kept.
    """
    text = render(report, "json")
    kept = "" if shows_values else text
    row = DryRun(
        made_at=timezone.now(),
        database=short(report.database.alias),
        database_name=short(report.database.name),
        server_version=short(report.database.server_version),
        mode=report.mode,
        verdict=report.verdict,
        headline=short(headline(report), 1000),
        migrations="\n".join(each.label for each in report.migrations),
        duration_ms=round(report.duration_ms, 3),
        os_user=os_user(),
        host=short(socket.gethostname()),
        report=kept,
        report_hash=hash_of(kept),
    )
    return row, forecasts_in(json.loads(text)["migrations"])
