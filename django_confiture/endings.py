"""Ends what was begun, all of it, though the end of something fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def end_all(ends: Iterable[Callable[[], object]]) -> None:
    """Call each, though another raises; then raise the first error, even if that is Ctrl-C."""
    first: BaseException | None = None
    for end in ends:
        try:
            end()
        except BaseException as error:  # noqa: BLE001 - raised below
            first = first or error
    if first is not None:
        raise first
