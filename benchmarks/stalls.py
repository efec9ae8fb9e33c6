"""How long other clients stall: four of them update a table while a dry run wants it."""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import time
from typing import Any

from server import Server

ROWS = 2_000_000
CLIENTS = 4

TABLES = """
CREATE TABLE bench_row (id integer PRIMARY KEY, number integer NOT NULL, name text NOT NULL);
INSERT INTO bench_row SELECT i, i, md5(i::text) FROM generate_series(1, {n}) i;
"""


def client(address: dict[str, Any], stop: Any, longest: Any, updates: Any, index: int) -> None:
    """Update single rows as fast as an application does; note the longest wait in ms."""
    import psycopg

    with psycopg.connect(**address, autocommit=True, application_name="client") as connection:
        while not stop.is_set():
            started = time.perf_counter()
            connection.execute(
                "UPDATE bench_row SET number = number + 1 WHERE id = %s",
                [random.randint(1, ROWS)],
            )
            longest[index] = max(longest[index], (time.perf_counter() - started) * 1000)
            updates[index] += 1
            time.sleep(0.002)


def cases() -> dict[str, list[Any]]:
    """Return the operations of each migration."""
    from django.db import connection, migrations

    sql = migrations.RunSQL

    def busy(apps: Any, editor: Any) -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            sum(range(1000))

    def short(apps: Any, editor: Any) -> None:
        with connection.cursor() as cursor:
            for number in range(1, 100_000):
                cursor.execute("UPDATE bench_row SET name = 'x' WHERE id = %s", [number * 20])

    return {
        "rewrite": [sql("ALTER TABLE bench_row ALTER number TYPE bigint")],
        "index build": [sql("CREATE INDEX bench_i ON bench_row (name)")],
        "RunPython, busy for 20 s after an ALTER": [
            sql("ALTER TABLE bench_row ADD extra integer"),
            migrations.RunPython(busy),
        ],
        "100,000 short UPDATEs": [migrations.RunPython(short)],
    }


def stall(server: Server, case: str) -> tuple[float, float, str]:
    """Return the longest stall in ms without and with the dry run, and how that one ended."""
    from forecast import migration

    from django_confiture import DryRunExecutor, MigrationError

    context = multiprocessing.get_context("spawn")
    stop, longest = context.Event(), context.Array("d", CLIENTS)
    updates = context.Array("i", CLIENTS)
    with server.copy(ROWS) as wrapper:
        address = {**server.address, "dbname": wrapper.settings_dict["NAME"]}
        clients = [
            context.Process(target=client, args=(address, stop, longest, updates, index))
            for index in range(CLIENTS)
        ]
        for each in clients:
            each.start()
        while min(updates) < 200:
            time.sleep(0.05)
        longest[:] = [0.0] * CLIENTS
        time.sleep(1)
        idle = max(longest)
        longest[:] = [0.0] * CLIENTS
        try:
            DryRunExecutor().run("default", migration("0001_case", cases()[case]))
            ended = "to its end"
        except MigrationError as error:
            ended = type(error).__name__
        time.sleep(0.5)
        stop.set()
        for each in clients:
            each.join()
        return idle, max(longest), ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--cases", nargs="+")
    args = parser.parse_args()
    server = Server([])
    try:
        server.load(ROWS, TABLES.format(n=ROWS))
        print("| dry run of | longest stall, median of runs | worst run | idle | ended |")
        print("| --- | ---: | ---: | ---: | --- |")
        for case in args.cases or cases():
            runs = [stall(server, case) for _ in range(args.repeat)]
            idle, stalls, ended = zip(*runs, strict=True)
            ends = ", ".join(f"{ended.count(end)} {end}" for end in dict.fromkeys(ended))
            print(
                f"| {case} | {statistics.median(stalls):.0f} ms | {max(stalls):.0f} ms "
                f"| {max(idle):.0f} ms | {ends} |",
                flush=True,
            )
    finally:
        server.close()


if __name__ == "__main__":
    main()
