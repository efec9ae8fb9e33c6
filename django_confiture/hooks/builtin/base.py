"""What the shipped hooks share: options that are checked, and results under their own name."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg
from django.db import Error

from django_confiture import conf
from django_confiture.exceptions import DryRunRefused, DryRunYielded, HookVeto, MigrationError
from django_confiture.formatting import one_line
from django_confiture.hooks.base import Hook, HookContext, HookResult
from django_confiture.hooks.builtin.options import option_errors, wrong_option

if TYPE_CHECKING:
    from django.core.checks import CheckMessage


class ShippedHook(Hook):
    """A hook that comes with the package; its options are :class:`Option` attributes."""

    registered_name: ClassVar[str]
    """Its name in the registry."""

    def check(self) -> list[CheckMessage]:
        """Return an error for each option that is unknown, wrong, or at odds with another."""
        errors: list[CheckMessage] = [*option_errors(self)]
        return errors or [wrong_option(each) for each in self.contradictions()]

    def contradictions(self) -> Iterator[conf.SettingError]:
        """Yield what is wrong with the options together; each of them is right by itself."""
        yield from ()

    def execute(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        """Refuse wrong options, which ``--skip-checks`` lets through; then run.

        Whatever fails, also in a function of the project, is a veto of one line; ``--traceback``
        and the log event ``hook_failed`` have the rest.
        """
        if errors := self.check():
            raise HookVeto(f"{errors[0].msg} {errors[0].hint or 'See its options.'}")
        try:
            return self.run(conn, context)
        except (HookVeto, DryRunRefused, DryRunYielded):
            raise
        except Exception as error:
            raise HookVeto(f"{self.registered_name} failed: {_in_a_line(error)}.") from error

    @abstractmethod
    def run(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        """Do the work; the options are right."""

    def result(self, *, rows_affected: int = 0, **stats: Any) -> HookResult:
        """Return a result of this hook."""
        return HookResult(self.phase.name, self.registered_name, rows_affected, stats)


def _in_a_line(error: Exception) -> str:
    """Return what went wrong, without PostgreSQL's details: they quote rows."""
    cause = error.__cause__ if isinstance(error, Error) else error
    said = cause.diag.message_primary if isinstance(cause, psycopg.Error) else None
    text = one_line(said or error).removesuffix(".")
    if isinstance(error, MigrationError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
