"""RunSQL that writes rows, in the open and hidden in code."""

from django.db.migrations import RunSQL

from tests.corpus.case import ARCHIVE, CUSTOMER, LINE, ORDER, Case, case, sql

_BACKFILL, _LOCKED = "backfill-in-one-transaction", "backfill-while-locked"
_SEED = "INSERT INTO cases_archive (payload) SELECT 'seed ' || i FROM generate_series(1, {}) i"


def _through_index(name: str, statement: str, off: str, *expected: tuple[str, str]) -> Case:
    """Return a case that reads while a table is locked, in a plan without full scans."""
    settings = [f"SET LOCAL enable_{plan} = off" for plan in ("seqscan", *off.split())]
    alter = "ALTER TABLE cases_archive ADD extra integer"
    return case(name, sql(*settings, alter, statement), *expected)


_WORK = ("work-while-locked", ARCHIVE)

CASES: list[Case] = [
    case("update_all", sql("UPDATE cases_order SET note = 'x'"), (_BACKFILL, ORDER),
         locks={ORDER: "RowExclusiveLock"}),
    case("update_most", sql("UPDATE cases_archive SET payload = 'x' WHERE id > 2000"),
         (_BACKFILL, ARCHIVE)),
    case("update_few", sql("UPDATE cases_archive SET payload = 'x' WHERE id < 2000")),
    case("update_one", sql("UPDATE cases_order SET note = 'x' WHERE id = 1")),
    case("select_for_update", sql("SELECT FROM cases_order FOR UPDATE", "SELECT pg_sleep(0.3)"),
         ("rows-locked-while-working", ORDER), locks={ORDER: "RowShareLock"}),
    # 40 rows: all of them, and yet no one waits.
    case("update_small_table", sql("UPDATE cases_tag SET name = 'x'")),
    case("insert_seeds", sql(_SEED.format(50))),
    # New rows lock no one out, unless they are many.
    case("insert_some", sql(_SEED.format(8_000))),
    case("insert_many", sql(_SEED.format(12_000)), (_BACKFILL, ARCHIVE)),
    case("delete_all", sql("DELETE FROM cases_line"), (_BACKFILL, LINE)),
    # The rows of the other table are deleted by the foreign key, and counted with them.
    case("delete_cascade", sql("DELETE FROM cases_feeling WHERE id <= 400"),
         (_BACKFILL, "cases_feeling"), (_BACKFILL, "cases_priced")),
    # What a subquery reads is work, too; what the lock is on is not written.
    case("delete_while_locked",
         sql("ALTER TABLE cases_event_b ADD order_id bigint",
             "DELETE FROM cases_customer WHERE id NOT IN "
             " (SELECT customer_id FROM cases_order WHERE note IS NULL)"),
         ("work-while-locked", "cases_event_b")),
    case("delete_while_keys_are_off",
         sql("SET LOCAL session_replication_role = replica",
             "DELETE FROM cases_customer WHERE id = 1"),
         ("foreign-key-unchecked", ORDER)),
    case("update_of_two_operations",
         sql("UPDATE cases_archive SET payload = 'x' WHERE id <= 1500",
             "UPDATE cases_archive SET payload = 'x' WHERE id > 3500"),
         (_BACKFILL, ARCHIVE)),
    case("update_in_do", sql("DO $$ BEGIN UPDATE cases_order SET note = 'x'; END $$"),
         (_BACKFILL, ORDER)),
    case("update_in_procedure", sql("CALL cases_fill()"), (_BACKFILL, ORDER)),
    case("update_in_with",
         sql("WITH done AS (UPDATE cases_order SET note = 'x' RETURNING id)"
             " SELECT count(*) FROM done"),
         (_BACKFILL, ORDER)),
    case("merge",
         sql("MERGE INTO cases_order o USING cases_customer c ON c.id = o.customer_id"
             " WHEN MATCHED THEN UPDATE SET note = c.name"),
         (_BACKFILL, ORDER)),
    case("update_of_partitions", sql("UPDATE cases_event SET id = id + 1"),
         (_BACKFILL, "cases_event_a")),
    # The trigger does not write; PostgreSQL calls it for each row.
    case("update_with_trigger", sql("UPDATE cases_archive SET payload = 'x'"),
         (_BACKFILL, ARCHIVE)),
    case("alter_and_update",
         RunSQL("ALTER TABLE cases_order ADD extra integer; UPDATE cases_order SET extra = 1",
                RunSQL.noop),
         (_LOCKED, ORDER), locks={ORDER: "AccessExclusiveLock"}),
    case("alter_and_update_in_do",
         sql("DO $$ BEGIN ALTER TABLE cases_order ADD extra integer;"
             " UPDATE cases_order SET extra = 1; END $$"),
         (_LOCKED, ORDER)),
    # The lock comes last and is held for a moment only.
    case("update_then_alter",
         sql("UPDATE cases_order SET note = 'x'", "ALTER TABLE cases_order ADD extra integer"),
         (_BACKFILL, ORDER)),
    case("lock_table",
         sql("LOCK TABLE cases_customer IN SHARE ROW EXCLUSIVE MODE",
             "UPDATE cases_order SET note = 'x'"),
         (_LOCKED, CUSTOMER)),
    case("truncate", sql("TRUNCATE cases_archive"), ("truncate-loses-rows", ARCHIVE),
         locks={ARCHIVE: "AccessExclusiveLock"}),
    case("truncate_cascade", sql("TRUNCATE cases_order CASCADE"),
         ("truncate-loses-rows", ORDER), ("truncate-loses-rows", LINE)),
    case("truncate_in_do", sql("DO $$ BEGIN TRUNCATE cases_archive; END $$"),
         ("truncate-loses-rows", ARCHIVE)),
    case("drop_domain_cascade",
         sql("CREATE DOMAIN cases_short AS text",
             "ALTER TABLE cases_archive ALTER payload TYPE cases_short",
             "DROP DOMAIN cases_short CASCADE"),
         ("cascade-drops-columns", ARCHIVE)),
    case("insert_of_nothing_then_alter",
         sql("INSERT INTO cases_order (number, status, total, customer_id)"
             " SELECT number, status, total, customer_id FROM cases_order WHERE id < 0",
             "ALTER TABLE cases_order ADD extra integer"),
         ("pending-trigger-events", ORDER)),
    case("truncate_empty", sql("TRUNCATE cases_old.thing")),
    case("read_all", sql("SELECT sum(total + price) FROM cases_order")),
    # All of a table read through an index is all of it read, as in a full scan.
    _through_index("count_through_index", "SELECT count(*) FROM cases_order", "bitmapscan", _WORK),
    _through_index("read_in_order", "SELECT note FROM cases_order ORDER BY id", "sort", _WORK),
    _through_index("read_by_bitmap", "SELECT note FROM cases_order WHERE id > 5000", "indexscan",
                   _WORK),
    _through_index("read_for_each_customer",
                   "SELECT (SELECT max(total + c.id) FROM cases_order WHERE customer_id = c.id)"
                   " FROM cases_customer c", "bitmapscan", _WORK),
    # One row for each key is a lookup, however many there are.
    _through_index("lookups",
                   "SELECT note FROM generate_series(1, 12000) i JOIN cases_order ON id = i",
                   "hashjoin mergejoin"),
    _through_index("insert_on_conflict",
                   "INSERT INTO cases_order (id, number, status, total, price, code, placed_at,"
                   " customer_id) SELECT i, 'N', 'new', 1, 1, 'C', now(), 1"
                   " FROM generate_series(1, 12000) i ON CONFLICT (id) DO NOTHING", ""),
    _through_index("read_few", "SELECT note FROM cases_order WHERE id < 100", ""),
    case("create_table_as", sql("CREATE TABLE cases_copy AS SELECT * FROM cases_order")),
    case("analyze", sql("ANALYZE cases_order")),
    case("set_local",
         sql("SET LOCAL work_mem = '64MB'", "SELECT set_config('lock_timeout', '1s', true)")),
]  # fmt: skip
