"""What a stopped ``migrate`` costs others: SIGSTOP at random moments, with a client beside it.

Each run starts ``migrate`` in a process of its own, which locks a table and works for three
seconds, and stops it after a random time for so many seconds. Meanwhile a client reads the table
once. Prints how long it waited, and how ``migrate`` ended, without and with ``MAX_BLOCKING``.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent)]

import psycopg  # noqa: E402
from server import ROOT, Server  # noqa: E402

MIGRATION = """
import time
from django.db import migrations

def works(apps, schema_editor):
    schema_editor.execute("ALTER TABLE shop ADD IF NOT EXISTS note text")
    for _ in range(30):
        time.sleep(0.1)
        schema_editor.execute("SELECT 1")

class Migration(migrations.Migration):
    atomic = {atomic}
    operations = [migrations.RunPython(works, atomic=True)]
"""

TABLE = "DROP TABLE IF EXISTS shop, django_migrations; CREATE TABLE shop (id int)"
SETTINGS = {"MAX_BLOCKING": "500ms", "LOCK_RETRIES": 2, "RETRY_DELAY": "2s"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="of each kind (5)")
    parser.add_argument(
        "--not-atomic", action="store_true", help="lock in an atomic block of one that is not"
    )
    parser.add_argument("--stopped", type=float, default=6.0, help="seconds (6)")
    args = parser.parse_args()
    server = Server([])
    try:
        for name, settings in (("without", {}), ("with MAX_BLOCKING", SETTINGS)):
            runs = [run(server.address, settings, args) for _ in range(args.runs)]
            waits = ", ".join(f"{wait:.1f}" for wait, _code in runs)
            ended = [code for _wait, code in runs]
            print(f"{name}: waits {waits} s; exit codes {ended}", flush=True)
    finally:
        server.close()


def run(
    address: dict[str, Any], settings: dict[str, Any], args: argparse.Namespace
) -> tuple[float, int]:
    """Return the client's wait in seconds, and the exit code of ``migrate``."""
    reaches = {**{key.lower(): value for key, value in address.items()}, "dbname": "bench"}
    with psycopg.connect(**reaches, autocommit=True) as connection:
        connection.execute(TABLE)
    waits: list[float] = []
    reader = threading.Thread(target=read, args=(reaches, waits))
    with tempfile.TemporaryDirectory() as directory:
        package = Path(directory) / "frozen_migrations"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "0001_works.py").write_text(MIGRATION.format(atomic=not args.not_atomic))
        process = start(reaches, package, settings)
        while not waiting_for_locks(reaches) and process.poll() is None:
            time.sleep(0.02)
        time.sleep(random.uniform(0.3, 2.5))
        process.send_signal(signal.SIGSTOP)
        reader.start()
        time.sleep(args.stopped)
        process.send_signal(signal.SIGCONT)
        code = process.wait(120)
    reader.join()
    return waits[0], code


def start(reaches: dict[str, Any], package: Path, settings: dict[str, Any]) -> Any:
    wanted = {
        "address": {key: str(value) for key, value in reaches.items()},
        "directory": str(package.parent),
        "package": package.name,
        "settings": {"MIGRATE": settings},
        "target": "",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.migrate_process", json.dumps(wanted)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def waiting_for_locks(reaches: dict[str, Any]) -> bool:
    """Return whether the migration holds its lock on the table."""
    held = "SELECT 1 FROM pg_locks WHERE relation = 'shop'::regclass AND granted"
    with psycopg.connect(**reaches, autocommit=True) as connection:
        return connection.execute(f"{held} AND mode = 'AccessExclusiveLock'").fetchone() is not None


def read(reaches: dict[str, Any], waits: list[float]) -> None:
    with psycopg.connect(**reaches, autocommit=True) as connection:
        began = time.monotonic()
        connection.execute("SELECT count(*) FROM shop")
        waits.append(time.monotonic() - began)


if __name__ == "__main__":
    main()
