"""Statistics of production: what is collected, as whom, and what a file may not hold."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite

from django_confiture.exceptions import StatsError
from django_confiture.production import IndexStats, ProductionStats, TableStats, collect, load
from tests.support.dry_run import plain_connection

READER = "confiture_stats_reader"
HOSTILE = "a\"b'; %s -- ä\n"

TABLES = f"""
    CREATE SCHEMA stats;
    CREATE TABLE dry_stats (id integer PRIMARY KEY, name text);
    INSERT INTO dry_stats SELECT i, 'name ' || i FROM generate_series(1, 1000) i;
    CREATE INDEX dry_stats_lower ON dry_stats (lower(name), id) INCLUDE (name) WHERE id > 3;
    CREATE TABLE stats.{psycopg.sql.Identifier(HOSTILE).as_string()} (id integer);
    CREATE TABLE stats.parted (id integer, name text) PARTITION BY RANGE (id);
    CREATE TABLE stats.parted_1 PARTITION OF stats.parted FOR VALUES FROM (0) TO (100)
        WITH (autovacuum_enabled = off);
    CREATE TABLE stats.parted_2 PARTITION OF stats.parted FOR VALUES FROM (100) TO (300)
        PARTITION BY RANGE (id);
    CREATE TABLE stats.parted_2a PARTITION OF stats.parted_2 FOR VALUES FROM (100) TO (200)
        WITH (autovacuum_enabled = off);
    CREATE INDEX parted_id ON stats.parted USING hash (id);
    INSERT INTO stats.parted SELECT i, 'name' FROM generate_series(0, 149) i;
    CREATE MATERIALIZED VIEW stats.seen AS SELECT 1 AS one;
    CREATE VIEW stats.view AS SELECT 1 AS one;
    ANALYZE dry_stats, stats.parted;
