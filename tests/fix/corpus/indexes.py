"""Indexes that are built, dropped and changed."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

_GIN = "from django.contrib.postgres.indexes import BrinIndex, GinIndex, HashIndex, OpClass\n"

CASES = [
    Harmful("index", 'migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),'),
    Harmful("index_of_two_columns", """
        migrations.AddIndex("order", models.Index(fields=["customer", "-total"], name="i_ct")),
    """),
    Harmful("index_with_condition_and_include", """
        migrations.AddIndex("order", models.Index(
            fields=["total"], condition=models.Q(total__gt=3), include=["slug"], name="i_t")),
    """),
    Harmful("index_with_opclasses", """
        migrations.AddIndex("order", models.Index(
            fields=["number"], opclasses=["varchar_pattern_ops"], name="i_n")),
    """),
    Harmful("index_of_an_expression", """
        migrations.AddIndex("order", models.Index(Upper("number").desc(), name="i_upper")),
    """, above="from django.db.models.functions import Upper\n"),
    Harmful("gin_index", """
        migrations.AddIndex("order", GinIndex(fields=["data"], name="i_data")),
        migrations.AddIndex("order", GinIndex(
            OpClass(models.F("data"), name="jsonb_path_ops"), name="i_path", fastupdate=False)),
    """, "fixed fixed", above=_GIN),
    Harmful("brin_and_hash_index", """
        migrations.AddIndex("order", BrinIndex(fields=["placed"], name="i_brin")),
        migrations.AddIndex("order", HashIndex(fields=["number"], name="i_hash")),
    """, "fixed fixed", above=_GIN),
    Harmful("several_indexes_of_several_models", """
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),
        migrations.AddIndex("line", models.Index(fields=["sku"], name="i_sku")),
        migrations.AddIndex("customer", models.Index(fields=["name"], name="i_name")),
    """, "fixed fixed fixed"),
    Harmful("index_removed", 'migrations.RemoveIndex("order", "cases_order_placed"),'),
    Harmful("db_index", """
        migrations.AlterField("order", "number", models.CharField(max_length=20, db_index=True)),
    """),
    Harmful("db_index_of_an_integer", """
        migrations.AlterField("order", "total", models.IntegerField(db_index=True)),
    """),
    Harmful("db_index_removed", """
        migrations.AlterField("order", "code", models.CharField(max_length=20)),
    """),
    Harmful("db_index_of_a_foreign_key_removed", """
        migrations.AlterField("order", "customer", models.ForeignKey(
            "cases.customer", models.CASCADE, null=True, db_index=False)),
    """),
    Harmful("index_together", """
        migrations.AlterIndexTogether("order", {("total", "number")}),
    """),
    Harmful("index_together_changed_and_renamed", """
        migrations.AlterIndexTogether("order", {("number", "total"), ("total", "code")}),
        migrations.RenameIndex("order", new_name="i_new", old_fields=("number", "total")),
    """, "fixed kept", prepared="""
        migrations.AlterIndexTogether("order", {("number", "code")}),
    """),
    Harmful("index_replaced", """
        migrations.RemoveIndex("order", "cases_order_placed"),
        migrations.AddIndex("order", models.Index(
            fields=["placed", "total"], name="cases_order_placed")),
    """, "fixed fixed"),
    Harmful("index_of_a_quoted_table", """
        migrations.AddIndex("old", models.Index(fields=["-amount"], name="Old $ index")),
    """),
    Harmful("db_index_of_a_quoted_column", """
        migrations.AlterField("old", "amount", models.IntegerField(
            db_column="Amount $", db_index=True)),
    """),
    Harmful("index_with_new_column", """
        migrations.AddField("order", "status", models.CharField(max_length=9, null=True)),
        migrations.AddIndex("order", models.Index(fields=["status", "total"], name="i_status")),
    """, "kept fixed"),
    Harmful("index_renamed_and_one_added", """
        migrations.RenameIndex("order", new_name="i_placed", old_name="cases_order_placed"),
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),
    """, "kept fixed"),
]  # fmt: skip
