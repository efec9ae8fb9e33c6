"""Whatever SQL a migration sends, nothing of it is left."""

from __future__ import annotations

import pytest

from django_confiture.dry_run.transactions.commit_guard import COMMIT_GUARD
from tests.support.dry_run import (
    LEAK,
    check,
    fingerprint,
    plain_connection,
    runs,
    why_it_failed,
)

NOT_INSIDE = "cannot run inside a transaction block"
TERMINATION = "invalid transaction termination"
GUARD_CLOSED = f"closed the cursor {COMMIT_GUARD}, which guards against commits"

PREPARED_OFF = "prepared transactions are disabled"
SCRIPTS = {
    "nothing unusual": (LEAK, None, None),
    "begin and commit": (f"BEGIN; {LEAK}; COMMIT", None, None),
    "begin and rollback": (f"BEGIN; {LEAK}; ROLLBACK", None, None),
    "rollback first": (f"ROLLBACK; {LEAK}", None, None),
    "commit and chain": (f"{LEAK}; COMMIT AND CHAIN; {LEAK}", None, None),
    "abort": (f"ABORT; {LEAK}", None, None),
    "end": (f"{LEAK}; END", None, None),
    "prepare transaction": (f"{LEAK}; PREPARE TRANSACTION 'leak'", PREPARED_OFF, None),
    "lower case between comments": (f"{LEAK}; /* a */ commit -- b", None, None),
    "commit in a block": (f"DO $$ BEGIN {LEAK}; COMMIT; END $$", TERMINATION, None),
    "rollback in a block": (f"DO $$ BEGIN ROLLBACK; {LEAK}; END $$", TERMINATION, None),
    "a procedure that commits": ("CALL dry_commits()", TERMINATION, None),
    "discard all": (f"{LEAK}; DISCARD ALL", "DISCARD ALL cannot run", "DISCARD ALL cannot run"),
    "discard temp": (f"DISCARD TEMP; {LEAK}; COMMIT", None, None),
    "unreadable": (f"{LEAK}; frobnicate; COMMIT", "syntax error", "syntax error"),
    "closes the guard": (f"CLOSE {COMMIT_GUARD}; {LEAK}; COMMIT", GUARD_CLOSED, GUARD_CLOSED),
    "commits in a block behind it": (
        f"CLOSE ALL; DO $$ BEGIN {LEAK}; COMMIT; END $$",
        TERMINATION,
        TERMINATION,
    ),
    "truncate": ("TRUNCATE dry_row, dry_child", None, None),
    "drop": ("DROP TABLE dry_parent CASCADE", None, None),
    "rewrite": ("ALTER TABLE dry_row ALTER number TYPE bigint", None, None),
    "new objects": (
        """CREATE TABLE dry_new (id serial); CREATE TYPE dry_mood AS ENUM ('ok');
        CREATE FUNCTION dry_f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE SCHEMA dry_s""",
        None,
        None,
    ),
    "settings": ("SET lock_timeout = '7s'; SET application_name = 'leak'", None, None),
    "search path": ("SET search_path = pg_catalog", "django_migrations", "django_migrations"),
    "role": ("SET ROLE pg_read_all_data", "permission denied", "permission denied"),
    "vacuum": ("VACUUM FULL dry_row", NOT_INSIDE, None),
    "concurrently": ("CREATE INDEX CONCURRENTLY dry_i ON dry_row (number)", NOT_INSIDE, None),
    "reindex": ("REINDEX TABLE CONCURRENTLY dry_row", NOT_INSIDE, None),
    "error": (f"{LEAK}; SELECT 1 / 0", "division by zero", "division by zero"),
}


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
@pytest.mark.parametrize(("script", "if_atomic", "if_not"), SCRIPTS.values(), ids=SCRIPTS)
def test_no_script_leaves_anything(
    untouched: None, script: str, if_atomic: str | None, if_not: str | None, atomic: bool
) -> None:
    check(why_it_failed(runs(script), atomic=atomic), if_atomic if atomic else if_not)


def test_a_leak_would_be_seen(scratch: None) -> None:
    """Without this the module proves nothing."""
    with plain_connection() as plain:
        before = fingerprint(plain)
        for harm in (LEAK, "ALTER TABLE dry_row ADD x int", "CREATE INDEX ON dry_row (name)"):
            plain.execute(harm)
            after = fingerprint(plain)
            assert after != before
            before = after