"""


@pytest.fixture(scope="module")
def database(both_databases: None) -> Iterator[psycopg.Connection[Any]]:
    with plain_connection() as maker:
        maker.execute("DROP SCHEMA IF EXISTS stats CASCADE; DROP TABLE IF EXISTS dry_stats")
        maker.execute(TABLES)
    with plain_connection() as connection:
        _wait_for_counters(connection)
        yield connection
        connection.execute("DROP SCHEMA stats CASCADE; DROP TABLE dry_stats")


def _wait_for_counters(connection: psycopg.Connection[Any]) -> None:
    """A session reports what it counted when it ends, or somewhat later."""
    counted = "SELECT pg_stat_get_tuples_inserted('stats.parted_2a'::regclass)"
    for _ in range(100):
        if connection.execute(counted).fetchone() == (50,):
            return
        time.sleep(0.1)
    pytest.fail("The counters never came.")


@pytest.fixture
def stats(database: psycopg.Connection[Any]) -> ProductionStats:
    return collect(database)


def test_the_server(database: psycopg.Connection[Any], stats: ProductionStats) -> None:
    assert stats.database == database.info.dbname
    assert stats.server_version == database.info.server_version
    assert stats.standby is False
    assert stats.size_bytes > 1_000_000
    assert abs(stats.collected_at.timestamp() - time.time()) < 60
    assert stats.free_disk_bytes is None
    assert list(stats.settings) == [
        "checkpoint_timeout",
        "data_checksums",
        "full_page_writes",
        "maintenance_work_mem",
        "max_connections",
        "max_locks_per_transaction",
        "max_parallel_maintenance_workers",
        "max_wal_size",
        "shared_buffers",
        "synchronous_commit",
        "wal_compression",
        "wal_level",
        "work_mem",
    ]


def test_settings_are_in_bytes_and_milliseconds(database: psycopg.Connection[Any]) -> None:
    def bytes_of(name: str) -> int:
        row = database.execute("SELECT pg_size_bytes(current_setting(%s))", [name]).fetchone()
        assert row is not None
        return int(row[0])

    database.execute("SET synchronous_commit = local")
    database.execute("SET work_mem = '5MB'")
    try:
        settings = collect(database).settings
    finally:
        database.execute("RESET synchronous_commit; RESET work_mem")
    for name in ("shared_buffers", "max_wal_size", "maintenance_work_mem"):
        assert settings[name] == bytes_of(name)
    assert settings["work_mem"] == 5 * 1024**2
    assert settings["synchronous_commit"] == "local"
    timeout = database.execute(
        "SELECT extract(epoch FROM setting::interval) FROM (SELECT"
        " current_setting('checkpoint_timeout') AS setting) s"
    ).fetchone()
    assert timeout is not None
    assert settings["checkpoint_timeout"] == timeout[0] * 1000
    assert isinstance(settings["data_checksums"], bool)


def test_a_table(database: psycopg.Connection[Any], stats: ProductionStats) -> None:
    table = stats.tables["dry_stats"]
    sizes = database.execute(
        "SELECT pg_relation_size('dry_stats'), pg_indexes_size('dry_stats'),"
        " pg_relation_size('dry_stats_lower'), pg_total_relation_size(reltoastrelid)"
        " FROM pg_class WHERE oid = 'dry_stats'::regclass"
    ).fetchone()
    assert sizes is not None
    heap, indexes, lower, toast = sizes
    assert (table.relation, table.schema, table.kind) == ("dry_stats", "public", "table")
    assert (table.rows, table.analyzed) == (1000, True)
    assert (table.heap_bytes, table.index_bytes, table.toast_bytes) == (heap, indexes, toast)
    assert table.total_bytes == heap + indexes + toast
    assert table.row_bytes == heap / 1000
    assert table.partitions == ()
    assert table.indexes == (
        IndexStats(
            "dry_stats_lower",
            "btree",
            lower,
            unique=False,
            partial=True,
            columns=("id",),
            expression=True,
            valid=True,
        ),
        IndexStats(
            "dry_stats_pkey",
            "btree",
            indexes - lower,
            unique=True,
            partial=False,
            columns=("id",),
            expression=False,
            valid=True,
        ),
    )


def test_names(stats: ProductionStats) -> None:
    """With the schema outside the search path, as reports name them; views have no rows."""
    assert {name for name in stats.tables if name.startswith("stats.")} == {
        f"stats.{HOSTILE}",
        "stats.parted",
        "stats.parted_1",
        "stats.parted_2",
        "stats.parted_2a",
        "stats.seen",
    }
    assert not any(name.startswith(("pg_", "information_schema")) for name in stats.tables)


def test_two_tables_that_would_be_named_alike(database: psycopg.Connection[Any]) -> None:
    database.execute('CREATE TABLE "stats.parted" (id integer)')
    try:
        tables = collect(database).tables
    finally:
        database.execute('DROP TABLE "stats.parted"')
    assert tables["stats.parted"].schema == "public"
    assert tables['"stats"."parted"'].kind == "partitioned"


def test_a_partitioned_table_is_the_sum_of_its_leaves(stats: ProductionStats) -> None:
    parent = stats.tables["stats.parted"]
    leaves = [stats.tables["stats.parted_1"], stats.tables["stats.parted_2a"]]
    assert parent.kind == "partitioned"
    assert parent.partitions == ("stats.parted_1", "stats.parted_2a")
    assert stats.tables["stats.parted_2"].partitions == ("stats.parted_2a",)
    assert [leaf.rows for leaf in leaves] == [100, 50]
    assert parent.rows == 150
    for of in ("heap_bytes", "toast_bytes", "index_bytes", "total_bytes"):
        assert getattr(parent, of) == sum(getattr(leaf, of) for leaf in leaves) > 0
    (index,) = parent.indexes
    assert (index.name, index.method, index.columns) == ("parted_id", "hash", ("id",))
    assert index.bytes == parent.index_bytes


def test_rows_that_nobody_has_counted(stats: ProductionStats) -> None:
    seen, empty = stats.tables["stats.seen"], stats.tables[f"stats.{HOSTILE}"]
    assert (seen.kind, seen.rows, seen.analyzed) == ("materialized view", None, False)
    assert seen.row_bytes is None
    assert (empty.rows, empty.analyzed) == (0, False)  # no page, no row


def test_an_invalid_index(database: psycopg.Connection[Any]) -> None:
    database.execute("CREATE TABLE stats.twice AS SELECT 1 AS id FROM generate_series(1, 2)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.execute("CREATE UNIQUE INDEX CONCURRENTLY twice_id ON stats.twice (id)")
    try:
        (index,) = collect(database).tables["stats.twice"].indexes
    finally:
        database.execute("DROP TABLE stats.twice")
    assert (index.valid, index.unique) == (False, True)


def test_rates_over_an_interval(database: psycopg.Connection[Any]) -> None:
    def write() -> None:
        time.sleep(0.1)
        with plain_connection() as other:  # which reports its counters when it ends
            other.execute("INSERT INTO stats.parted SELECT i, 'more' FROM generate_series(0, 49) i")
            other.execute("SELECT count(*) FROM dry_stats")

    writer = threading.Thread(target=write)
    writer.start()
    stats = collect(database, timedelta(seconds=2))
    writer.join()
    assert stats.window_seconds is not None
    assert 2 <= stats.window_seconds < 4
    parent, table = stats.tables["stats.parted"], stats.tables["dry_stats"]
    assert parent.writes_per_second == pytest.approx(50 / stats.window_seconds)
    assert table.reads_per_second == pytest.approx(1 / stats.window_seconds)
    assert table.writes_per_second == 0


def test_rates_since_the_reset(database: psycopg.Connection[Any]) -> None:
    database.execute("SELECT pg_stat_reset()")
    time.sleep(0.1)
    stats = collect(database)
    assert stats.window_seconds is not None
    assert 0.1 <= stats.window_seconds < 30
    assert stats.tables["dry_stats"].writes_per_second == 0
    assert stats.tables["stats.parted"].reads_per_second == 0


def test_the_oldest_transaction(database: psycopg.Connection[Any]) -> None:
    with plain_connection() as other, other.transaction():
        other.execute("SELECT 1")
        time.sleep(0.2)
        oldest = collect(database).oldest_transaction_seconds
    assert oldest is not None
    assert oldest >= 0.2


def test_a_role_without_any_privilege(database: psycopg.Connection[Any]) -> None:
    database.execute(f"DROP ROLE IF EXISTS {READER}; CREATE ROLE {READER}")
    database.execute(f"SET ROLE {READER}")
    try:
        alone = collect(database)
        with plain_connection() as other, other.transaction():
            other.execute("SELECT 1")
            hidden = collect(database)
    finally:
        database.execute(f"RESET ROLE; DROP ROLE {READER}")
    assert alone.tables["stats.parted"].rows is not None
    assert hidden.oldest_transaction_seconds is None


def test_a_table_that_is_locked(database: psycopg.Connection[Any]) -> None:
    """Asking for its size would wait for the lock, and others would wait behind."""
    database.execute("VACUUM dry_stats")
    known = collect(database).tables["dry_stats"]
    with plain_connection() as other, other.transaction():
        other.execute("LOCK TABLE dry_stats")
        started = time.perf_counter()
        found = collect(database).tables["dry_stats"]
        assert time.perf_counter() - started < 0.5
    assert (found.rows, found.heap_bytes) == (1000, known.heap_bytes)


def test_nothing_stays(database: psycopg.Connection[Any]) -> None:
    collect(database)
    settings = "SELECT current_setting('lock_timeout'), current_setting('transaction_read_only')"
    before = database.execute(settings).fetchone()
    with database.transaction():
        collect(database)
        assert database.execute(settings).fetchone() == before
        database.execute("CREATE TEMPORARY TABLE can_write ()")
        database.execute("DROP TABLE can_write")
    assert database.info.transaction_status.name == "IDLE"


def test_a_broken_transaction(database: psycopg.Connection[Any]) -> None:
    with plain_connection() as other:
        other.execute("BEGIN")
        with pytest.raises(psycopg.Error):
            other.execute("nonsense")
        with pytest.raises(StatsError, match=r"^Cannot read the statistics: .*aborted"):
            collect(other)


def test_a_database_that_is_no_postgresql() -> None:
    sqlite = SQLite({"NAME": ":memory:", "OPTIONS": {}}, alias="lite")
    with pytest.raises(StatsError) as caught:
        collect(sqlite)
    assert str(caught.value) == (
        "The database 'lite' is SQLite; confiture_stats needs PostgreSQL. "
        "Choose another alias: 'default', 'other'."
    )


# Files.


def test_a_file_says_the_same(stats: ProductionStats, tmp_path: Path) -> None:
    file = tmp_path / "stats.json"
    file.write_text(stats.to_json(), encoding="utf-8")
    loaded = load(file)
    assert loaded.to_json() == stats.to_json()
    assert loaded.tables["dry_stats"].indexes == stats.tables["dry_stats"].indexes
    assert loaded.tables["stats.parted"].partitions == stats.tables["stats.parted"].partitions
    assert isinstance(loaded.tables[f"stats.{HOSTILE}"], TableStats)
    assert len(stats.to_json().splitlines()) == 14 + len(stats.tables)  # a line for each


def test_no_value_of_a_row_is_in_it(stats: ProductionStats) -> None:
    assert "name 999" not in stats.to_json()


Edit = Callable[[dict[str, Any]], object]


def _table(**facts: object) -> Edit:
    return lambda document: document["tables"]["dry_stats"].update(facts)


WRONG: list[tuple[Edit, str]] = [
    (
        lambda d: d.update(confiture_stats=2),
        (
            "confiture_stats is 2, and this release reads 1;"
            " make the file again with the same release."
        ),
    ),
    (
        lambda d: d.update(confiture_stats=True),
        (
            "confiture_stats is true, and this release reads 1;"
            " make the file again with the same release."
        ),
    ),
    (lambda d: d.pop("database"), "database is missing."),
    (lambda d: d.update(database=7), "database is 7, which is not a string."),
    (lambda d: d.update(standby=0), "standby is 0, which is neither true nor false."),
    (
        lambda d: d.update(collected_at="now"),
        'collected_at is "now", which is not a date and time.',
    ),
    (
        lambda d: d.update(collected_at="2026-01-01T00:00:00"),
        'collected_at is "2026-01-01T00:00:00", which is a time without a time zone.',
    ),
    (lambda d: d.update(window_seconds=-1.5), "window_seconds is -1.5, which is negative."),
    (lambda d: d.update(settings=[]), "settings is [], which is not an object."),
    (
        lambda d: d.update(settings={"x": None}),
        'settings is {"x": null}, which is not an object of numbers, strings and booleans: x.',
    ),
    (lambda d: d.update(tables=[]), "tables is [], which is not an object."),
    (lambda d: d["tables"].update(x=1), 'tables["x"] is 1, which is not an object.'),
    (lambda d: d["tables"]["dry_stats"].pop("rows"), 'tables["dry_stats"].rows is missing.'),
    (_table(rows=-1), 'tables["dry_stats"].rows is -1, which is negative.'),
    (_table(rows=2**63), f'tables["dry_stats"].rows is {2**63}, which is too large.'),
    (
        lambda d: d.update(size_bytes=10**400),
        f"size_bytes is 1{'0' * 56}..., which is too large.",
    ),
    (_table(rows=1.5), 'tables["dry_stats"].rows is 1.5, which is not a whole number.'),
    (_table(rows=True), 'tables["dry_stats"].rows is true, which is not a number.'),
    (_table(heap_bytes=None), 'tables["dry_stats"].heap_bytes is null, which is not a number.'),
    (
        _table(heap_bytes="x" * 70),
        f'tables["dry_stats"].heap_bytes is "{"x" * 56}..., which is not a number.',
    ),
    (_table(partitions="x"), 'tables["dry_stats"].partitions is "x", which is not a list.'),
    (
        _table(indexes=[{"name": 1}]),
        'tables["dry_stats"].indexes[0].name is 1, which is not a string.',
    ),
]


@pytest.mark.parametrize(("edit", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_a_mistake_in_a_file(
    stats: ProductionStats, tmp_path: Path, edit: Edit, message: str
) -> None:
    document = json.loads(stats.to_json())
    edit(document)
    file = tmp_path / "stats.json"
    file.write_text(json.dumps(document))
    with pytest.raises(StatsError) as caught:
        load(file)
    assert str(caught.value) == f"{file}: {message}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "{file} is not JSON: Expecting property name enclosed in double quotes: "),
        (b"\xff", "{file} is not JSON: 'utf-8' codec can't decode byte 0xff"),
        (b'{"confiture_stats": NaN}', "{file} is not JSON: NaN is not a JSON number."),
        (b"[" * 100_000, "{file} is not JSON: "),
        (b"[]", "{file} has no key confiture_stats; make one with: manage.py confiture_stats "),
        (b'{"schema_version": 1}', "{file} has no key confiture_stats; "),
    ],
)
def test_a_file_of_another_kind(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "stats.json"
    file.write_bytes(content)
    with pytest.raises(StatsError) as caught:
        load(file)
    assert str(caught.value).startswith(message.format(file=file))
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(StatsError, match=r"^Cannot read .*/none\.json: No such file"):
        load(tmp_path / "none.json")


def test_what_is_not_known_is_left_alone(stats: ProductionStats, tmp_path: Path) -> None:
    document = {**json.loads(stats.to_json()), "comment": "of ours", "free_disk_bytes": 5}
    file = tmp_path / "stats.json"
    file.write_text(json.dumps(document))
    assert load(file).free_disk_bytes == 5


# The command.


def run(*args: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("confiture_stats", *args, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.usefixtures("database")
class TestCommand:
    def test_to_stdout(self, tmp_path: Path) -> None:
        out, err = run()
        (tmp_path / "stats.json").write_text(out)
        stats = load(tmp_path / "stats.json")
        assert "dry_stats" in stats.tables
        unknown = "Reads and writes a second are unknown, as PostgreSQL doesn't say since when it"
        assert err.startswith(unknown) is (stats.window_seconds is None)

    def test_to_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "stats.json"
        out, err = run("--database", "other", "--output", str(file), "--interval", "1ms")
        name = connections["other"].settings_dict["NAME"]
        assert load(file).database == name
        assert (out, err) == ("", f"Statistics of {name} written to {file}.\n")

    def test_to_a_file_that_a_keyword_names(self, tmp_path: Path) -> None:
        file = tmp_path / "stats.json"
        call_command("confiture_stats", output=str(file), verbosity=0)
        assert "dry_stats" in load(file).tables

    def test_interval(self) -> None:
        assert 0.2 <= json.loads(run("--interval", "200ms")[0])["window_seconds"] < 2
        assert json.loads(run("--interval", "0")[0])["window_seconds"] != 0

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (
                ["--interval", "soon"],
                (
                    "Error: argument --interval: it is 'soon', which is not a duration; write a"
                    " number and a unit, such as 10s"
                ),
            ),
            (
                ["--interval", "9999999999999d"],
                (
                    "Error: argument --interval: it is '9999999999999d', which is not a duration"
                    " of less than 100 years; write a number and a unit, such as 10s"
                ),
            ),
            (["--output", "/"], "Cannot write /: Is a directory"),
            (["--output", "/nowhere/x"], "Cannot write /nowhere/x: No such file or directory"),
        ],
    )
    def test_usage(self, args: list[str], message: str) -> None:
        with pytest.raises(CommandError) as caught:
            run(*args)
        assert str(caught.value) == message
        assert caught.value.returncode in (1, 2)

    def test_out_of_reach(self, monkeypatch: pytest.MonkeyPatch) -> None:
        wrapper = connections["other"]
        wrapper.close()
        monkeypatch.setitem(wrapper.settings_dict, "HOST", "/nowhere")
        with pytest.raises(CommandError, match=r"^Cannot connect to 'other': ") as caught:
            run("--database", "other")
        assert caught.value.returncode == 2
        assert "\n" not in str(caught.value)
