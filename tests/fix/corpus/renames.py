"""What is renamed: views have the old names until the next release."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

_TWO = ("--releases", "2")

CASES = [
    Harmful("field_renamed", """
        migrations.RenameField("order", "note", "remark"),
    """, "refused", "With --releases 2"),
    Harmful("field_renamed_in_two_releases", """
        migrations.RenameField("order", "slug", "Path 'name'"),
    """, arguments=_TWO),
    Harmful("foreign_key_renamed", """
        migrations.RenameField("order", "customer", "buyer"),
    """, "refused", "--releases 2"),
    Harmful("foreign_key_renamed_in_two_releases", """
        migrations.RenameField("order", "customer", "buyer"),
    """, arguments=_TWO),
    Harmful("two_fields_renamed_in_two_releases", """
        migrations.RenameField("order", "note", "remark"),
        migrations.RenameField("order", "total", "sum"),
    """, "fixed fixed", arguments=_TWO),
    Harmful("field_renamed_beside_an_index", """
        migrations.RenameField("order", "note", "remark"),
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),
    """, "fixed fixed", arguments=_TWO),
    Harmful("index_and_field_renamed_in_two_releases", """
        migrations.AddIndex("line", models.Index(fields=["sku"], name="i_t")),
        migrations.RenameField("order", "code", "kode"),
    """, "fixed fixed", arguments=_TWO),
    Harmful("column_renamed_in_two_releases", """
        migrations.AlterField("order", "total", models.IntegerField(db_column="the Sum")),
    """, arguments=_TWO),
    Harmful("model_renamed", """
        migrations.RenameModel("Line", "Item"),
    """, "refused", "--releases 2"),
    Harmful("model_renamed_in_two_releases", """
        migrations.RenameModel("Line", "Item"),
    """, arguments=_TWO),
    Harmful("referenced_model_renamed_in_two_releases", """
        migrations.RenameModel("Customer", "Client"),
    """, arguments=_TWO),
    Harmful("model_with_many_to_many_renamed_in_two_releases", """
        migrations.RenameModel("Line", "Item"),
    """, arguments=_TWO, prepared="""
        migrations.AddField("line", "friends", models.ManyToManyField("cases.customer")),
        migrations.RunSQL(
            "INSERT INTO cases_line_friends (line_id, customer_id)"
            " SELECT i, 1 + i % 400 FROM generate_series(1, 12000) i"),
    """),
    Harmful("model_and_its_fields_renamed_in_two_releases", """
        migrations.RenameModel("Line", "Item"),
        migrations.RenameField("item", "sku", "code"),
        migrations.RenameField("item", "order", "purchase"),
    """, "fixed fixed fixed", arguments=_TWO),
    Harmful("table_renamed_in_two_releases", """
        migrations.AlterModelTable("line", "Shop items"),
    """, arguments=_TWO),
    Harmful("field_renamed_filled_and_required_in_two_releases", """
        migrations.RenameField("order", "note", "remark"),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AlterField("order", "remark", models.TextField(blank=True, default="")),
        migrations.AddIndex("order", models.Index(fields=["remark"], name="order_remark")),
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=~models.Q(remark="x"), name="order_remark_sane")),
        migrations.AddIndex("line", models.Index(fields=["sku"], name="line_sku")),
    """, "fixed fixed fixed fixed fixed fixed", arguments=_TWO, above="""
        def fill(apps, schema_editor):
            apps.get_model("cases", "Order").objects.filter(remark=None).update(remark="none")

        """),
    Harmful("field_renamed_and_longer", """
        migrations.RenameField("order", "number", "title"),
        migrations.RunPython(migrations.RunPython.noop, migrations.RunPython.noop),
        migrations.AlterField("order", "title", models.CharField(max_length=40)),
    """, "refused kept kept", "put it into a separate migration", arguments=_TWO),
    Harmful("field_renamed_to_the_name_of_a_removed_one", """
        migrations.AddField("order", "state", models.SmallIntegerField(null=True)),
        migrations.RemoveField("order", "note"),
        migrations.RenameField("order", "state", "note"),
        migrations.AddIndex("line", models.Index(fields=["sku"], name="line_sku")),
    """, "kept kept refused fixed", "t takes the name of a field that the same migration",
        arguments=_TWO),
    Harmful("field_added_and_renamed_in_two_releases", """
        migrations.AddField("order", "state", models.SmallIntegerField(default=1)),
        migrations.RenameField("order", "state", "mode"),
        migrations.AddIndex("line", models.Index(fields=["sku"], name="line_sku")),
    """, "refused refused fixed", "needs or changes the name of its field before",
        arguments=_TWO),
    Harmful("table_with_row_security_renamed", """
        migrations.RenameField("line", "sku", "code"),
    """, "refused", "row-level security", arguments=_TWO, prepared="""
        migrations.RunSQL("ALTER TABLE cases_line ENABLE ROW LEVEL SECURITY"),
    """),
]  # fmt: skip
