"""``manage.py confiture_hooks``: the registered hooks, and which run around which migration."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, no_translations
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration

from django_confiture import conf
from django_confiture.database_errors import could_not_start
from django_confiture.dry_run.migrate import migrate_with
from django_confiture.exceptions import MigrationError
from django_confiture.formatting import one_line
from django_confiture.hooks.base import (
    PHASES_AFTER,
    PHASES_AT_END,
    PHASES_BEFORE,
    Hook,
    HookContext,
    HookPhase,
    HookPolicy,
)
from django_confiture.hooks.context import migration_version
from django_confiture.hooks.registry import SHIPPED_SOURCE, registry
from django_confiture.management.database_option import add_database_option
from django_confiture.management.exit_codes import USAGE
from django_confiture.management.plan_names import refuse_unknown
from django_confiture.management.reserved_stdout import reserved_stdout
from django_confiture.migrate import phases
from django_confiture.migration_files import loading_migrations

_INDENTED: dict[str, Any] = {
    "initial_indent": "  ",
    "subsequent_indent": "  ",
    "break_on_hyphens": False,
    "break_long_words": False,
}

Plan = Sequence[tuple[Migration, bool]]


class Command(BaseCommand):
    """Show the registered hooks, and the hooks of the current plan."""

    help = (
        "Shows which hooks are registered and where each comes from, and for each planned "
        "migration which hooks will run around it, in their order. Changes nothing. "
        "Exit codes: 0 done, 2 an argument or a setting is wrong, or the database is out of reach."
    )
    requires_system_checks = ()  # broken hooks are shown, too

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments of ``migrate`` that choose the plan."""
        parser.add_argument("app_label", nargs="?", help="App label of the migrations to show.")
        parser.add_argument(
            "migration_name",
            nargs="?",
            help='Show the plan up to this migration, or back to it; "zero" unapplies all.',
        )
        add_database_option(parser, "The database whose plan is shown")
        parser.add_argument("--format", default="text", choices=("text", "json"))

    @no_translations
    @loading_migrations()
    def handle(self, *_args: object, **options: Any) -> None:
        """Collect, then print."""
        alias = options["database"]
        target = [each for each in (options["app_label"], options["migration_name"]) if each]
        try:
            with could_not_start(connections[alias], "read the plan of"), reserved_stdout():
                refuse_unknown(options["app_label"], options["migration_name"])
                plan = _planned(_plan(alias, target), alias)
            report = {
                "schema_version": 1,
                "database": alias,
                "hooks_off": _hooks_off(alias),
                **_by_origin([_registered(name) for name in registry.list_hooks()]),
                "plan": plan,
            }
        except _EXPECTED as error:
            raise CommandError(one_line(error), returncode=USAGE) from error
        if options["format"] == "json":
            self.stdout.write(json.dumps(report, indent=2))
        else:
            self._print(report)

    def _print(self, report: dict[str, Any]) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING("Registered hooks:"))
        rows = [
            (
                each["name"],
                each["hook"] or "?",
                each["phase"] or "",
                each["error"] or each["source"],
            )
            for each in report["registered"]
        ]
        if not rows:
            self.stdout.write("  No hook is registered.")
        self._table(rows, indent="  ")
        if report["shipped"]:
            self.stdout.write(self.style.MIGRATE_HEADING("Shipped hooks:"))
            self.stdout.write(fill(", ".join(report["shipped"]), 79, **_INDENTED))
        self.stdout.write(self.style.MIGRATE_HEADING(f"Plan on {report['database']!r}:"))
        if report["hooks_off"]:
            self.stdout.write(self.style.WARNING(f"  No hook will run: {report['hooks_off']}."))
        self._print_plan(report["plan"])

    def _print_plan(self, plan: Sequence[dict[str, Any]]) -> None:
        if not plan:
            self.stdout.write("  No planned migrations.")
        for each in plan:
            if not each["hooks"]:
                continue
            self.stdout.write(self.style.MIGRATE_LABEL(f"  {_label(each)}"))
            rows = [
                (
                    hook["phase"],
                    hook["hook"],
                    hook["source"],
                    f"skipped: {hook['skipped']}" if hook["skipped"] else "",
                )
                for hook in each["hooks"]
            ]
            self._table(rows, indent="    ")
        if bare := [_label(each) for each in plan if not each["hooks"]]:
            self.stdout.write(fill(f"Without hooks: {', '.join(bare)}", 79, **_INDENTED))

    def _table(self, rows: Sequence[Sequence[str]], *, indent: str) -> None:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write(indent + "  ".join(cells).rstrip())


