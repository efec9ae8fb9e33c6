"""Columns that are added and changed."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

CASES = [
    Harmful("foreign_key", """
        migrations.AddField("line", "customer", models.ForeignKey(
            "cases.customer", models.CASCADE, null=True)),
    """),
    Harmful("foreign_key_to_itself", """
        migrations.AddField("order", "parent", models.ForeignKey(
            "self", models.SET_NULL, null=True, related_name="children")),
    """),
    Harmful("one_to_one", """
        migrations.AddField("order", "invoice", models.OneToOneField(
            "cases.line", models.CASCADE, null=True)),
    """),
    Harmful("indexed_column", """
        migrations.AddField("order", "status", models.CharField(
            max_length=9, null=True, db_index=True)),
    """),
    Harmful("unique_column", """
        migrations.AddField("order", "token", models.UUIDField(null=True, unique=True)),
    """),
    Harmful("slug_column", """
        migrations.AddField("order", "path", models.SlugField(null=True)),
    """),
    Harmful("positive_column", """
        migrations.AddField("order", "weight", models.PositiveIntegerField(null=True)),
    """),
    Harmful("positive_column_of_a_quoted_table", """
        migrations.AddField("old", "weight", models.PositiveIntegerField(
            null=True, db_column="Weight %", db_index=True)),
    """),
    Harmful("column_and_two_indexes", """
        migrations.AddField("order", "status", models.CharField(max_length=9, null=True)),
        migrations.AddField("order", "shipped", models.DateTimeField(null=True, db_index=True)),
        migrations.AddIndex("order", models.Index(fields=["status", "shipped"], name="i_ss")),
    """, "kept fixed fixed"),
    Harmful("many_to_many_and_an_index", """
        migrations.AddField("order", "friends", models.ManyToManyField("cases.customer")),
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),
    """, "kept fixed"),
    Harmful("many_to_many_filled_and_an_index", """
        migrations.AddField("order", "friends", models.ManyToManyField("cases.customer")),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),
    """, "fixed kept fixed", above='''
        def fill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Friend = Order.friends.through
            Friend.objects.bulk_create(
                Friend(order_id=each.pk, customer_id=each.customer_ref)
                for each in Order.objects.order_by("pk"))

        '''),
    Harmful("new_model_and_an_index", """
        migrations.CreateModel("Parcel", [
            ("id", models.BigAutoField(primary_key=True)),
            ("order", models.ForeignKey("cases.order", models.CASCADE)),
        ]),
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),
    """, "kept fixed"),
    Harmful("column_with_volatile_database_default", """
        migrations.AddField("order", "token", models.UUIDField(
            null=True, db_default=RandomUUID())),
    """, above="from django.contrib.postgres.functions import RandomUUID\n", varies=("token",)),
    Harmful("unique_column_with_volatile_database_default", """
        migrations.AddField("order", "token", models.UUIDField(
            unique=True, db_default=RandomUUID())),
    """, above="from django.contrib.postgres.functions import RandomUUID\n", varies=("token",)),
    Harmful("random_database_default", """
        migrations.AddField("order", "lot", models.FloatField(db_default=Random(), db_index=True)),
    """, above="from django.db.models.functions import Random\n", varies=("lot",)),
    Harmful("longer_and_indexed", """
        migrations.AlterField("order", "number", models.CharField(max_length=40, db_index=True)),
    """),
    Harmful("longer_and_unique", """
        migrations.AlterField("order", "number", models.CharField(max_length=40, unique=True)),
    """),
    Harmful("text_and_indexed", """
        migrations.AlterField("order", "number", models.TextField(db_index=True)),
    """),
    Harmful("database_default_and_not_null", """
        migrations.AlterField("order", "currency", models.CharField(
            max_length=3, db_default="EUR", default="EUR")),
    """),
    Harmful("comment_and_index", """
        migrations.AlterField("order", "number", models.CharField(
            max_length=20, db_index=True, db_comment="of the order")),
    """),
    Harmful("bigger_integer", """
        migrations.AlterField("order", "total", models.BigIntegerField()),
    """, "refused", "two releases"),
    Harmful("shorter", """
        migrations.AlterField("order", "number", models.CharField(max_length=8)),
    """, "refused"),
    Harmful("generated_column", """
        migrations.AddField("order", "double", models.GeneratedField(
            expression=models.F("total") * 2, output_field=models.IntegerField(),
            db_persist=True)),
    """, "refused"),
]  # fmt: skip
