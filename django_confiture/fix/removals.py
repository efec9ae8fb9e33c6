"""The statements that take removals back, as Django makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django.db.migrations.executor import MigrationExecutor

from django_confiture.dry_run.rewriting.two_releases import REMOVING

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


def removals_taken_back(
    wrapper: BaseDatabaseWrapper, key: tuple[str, str]
) -> Mapping[int, tuple[str, ...]]:
    """Return index → statements, for the operations of a migration that remove something."""
    loader = MigrationExecutor(wrapper).loader
    state = loader.project_state(key, at_end=False)
    app_label, _name = key
    found = {}
    for index, operation in enumerate(loader.graph.nodes[key].operations):
        before = state.clone()
        operation.state_forwards(app_label, state)
        if type(operation) in REMOVING:
            with wrapper.schema_editor(collect_sql=True, atomic=False) as editor:
                operation.database_backwards(app_label, editor, state, before)
            found[index] = tuple(
                each.removesuffix(";") for each in editor.collected_sql if not each.startswith("--")
            )
    return found
