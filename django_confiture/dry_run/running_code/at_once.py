"""What many models of a release do first, tried in a few round trips: where tables have no rows.

A statement about a table that is not there fails as soon as it is parsed. One about a table
without rows that has just been made mostly is all that the ORM sends, so it need not see an
answer. Both are taken from the ORM unsent, and the server tries all of them in one go. Whatever
that leaves open is tried in full by the caller.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice

from django_confiture.dry_run.results.deploy import Action
from django_confiture.dry_run.running_code.failure import Failure
from django_confiture.dry_run.running_code.models.release import tables_of
from django_confiture.dry_run.running_code.probes.probe import Probe
from django_confiture.dry_run.running_code.releases import Tools
from django_confiture.dry_run.running_code.sending.connection import ProbeConnection
from django_confiture.dry_run.running_code.sending.statements import FirstStatement
from django_confiture.dry_run.running_code.sending.undone_batches import failures
from django_confiture.dry_run.running_code.trial import Trial

_Asked = tuple[Trial, Probe, FirstStatement]


def refused(
    tools: Tools, trials: Iterable[Trial]
) -> Mapping[Trial, Sequence[tuple[Probe, Failure]]]:
    """Return what fails of models whose tables are not there, for that very reason."""
    asked = [
        (trial, probe, statement)
        for trial in trials
        if tools.catalog.oid_of(trial.model._meta.db_table) is None
        for probe in _first_of_each(trial)
        if (statement := tools.connection.first_statement(probe.confirmed_by or probe.run))
    ]
    tools.connection.undo()
    found: defaultdict[Trial, list[tuple[Probe, Failure]]] = defaultdict(list)
    for trial, probe, failure in _tried(tools, asked):
        if failure is not None and failure.is_of_names:
            found[trial].append((probe, failure))
    return found


def passing(
    tools: Tools, trials: Iterable[Trial], as_models: Set[str]
) -> Mapping[Trial, Set[Action]]:
    """Return the actions whose first probe failed before the plan and passes now.

    That is tried where a table has no row: one that the plan has made. Where it has done so with
    the very statements of the models (``as_models``), there is nothing to try.
    """
    made = [trial for trial in trials if trial.failed and _has_no_row(tools, trial)]
    found: defaultdict[Trial, set[Action]] = defaultdict(set)
    for trial in [each for each in made if _is_made_for_it(tools, each, as_models)]:
        found[trial] |= {probe.action for probe in first_failed(trial)}
        made.remove(trial)
    if not made:
        return found
    oids = [tools.catalog.oid_of(trial.model._meta.db_table) for trial in made]
    connection, rows = tools.connection, tools.rows
    with connection.keeping() as all_kept, rows.keeping([oid for oid in oids if oid is not None]):
        with rows.lending():
            asked = list(_asked(tools, made))
        rows.settle()
        all_kept()
        for trial, probe, failure in _tried(tools, asked):
            if failure is None:
                found[trial].add(probe.action)
        for trial in made:
            for probe in first_failed(trial):
                several = not _sends_one(trial, probe)
                if several and all_pass(connection, [probe]):
                    found[trial].add(probe.action)
    return found


def all_pass(connection: ProbeConnection, probes: Collection[Probe]) -> bool:
    """Return whether probes pass one after the other, in few round trips; where not, one fails."""
    deletes = [probe for probe in probes if probe.action == "delete"]
    others = [probe for probe in probes if probe.action != "delete"]
    return _pass(connection, others, each_finds=True) and _pass(
        connection, deletes, each_finds=False
    )


def _pass(connection: ProbeConnection, probes: Collection[Probe], *, each_finds: bool) -> bool:
    def run() -> None:
        for probe in probes:
            probe.run()

    return not probes or connection.together(run, each_finds=each_finds) is not None


def first_failed(trial: Trial) -> Collection[Probe]:
    """Return the first probe of each action that failed before the plan."""
    return {probe.action: probe for probe, _failure in reversed(trial.failed)}.values()


def _has_no_row(tools: Tools, trial: Trial) -> bool:
    names = list(tables_of(trial.model))
    tables = list(tools.catalog.tables(names))
    return len(names) == len(tables) == 1 and tables[0].is_empty


def _is_made_for_it(tools: Tools, trial: Trial, as_models: Set[str]) -> bool:
    """Whether all that its actions come to was made for them, and nothing has been added since."""
    if not (trial.tables <= as_models and all(each.is_of_names for _, each in trial.failed)):
        return False
    columns = {each.column for each in trial.model._meta.local_concrete_fields}
    own = tools.catalog.oid_of(trial.model._meta.db_table)
    return all(
        not (table.guarded or table.hides_rows)
        and (table.oid != own or table.columns.keys() == columns)
        for table in tools.catalog.tables(trial.tables)
    )


def _asked(tools: Tools, trials: Iterable[Trial]) -> Iterator[_Asked]:
    for trial in trials:
        for probe in first_failed(trial):
            if _sends_one(trial, probe):
                statement = tools.connection.first_statement(probe.run)
                if statement is not None:
                    yield trial, probe, statement


def _tried(tools: Tools, asked: Sequence[_Asked]) -> Iterator[tuple[Trial, Probe, Failure | None]]:
    found = failures(tools.connection, [statement for _trial, _probe, statement in asked])
    for (trial, probe, _statement), failure in zip(asked, found, strict=True):
        yield trial, probe, failure


def _first_of_each(trial: Trial) -> Iterator[Probe]:
    """Yield the probe that comes first for each action."""
    probes = trial.probes
    variant = next(probes.variants())
    if not probes.deletes_alone:
        yield next(probes.selects())
        yield probes.insert(variant)
        yield from islice(probes.updates([variant]), 1)
    yield next(trial.deletes.each())


def _sends_one(trial: Trial, probe: Probe) -> bool:
    """Return whether the first statement of a probe is all that it sends."""
    if probe.action != "delete":
        return True
    return not (trial.deletes.dependents.exist or trial.model._meta.private_fields)
