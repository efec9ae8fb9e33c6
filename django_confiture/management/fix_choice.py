"""Which migrations ``confiture_fix`` is about: one by its name, or those that are pending."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.core.management.base import CommandError
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from django_confiture.database_errors import refuse_other_database
from django_confiture.dry_run.plan.git_base import Since
from django_confiture.dry_run.rewriting.one_file import is_installed
from django_confiture.management.exit_codes import USAGE
from django_confiture.management.plan_names import refuse_unknown

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.migrations.migration import Migration


@dataclass(frozen=True)
class Chosen:
    """A migration to fix."""

    migration: Migration

    @property
    def key(self) -> tuple[str, str]:
        """Its app and its name, as Django's graph has it."""
        return self.migration.app_label, self.migration.name


def chosen(
    wrapper: BaseDatabaseWrapper, app_label: str | None, name: str | None, since: str | None
) -> list[Chosen]:
    """Return the migrations, in the order in which they are applied."""
    refuse_other_database(wrapper, "confiture_fix")
    if name is not None and since is not None:
        said = f"--since takes all that a branch adds: leave it out, or leave out {name!r}."
        raise CommandError(said, returncode=USAGE)
    refuse_unknown(app_label, name)
    if app_label is not None and name is not None:
        return [_migration_named(MigrationLoader(wrapper), app_label, name)]
    executor = MigrationExecutor(wrapper)
    if app_label is not None and app_label not in executor.loader.migrated_apps:
        raise CommandError(_no_such_app(app_label), returncode=USAGE)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes(app_label))
    branch = Since(since) if since else None
    return [
        Chosen(migration)
        for migration, _backwards in plan
        if app_label in (None, migration.app_label)
        and not is_installed(migration)
        and not (branch is not None and branch.had(migration))
    ]


def _no_such_app(app_label: str) -> str:
    return f"No installed app with the label {app_label!r} has migrations."


def _migration_named(loader: MigrationLoader, app_label: str, prefix: str) -> Chosen:
    if (app_label, prefix) in loader.disk_migrations:  # another name may begin with it
        return Chosen(loader.disk_migrations[app_label, prefix])
    try:
        return Chosen(loader.get_migration_by_prefix(app_label, prefix))
    except KeyError as error:  # the app has none at all
        raise CommandError(_no_such_app(app_label), returncode=USAGE) from error
