"""The ledger's row of a dry run, made from the signal ``dry_run_finished``."""

from __future__ import annotations

import json
import socket

from django.utils import timezone

from django_confiture.history.accuracy import MigrationForecast
from django_confiture.history.hash_chain import hash_of
from django_confiture.history.models import DryRun
from django_confiture.history.plan_fingerprint import fingerprint_of
from django_confiture.history.run_recorder import os_user, short
from django_confiture.history.stored_forecasts import forecasts_in


def rows_of(
    report_json: str, *, headline: str, verdict: str, shows_values: bool
) -> tuple[DryRun, list[MigrationForecast]]:
    """Return the row and its forecasts, not yet placed in the ledger.

    A report that shows values of rows is not kept.
    """
    document = json.loads(report_json)
    database, migrations = document["database"], document["migrations"]
    kept = "" if shows_values else report_json
    row = DryRun(
        made_at=timezone.now(),
        database=short(database["alias"]),
        database_name=short(database["name"]),
        server_version=short(database["server_version"]),
        mode=document["mode"],
        verdict=verdict,
        headline=short(headline, 1000),
        migrations="\n".join(f"{each['app_label']}.{each['name']}" for each in migrations),
        duration_ms=document["duration_ms"],
        os_user=os_user(),
        host=short(socket.gethostname()),
        report=kept,
        report_hash=hash_of(kept),
        plan=fingerprint_of((f"{m['app_label']}.{m['name']}", m["direction"]) for m in migrations),
    )
    return row, forecasts_in(migrations)
