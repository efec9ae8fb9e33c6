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
    explained: Callable[..., BaseException]
    """Returns the error to raise for one with which the transaction ends."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.atomic, name)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.atomic.__exit__(kind, error, trace)
        except BaseException as at_commit:
            self._end(at_commit, self.explained(at_commit, at_commit=error is None))
            raise
        self._end(error, error and self.explained(error))

    def _end(self, error: BaseException | None, final: BaseException | None) -> None:
        self.ended(final)
        if final is not error:
            assert final is not None
            raise final from error

    def restart(self, error: Exception, meanwhile: Callable[[], None]) -> None:
        """Roll back and begin again, without calling ``ended``."""
        self.atomic.__exit__(type(error), error, error.__traceback__)
        try:
            meanwhile()
        finally:
            self.atomic.__enter__()
