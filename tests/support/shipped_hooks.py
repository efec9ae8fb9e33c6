"""What the tests of the shipped hooks share: how to check options, migrate, and rehearse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from django.core.checks import CheckMessage
from django.db import connection

from django_confiture import DryRunExecutor, DryRunResult, HookError
from django_confiture.exceptions import HookVeto
from django_confiture.hooks.registry import build_hook
from tests.cases.migrations_on_disk import Cases


def option_messages(name: str, options: Mapping[str, Any]) -> list[tuple[str | None, str, str]]:
    """Return what ``manage.py check`` says of a hook's options: id, message and hint."""
    return [_shown(each) for each in build_hook(name, options, where="here").check()]


def _shown(message: CheckMessage) -> tuple[str | None, str, str]:
    return message.id, str(message.msg), message.hint or ""


def execute(*statements: str) -> None:
    """Run statements on the test database."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def veto_of(cases: Cases, name: str = "") -> str:
    """Migrate, which a shipped hook must veto; return its words."""
    with pytest.raises(HookError) as caught:
        cases.migrate(name)
    assert isinstance(caught.value.original_error, HookVeto), caught.value
    (note,) = caught.value.__notes__
    assert note.endswith("the hook refused it. Do what it says, or change its OPTIONS.")
    return str(caught.value.original_error)


def rehearse(cases: Cases, name: str) -> DryRunResult:
    """Rehearse one migration of the app "cases"."""
    return DryRunExecutor().run(connection, cases.loaded(name))


def in_phases(**hooks: Any) -> dict[str, Any]:
    """Return ``CONFITURE`` with one hook in each of the named phases, around "cases" alone."""
    return {
        "PHASES": {
            phase: [{"HOOK": name, "OPTIONS": options, "MIGRATIONS": ["cases.*"]}]
            for phase, (name, options) in hooks.items()
        }
    }
