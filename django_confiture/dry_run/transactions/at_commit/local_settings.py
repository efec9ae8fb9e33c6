"""What SET LOCAL changes, put back where its transaction would end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session
    from django_confiture.dry_run.sql.parser import Statement


class LocalSettings:
    """Restores settings at a rehearsed COMMIT; a rollback restores them by itself."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._before: dict[str, str] = {}

    def before(self, statement: Statement) -> None:
        """Note the value that a statement is about to change."""
        if name := statement.sets_locally:
            value = self._session.value("SELECT current_setting($1, true)", [name])
            self._before.setdefault(name, value)

    def ended(self, *, kept: bool) -> None:
        """Put the values back."""
        for name, value in self._before.items() if kept else ():
            self._session.query("SELECT set_config($1, $2, true)", [name, value])
        self._before = {}
