"""The rows that a CHECK may refuse of which the release does not know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from django_confiture.dry_run.results.deploy import Action
from django_confiture.dry_run.running_code.catalog.table import Check
from django_confiture.dry_run.running_code.instances.loaded import NotLoadedError
from django_confiture.dry_run.running_code.instances.values import NoValueError
from django_confiture.dry_run.running_code.probes.model_probes import ModelProbes
from django_confiture.dry_run.running_code.probes.probe import Probe
from django_confiture.dry_run.running_code.probes.several_columns import variants_of

_WRITES: tuple[Action, ...] = ("insert", "update")


def of_check(probes: ModelProbes, check: Check) -> Iterator[Probe]:
    """Yield INSERTs and UPDATEs; where it can't be said of which rows, some that can't be tried."""
    try:
        base = probes.values_in_part(check)
    except (NoValueError, NotLoadedError) as error:
        for action in _WRITES:
            yield Probe(action, "in a partition", partial(_fail, NoValueError(str(error))))
        return
    for variant in variants_of(probes.model, check, probes.varied, base):
        for probe in (probes.insert_as_it_is(variant), probes.update(variant)):
            yield replace(probe, constraint=check.name)


def _fail(error: Exception) -> None:
    raise error
