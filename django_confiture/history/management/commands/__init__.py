"""The commands about the ledger."""

from __future__ import annotations

from typing import Final, TypedDict


class _Ledger(TypedDict):
    doing: str
    app_label: str


LEDGER: Final[_Ledger] = {"doing": "use the ledger in", "app_label": "confiture_history"}
"""What :func:`~django_confiture.database_errors.could_not_start` says of its database."""
