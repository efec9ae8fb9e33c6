"""The probes of one model of one release, tried on one schema and then on another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from functools import cached_property

from django_confiture.dry_run.results.deploy import Action
from django_confiture.dry_run.running_code.catalog.facts import Changes
from django_confiture.dry_run.running_code.catalog.table import ForeignKey, Table
from django_confiture.dry_run.running_code.catalog.tables import TableCatalog
from django_confiture.dry_run.running_code.confirmed import confirmed
from django_confiture.dry_run.running_code.failure import Failure
from django_confiture.dry_run.running_code.instances.instances import Variant
from django_confiture.dry_run.running_code.instances.repairs import repaired
from django_confiture.dry_run.running_code.models.ordering import tables_of_order
from django_confiture.dry_run.running_code.models.own_fields import are_read_by_it
from django_confiture.dry_run.running_code.models.release import tables_of
from django_confiture.dry_run.running_code.probes.delete_probes import DeleteProbes
from django_confiture.dry_run.running_code.probes.later import later_probes, unknown_probes
from django_confiture.dry_run.running_code.probes.made_up import is_of_values
from django_confiture.dry_run.running_code.probes.model_probes import ModelProbes
from django_confiture.dry_run.running_code.probes.other_types import Fields, of_other_types
from django_confiture.dry_run.running_code.probes.probe import (
    DELETES,
    EVERY_ACTION,
    OF_ROWS,
    WRITES,
    Probe,
)
from django_confiture.dry_run.running_code.probes.served_keys import NextKey
from django_confiture.dry_run.running_code.probes.shape import Shape, shape_of
from django_confiture.dry_run.running_code.probes.taken_before import taken_by
from django_confiture.dry_run.running_code.sending.connection import ProbeConnection
from django_confiture.dry_run.running_code.sending.scripts import PassedScripts, Recorded
from django_confiture.dry_run.running_code.sending.statements import Script
from django_confiture.sql_text import names_in

Failed = tuple[Probe, Failure]


class Trial:
    """Tries the probes of one model, and remembers what came of each."""

    def __init__(
        self,
        probes: ModelProbes,
        deletes: DeleteProbes,
        connection: ProbeConnection,
        catalog: TableCatalog,
    ) -> None:
        self.model = probes.model
        self.probes = probes
        self.deletes = deletes
        self._connection = connection
        self._catalog = catalog
        self._read = frozenset((*tables_of(self.model), *tables_of_order(self.model)))
        self._scripts = PassedScripts(connection)
        self.passed: list[Probe] = []
        self.failed: list[tuple[Probe, Failure]] = []
        self._referred: set[ForeignKey] = set()
        """The unknown foreign keys that a deletion was tried with."""

    @cached_property
    def tables(self) -> frozenset[str]:
        """The tables that the trial reaches, as Django names them."""
        return self.deletes.dependents.reached | self._read

    @property
    def words(self) -> frozenset[str]:
        """What every statement about the model names."""
        return names_in(*self.tables).union(self.tables)

    def affected(self, changes: Changes, code: Set[int]) -> Set[Action]:
        """Return the actions that come to what changed, or to a table of ``code``.

        Those are OIDs: what such a table runs may come to any table.
        """
        if not changes.own.isdisjoint(self._read) or self._is_any_of(self._read, code):
            return EVERY_ACTION
        reached = self.deletes.dependents.reached
        changed = not reached.isdisjoint(changes.own | changes.referring)
        return DELETES if changed or self._is_any_of(reached, code) else frozenset()

    def _is_any_of(self, names: Set[str], oids: Set[int]) -> bool:
        return bool(oids) and any(self._catalog.oid_of(name) in oids for name in names)

    @property
    def awaited(self) -> Sequence[ForeignKey]:
        """The foreign keys, unknown to the release, of which no row was there to be tried."""
        return [
            key
            for name, key in self._last_seen.references.items()
            if name not in self._shape_before.references and key not in self._referred
        ]

    # The first schema.

    def start(self, refused: Iterable[Failed] = (), known: Set[Action] = frozenset()) -> None:
        """Try everything for the first time: at once, and if that fails one by one.

        ``refused`` is what has failed already, and all others of its action with it; ``known``
        are actions that pass, as is known from another release that sends the same.
        """
        self.failed += refused
        self._shape_before = self._last_seen = self._last_passed = self._shape()
        self._recorded = Recorded()
        if not self.probes.deletes_alone:
            if known.isdisjoint(OF_ROWS) or self._shape_before.has_unknown:
                self.capture()
            self._start_part(OF_ROWS, known, self.probes.rows_together, self.probes.each)
        self._start_part(DELETES, known, self.deletes.together, self.deletes.each)
        self._scripts.keep_each(self._recorded)

    def _start_part(
        self,
        actions: frozenset[Action],
        known: Set[Action],
        together: Callable[[], None],
        each: Callable[[], Iterator[Probe]],
    ) -> None:
        """Try some actions at once; where that fails, or can only fail, one by one."""
        if not known.isdisjoint(actions):
            self.passed += [probe for probe in each() if probe.action in known]
            return
        finds = actions is OF_ROWS  # a deletion sets to NULL what refers, if anything does
        can_pass = self._is_there and (finds or self.deletes.dependents.are_there)
        script = self._connection.together(together, each_finds=finds) if can_pass else None
        if script is not None:
            self.passed += each()
            self._scripts.keep(actions, script)
        elif finds:
            self._rows_one_by_one()
        else:
            list(map(self._try, each()))

    @property
    def _is_there(self) -> bool:
        return self._catalog.oid_of(self.model._meta.db_table) is not None

    def capture(self) -> None:
        """Remember rows that are there now."""
        if self._is_there:
            self._connection.attempt(self.probes.capture)

    def _rows_one_by_one(self) -> None:
        list(map(self._try, self.probes.selects()))
        taken = list(self._inserted())
        refused = [each for each in self.probes.variants() if each not in taken]
        for probe in self.probes.updates([*taken, *refused]):
            if self._try(probe) is not None and probe.empties_all:
                list(map(self._try, self.probes.emptying_one()))

    def _try(self, probe: Probe) -> Failure | None:
        """Try a probe, unless the schema itself refuses what it does."""
        for earlier, failure in self.failed:
            if earlier.action == probe.action and failure.is_of_names:
                return failure
        failed, script = self._connection.recorded(probe.run)
        if failed and (failed.is_of_names or failed.is_of_generated or probe.action == "select"):
            failed = self.confirmed(probe, failed)  # which moves no sequence
        if failed is None:
            self._note_passed(probe, script)
        elif not (probe.meets_another_row(failed.sqlstate) or probe.is_beside(failed.constraint)):
            self.failed.append((probe, failed))
        return failed

    def confirmed(self, probe: Probe, failure: Failure) -> Failure | None:
        """Return why it fails as the release sends it, None where it passes then."""
        return confirmed(self._connection, self._catalog, self.model, probe, failure)

    def _note_passed(self, probe: Probe, script: Script | None) -> None:
        self.passed.append(probe)
        self._recorded.note(probe.action, script)

    def _inserted(self) -> Iterator[Variant]:
        """Try INSERTs; yield the variants that the table takes."""
        taken = [each for each in map(self._taken, self.probes.variants()) if each is not None]
        for probe in self.probes.more_inserts(taken) if taken else ():
            self._try(probe)
        yield from taken

    def _taken(self, variant: Variant) -> Variant | None:
        failure = self._try(self.probes.insert(variant))
        if failure is None:
            return variant
        varied = self.probes.varied
        for other in repaired(self.model, self._tables(), varied, variant, failure):
            probe = self.probes.insert(other)
            failed, script = self._connection.recorded(probe.run)
            if failed is None:
                self._note_passed(probe, script)
                return other
        return None

    def try_unknown(self, refers: Callable[[ForeignKey, Action], bool], retyped: Fields) -> None:
        """Try what only a schema gives a reason for that the release does not know.

        Rows that other tables refer to, if one ``refers``; a key that the server has no default
        for; values that CHECKs and unique indexes may refuse; columns of another type.
        """
        for key in self.deletes.dependents.unknown_references():
            if refers(key, "delete") and self.deletes.may_come_to(key):
                self._try(self.deletes.referred(key))
        if not self.probes.deletes_alone:
            unknown = unknown_probes(self.probes, self._shape_before, refers)
            for probe in (*unknown, *of_other_types(self.probes, retyped)):
                self._try(probe)

    # The other schema.

    def again(
        self,
        actions: Set[Action],
        may_refer: Callable[[ForeignKey, Action], bool],
        known: Set[Action],
        next_key: NextKey | None = None,
    ) -> Iterator[tuple[Probe, Failure]]:
        """Yield what passed on the first schema and fails on this one, of some ``actions``.

        ``may_refer`` says whether there can be rows with a foreign key unknown to the release,
        ``known`` what is broken already: it is not tried again. ``next_key`` is the key that the
        server would make next if it can't be made.
        """
        now = self._last_seen = self._shape() if actions else self._last_seen
        broken: set[Action] = set(known)
        left = self._left(now, actions - broken)
        recorded = Recorded()
        passed = [each for each in self.passed if each.action in left]
        shapes = self._shape_before, now
        later = later_probes(self.probes, shapes, self.passed, actions, next_key, may_refer)
        new = [*later, *self._deletes_since(actions, known, may_refer)]
        for probe in (*passed, *new):
            if probe.action in broken:
                continue
            failure, script = self._connection.recorded(probe.run)
            if failure is not None:
                failure = self.confirmed(probe, failure)
            if failure is not None and not self._says_nothing(probe, failure):
                if not (failure.gave_up or probe.is_untold):
                    broken.add(probe.action)
                yield probe, failure
            if probe in passed:
                recorded.note(probe.action, script)
        self._scripts.keep_each(recorded)
        if actions >= OF_ROWS:
            self._last_passed = now

    def _left(self, now: Shape, actions: Set[Action]) -> Set[Action]:
        """Return the actions that may fail: those whose script has not passed as it is."""
        wanted = actions & {probe.action for probe in self.passed}
        # A script reads nothing.
        other: Set[Action] = {"select"} if are_read_by_it(self.model) else set()
        if now.of_rows != self._last_passed.of_rows:
            other = EVERY_ACTION if self.deletes.reads_first else OF_ROWS
        if self.deletes.dependents.guarded:
            other |= DELETES  # a script made no row that was deleted unread
        for table in self._tables():  # a script does not see that no row was written
            other |= {each for each in WRITES if each in table.guarded}
            other |= {"update"} if table.hides_rows else set()
        return wanted - self._scripts.passed(wanted - other)

    def _deletes_since(
        self,
        actions: Set[Action],
        known: Set[Action],
        may_refer: Callable[[ForeignKey, Action], bool],
    ) -> Iterator[Probe]:
        """Yield the deletions that only the new schema gives a reason for."""
        if "delete" in actions and self.deletes.dependents.differ:
            yield from self.deletes.of_first_rows()
        for key in () if "delete" in known else self.awaited:
            if may_refer(key, "delete") and self.deletes.may_come_to(key):
                self._referred.add(key)
                yield self.deletes.referred(key)

    # Both.

    def _says_nothing(self, probe: Probe, failure: Failure) -> bool:
        """Whether the values that were made up are at fault, or the row that was made first."""
        before, same_types = self._shape_before, self.has_same_types
        if is_of_values(probe, failure, self.model, self._tables(), same_types=same_types):
            return True
        if probe.constraint is not None and probe.variant is not None:
            row = self.probes.new(probe.variant)
            return not taken_by(before.known_checks, before.types, row, self._connection)
        made = probe.preceded_by and self._connection.attempt(probe.preceded_by)
        return made is not None and made.error == failure.error

    @property
    def has_same_types(self) -> bool:
        """Whether the columns have the types that they had at first."""
        return self._shape_before.types == self._shape().types

    def _tables(self) -> Iterator[Table]:
        return self._catalog.tables(tables_of(self.model))

    def _shape(self) -> Shape:
        unknown = self.deletes.dependents.unknown_references()
        return shape_of(self.model, self._tables(), unknown, self.probes.varied)
