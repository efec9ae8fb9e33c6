"""The arguments of ``migrate_dryrun`` that choose the plan, the database and the forecasts."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.db import connections

from django_confiture.management.database_option import add_database_option

_REFUSED = {
    "--fake": "it runs nothing, so there is nothing to rehearse; use it with migrate",
    "--plan": "the report lists the plan, and what each migration does; leave it out",
    "--check": "a dry run always ends with 0 where nothing is pending; use migrate --check",
    "--prune": "it only deletes rows of django_migrations; use it with migrate",
}
"""Flags of ``migrate`` that change what runs so that nothing is left to rehearse."""

_WITHOUT_A_CLONE = {
    "watchdog": (False, "--no-watchdog has no effect on a clone, where no one waits for it"),
    "allow_dead_space": (True, "--allow-dead-space has no effect on a clone, which is dropped"),
    "samples": (True, "--samples needs the transaction that is rolled back"),
}
"""Flags that say nothing about a clone: option → its value with the flag, and why."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``migrate`` that choose the plan, and our own."""
    _choose_plan(parser)
    _take_flags_of_migrate(parser)
    _choose_conditions(parser)
    _choose_production(parser)
    parser.add_argument(
        "--no-running-code",
        action="store_false",
        dest="running_code",
        help="Don't try what the running release and the new one do on each other's schema.",
    )
    parser.add_argument("--skip-checks", action="store_true", help="Skip system checks.")


def _choose_plan(parser: ArgumentParser) -> None:
    parser.add_argument("app_label", nargs="?", help="App label of the migrations to rehearse.")
    parser.add_argument(
        "migration_name",
        nargs="?",
        help='Rehearse up to this migration, or back to it; "zero" unapplies all.',
    )
    add_database_option(parser, "The database to rehearse on")
    parser.add_argument(
        "--since",
        metavar="REVISION",
        help="Report on what the branch adds to this revision of git, such as origin/main.",
    )


def _take_flags_of_migrate(parser: ArgumentParser) -> None:
    """Add the flags of ``migrate`` that change what runs, to pass them on or to refuse them."""
    parser.add_argument(
        "--fake-initial",
        action="store_true",
        help="As migrate: only record initial migrations whose tables exist.",
    )
    parser.add_argument(
        "--run-syncdb",
        action="store_true",
        help="As migrate: also create the tables of apps without migrations.",
    )
    parser.add_argument(
        "--noinput", "--no-input", action="store_true", help="No effect: a dry run never asks."
    )
    for flag in _REFUSED:
        parser.add_argument(flag, action="store_true", dest=_dest(flag), help=SUPPRESS)


def refused_flag(options: Mapping[str, Any]) -> str:
    """Return why a flag is refused, of ``migrate`` or beside a clone; ``""`` if none is."""
    for flag, why in _REFUSED.items():
        if options.get(_dest(flag)):
            return f"migrate_dryrun has no {flag}: {why}."
    if options["clone"] or options["clone_of"]:
        clone = "--clone-of" if options["clone_of"] else "--clone"
        for option, (given, why) in _WITHOUT_A_CLONE.items():
            if options[option] is given:
                return f"{why}; leave out one of it and {clone}."
    return ""


def _dest(flag: str) -> str:
    return f"refused_{flag.strip('-')}"


def _choose_conditions(parser: ArgumentParser) -> None:
    """Add the flags that say where the plan is rehearsed, and what the dry run may do."""
    parser.add_argument(
        "--no-watchdog",
        action="store_false",
        dest="watchdog",
        help="Run without the second connection that ends the dry run when others wait for it.",
    )
    parser.add_argument(
        "--allow-dead-space",
        action="store_true",
        help="Go on even if the plan leaves more dead space than MAX_DEAD_SPACE.",
    )
    parser.add_argument(
        "--show-values",
        action="store_true",
        help="Print values of rows and parameters that errors contain.",
    )
    parser.add_argument(
        "--clone",
        action="store_true",
        help="Run on a throw-away copy of the database: everything is exact, commits included.",
    )
    parser.add_argument(
        "--clone-of",
        choices=tuple(connections),
        metavar="ALIAS",
        help="The same, on a clone of the database behind this alias, such as staging.",
    )
    parser.add_argument(
        "--reverse",
        action="store_true",
        help="Also undo the plan afterwards, and compare the schema with the one before.",
    )
    parser.add_argument(
        "--samples",
        action="store_true",
        help="Run long statements on samples of their tables first, for narrower forecasts.",
    )


def _choose_production(parser: ArgumentParser) -> None:
    """Add the flags that say which production the forecasts are for."""
    production = parser.add_mutually_exclusive_group()
    production.add_argument(
        "--stats",
        type=Path,
        metavar="FILE",
        help="Forecast for the production whose sizes confiture_stats wrote into this file.",
    )
    production.add_argument(
        "--stats-from",
        choices=tuple(connections),
        metavar="ALIAS",
        help="Forecast for the production behind this alias, reading its sizes now.",
    )
