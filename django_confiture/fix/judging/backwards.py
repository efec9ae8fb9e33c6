"""The statements, as Django makes them, that take back what two releases are needed for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.rewriting.two_releases.removals import LOOSENING, REMOVING

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_SPREAD = (*REMOVING, *LOOSENING)


def taken_back(
    wrapper: BaseDatabaseWrapper, key: tuple[str, str], operations: Sequence[Operation]
) -> Mapping[int, tuple[str, ...]]:
    """Return index → statements, for those of a migration's operations that may be spread."""
    app_label, _name = key
    state = MigrationExecutor(wrapper).loader.project_state(key, at_end=False)
    found = {}
    for index, operation in enumerate(operations):
        before = state.clone()
        operation.state_forwards(app_label, state)
        if type(operation) in _SPREAD:
            try:
                with wrapper.schema_editor(collect_sql=True, atomic=False) as editor:
                    operation.database_backwards(app_label, editor, state, before)
            except ValueError:  # Django looks for a constraint that the operation has yet to make
                continue
            found[index] = tuple(
                each.removesuffix(";") for each in editor.collected_sql if not each.startswith("--")
            )
    return found
