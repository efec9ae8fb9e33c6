"""Patches are applied once, and put back in reverse order on every way out."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from django_confiture.dry_run.server.driver import (
    CONNECT,
    ENDING,
    MIGRATE_EXECUTOR,
    PATCHED,
    SEND_COMMAND,
)
from django_confiture.dry_run.server.patches import patched
from django_confiture.dry_run.server.private_names import PrivateName
from tests.support.dry_run import migration, process_state, python, rehearse


def test_all_that_is_listed_is_patched_during_a_dry_run_and_put_back(scratch: None) -> None:
    """``MigrationExecutor`` is for ``migrate`` alone, which this test does not run."""
    before = process_state()["patched"]
    during: list[dict[str, object]] = []

    rehearse(migration(python(lambda: during.append(process_state()["patched"]))))

    unpatched = {name for name, value in during[0].items() if value is before[name]}
    assert unpatched == {str(MIGRATE_EXECUTOR)}
    assert process_state()["patched"] == before


def fails_while_patched(name: PrivateName, before: object) -> None:
    with patched((name, lambda original: None)):
        assert process_state() != before
        raise ValueError("told to fail")


@pytest.mark.parametrize("name", PATCHED, ids=str)
def test_an_error_puts_everything_back(name: PrivateName) -> None:
    before = process_state()

    with pytest.raises(ValueError, match="told to fail"):
        fails_while_patched(name, before)

    assert process_state() == before


def test_a_patch_that_fails_takes_back_those_before_it() -> None:
    before = process_state()

    def fails(original: object) -> object:
        raise ValueError("told to fail")

    with (
        pytest.raises(ValueError, match="told to fail"),
        patched((SEND_COMMAND, lambda original: None), (CONNECT, fails)),
    ):
        raise AssertionError("not reached")

    assert process_state() == before


def test_nothing_is_patched_twice() -> None:
    with (
        patched((SEND_COMMAND, lambda original: original)),
        pytest.raises(RuntimeError, match=r"BaseConnection\._exec_command is patched already"),
        patched((SEND_COMMAND, lambda original: original)),
    ):
        raise AssertionError("not reached")


def test_nothing_is_patched_that_is_not_listed() -> None:
    name = PrivateName("psycopg:Connection", "cancel")

    with (
        pytest.raises(ValueError, match=r"Connection\.cancel is not in the list"),
        patched((name, lambda original: original)),
    ):
        raise AssertionError("not reached")


def test_a_method_that_has_moved_to_a_base_class_is_patched_where_it_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """psycopg has moved methods to mixins before."""
    driver: Any = psycopg.Connection
    commit = driver.commit
    monkeypatch.delattr(driver, "commit")
    monkeypatch.setattr(psycopg.BaseConnection, "commit", commit, raising=False)

    with patched((ENDING[0], lambda original: len)):
        assert driver.commit is len
        assert (
            "commit" not in vars(psycopg.AsyncConnection)
            or psycopg.AsyncConnection.commit is not len
        )

    assert "commit" not in vars(driver)
    assert driver.commit is commit
