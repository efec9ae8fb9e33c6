"""pytest fixtures: ``run_hook`` and ``hook_runs``; see ``django_confiture.testing``.

pytest imports this when it starts, in projects without Django, too: it needs no settings, and
imports the rest when a fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django_confiture.hooks.base import HookResult
    from django_confiture.testing import CapturedHooks


@pytest.fixture
def run_hook(db: None) -> Callable[..., HookResult]:  # noqa: ARG001 - opens the test database
    """Run one hook against the test database; ``db`` is the fixture of pytest-django."""
    from django_confiture.testing import run_hook

    return run_hook


@pytest.fixture
def hook_runs() -> Iterator[CapturedHooks]:
    """Every hook that runs during the test, with assertions."""
    from django_confiture.testing import capture_hooks

    with capture_hooks() as captured:
        yield captured