# Errors before any migration runs: arguments, settings, files, the database.
_EXPECTED = (
    CommandError,
    ImproperlyConfigured,
    MigrationError,
)


def _label(planned: Mapping[str, Any]) -> str:
    backward = " (backward)" if planned["direction"] == "backward" else ""
    return f"{planned['app_label']}.{planned['name']}{backward}"


def _by_origin(hooks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the project's hooks with all about them, the shipped ones by name."""
    return {
        "registered": [each for each in hooks if each["source"] != SHIPPED_SOURCE],
        "shipped": [each["name"] for each in hooks if each["source"] == SHIPPED_SOURCE],
    }


def _hooks_off(alias: str) -> str:
    """Return why no hook will run, ``""`` if hooks are on."""
    if not conf.get("ENABLED"):
        return 'CONFITURE["ENABLED"] is False'
    if connections[alias].vendor != "postgresql":
        return f"{alias!r} is {connections[alias].display_name}, and hooks need PostgreSQL"
    return ""


def _registered(name: str) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(("hook", "phase", "source", "options", "error"))
    try:
        registration = registry.registration(name)
    except MigrationError as error:
        found["error"] = str(error)
    else:
        assert registration is not None
        phase = getattr(registration.hook_class, "phase", None)
        found["hook"] = _path(registration.hook_class)
        found["phase"] = phase.name if isinstance(phase, HookPhase) else None
        found["source"] = registration.source
        found["options"] = _options(registration.options)
    return {"name": name, **found}


def _plan(alias: str, target: Sequence[str]) -> Plan:
    """Return the plan that ``migrate`` would carry out, by its own rules."""
    plans: list[Plan] = []

    class PlanningExecutor(MigrationExecutor):
        """Remembers the plan."""

        def migration_plan(self, *args: Any, **kwargs: Any) -> Any:
            plans.append(super().migration_plan(*args, **kwargs))
            return plans[-1]

    migrate_with(PlanningExecutor, using=alias, target=target, plan=True)
    return plans[-1]


def _planned(plan: Iterable[tuple[Migration, bool]], alias: str) -> list[dict[str, Any]]:
    if _hooks_off(alias):
        return [_described(*step, []) for step in plan]
    entries = list(phases.read_entries())
    return [_described(*step, _in_order(*step, alias, entries)) for step in plan]


def _described(
    migration: Migration,
    backwards: bool,  # noqa: FBT001 - as in Django's plans
    hooks: Iterable[phases.PlannedHook],
) -> dict[str, Any]:
    direction = "backward" if backwards else "forward"
    context = HookContext(migration.name, migration_version(migration.name), direction)
    return {
        "app_label": migration.app_label,
        "name": migration.name,
        "direction": direction,
        "hooks": [
            {
                "phase": each.phase.name,
                "hook": _path(type(each.hook)),
                "source": each.source,
                "options": _options(each.hook.options),
                "skipped": HookPolicy.of(each.hook).reason_to_skip(context) or None,
            }
            for each in hooks
        ],
    }


def _in_order(
    migration: Migration,
    backwards: bool,  # noqa: FBT001 - as in Django's plans
    alias: str,
    entries: Iterable[phases.PhaseEntry],
) -> list[phases.PlannedHook]:
    """Return the hooks as they will run; the last two phases depend on how the migration ends."""
    around = phases.hooks_from_settings(migration, alias, entries)
    in_file = phases.hooks_from_file(migration, connections[alias].schema_editor())
    standing = [each for each in in_file if each.phase not in PHASES_AT_END]
    if backwards:
        standing.reverse()
    return [
        *(each for phase in PHASES_BEFORE for each in around if each.phase is phase),
        *standing,
        *(
            each
            for phase in (*PHASES_AFTER, *PHASES_AT_END)
            for each in (*around, *(last for last in in_file if last.phase in PHASES_AT_END))
            if each.phase is phase
        ),
    ]


def _options(options: Mapping[str, Any]) -> list[str]:
    """Return the names of options; their values may be secrets."""
    return sorted(map(str, options))


def _path(hook_class: type[Hook]) -> str:
    return f"{hook_class.__module__}.{hook_class.__qualname__}"
