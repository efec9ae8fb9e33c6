"""Types that rewrite the table, of columns that are more than their values."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

_TWO = ("--releases", "2")

CASES = [
    Harmful("bigger_then_positive_and_indexed_in_two_releases", """
        migrations.AlterField("order", "total", models.BigIntegerField()),
        migrations.AlterField("order", "note", models.TextField(default="")),
        migrations.AlterField("order", "total", models.PositiveBigIntegerField(db_index=True)),
    """, "fixed fixed fixed", arguments=_TWO),
    Harmful("bigger_integer_that_gets_an_index_in_two_releases", """
        migrations.AlterField("order", "total", models.BigIntegerField(db_index=True)),
    """, arguments=_TWO),
    Harmful("bigger_integer_with_constraints_in_two_releases", """
        migrations.AlterField("order", "customer_ref", models.BigIntegerField()),
    """, arguments=_TWO, prepared="""
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=models.Q(customer_ref__gt=0) | models.Q(total__gt=5),
            name="cases_order_ref")),
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["customer_ref", "number"], name="u_rn",
            deferrable=models.Deferrable.DEFERRED)),
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["customer_ref", "number"], name="u_some",
            condition=models.Q(customer_ref__gt=5))),
    """),
    Harmful("bigger_integer_with_default_and_comment_in_two_releases", """
        migrations.AlterField("order", "stock", models.BigIntegerField(
            db_default=3, db_comment="it's \\\\ here")),
    """, arguments=_TWO, prepared="""
        migrations.AddField("order", "stock", models.IntegerField(
            db_default=3, db_comment="it's \\\\ here")),
    """),
    Harmful("positive_and_bigger_in_two_releases", """
        migrations.AlterField("order", "total", models.PositiveBigIntegerField()),
    """, arguments=_TWO),
    Harmful("bigger_and_no_longer_positive_in_two_releases", """
        migrations.AlterField("order", "stock", models.BigIntegerField(default=3)),
    """, arguments=_TWO, irreversible=True, prepared="""
        migrations.AddField("order", "stock", models.PositiveIntegerField(default=3)),
    """),
    Harmful("bigger_with_null_and_default_in_two_releases", """
        migrations.AlterField("order", "total", models.BigIntegerField(null=True, db_default=5)),
    """, arguments=_TWO),
    Harmful("bigger_with_null_and_index_in_two_releases", """
        migrations.AlterField("order", "total", models.BigIntegerField(null=True, db_index=True)),
    """, arguments=_TWO),
    Harmful("bigger_and_not_null_in_two_releases", """
        migrations.AlterField("order", "stock", models.BigIntegerField(default=3)),
    """, arguments=_TWO, prepared="""
        migrations.AddField("order", "stock", models.IntegerField(null=True)),
    """),
    Harmful("integer_to_foreign_key_in_two_releases", """
        migrations.AlterField("order", "customer_ref", models.ForeignKey(
            "cases.customer", models.CASCADE, db_column="customer_ref", related_name="+")),
    """, arguments=_TWO),
    Harmful("integer_to_unique_text_in_two_releases", """
        migrations.AlterField("order", "total", models.CharField(max_length=20, unique=True)),
    """, arguments=_TWO),
    Harmful("shorter_unique_text_in_two_releases", """
        migrations.AlterField("order", "slug", models.CharField(max_length=12, unique=True)),
    """, arguments=_TWO),
    Harmful("shorter_indexed_text_in_two_releases", """
        migrations.AlterField("order", "code", models.CharField(max_length=12, db_index=True)),
    """, arguments=_TWO),
    Harmful("text_to_unique_uuid_in_two_releases", """
        migrations.AlterField("order", "note", models.UUIDField(default=uuid.uuid4, unique=True)),
    """, arguments=_TWO, above="import uuid\n", varies=("note",), prepared="""
        migrations.RunSQL("UPDATE cases_order SET note = gen_random_uuid()::text"),
    """),
    Harmful("text_to_json_in_two_releases", """
        migrations.AlterField("order", "note", models.JSONField(null=True)),
    """, arguments=_TWO, prepared="""
        migrations.RunSQL("UPDATE cases_order SET note = '{\\\"a\\\": 1}'"),
    """),
    Harmful("time_to_date_in_two_releases", """
        migrations.AlterField("order", "placed", models.DateField(null=True)),
    """, arguments=_TWO),
    Harmful("integer_to_decimal_in_two_releases", """
        migrations.AlterField("order", "total", models.DecimalField(
            max_digits=12, decimal_places=2)),
    """, arguments=_TWO),
    Harmful("primary_key_to_bigger_integer", """
        migrations.AlterField("small", "id", models.BigAutoField(primary_key=True)),
    """, arguments=_TWO, prepared="""
        migrations.CreateModel("Small", [
            ("id", models.AutoField(primary_key=True)), ("n", models.IntegerField(db_index=True))]),
        migrations.RunSQL("INSERT INTO cases_small (n) SELECT i FROM generate_series(1, 12000) i",
            migrations.RunSQL.noop),
    """),
    Harmful("serial_key_to_bigger_integer_in_two_releases", """
        migrations.AlterField("small", "id", models.BigAutoField(primary_key=True)),
    """, arguments=_TWO, prepared="""
        migrations.SeparateDatabaseAndState(
            [migrations.RunSQL(
                "CREATE TABLE cases_small (id serial PRIMARY KEY, n integer NOT NULL)",
                "DROP TABLE cases_small")],
            [migrations.CreateModel("Small", [
                ("id", models.AutoField(primary_key=True)), ("n", models.IntegerField())])]),
        migrations.RunSQL("INSERT INTO cases_small (n) SELECT i FROM generate_series(1, 12000) i",
            migrations.RunSQL.noop),
    """),
    Harmful("key_of_a_parent_to_bigger_integer_in_two_releases", """
        migrations.AlterField("place", "id", models.BigAutoField(primary_key=True)),
    """, arguments=_TWO, irreversible=True, prepared="""
        migrations.CreateModel("Place", [
            ("id", models.AutoField(primary_key=True)), ("n", models.IntegerField()),
            ("near", models.ManyToManyField("self"))]),
        migrations.CreateModel("Cafe", [
            ("place_ptr", models.OneToOneField("cases.place", models.CASCADE, auto_created=True,
                parent_link=True, primary_key=True, serialize=False)),
            ("seats", models.IntegerField()),
        ], bases=("cases.place",)),
        migrations.CreateModel("Guest", [
            KEY, ("cafe", models.ForeignKey("cases.cafe", models.CASCADE, null=True))]),
        migrations.RunSQL([
            "INSERT INTO cases_place (n) SELECT i FROM generate_series(1, 12000) i",
            "INSERT INTO cases_place_near (from_place_id, to_place_id)"
            " SELECT i, i % 50 + 1 FROM generate_series(1, 12000) i",
            "INSERT INTO cases_cafe SELECT i, i FROM generate_series(1, 6000) i",
            "INSERT INTO cases_guest (cafe_id) SELECT i FROM generate_series(1, 6000) i",
        ], migrations.RunSQL.noop),
    """),
    Harmful("bigger_with_null_and_index_before_a_constraint_in_two_releases", """
        migrations.AlterField("order", "customer_ref", models.BigIntegerField(
            null=True, db_index=True)),
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["customer_ref", "slug"], name="o_ref_slug", include=["total"])),
    """, "fixed fixed", arguments=("--releases", "2")),
    Harmful("keys_of_three_models_to_bigger_integers_in_two_releases", """
        migrations.AlterField("author", "id", models.BigAutoField(primary_key=True)),
        migrations.AlterField("book", "id", models.BigAutoField(primary_key=True)),
        migrations.AlterField("review", "id", models.BigAutoField(primary_key=True)),
    """, "fixed fixed fixed", arguments=_TWO, irreversible=True, prepared="""
        migrations.CreateModel("Author", [
            ("id", models.AutoField(primary_key=True)), ("n", models.IntegerField())]),
        migrations.CreateModel("Book", [
            ("id", models.AutoField(primary_key=True)),
            ("author", models.ForeignKey("cases.author", models.CASCADE)),
            ("editors", models.ManyToManyField("cases.author", related_name="+")),
        ]),
        migrations.CreateModel("Review", [
            ("id", models.AutoField(primary_key=True)),
            ("book", models.ForeignKey("cases.book", models.CASCADE)),
            ("author", models.ForeignKey("cases.author", models.CASCADE, null=True)),
        ], options={"unique_together": {("book", "author")}}),
        migrations.RunSQL(
            "INSERT INTO cases_author (n) SELECT i FROM generate_series(1, 6000) i;"
            "INSERT INTO cases_book (author_id) SELECT i FROM generate_series(1, 6000) i;"
            "INSERT INTO cases_book_editors (author_id, book_id)"
            " SELECT i, i FROM generate_series(1, 6000) i;"
            "INSERT INTO cases_review (author_id, book_id)"
            " SELECT i, i FROM generate_series(1, 6000) i"),
    """),
    Harmful("bigger_key_and_a_new_foreign_key_to_it_in_two_releases", """
        migrations.AlterField("node", "id", models.BigAutoField(primary_key=True)),
        migrations.AddField("node", "root", models.ForeignKey(
            "self", models.CASCADE, null=True, related_name="+")),
    """, "fixed fixed", arguments=_TWO, irreversible=True, prepared="""
        migrations.CreateModel("Node", [
            ("id", models.AutoField(primary_key=True)),
            ("parent", models.ForeignKey("self", models.CASCADE, null=True)),
        ]),
        migrations.RunSQL(
            "INSERT INTO cases_node (parent_id) SELECT CASE WHEN i > 1 THEN 1 END"
            " FROM generate_series(1, 12000) i"),
    """),
    Harmful("bigger_key_and_a_unique_constraint_with_its_foreign_key_in_two_releases", """
        migrations.AlterField("node", "id", models.BigAutoField(primary_key=True)),
        migrations.AddField("node", "root", models.ForeignKey(
            "self", models.CASCADE, null=True, related_name="+")),
        migrations.AlterUniqueTogether("node", {("parent", "n")}),
    """, "refused refused fixed", "which is refused", arguments=_TWO, irreversible=True,
        prepared="""
        migrations.CreateModel("Node", [
            ("id", models.AutoField(primary_key=True)),
            ("n", models.IntegerField()),
            ("parent", models.ForeignKey("self", models.CASCADE, null=True)),
        ]),
        migrations.RunSQL(
            "INSERT INTO cases_node (n, parent_id) SELECT i, CASE WHEN i > 1 THEN 1 END"
            " FROM generate_series(1, 12000) i"),
    """),
]  # fmt: skip
