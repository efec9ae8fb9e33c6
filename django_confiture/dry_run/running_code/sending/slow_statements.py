"""Spares the probes what was canceled twice: each further try would take its whole timeout."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from django_confiture.sql_text import QUALIFIED_NAME

_WRITES = re.compile(rf"\s*(INSERT INTO|UPDATE|DELETE FROM)\s+({QUALIFIED_NAME})", re.IGNORECASE)
_TRIES = 2
"""The first one may have met a busy server."""


class SlowStatements:
    """What the statements of the probes write to, by how often that was canceled."""

    def __init__(self) -> None:
        self._canceled: Counter[tuple[str, str]] = Counter()
        self._said: dict[tuple[str, str], str] = {}

    def forget(self) -> None:
        """Try everything again: a migration may have changed what was slow."""
        self._canceled.clear()

    @contextmanager
    def watching(self, *texts: str) -> Iterator[None]:
        """Note whether what is sent in the block is canceled.

        Raises ``psycopg.errors.QueryCanceled`` in its place where the same was canceled twice.
        Of statements that write to several tables none is blamed.
        """
        writes = list(dict.fromkeys(map(_write, texts)))
        for each in writes:
            if each is not None and self._canceled[each] >= _TRIES:
                raise psycopg.errors.QueryCanceled(self._said[each])
        try:
            yield
        except Exception as error:
            cause = error if isinstance(error, psycopg.Error) else error.__cause__
            if isinstance(cause, psycopg.errors.QueryCanceled) and len(writes) == 1 and writes[0]:
                self._canceled[writes[0]] += 1
                self._said[writes[0]] = cause.diag.message_primary or str(cause)
            raise


def _write(text: str) -> tuple[str, str] | None:
    """Return what a statement does, and to which table as it is written; None for a reading."""
    if found := _WRITES.match(text):
        return found[1].upper(), found[2].replace('"', "")
    return None
