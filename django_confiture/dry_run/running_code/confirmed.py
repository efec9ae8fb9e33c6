"""Whether what fails as a probe fails as the release itself sends it."""

from __future__ import annotations

from django.db.models import Model

from django_confiture.dry_run.running_code.catalog.tables import TableCatalog
from django_confiture.dry_run.running_code.failure import Failure
from django_confiture.dry_run.running_code.models.release import automatic_keys
from django_confiture.dry_run.running_code.probes.probe import Probe
from django_confiture.dry_run.running_code.sending.connection import ProbeConnection
from django_confiture.dry_run.running_code.sending.sequences import sequences_kept


def confirmed(
    connection: ProbeConnection,
    catalog: TableCatalog,
    model: type[Model],
    probe: Probe,
    failure: Failure,
) -> Failure | None:
    """Return why it fails then, None where it passes."""
    if probe.confirmed_by is None:
        return failure
    keys = automatic_keys(model) if probe.action == "insert" else ()
    names = set() if failure.is_of_names else {each.model._meta.db_table for each in keys}
    with sequences_kept(connection.session, map(catalog.oid_of, names)):
        return connection.attempt(probe.confirmed_by)  # the parser moves no sequence
