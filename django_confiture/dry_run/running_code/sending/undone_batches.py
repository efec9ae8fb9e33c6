"""Many statements in one round trip, each undone, with the error of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import psycopg

from django_confiture.dry_run.running_code.catalog.row_texts import literal
from django_confiture.dry_run.running_code.failure import Failure
from django_confiture.dry_run.running_code.sending.connection import (
    OPEN,
    ProbeConnection,
)
from django_confiture.dry_run.running_code.sending.statements import FirstStatement

_SIZE = 100
"""Statements in one round trip: together they have to end within the timeout."""
_ASKED, _SAID, _UNDONE = "confiture.asked", "confiture.said", "CFUND"

# Each statement is undone by an error of ours, unless it fails by itself.
_TRY_EACH = f"""
SELECT pg_catalog.set_config('{_ASKED}', {{asked}}, true);
DO $confiture$
DECLARE
  asked text; state text; said text; broken text; of_column text;
  found jsonb := '[]';
BEGIN
  FOR asked IN
    SELECT * FROM pg_catalog.json_array_elements_text(
      pg_catalog.current_setting('{_ASKED}')::json)
  LOOP
    BEGIN
      EXECUTE asked;
      SET CONSTRAINTS ALL IMMEDIATE;
      RAISE EXCEPTION USING ERRCODE = '{_UNDONE}';
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, said = MESSAGE_TEXT,
        broken = CONSTRAINT_NAME, of_column = COLUMN_NAME;
      found := found || pg_catalog.jsonb_build_array(
        pg_catalog.jsonb_build_array(state, said, broken, of_column));
    END;
  END LOOP;
  PERFORM pg_catalog.set_config('{_SAID}', found::text, true);
END
$confiture$;
SELECT pg_catalog.current_setting('{_SAID}')
"""


def failures(
    connection: ProbeConnection, statements: Sequence[FirstStatement]
) -> Iterator[Failure | None]:
    """Yield why each statement fails, None where it passes; what is not known has failed."""
    for start in range(0, len(statements), _SIZE):
        batch = statements[start : start + _SIZE]
        answers = _answers(connection, [each.text for each in batch])
        for each, (state, message, constraint, column) in zip(batch, answers, strict=True):
            failure = Failure(state, message or "", each.sql, constraint or None, column or None)
            yield None if state == _UNDONE else failure


def _answers(connection: ProbeConnection, texts: Sequence[str]) -> Sequence[Sequence[str | None]]:
    asked = literal(json.dumps(texts, ensure_ascii=False))
    try:
        said = connection.session.script(_TRY_EACH.format(asked=asked))[-1][0][0]
    except psycopg.Error:  # together too slow, or the server has no PL/pgSQL
        if connection.session.status not in OPEN:
            raise
        connection.undo()
        return [(None, "not tried", None, None)] * len(texts)
    found: Sequence[Sequence[str | None]] = json.loads(said or "")
    return found
