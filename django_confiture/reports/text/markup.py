"""Text from elsewhere, where ``rich`` reads markup."""

from __future__ import annotations

from rich import markup

from django_confiture.reports.phrases.wording import visible


def escape(text: str) -> str:
    """Return text with nothing in it that a terminal or ``rich`` obeys."""
    return markup.escape(visible(text))
