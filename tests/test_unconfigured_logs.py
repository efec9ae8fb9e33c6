"""What a project without LOGGING sees of the package's warnings."""

from __future__ import annotations

import subprocess
import sys

from tests.cases.migrations_on_disk import Cases
from tests.support import migrate_process, recording
from tests.support.dry_run import plain_connection

SCRIPT = """
import logging
from django_confiture.unconfigured_logs import configured_handlers, install
install()
install()
logger = logging.getLogger("django_confiture.migrate")
logger.warning("lock_timeout_retry", extra={"migration": "0004_x", "waits": "a\\n b"})
sessions = [{"pid": 7, "user": "web", "state": None}, {"pid": 8, "user": "psql"}]
logger.warning("migration_waits", extra={"blocked_by": sessions, "waiters": []})
logger.info("hook_finished", extra={"hook": "x"})
logger.warning("plain")
logger.warning("in words: %s", "no field", extra={"elapsed_ms": 3000})
try:
    raise ValueError("no\\nway")
except ValueError:
    logger.exception("hook_failed", extra={"hook": "x"})
assert configured_handlers("django_confiture") == []
for name in ("django_confiture.migrate", "django_confiture", None):
    handler = logging.NullHandler()
    logging.getLogger(name).addHandler(handler)
    if name:
        assert configured_handlers(name) == [handler]
    logger.warning("not shown")
    logging.getLogger(name).removeHandler(handler)
logger.warning("shown")
"""


def test_an_event_is_a_line_as_long_as_nothing_is_configured() -> None:
    """In its own process: pytest listens to every logger."""
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stderr == (
        "lock_timeout_retry: migration=0004_x, waits=a b\n"
        "migration_waits: blocked_by=pid 7 user web; pid 8 user psql, waiters=none\n"
        "plain\n"
        "in words: no field\n"
        "hook_failed: hook=x, error=no way\n"
        "shown\n"
    )


ALTERS = """
from django.db import migrations

class Migration(migrations.Migration):
    operations = [migrations.RunSQL("ALTER TABLE recording_log ADD extra int")]
"""


def test_a_migrate_that_tries_again(cases: Cases) -> None:
    with recording.recording():
        cases.write("0001_alters", ALTERS)
        timeouts = {"MIGRATE": {"LOCK_TIMEOUT": "100ms", "LOCK_RETRIES": 1, "RETRY_DELAY": "10ms"}}
        with plain_connection() as other, other.transaction():
            other.execute("LOCK recording_log IN ACCESS SHARE MODE")
            process = migrate_process.start(cases.package, settings=timeouts)
            said, _ = process.communicate(timeout=60)
    lines = [line for line in said.splitlines() if "lock_timeout_retry" in line]
    assert len(lines) == 1, said
    assert lines[0].startswith("lock_timeout_retry: "), said  # and not behind "Applying ..."
    assert "\n  Applying cases.0001_alters...\n" in said
    assert "migration=0001_alters" in lines[0]
    assert "attempt=1" in lines[0]
