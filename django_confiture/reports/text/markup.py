"""Text from outside, where ``rich`` reads markup."""

from __future__ import annotations

from rich import markup
from rich.table import Table
from rich.text import Text

from django_confiture.formatting import duration, size
from django_confiture.reports.phrases.wording import Words, visible

Line = str | Table | Text


def escape(text: str) -> str:
    """Return text with nothing in it that controls a terminal or ``rich``."""
    return markup.escape(visible(text))


WORDS = Words(escape, escape, duration, size)


def row(left: str, width: int, right: str, *, indent: int = 0) -> Table:
    """Return two columns, the right one wrapped within itself."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=indent + width, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(" " * indent + left, right)
    return grid


def unbroken(line: str, *, indent: int) -> Text:
    """Return a line that is printed in one piece: code that is broken can't be pasted."""
    return Text.from_markup(" " * indent + line)


def cut(line: str) -> Text:
    """Return a line that is cut where it is wider than the terminal."""
    text = Text.from_markup(line)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
