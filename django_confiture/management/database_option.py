"""The ``--database`` option that most commands have."""

from __future__ import annotations

from argparse import ArgumentParser

from django.db import DEFAULT_DB_ALIAS, connections


def add_database_option(parser: ArgumentParser, what: str) -> None:
    """Add ``--database``; ``what`` says in the help which database it is."""
    parser.add_argument(
        "--database",
        default=DEFAULT_DB_ALIAS,
        choices=tuple(connections),
        help=f'{what}; "default" by default.',
    )
