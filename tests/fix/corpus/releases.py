"""What the running release can't live with."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

_TWO = ("--releases", "2")

CASES: list[Harmful] = [
    Harmful("not_null_column", """
        migrations.AddField("order", "paid", models.BooleanField(default=False)),
    """, "refused", "--releases 2"),
    Harmful("not_null_column_in_two_releases", """
        migrations.AddField("order", "paid", models.BooleanField(default=False)),
    """, arguments=_TWO),
    Harmful("not_null_column_with_one_off_default_and_index_in_two_releases", """
        migrations.AddField("order", "status", models.CharField(
            max_length=9, default="new", db_index=True), preserve_default=False),
    """, arguments=_TWO),
    Harmful("not_null_foreign_key_in_two_releases", """
        migrations.AddField("line", "customer", models.ForeignKey(
            "cases.customer", models.CASCADE, default=1)),
    """, arguments=_TWO),
    Harmful("not_null_foreign_key_filled_from_a_column_in_two_releases", """
        migrations.AddField("line", "customer", models.ForeignKey(
            "cases.customer", models.CASCADE, null=True)),
        migrations.RunSQL(
            "UPDATE cases_line SET customer_id = 1 + id % 2 WHERE customer_id IS NULL",
            migrations.RunSQL.noop),
        migrations.AlterField("line", "customer", models.ForeignKey(
            "cases.customer", models.CASCADE)),
    """, "fixed fixed fixed", arguments=_TWO, breaks=0),
    Harmful("not_null_that_running_code_leaves_out_in_two_releases", """
        migrations.AlterField("order", "currency", models.CharField(max_length=3, default="EUR")),
    """, arguments=_TWO),
    Harmful("field_removed", """
        migrations.RemoveField("order", "total"),
    """, "refused", "--releases 2"),
    Harmful("field_removed_in_two_releases", """
        migrations.RemoveField("order", "total"),
    """, arguments=_TWO, irreversible=True),
    Harmful("nullable_field_removed_in_two_releases", """
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),
        migrations.RemoveField("order", "note"),
        migrations.AddField("order", "remark", models.TextField(null=True)),
    """, "fixed fixed kept", arguments=_TWO),
    Harmful("foreign_key_removed_in_two_releases", """
        migrations.RemoveField("order", "customer"),
    """, arguments=_TWO),
    Harmful("model_deleted_in_two_releases", """
        migrations.DeleteModel("Line"),
    """, arguments=_TWO),
    Harmful("model_deleted_with_its_fields_in_two_releases", """
        migrations.RemoveField("line", "order"),
        migrations.RemoveField("line", "quantity"),
        migrations.DeleteModel("Line"),
    """, "fixed fixed fixed", arguments=_TWO, breaks=0),
    Harmful("bigger_integer_in_two_releases", """
        migrations.AlterField("order", "total", models.BigIntegerField()),
        migrations.RemoveField("line", "sku"),
    """, "fixed fixed", arguments=_TWO, irreversible=True),
    Harmful("bigger_indexed_integer_in_two_releases", """
        migrations.AlterField("ware", "amount", models.BigIntegerField(
            null=True, db_index=True, db_column="Amount")),
        migrations.AlterField("ware", "price", models.DecimalField(
            max_digits=12, decimal_places=4)),
    """, "fixed fixed", arguments=_TWO, prepared="""
        migrations.CreateModel("Ware", [
            KEY,
            ("amount", models.IntegerField(null=True, db_index=True, db_column="Amount")),
            ("price", models.DecimalField(max_digits=9, decimal_places=2)),
        ], options={"db_table": "Shop wares", "indexes": [
            models.Index(fields=["-amount", "id"], name="ware_amount_id"),
            models.Index(
                models.F("amount") + 1, condition=models.Q(amount__gt=9), name="ware_next"),
        ]}),
        migrations.RunSQL(
            'INSERT INTO "Shop wares" ("Amount", price)'
            " SELECT nullif(i % 7, 0), i / 7.0 FROM generate_series(1, 12000) i",
            migrations.RunSQL.noop),
    """),
    Harmful("not_null_hidden_behind_a_removed_field_in_two_releases", """
        migrations.RemoveField("order", "number"),
        migrations.AlterField("order", "note", models.TextField(default="")),
    """, "fixed fixed", arguments=_TWO, irreversible=True),
    Harmful("order_with_respect_to_in_two_releases", """
        migrations.AlterOrderWithRespectTo("line", "order"),
    """, "fixed", arguments=_TWO),
    Harmful("key_of_new_type_and_its_foreign_key_made_unique", """
        migrations.AlterField("order", "id", models.IntegerField(primary_key=True)),
        migrations.AlterField("line", "order", models.OneToOneField(
            "cases.order", models.CASCADE)),
    """, "refused refused", "into a migration of its own", arguments=_TWO, prepared="""
        migrations.AlterField("line", "order", models.ForeignKey(
            "cases.order", models.CASCADE, db_index=False)),
    """),
]  # fmt: skip
