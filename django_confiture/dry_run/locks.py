"""The locks that a statement takes by PostgreSQL's rules, for relations that exist already."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django_confiture.dry_run.session import Session
    from django_confiture.dry_run.statements import Statement


def predict_locks(statement: Statement, session: Session) -> Sequence[tuple[int, str]]:
    return ()
