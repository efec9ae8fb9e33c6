"""These tests are slow and need pip: only ``make compatibility`` runs them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from django.db import connections
from psycopg import sql

from tests.compatibility.environments import PROJECT, Project, python_with
from tests.support.dry_run import parameters

collect_ignore = ["project"]

MakeProject = Callable[..., Project]


@pytest.fixture
def make_project(tmp_path: Path) -> Iterator[MakeProject]:
    """Give a function that makes the one project of a test."""
    name = f"confiture_{tmp_path.parent.name}_{tmp_path.name}".replace("-", "_")[-60:]
    server = parameters()
    identifier = sql.Identifier(name)
    with closing(psycopg.connect(**server, autocommit=True)) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
        try:
            with closing(
                psycopg.connect(**{**server, "dbname": name}, autocommit=True)
            ) as observer:

                def make(*packages: str, order: str = "confiture last") -> Project:
                    home = shutil.copytree(PROJECT, tmp_path / "project")
                    entry = {**connections["default"].settings_dict, "NAME": name}
                    kept = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
                    database = {key: entry[key] for key in kept}
                    python = python_with(packages)
                    return Project(python, packages, order, home, database, observer)

                yield make
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark what is in this directory."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("compatibility")
