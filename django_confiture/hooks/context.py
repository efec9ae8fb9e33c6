"""Makes the context that the hooks of one migration run share, and keeps it for them."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from django.db.migrations.loader import MigrationLoader

from django_confiture.dry_run_mark import in_dry_run
from django_confiture.hooks.base import HookContext
from django_confiture.hooks.nested_operations import walk_operations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.migration import Migration
    from django.db.migrations.operations.base import Operation

logger = logging.getLogger("django_confiture.hooks")

_CONTEXT = "_confiture_context"
_UNWOVEN_CONTEXT = "_confiture_unwoven_context"
_WARNED = "_confiture_warned"


def runs_hooks(connection: BaseDatabaseWrapper) -> bool:
    """Return whether ``connection`` is to PostgreSQL; warn once about one that is not."""
    if connection.vendor == "postgresql":
        return True
    if not getattr(connection, _WARNED, False):
        setattr(connection, _WARNED, True)
        logger.warning(
            "Hooks are skipped on the database %r: it is %s, and they need PostgreSQL.",
            connection.alias,
            connection.display_name,
        )
    return False


def migration_version(name: str) -> str:
    """Return the number in front of a migration's name, ``""`` where it has none."""
    match = re.match(r"\d+", name)
    return match[0] if match else ""


def new_context(
    migration: Migration,
    connection: BaseDatabaseWrapper,
    direction: str,
    plan: Sequence[str] = (),
) -> HookContext:
    """Return the context that all hooks of one run of ``migration`` share."""
    return HookContext(
        migration.name,
        migration_version(migration.name),
        direction,
        app_label=migration.app_label,
        connection=connection,
        plan=plan,
        dry_run=in_dry_run(connection),
    )


def attach_context(schema_editor: BaseDatabaseSchemaEditor, context: HookContext) -> None:
    """Make ``context`` the one of the migration that ``schema_editor`` applies."""
    setattr(schema_editor, _CONTEXT, context)


def attached_context(schema_editor: BaseDatabaseSchemaEditor) -> HookContext | None:
    """Return the context of the migration that ``schema_editor`` applies, if it was woven."""
    return getattr(schema_editor, _CONTEXT, None)


def context_for_operation(
    schema_editor: BaseDatabaseSchemaEditor,
    app_label: str,
    operation: Operation,
    direction: str,
) -> HookContext:
    """Return the run's context, or a new one where no ``pre_migrate`` wove the migration.

    Tools that drive Django's executor by themselves send no ``pre_migrate``. An operation does not
    know its migration, so we look up the one on disk that holds it.
    """
    context = attached_context(schema_editor) or getattr(schema_editor, _UNWOVEN_CONTEXT, None)
    if context is None or context.direction != direction:
        name = _name_on_disk(app_label, operation)
        context = HookContext(
            name,
            migration_version(name),
            direction,
            app_label=app_label,
            connection=schema_editor.connection,
            dry_run=in_dry_run(schema_editor.connection),
        )
        setattr(schema_editor, _UNWOVEN_CONTEXT, context)
    return context


def _name_on_disk(app_label: str, operation: Operation) -> str:
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    for (label, name), migration in loader.disk_migrations.items():
        if label == app_label and any(
            operation is each for each in walk_operations(migration.operations)
        ):
            return name
    return ""
