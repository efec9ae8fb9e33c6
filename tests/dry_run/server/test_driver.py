"""The private names of psycopg and Django: all there, known as a list, and used in one module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections

import django_confiture
from django_confiture.dry_run.server import driver
from django_confiture.dry_run.server.driver import (
    CONNECTION_STATE,
    PATCHED,
    PRIVATE_NAMES,
    check_names,
)
from django_confiture.dry_run.server.private_names import PrivateName
from django_confiture.exceptions import DryRunRefused
from tests.support.dry_run import connection_state, migration, python, rehearse

PACKAGE = Path(django_confiture.__file__).parent
DRIVER = Path(driver.__file__)

all_names = pytest.mark.parametrize("name", PRIVATE_NAMES, ids=str)


@all_names
def test_each_exists_in_the_installed_releases(name: PrivateName) -> None:
    assert name.exists()


# Those of sockets are inherited from a type of C, from which nothing can be taken.
@pytest.mark.parametrize("name", [n for n in PATCHED if n not in driver.CONNECT_SOCKET], ids=str)
def test_a_name_that_is_gone_is_refused_by_name(
    name: PrivateName, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = name.resolved_owner()
    for each in getattr(owner, "__mro__", [owner]):
        if name.name in vars(each):
            monkeypatch.delattr(each, name.name)
    missing = [each for each in PRIVATE_NAMES if not each.exists()]

    with pytest.raises(DryRunRefused) as refused:
        check_names()

    assert name in missing
    assert str(refused.value).startswith(
        f"{missing[0].library} has no {missing[0]}, which the dry run needs"
    )


@pytest.mark.parametrize(
    "name",
    [
        PrivateName("psycopg:Connection", "_number_of_transactions"),
        PrivateName("psycopg:Cursor._send_it", "force_extended"),
        PrivateName("psycopg:Cursor._execute_send", "forced"),
        PrivateName("psycopg.no_such_module", "wait"),
    ],
    ids=str,
)
def test_what_no_release_has_is_not_there(name: PrivateName) -> None:
    assert not name.exists()


def test_the_command_refuses_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, scratch: None
) -> None:
    monkeypatch.delattr(psycopg.BaseConnection, "_exec_command")

    with pytest.raises(CommandError, match=r"^psycopg [\d.]+ has no BaseConnection._exec_command"):
        call_command("migrate_dryrun")


CONNECTION_REST = frozenset(
    {
        "connection", "settings_dict", "alias", "queries_log", "force_debug_cursor", "close_at",
        "errors_occurred", "health_check_enabled", "health_check_done", "_thread_sharing_lock",
        "_thread_sharing_count", "_thread_ident", "execute_wrappers", "client", "creation",
        "features", "introspection", "ops", "validation",
    }
)  # fmt: skip
"""The other attributes of Django's connection, which no transaction changes."""


def test_each_attribute_of_a_connection_is_reset_or_known_not_to_be() -> None:
    """A new one of Django's is put into one of the two lists."""
    made = set(vars(connections.create_connection("default")))

    assert made >= set(CONNECTION_STATE)
    assert made - CONNECTION_REST - set(CONNECTION_STATE) <= {"_named_cursor_idx"}


SENDS_BY_OTHERS = {
    "close", "fetchall", "fetchmany", "fetchone", "results", "row_factory", "scroll", "set_result",
}  # fmt: skip
"""Public names of psycopg's cursors that send nothing of the migration's."""


@pytest.mark.parametrize("cursor", [psycopg.Cursor, psycopg.ServerCursor])
def test_each_way_to_send_is_caught(cursor: type) -> None:
    """A new method of psycopg's is either patched or sends nothing."""
    public = {name for name in vars(cursor) if not name.startswith("_")}
    caught = {each.name for each in PATCHED if each.resolved_owner() is psycopg.Cursor}

    assert public <= caught | SENDS_BY_OTHERS


# The one door.


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for path in PACKAGE.rglob("*.py"):
        if path != DRIVER:
            yield path, ast.parse(path.read_text())


def own_names() -> set[str]:
    """Return the private names that the package itself defines."""
    found = set()
    for _path, tree in sources():
        for node in ast.walk(tree):
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.Name(id=name):
                    found.add(name)
                case ast.Attribute(value=ast.Name("self"), attr=name, ctx=ast.Store()):
                    found.add(name)
    return found


def methods_of(tree: ast.Module) -> set[str]:
    """Return the names of functions and methods that a module defines."""
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def is_own_instance(node: ast.expr) -> bool:
    """Return whether it is what a method is called on."""
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


DOCUMENTED = {
    "_asdict", "_base_manager", "_default_manager", "_getframe", "_make", "_meta", "_replace",
    "_state",
}  # fmt: skip
"""Documented names of Django and Python that look like private ones."""
QUICK_INSTANCES = {"_iterable_class", "_known_related_objects"}
"""Names that backfills can do without: Django makes the instances where they are not there."""


def test_no_other_module_uses_what_is_private_to_others() -> None:
    """A name of theirs may be one of ours, too: of another object it is theirs."""
    own = own_names()
    used = [
        f"{path.relative_to(PACKAGE)}:{node.lineno} {node.attr}"
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith(("__", "_confiture"))
        and node.attr not in DOCUMENTED | QUICK_INSTANCES
        and node.attr not in (own if is_own_instance(node.value) else methods_of(tree))
    ]

    assert used == []


def test_no_other_module_writes_their_names() -> None:
    listed = {each.name for each in PRIVATE_NAMES if each.name.startswith("_")}
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path, tree in sources()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Constant) and node.value in listed)
        or (isinstance(node, ast.FunctionDef | ast.Name) and getattr(node, "name", "") in listed)
    ]

    assert found == []


def test_what_is_known_of_a_transaction_is_given_back(untouched: None) -> None:
    """In the dry run it is that of a connection outside any transaction."""
    before = connection_state("default")
    seen = []

    rehearse(migration(python(lambda: seen.append(connections["default"].in_atomic_block))))

    assert seen == [True]
    assert connection_state("default") == before
