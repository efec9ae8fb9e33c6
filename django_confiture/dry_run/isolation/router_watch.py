"""Records the answers of the project's database routers while an operation runs.

An operation that a router keeps off a database does nothing there and passes; without this, it
would count as rehearsed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connections, router

from django_confiture.dry_run.server.driver import ROUTER_ANSWER
from django_confiture.dry_run.server.patches import patched
from django_confiture.formatting import listed


@dataclass(frozen=True)
class _Question:
    """One call of ``router.allow_migrate`` about this database."""

    app_label: str
    hints: dict[str, Any]
    allowed: bool


class RouterWatch:
    """Notes what operations ask the routers, and what these answer."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._asked: list[_Question] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note the answers that this thread gets."""
        thread = threading.get_ident()

        def wrap(original: Callable[..., bool]) -> Callable[..., bool]:
            def allow_migrate(own: Any, db: str, app_label: str, **hints: Any) -> bool:
                allowed = original(own, db, app_label, **hints)
                if db == self._using and threading.get_ident() == thread:
                    self._asked.append(_Question(app_label, hints, bool(allowed)))
                return allowed

            return allow_migrate

        with patched((ROUTER_ANSWER, wrap)):
            yield

    def start_operation(self) -> None:
        """Forget what was asked before."""
        self._asked.clear()

    def why_skipped(self) -> str | None:
        """Return why the operation did nothing, None if no router kept it off this database."""
        asked = list(self._asked)
        if not asked or any(each.allowed for each in asked):
            return None
        where = [
            alias
            for alias in connections
            if alias != self._using
            and any(router.allow_migrate(alias, each.app_label, **each.hints) for each in asked)
        ]
        if not where:
            return (
                f"a router's allow_migrate keeps it off {self._using!r}, "
                "and no other alias takes it"
            )
        names = listed([repr(alias) for alias in where])
        return (
            f"a router's allow_migrate keeps it off {self._using!r}; it runs on {names}: "
            f"use --database {where[0]}"
        )
