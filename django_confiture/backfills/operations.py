"""Operations that start and require backfills; import them from ``django_confiture.operations``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.apps import apps as live_apps
from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.db.migrations.operations.base import Operation, OperationCategory

from django_confiture.backfills.declared.declaration import load_backfill

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.state import ProjectState

APP = "django_confiture.backfills"


class _BackfillOperation(Operation):
    """Names a backfill, and changes neither models nor schema."""

    reduces_to_sql = False
    reversible = True
    category = OperationCategory.PYTHON

    def __init__(self, backfill: str) -> None:
        if not isinstance(backfill, str):
            raise TypeError(
                f"{type(self).__name__}({backfill!r}): write the dotted path of a Backfill, such "
                'as "shop.backfills.FillSearchText"; a migration outlives the class.'
            )
        self.backfill = backfill

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Do nothing: a backfill changes rows, never the models."""

    def _allowed(self, app_label: str, schema_editor: BaseDatabaseSchemaEditor) -> bool:
        """Return whether routers and database let it run; refuse without the app."""
        if schema_editor.collect_sql:  # sqlmigrate, which enters SeparateDatabaseAndState
            schema_editor.collected_sql.append(f"-- {self.describe()}: no SQL")
            return False
        connection = schema_editor.connection
        if connection.vendor != "postgresql":
            return False
        model_name = load_backfill(self.backfill).model.split(".")[1].lower()
        if not router.allow_migrate(connection.alias, app_label, model_name=model_name):
            return False
        if not live_apps.is_installed(APP):
            raise ImproperlyConfigured(
                f'{type(self).__name__}({self.backfill!r}) needs "{APP}" in INSTALLED_APPS.'
            )
        _require_tables(schema_editor, f"{type(self).__name__}({self.backfill!r})")
        return True

    @property
    def _class_name(self) -> str:
        return self.backfill.rpartition(".")[2]


class StartBackfill(_BackfillOperation):
    """Queue a backfill once the migration is committed; backwards, cancel it.

    One that has been completed before begins again: its column may be a new one. On an empty
    table it is complete at once.
    """

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return what ``makemigrations`` and ``squashmigrations`` write into a file."""
        return self.__class__.__qualname__, [self.backfill], {}

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,  # noqa: ARG002 - Django's signature
    ) -> None:
        """Note the backfill in the migration's transaction, and queue its tasks after that."""
        if not self._allowed(app_label, schema_editor):
            return
        from django_confiture.backfills import in_migrations

        from_state.clear_delayed_apps_cache()
        in_migrations.start(self.backfill, schema_editor.connection, from_state.apps)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,  # noqa: ARG002 - Django's signature
        to_state: ProjectState,  # noqa: ARG002 - Django's signature
    ) -> None:
        """Cancel the backfill: what it fills is about to go."""
        if self._allowed(app_label, schema_editor):
            from django_confiture.backfills import in_migrations

            in_migrations.cancel(self.backfill, schema_editor.connection)

    def describe(self) -> str:
        """Return what ``migrate --plan`` and ``sqlmigrate`` print."""
        return f"Start backfill {self.backfill}"

    @property
    def migration_name_fragment(self) -> str:
        """The part of a generated file name that stands for this operation."""
        return f"start_backfill_{self._class_name.lower()}"


class RequireBackfill(_BackfillOperation):
    """Refuse to go on unless a backfill is complete and no row is left to do.

    With ``finish=True`` the rest is done in place first. Backwards nothing happens.
    """

    def __init__(self, backfill: str, *, finish: bool = False) -> None:
        super().__init__(backfill)
        self.finish = finish

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return what ``makemigrations`` and ``squashmigrations`` write into a file."""
        kwargs = {"finish": True} if self.finish else {}
        return self.__class__.__qualname__, [self.backfill], kwargs

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,  # noqa: ARG002 - Django's signature
    ) -> None:
        """Check, after finishing it where that is asked for."""
        if not self._allowed(app_label, schema_editor):
            return
        from django_confiture.backfills import in_migrations

        from_state.clear_delayed_apps_cache()
        require = partial(
            in_migrations.require, self.backfill, schema_editor.connection, from_state.apps
        )
        require(finish=self.finish)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Do nothing: what was required to go forward is not on the way back."""

    def describe(self) -> str:
        """Return what ``migrate --plan`` and ``sqlmigrate`` print."""
        return f"Require backfill {self.backfill}" + (" (finish it)" if self.finish else "")

    @property
    def migration_name_fragment(self) -> str:
        """The part of a generated file name that stands for this operation."""
        return f"require_backfill_{self._class_name.lower()}"


def _require_tables(schema_editor: BaseDatabaseSchemaEditor, who: str) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.to_regclass('confiture_backfills_backfillrun')")
        if cursor.fetchone() == (None,):
            raise ImproperlyConfigured(
                f"{who} needs the tables of {APP}: add "
                '("confiture_backfills", "0001_initial") to the dependencies of the migration.'
            )


# Migration files name them by this module forever.
StartBackfill.__module__ = RequireBackfill.__module__ = "django_confiture.operations"
