"""What could not be tried before the plan, and is refused after it whatever the values are.

A CHECK may take none of the values that can be made up. PostgreSQL looks at columns, rights and
NOT NULL before it asks the CHECK: what it refuses for those is known all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

from django_confiture.dry_run.results.deploy import Action
from django_confiture.dry_run.running_code.failure import Failure
from django_confiture.dry_run.running_code.probes.made_up import is_of_schema
from django_confiture.dry_run.running_code.probes.probe import Probe
from django_confiture.dry_run.running_code.sending.connection import ProbeConnection
from django_confiture.dry_run.running_code.trial import Trial


def refused_otherwise(
    connection: ProbeConnection, trial: Trial, actions: Set[Action]
) -> Iterator[tuple[Probe, Failure]]:
    """Yield those of ``actions`` that failed for their values, with why the schema refuses them."""
    left = set(actions) - {probe.action for probe in trial.passed}
    for probe, before in trial.failed:
        is_of_values = before.is_of_values and not is_of_schema(trial.model, before)
        if probe.action not in left or not is_of_values:
            continue
        left.discard(probe.action)
        now = connection.attempt(probe.run)
        if now is not None:
            now = trial.confirmed(probe, now)
        if now is not None and not now.gave_up and is_of_schema(trial.model, now):
            yield probe, now
