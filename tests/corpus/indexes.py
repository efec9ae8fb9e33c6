"""Indexes, and what contrib.postgres adds to migrations."""

from django.contrib.postgres.indexes import BrinIndex, GinIndex
from django.contrib.postgres.operations import (
    AddIndexConcurrently,
    BloomExtension,
    BtreeGinExtension,
    BtreeGistExtension,
    CITextExtension,
    CreateCollation,
    CreateExtension,
    CryptoExtension,
    HStoreExtension,
    RemoveCollation,
    RemoveIndexConcurrently,
    TrigramExtension,
    UnaccentExtension,
)
from django.db.migrations import AddIndex, RemoveIndex, RenameIndex, RunSQL
from django.db.models import Index

from tests.corpus.case import ARCHIVE, LINE, ORDER, Case, case, sql

_INDEX = Index(fields=["status", "total"], name="cases_order_status")

EXTENSIONS = [
    case(each.__name__, each())
    for each in (
        BloomExtension,
        BtreeGinExtension,
        BtreeGistExtension,
        CITextExtension,
        HStoreExtension,
        TrigramExtension,
        UnaccentExtension,
    )
]

_NOT_EXISTS = "CREATE INDEX{} IF NOT EXISTS cases_line_quantity ON cases_line ({})"

SKIPPED = [
    case("index_of_other_columns_is_there", sql(_NOT_EXISTS.format("", "order_id")),
         ("if-not-exists-skips", LINE)),
    case("unique_index_of_the_name_is_plain",
         sql(_NOT_EXISTS.format("", "quantity").replace("INDEX", "UNIQUE INDEX")),
         ("if-not-exists-skips", LINE)),
    case("index_of_another_table_is_there",
         sql(_NOT_EXISTS.format("", "id").replace("ON cases_line", "ON cases_order")),
         ("if-not-exists-skips", ORDER)),
    case("partial_index_is_there_concurrently",
         sql(_NOT_EXISTS.format(" CONCURRENTLY", "quantity") + " WHERE quantity > 3"),
         ("if-not-exists-skips", LINE), atomic=False),
    case("the_same_index_is_there", sql(_NOT_EXISTS.format("", "quantity"))),
    case("other_table_is_there",
         sql("CREATE TABLE IF NOT EXISTS cases_event_b (id bigint, kind text)"),
         ("if-not-exists-skips", "cases_event_b")),
    case("the_same_table_is_there",
         sql("CREATE TABLE IF NOT EXISTS cases_event_b (id int NOT NULL, kind text NOT NULL)")),
    case("other_column_is_there",
         sql("ALTER TABLE cases_event_b ADD COLUMN IF NOT EXISTS kind varchar(3)"),
         ("if-not-exists-skips", "cases_event_b")),
    case("the_same_column_is_there",
         sql("ALTER TABLE cases_event_b ADD COLUMN IF NOT EXISTS kind text NOT NULL")),
]  # fmt: skip

CASES: list[Case] = [
    *SKIPPED,
    case("add_index", AddIndex("order", _INDEX), ("index-build-blocks-writes", ORDER),
         locks={ORDER: "ShareLock"}),
    case("add_index_concurrently", AddIndexConcurrently("order", _INDEX), atomic=False,
         locks={ORDER: "ShareUpdateExclusiveLock"}),
    case("add_index_concurrently_atomic", AddIndexConcurrently("order", _INDEX),
         ("concurrently-in-transaction", None), fails="NotSupportedError"),
    case("add_gin", AddIndex("archive", GinIndex(fields=["payload"], name="cases_gin",
                                                 opclasses=["jsonb_ops"])),
         fails="DatatypeMismatch"),
    case("add_brin", AddIndex("order", BrinIndex(fields=["placed_at"], name="cases_brin")),
         ("index-build-blocks-writes", ORDER)),
    case("remove_index", RemoveIndex("line", "cases_line_quantity"),
         ("index-drop-blocks-reads", LINE), locks={LINE: "AccessExclusiveLock"}),
    case("remove_index_concurrently", RemoveIndexConcurrently("line", "cases_line_quantity"),
         atomic=False, locks={LINE: "ShareUpdateExclusiveLock"}),
    case("rename_index", RenameIndex("line", "cases_line_amount", old_name="cases_line_quantity")),
    case("sql_concurrently", sql("CREATE INDEX CONCURRENTLY cases_i ON cases_order (total)"),
         atomic=False),
    case("sql_concurrently_atomic",
         sql("CREATE INDEX CONCURRENTLY cases_i ON cases_order (total)"),
         ("concurrently-in-transaction", None), fails="ActiveSqlTransaction"),
    case("sql_if_not_exists",
         sql("CREATE INDEX IF NOT EXISTS cases_line_quantity ON cases_line (quantity)")),
    case("sql_of_partitions", sql("CREATE INDEX cases_event_id ON cases_event (id)"),
         ("index-build-blocks-writes", "cases_event")),
    case("sql_only_parent", sql("CREATE INDEX cases_event_id ON ONLY cases_event (id)")),
    case("sql_script",
         RunSQL("CREATE INDEX cases_i ON cases_order (total); SELECT 1;"
                " CREATE INDEX cases_j ON cases_archive (payload)", RunSQL.noop),
         ("index-build-blocks-writes", ORDER), ("index-build-blocks-writes", ARCHIVE)),
    case("reindex_table", sql("REINDEX TABLE cases_order"), ("reindex-blocks-writes", ORDER)),
    case("reindex_index", sql("REINDEX INDEX cases_line_quantity"),
         ("reindex-blocks-writes", LINE), locks={LINE: "ShareLock"}),
    case("reindex_concurrently", sql("REINDEX TABLE CONCURRENTLY cases_line"), atomic=False,
         locks={LINE: "ShareUpdateExclusiveLock"}),
    case("drop_index_concurrently", sql("DROP INDEX CONCURRENTLY cases_line_quantity"),
         atomic=False),
    *EXTENSIONS,
    case("create_extension", CreateExtension("tablefunc")),
    # pgcrypto is not part of the PostgreSQL that the suite brings along.
    case("crypto_extension", CryptoExtension(), fails="FeatureNotSupported",
         unless_available="pgcrypto"),
    case("collations",
         [CreateCollation("cases_collation", "C"), RemoveCollation("cases_collation", "C")]),
]  # fmt: skip
