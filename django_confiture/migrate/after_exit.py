"""Calls back after a migration's commit or rollback, without overriding anything of Django's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class AfterExit:
    """The schema editor's ``atomic``, with a call after commit or rollback."""

    atomic: Any
    ended: Callable[[BaseException | None], None]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.atomic, name)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.atomic.__exit__(kind, error, trace)
        except BaseException as at_commit:
            self.ended(at_commit)
            raise
        self.ended(error)

    def restart(self, error: Exception, meanwhile: Callable[[], None]) -> None:
        """Roll back and begin again, without calling ``ended``."""
        self.atomic.__exit__(type(error), error, error.__traceback__)
        try:
            meanwhile()
        finally:
            self.atomic.__enter__()
