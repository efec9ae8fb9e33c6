"""Keys that a sequence can't serve next, so that an INSERT fails: a row has them, or none is left.

A migration that writes rows with keys of its own, or sets a sequence elsewhere, leaves it so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import psycopg
from django.db.models import Model
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.running_code.catalog.row_texts import literal
from django_confiture.dry_run.server.side_channel import Session

# One such SELECT for each table; a row is looked up by its key, and no sequence moves. NULL where
# the sequence is at its end.
_TAKEN = """
SELECT {number}, CASE WHEN served.is_left THEN served.key END FROM (
  SELECT CASE WHEN last IS NULL THEN q.seqstart ELSE last::numeric + q.seqincrement END AS key,
    last IS NULL OR q.seqcycle OR last::numeric + q.seqincrement BETWEEN q.seqmin AND q.seqmax
      AS is_left
  FROM pg_catalog.pg_sequence q, pg_catalog.pg_sequence_last_value(q.seqrelid) AS last
  WHERE q.seqrelid = pg_catalog.to_regclass(
    pg_catalog.pg_get_serial_sequence({table_text}, {column_text}))
) served
WHERE NOT served.is_left OR EXISTS (
  SELECT FROM {table} t WHERE t.{column} = served.key::bigint)
"""


@dataclass(frozen=True)
class NextKey:
    """The key that a sequence would serve next."""

    value: int | None
    """None where the sequence is at its end."""


def taken_keys(
    session: Session, quote: Callable[[str], str], models: Iterable[type[Model]]
) -> Mapping[type[Model], NextKey]:
    """Return the models whose next key can't be served, with that key.

    The tables have to be there, with numbers as keys; where they can't be read, or not in time,
    none is taken as far as is known.
    """
    keyed = [model for model in models if model._meta.auto_field is not None]
    if not keyed:
        return {}
    text = " UNION ALL ".join(_selects(keyed, quote))
    try:
        with session.undone():
            rows = session.query(text)
    except psycopg.Error:
        if session.status == TransactionStatus.UNKNOWN:
            raise
        return {}
    return {
        keyed[int(number or 0)]: NextKey(None if key is None else int(key)) for number, key in rows
    }


def _selects(models: Iterable[type[Model]], quote: Callable[[str], str]) -> Iterator[str]:
    for number, model in enumerate(models):
        field = model._meta.auto_field
        table = quote(model._meta.db_table)
        column = str(field.column) if field is not None else ""
        yield _TAKEN.format(
            number=number,
            table=table,
            column=quote(column),
            table_text=literal(table),
            column_text=literal(column),
        )
