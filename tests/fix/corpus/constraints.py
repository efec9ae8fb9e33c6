"""Constraints: CHECK, UNIQUE, foreign keys, NOT NULL."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

CASES = [
    Harmful("check", """
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=models.Q(total__gte=0), name="sane")),
    """),
    Harmful("two_checks", """
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=models.Q(total__gte=0), name="sane")),
        migrations.AddConstraint("line", models.CheckConstraint(
            condition=models.Q(quantity__lt=100) | models.Q(sku="x"), name="few")),
    """, "fixed fixed"),
    Harmful("unique_constraint", """
        migrations.AddConstraint("order", models.UniqueConstraint(fields=["number"], name="u_n")),
    """),
    Harmful("unique_constraint_deferrable", """
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["number"], name="u_n", deferrable=models.Deferrable.DEFERRED)),
    """),
    Harmful("unique_constraint_with_condition", """
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["number"], name="u_n", condition=models.Q(total__gt=5))),
    """),
    Harmful("unique_constraint_of_expressions", """
        migrations.AddConstraint("order", models.UniqueConstraint(
            Lower("number"), "total", name="u_n")),
    """, above="from django.db.models.functions import Lower\n"),
    Harmful("unique_constraint_nulls_not_distinct", """
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["number", "note"], name="u_n", nulls_distinct=False)),
    """),
    Harmful("unique_constraint_with_include", """
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["number"], name="u_n", include=["total"])),
    """),
    Harmful("unique_together", """
        migrations.AlterUniqueTogether("order", {("number", "total")}),
    """),
    Harmful("unique", """
        migrations.AlterField("order", "number", models.CharField(max_length=20, unique=True)),
    """),
    Harmful("unique_integer", """
        migrations.AlterField("order", "total", models.IntegerField(unique=True)),
    """),
    Harmful("unique_instead_of_index", """
        migrations.AlterField("order", "code", models.CharField(max_length=20, unique=True)),
    """),
    Harmful("index_instead_of_unique", """
        migrations.AlterField("order", "slug", models.CharField(max_length=20, db_index=True)),
    """),
    Harmful("positive", """
        migrations.AlterField("order", "total", models.PositiveIntegerField()),
    """),
    Harmful("positive_of_a_quoted_column", """
        migrations.AlterField("old", "amount", models.PositiveIntegerField(db_column="Amount $")),
    """),
    Harmful("one_to_one_from_foreign_key", """
        migrations.AlterField("line", "order", models.OneToOneField(
            "cases.order", models.CASCADE)),
    """),
    Harmful("foreign_key_constraint_of_an_integer", """
        migrations.AlterField("order", "customer_ref", models.ForeignKey(
            "cases.customer", models.CASCADE, db_column="customer_ref", db_index=False)),
    """, "refused", "type"),
    Harmful("not_null", """
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AlterField("order", "currency", models.CharField(max_length=3)),
    """, "kept fixed", above='''
        def fill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.filter(currency=None).update(currency="USD")

        '''),
    Harmful("not_null_with_default", """
        migrations.AlterField("order", "note", models.TextField(default="it's 100 %")),
    """),
    Harmful("not_null_with_one_off_default", """
        migrations.AlterField(
            "order", "note", models.TextField(default="none"), preserve_default=False),
    """),
    Harmful("not_null_with_default_of_a_function", """
        migrations.AlterField("order", "placed", models.DateTimeField(default=timezone.now)),
    """, above="from django.utils import timezone\n", varies=("placed",)),
    Harmful("not_null_with_default_and_index", """
        migrations.AlterField("order", "note", models.TextField(default="", db_index=True)),
    """),
    Harmful("not_null_foreign_key_with_default", """
        migrations.AlterField("order", "customer", models.ForeignKey(
            "cases.customer", models.CASCADE, default=1)),
    """),
    Harmful("not_null_and_longer", """
        migrations.AlterField("order", "currency", models.CharField(max_length=9, default="EUR")),
    """),
    Harmful("exclusion", """
        migrations.AddConstraint("order", ExclusionConstraint(
            name="ex", index_type="SPGIST",
            expressions=[("number", RangeOperators.EQUAL)])),
    """, "refused", "exclusion constraint", above="""
        from django.contrib.postgres.constraints import ExclusionConstraint
        from django.contrib.postgres.fields import RangeOperators
        """),
    Harmful("constraint_removed_and_added", """
        migrations.AddConstraint("line", models.UniqueConstraint(
            fields=["order", "sku"], name="u_os")),
        migrations.RemoveConstraint("line", "u_os"),
        migrations.AddConstraint("line", models.UniqueConstraint(
            fields=["sku", "order"], name="u_os")),
    """, "refused kept fixed", "makes the constraint u_os and drops it again"),
]  # fmt: skip
