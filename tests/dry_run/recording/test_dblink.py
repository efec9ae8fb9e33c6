"""Code that calls dblink: its session sees nothing of a dry run, and commits."""

from __future__ import annotations

import pytest

from tests.support.dry_run import migration, plain_connection, rehearse, runs

CODE = """
    CREATE FUNCTION dry_asks() RETURNS text LANGUAGE plpgsql AS
      $$ BEGIN IF false THEN PERFORM dblink_exec('', 'SELECT 1'); END IF; RETURN ''; END $$;
    CREATE FUNCTION dry_asks_in_turn() RETURNS text LANGUAGE sql AS 'SELECT dry_asks()';
    CREATE FUNCTION dry_on_write() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN new.name := dry_asks_in_turn(); RETURN new; END $$;
    CREATE TRIGGER dry_on_write BEFORE UPDATE ON dry_parent
      FOR EACH ROW EXECUTE FUNCTION dry_on_write();
"""


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("SELECT dry_asks_in_turn()", True),
        ("UPDATE dry_parent SET id = id", True),
        ("UPDATE dry_row SET name = dry_asks() WHERE id = 1", True),
        ("UPDATE dry_child SET id = id", False),
        ("ALTER TABLE dry_parent ADD extra int", False),
    ],
)
def test_code_that_calls_it_is_not_exact(text: str, *, marked: bool) -> None:
    with plain_connection() as plain:
        plain.execute(CODE)

    (result,) = rehearse(migration(runs(text))).migrations

    (operation,) = result.operations
    assert result.error is None
    assert ("It calls dblink, whose session" in (operation.reason or "")) is marked
