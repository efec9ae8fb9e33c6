"""``backfill``: runs a declared ``Backfill`` inside a migration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from django.apps import apps

from django_confiture import conf
from django_confiture.backfills.declared.declaration import Backfill as DeclaredBackfill
from django_confiture.backfills.declared.declaration import load_backfill
from django_confiture.exceptions import BackfillError, BackfillLookupError
from django_confiture.hooks.base import HookContext, HookPhase, HookResult
from django_confiture.hooks.builtin import options
from django_confiture.hooks.builtin.base import ShippedHook
from django_confiture.hooks.builtin.options import Option

if TYPE_CHECKING:
    import psycopg

_APP = "django_confiture.backfills"


def declared_backfill(value: object, name: str) -> DeclaredBackfill:
    """Read the dotted path of a ``Backfill``."""
    path = options.text(value, name)
    try:
        return load_backfill(path)
    except BackfillLookupError as error:
        raise conf.SettingError(
            f"{name} is {path!r}: {str(error).removesuffix('.')}",
            'write the dotted path of a Backfill, such as "shop.backfills.FillSearchText"',
        ) from error


class Backfill(ShippedHook):
    """Runs a declared ``Backfill`` in the migration, on what is still to be done.

    All of it is one transaction, which keeps the rows locked until the migration ends: for small
    tables, and for development. For large ones use ``StartBackfill``, which works after the commit
    and alongside the application.

    Options, of which ``backfill`` is needed:

    ``backfill``
        The dotted path of the class, such as ``"shop.backfills.FillSearchText"``.
    ``in_batches``
        False: one statement does it, or one call of ``process`` with all rows. True: batches as
        everywhere else, each in a savepoint, with rows that can't be done told apart; its state is
        kept, so that a later ``RequireBackfill`` knows that it is complete. That needs
        ``django_confiture.backfills`` in ``INSTALLED_APPS``.

    In a dry run it does the same, and is measured. It runs forward only: backwards there is nothing
    to fill.
    """

    registered_name = "backfill"
    phase = HookPhase.AFTER_DDL
    directions: ClassVar[tuple[str, ...]] = ("forward",)

    backfill = Option(declared_backfill)
    in_batches = Option(options.flag, default=False)

    def contradictions(self) -> Iterator[conf.SettingError]:
        """Batches keep their state in tables."""
        if self.in_batches and not apps.is_installed(_APP):
            yield conf.SettingError(
                "backfill keeps the state of batches in tables, which are not installed",
                f"add \"{_APP}\" to INSTALLED_APPS, or leave out 'in_batches'",
            )

    def run(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:  # noqa: ARG002
        """Do it, with the models as they are at this point of the migration."""
        assert context.connection is not None, "A backfill runs through Django's ORM."
        done = self._in_batches(context) if self.in_batches else self._at_once(context)
        return self.result(rows_affected=done)

    def _at_once(self, context: HookContext) -> int:
        from django_confiture.backfills.batching.batches import do_window
        from django_confiture.backfills.batching.windows import Window

        using, models = context.using or "", context.apps
        keys = self.backfill.rows(using, models).order_by("pk").values_list("pk", flat=True)
        last = keys.last()
        if last is None:
            return 0
        whole = Window(after=None, last=last, size=0, full=False)
        return do_window(self.backfill, whole, using=using, apps=models)

    def _in_batches(self, context: HookContext) -> int:
        from django_confiture.backfills.in_migrations import finish_in_place
        from django_confiture.backfills.models import BackfillState
        from django_confiture.backfills.status import statuses

        assert context.connection is not None
        path = self.options["backfill"]
        run = finish_in_place(path, context.connection, context.apps)
        if run.state != BackfillState.COMPLETED:
            raise BackfillError(f"Backfill {path} is {run.state}: {run.last_error}")
        (status,) = statuses(context.connection.alias, [path])
        return status.done
