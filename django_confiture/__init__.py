"""Hooks around Django migrations, and a dry run that measures what they will do.

Importing this needs no configured settings. ``DryRunExecutor`` is imported when it is asked for,
as it brings the SQL parser that a real ``migrate`` does not need.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django_confiture.dry_run.results import DryRunResult
from django_confiture.exceptions import (
    DryRunError,
    HookError,
    HookLookupError,
    MigrationError,
)
from django_confiture.hooks.base import Hook, HookContext, HookPhase, HookResult
from django_confiture.hooks.executor import HookExecutor
from django_confiture.hooks.registry import HookRegistry, get_hook, register_hook
from django_confiture.operations import RunHook

if TYPE_CHECKING:
    from django_confiture.dry_run.executor import DryRunExecutor

__version__ = "0.1.0"

# Without a configuration of the project's, Python would print errors with their traceback.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "DryRunError",
    "DryRunExecutor",
    "DryRunResult",
    "Hook",
    "HookContext",
    "HookError",
    "HookExecutor",
    "HookLookupError",
    "HookPhase",
    "HookRegistry",
    "HookResult",
    "MigrationError",
    "RunHook",
    "get_hook",
    "register_hook",
]


def __getattr__(name: str) -> Any:
    if name == "DryRunExecutor":
        from django_confiture.dry_run.executor import DryRunExecutor

        return DryRunExecutor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
