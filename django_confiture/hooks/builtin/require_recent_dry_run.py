"""``require_recent_dry_run``: exactly this plan has passed a dry run not long ago."""

from __future__ import annotations

import getpass
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from django.apps import apps

from django_confiture import conf
from django_confiture.exceptions import HookVeto
from django_confiture.hooks.base import HookContext, HookPhase, HookResult
from django_confiture.hooks.builtin import options
from django_confiture.hooks.builtin.base import ShippedHook
from django_confiture.hooks.builtin.options import Option, optional

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger("django_confiture.hooks")

OVERRIDE = "CONFITURE_WITHOUT_DRY_RUN"
"""The environment variable that holds the reason for doing without."""


_LEDGER = "confiture_history"


class RequireRecentDryRun(ShippedHook):
    """Refuses a plan that no passing ``migrate_dryrun`` has rehearsed as it is.

    The ledger (``django_confiture.history``) has the dry runs. One counts that passed, within its
    budget if it had one; that is young enough; whose row in the ledger is as it was signed; and
    that rehearsed the same migrations in the same order, with the same sources and the same
    settings. If the first part of its plan is done by now, it counts for the rest. The ledger's own
    migrations are not asked for one.

    Options, none of which is needed:

    ``younger_than``
        A duration: how old the dry run may be.
    ``database``
        The alias that was rehearsed, where that is not the one that is migrated, such as a copy.
    ``may_override``
        A list of users of the operating system who may migrate without. They set the environment
        variable ``CONFITURE_WITHOUT_DRY_RUN`` to the reason, which is logged as
        ``dry_run_overridden``.

    It is skipped in a dry run, which is what it asks for. Backwards it does the same as forwards:
    ``migrate_dryrun`` rehearses that, too.
    """

    registered_name = "require_recent_dry_run"
    phase = HookPhase.BEFORE_VALIDATION
    directions: ClassVar[tuple[str, ...]] = ("forward", "backward")
    runs_in_dry_run = False

    younger_than = Option(options.duration, default="24h")
    database = Option(optional(options.text), default=None)
    may_override = Option(options.texts, default=())

    def contradictions(self) -> Iterator[conf.SettingError]:
        """Without the ledger no dry run is known."""
        if not apps.is_installed("django_confiture.history"):
            yield conf.SettingError(
                "require_recent_dry_run looks for dry runs in the ledger, which is not installed",
                'add "django_confiture.history" to INSTALLED_APPS, and migrate it',
            )

    def run(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:  # noqa: ARG002
        """Ask the ledger about this migration and those that come after it in the plan."""
        from django_confiture.history.rehearsals import why_not_rehearsed  # needs its models

        if context.app_label == _LEDGER:
            return self.result(overridden=False)
        assert context.connection is not None, "The ledger is read through Django."
        label = context.label
        planned = context.plan[context.plan.index(label) :] if label in context.plan else (label,)
        reason = why_not_rehearsed(
            context.connection,
            [(each, context.direction) for each in planned],
            database=self.database or context.connection.alias,
            younger_than=self.younger_than,
        )
        if not reason:
            return self.result(overridden=False)
        if (said := os.environ.get(OVERRIDE, "").strip()) and _user() in self.may_override:
            facts = {"migration": context.migration_name, "app_label": context.app_label}
            override = {"user": _user(), "reason": said, "instead_of": reason}
            logger.warning("dry_run_overridden", extra={**facts, **override})
            return self.result(overridden=True)
        raise HookVeto(f"{reason[0].upper()}{reason[1:]}. {self._way_out(said)}")

    def _way_out(self, said: str) -> str:
        way = "Run manage.py migrate_dryrun for this plan, then migrate again"
        if said:
            return f"{way}; {_user()!r} may not override this."
        if self.may_override:
            return f"{way}; {', '.join(self.may_override)} may set {OVERRIDE} to a reason instead."
        return f"{way}."


def _user() -> str:
    """Return the user that the process runs as; but for Windows, no variable can change it."""
    try:
        import pwd
    except ImportError:  # Windows
        return getpass.getuser()
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # an id without a name, as in containers
        return str(os.geteuid())
