"""A non-atomic migration with eight kinds of operations, cut off again and again, then resumed.

Each run cuts ``migrate`` off one to three times at random moments: by ``kill -9``, by
``pg_terminate_backend``, by both, or by a crash of the server, which then starts again. After a
last, undisturbed ``migrate``, schema, rows and log must be those of a run without any disturbance,
with no INVALID index, an empty journal, and the migration that depends on it applied. In between
``confiture_status`` must answer, and a ``migrate`` that was not killed must end with one line.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import subprocess
import sys
import time
from typing import Any

import psycopg
from migrate import Bench

STATE = """migrations.SeparateDatabaseAndState([], [migrations.CreateModel('Row', [
    ('id', models.IntegerField(primary_key=True)), ('number', models.IntegerField(null=True)),
    ('old', models.IntegerField(null=True)), ('name', models.TextField())],
    options={'db_table': 'bench_row', 'indexes': [models.Index(fields=['old'], name='bench_old')]}),
    migrations.CreateModel('Other', [('id', models.IntegerField(primary_key=True))],
    options={'db_table': 'bench_other'})]),
    SQL('CREATE INDEX bench_old ON bench_row (old)')"""
EIGHT = """
    migrations.AddField('Row', 'extra', models.IntegerField(null=True)),
    AddIndexConcurrently('Row', models.Index(fields=['number'], name='bench_number')),
    migrations.RunPython(in_batches, atomic=False),
    AddConstraintNotValid('Row', models.CheckConstraint(
        condition=models.Q(id__gt=0), name='bench_positive')),
    ValidateConstraint('Row', 'bench_positive'),
    SQL(["INSERT INTO bench_log SELECT 'sql' FROM pg_sleep(0.1)", 'VACUUM bench_log',
         "INSERT INTO bench_log VALUES ('after vacuum')"]),
    RemoveIndexConcurrently('Row', 'bench_old'),
    migrations.SeparateDatabaseAndState(
        [SQL('CREATE INDEX CONCURRENTLY bench_name ON bench_row (name, number)'),
         SQL("INSERT INTO bench_log VALUES ('nested')")],
        [migrations.AddIndex('Row', models.Index(fields=['name', 'number'], name='bench_name'))]),
    migrations.AddField('Row', 'other', models.ForeignKey(
        'Other', models.CASCADE, null=True, db_column='the_other')),
    migrations.RunPython(logged('python'), atomic=True)"""
DEPENDANT = """migrations.AddField('Row', 'last', models.TextField(default='x')),
    SQL("INSERT INTO bench_log VALUES ('dependant')")"""
RESULT = """
SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
  SELECT pg_get_indexdef(indexrelid) || indisvalid AS line FROM pg_index
    WHERE indrelid::regclass::text ~ 'bench'
  UNION ALL SELECT attrelid::regclass || attname || atttypid || attnotnull FROM pg_attribute
    WHERE attrelid::regclass::text ~ '^bench' AND attnum > 0 AND NOT attisdropped
  UNION ALL SELECT conrelid::regclass || conname || convalidated || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE conrelid::regclass::text ~ '^bench'
  UNION ALL SELECT 'log ' || what FROM bench_log
  UNION ALL SELECT 'applied ' || name FROM django_migrations WHERE app = 'bench_app'
  UNION ALL SELECT 'journal ' || count(*) FROM confiture_history_journalentry
  UNION ALL SELECT 'rows ' || count(*) || ' ' || coalesce(sum(extra), 0) FROM bench_row) found
"""
OF_MIGRATE = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)
RESUME = {"MIGRATE": {"RESUME": True}}


def status(bench: Bench, database: str) -> str:
    """Return what ``confiture_status`` prints; fail if it does not answer in order."""
    process = bench.project.command(database, RESUME, "confiture_status", "--format", "json")
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 0, said
    return str(json.loads(said)["database"])


def disturb(bench: Bench, database: str, process: subprocess.Popen[str], how: str) -> None:
    """Cut a ``migrate`` off."""
    if how == "crash":
        bench.crash()
        return
    if how in ("kill", "both"):
        process.kill()
    if how in ("terminate", "both"):
        with psycopg.connect(**bench.address(database), autocommit=True) as connection:
            connection.execute(f"SELECT pg_terminate_backend(pid) FROM ({OF_MIGRATE}) sessions")


def one_run(bench: Bench, how: str, whole: float, wanted: str) -> tuple[int, str]:
    """Return how often it was cut off before its end, and what is wrong then, if anything."""
    database, cut, wrong = bench.copied(), 0, ""
    for _ in range(random.randint(1, 3)):
        process = bench.project.migrate(database, RESUME)
        time.sleep(random.uniform(0.3, whole))
        ended = process.poll() is not None
        disturb(bench, database, process, how)
        said = process.communicate(timeout=120)[0]
        cut += not ended
        status(bench, database)
    last = bench.project.migrate(database, RESUME)
    said = last.communicate(timeout=120)[0]
    found = str(bench.value(database, RESULT))
    if last.returncode != 0:
        wrong += f"the last migrate failed: {said[-600:]}\n"
    elif found != wanted:
        differs = set(found.splitlines()) ^ set(wanted.splitlines())
        wrong += f"differs: {sorted(differs)}\n"
        more = collections.Counter(found.splitlines()) - collections.Counter(wanted.splitlines())
        wrong += f"too many: {dict(more)}\n" if more else ""
    return cut, wrong


def main() -> int:
    """Cut off in each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=12, help="of each way")
    parser.add_argument("--how", nargs="+", default=["kill", "terminate", "both", "crash"])
    args = parser.parse_args()
    bench, bad = Bench(), 0
    try:
        bench.project.write((STATE, True), (EIGHT, False), (DEPENDANT, True))
        database = bench.copied()
        began = time.monotonic()
        process = bench.project.migrate(database, RESUME)
        assert process.wait() == 0, process.stdout.read()
        whole, wanted = time.monotonic() - began, str(bench.value(database, RESULT))
        assert "log dependant" in wanted, wanted
        for how in args.how:
            found: list[Any] = [one_run(bench, how, whole, wanted) for _ in range(args.runs)]
            wrong = [text for _cut, text in found if text]
            bad += len(wrong)
            cuts = sum(cut for cut, _text in found)
            print(f"{how}: {args.runs} runs, cut off {cuts} times, {len(wrong)} wrong", flush=True)
            for text in wrong:
                print(f"  {text}", flush=True)
        print(f"undisturbed {whole:.1f} s")
    finally:
        bench.close()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
