"""Hooks around Django migrations, and a dry run that measures what they will do.

Importing this needs no settings and costs nothing: each public name is imported on first use. A
real ``migrate`` never imports the dry run and its SQL parser.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_confiture.dry_run.executor import DryRunExecutor
    from django_confiture.dry_run.results import DryRunResult
    from django_confiture.exceptions import (
        DryRunError,
        HookError,
        HookLookupError,
        HookVeto,
        MigrationError,
    )
    from django_confiture.hooks.base import Hook, HookContext, HookPhase, HookResult
    from django_confiture.hooks.executor import HookExecutor
    from django_confiture.hooks.registry import HookRegistry, get_hook, register_hook
    from django_confiture.operations import RunHook

__version__ = "1.0.0rc1"

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
    "HookVeto",
    "MigrationError",
    "RunHook",
    "get_hook",
    "register_hook",
]

_MODULES = {
    "dry_run.executor": ("DryRunExecutor",),
    "dry_run.results": ("DryRunResult",),
    "exceptions": ("DryRunError", "HookError", "HookLookupError", "HookVeto", "MigrationError"),
    "hooks.base": ("Hook", "HookContext", "HookPhase", "HookResult"),
    "hooks.executor": ("HookExecutor",),
    "hooks.registry": ("HookRegistry", "get_hook", "register_hook"),
    "operations": ("RunHook",),
}

# The dry run reports its errors itself; without logging configured, Python would print them too.
logging.getLogger("django_confiture.dry_run").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            found = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
