"""What the shipped hooks share: options that are checked, and results under their own name."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from django_confiture import conf
from django_confiture.hooks.base import Hook, HookContext, HookResult
from django_confiture.hooks.builtin.options import option_errors, wrong_option

if TYPE_CHECKING:
    import psycopg
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
        """Refuse wrong options, which ``--skip-checks`` lets through; then run."""
        if errors := self.check():
            first = errors[0]
            raise conf.SettingError(str(first.msg).removesuffix("."), _as_fix(first.hint))
        return self.run(conn, context)

    @abstractmethod
    def run(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        """Do the work; the options are right."""

    def result(self, *, rows_affected: int = 0, **stats: Any) -> HookResult:
        """Return a result of this hook."""
        return HookResult(self.phase.name, self.registered_name, rows_affected, stats)


def _as_fix(hint: str | None) -> str:
    hint = (hint or "see its options").removesuffix(".")
    return hint[0].lower() + hint[1:]
