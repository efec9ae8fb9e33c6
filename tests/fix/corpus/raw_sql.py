"""RunSQL, as people write it."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

CASES = [
    Harmful("create_index", """
        migrations.RunSQL("CREATE INDEX i_t ON cases_order (total)", "DROP INDEX i_t"),
    """),
    Harmful("create_indexes_with_state", """
        migrations.RunSQL(
            sql=\"\"\"
                -- for the list of orders
                CREATE INDEX i_t ON cases_order (total) WHERE total > 5;
                CREATE UNIQUE INDEX i_n ON cases_order (lower(number));
            \"\"\",
            reverse_sql="DROP INDEX i_n; DROP INDEX i_t",
            state_operations=[
                migrations.AlterModelOptions("order", {"ordering": ["total"]}),
            ],
        ),
    """),
    Harmful("irreversible_index", """
        migrations.RunSQL("CREATE INDEX i_t ON cases_order USING gin (data)"),
    """, irreversible=True),
    Harmful("drop_index", """
        migrations.RunSQL(
            "DROP INDEX cases_order_placed",
            "CREATE INDEX cases_order_placed ON cases_order (placed)",
        ),
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),
    """, "fixed fixed"),
    Harmful("add_check", """
        migrations.RunSQL(
            "ALTER TABLE cases_order ADD CONSTRAINT sane CHECK (total > 0)",
            "ALTER TABLE cases_order DROP CONSTRAINT sane",
        ),
    """),
    Harmful("add_foreign_key", """
        migrations.RunSQL(
            "ALTER TABLE cases_order ADD CONSTRAINT ref"
            " FOREIGN KEY (customer_ref) REFERENCES cases_customer (id) ON DELETE CASCADE",
            "ALTER TABLE cases_order DROP CONSTRAINT ref",
        ),
    """),
    Harmful("add_unique", """
        migrations.RunSQL(
            ["ALTER TABLE cases_order ADD CONSTRAINT u UNIQUE (number, total)"],
            ["ALTER TABLE cases_order DROP CONSTRAINT u"],
        ),
    """),
    Harmful("set_not_null", """
        migrations.RunSQL(
            "UPDATE cases_order SET currency = 'EUR' WHERE currency IS NULL;"
            "ALTER TABLE cases_order ALTER currency SET NOT NULL;",
            "ALTER TABLE cases_order ALTER currency DROP NOT NULL",
            state_operations=[
                migrations.AlterField("order", "currency", models.CharField(max_length=3)),
            ],
        ),
    """),
    Harmful("column_index_and_check_in_one_script", """
        migrations.RunSQL(
            \"\"\"
            ALTER TABLE cases_order ADD COLUMN weight integer;
            CREATE INDEX i_w ON cases_order (weight);
            ALTER TABLE cases_order ADD CONSTRAINT light CHECK (weight < 100);
            \"\"\",
            "ALTER TABLE cases_order DROP COLUMN weight",
        ),
    """),
    Harmful("validated_in_the_same_migration", """
        migrations.RunSQL(
            \"\"\"
            ALTER TABLE cases_order ADD CONSTRAINT sane CHECK (total > 0) NOT VALID;
            ALTER TABLE cases_order VALIDATE CONSTRAINT sane;
            \"\"\",
            "ALTER TABLE cases_order DROP CONSTRAINT sane",
        ),
    """),
    Harmful("validated_by_the_next_operation", """
        AddConstraintNotValid("order", models.CheckConstraint(
            condition=models.Q(total__gte=0), name="sane")),
        ValidateConstraint("order", "sane"),
    """, "refused fixed", "can no longer insert", above="""
        from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
        """),
    Harmful("reindex", """
        migrations.RunSQL("REINDEX INDEX cases_order_placed", migrations.RunSQL.noop),
    """),
    Harmful("cluster", """
        migrations.RunSQL("CLUSTER cases_order USING cases_order_pkey", migrations.RunSQL.noop),
    """, "refused"),
    Harmful("type_in_sql", """
        migrations.RunSQL(
            "ALTER TABLE cases_order ALTER total TYPE bigint",
            "ALTER TABLE cases_order ALTER total TYPE integer",
        ),
    """, "refused"),
    Harmful("index_if_not_exists_with_comments", """
        migrations.RunSQL(
            \"\"\"
            -- for the list; it's long
            /* and; a block */
            CREATE INDEX IF NOT EXISTS i_t ON cases_order USING btree (total DESC NULLS LAST);
            COMMENT ON INDEX i_t IS 'for the list; of orders';
            \"\"\",
            "DROP INDEX IF EXISTS i_t;",
        ),
    """),
    Harmful("index_without_a_name", """
        migrations.RunSQL(
            "CREATE INDEX ON cases_order (total)", "DROP INDEX cases_order_total_idx"),
    """),
    Harmful("constraints_without_names", """
        migrations.RunSQL([
            "ALTER TABLE cases_order ADD CHECK (total > 0)",
            "ALTER TABLE cases_order ADD CHECK (total > 0 OR customer_ref > 0)",
            "ALTER TABLE cases_order ADD UNIQUE (number, total)",
            "ALTER TABLE cases_order ADD FOREIGN KEY (customer_ref) REFERENCES cases_customer",
        ]),
    """, irreversible=True),
    Harmful("refresh_of_a_materialized_view", """
        migrations.RunSQL("REFRESH MATERIALIZED VIEW cases_seen", migrations.RunSQL.noop),
    """, prepared="""
        migrations.RunSQL([
            "CREATE MATERIALIZED VIEW cases_seen AS SELECT id, customer_id FROM cases_order",
            "CREATE UNIQUE INDEX cases_seen_id ON cases_seen (id)",
        ], "DROP MATERIALIZED VIEW cases_seen"),
    """),
    Harmful("column_dropped_in_sql", """
        migrations.RunSQL(
            "ALTER TABLE cases_order DROP COLUMN note",
            "ALTER TABLE cases_order ADD COLUMN note text",
            state_operations=[migrations.RemoveField("order", "note")],
        ),
    """, "refused", "With --releases 2"),
    Harmful("column_dropped_in_sql_in_two_releases", """
        migrations.RunSQL(
            "ALTER TABLE cases_order DROP COLUMN note",
            "ALTER TABLE cases_order ADD COLUMN note text",
            state_operations=[migrations.RemoveField("order", "note")],
        ),
    """, arguments=("--releases", "2")),
]  # fmt: skip
