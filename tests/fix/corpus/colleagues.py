"""Migrations as colleagues' pull requests have them: data between changes of the schema."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

CASES = [
    Harmful("through_model_filled_and_indexed", """
        migrations.CreateModel("Membership", [
            ("id", models.BigAutoField(primary_key=True)),
            ("order", models.ForeignKey("cases.order", models.CASCADE)),
            ("customer", models.ForeignKey("cases.customer", models.CASCADE)),
            ("since", models.DateField(null=True)),
        ], options={"constraints": [models.UniqueConstraint(
            fields=["order", "customer"], name="membership_once")],
            "indexes": [models.Index(fields=["customer", "since"], name="membership_since")]}),
        migrations.RunSQL(
            "INSERT INTO cases_membership (order_id, customer_id)"
            " SELECT id, customer_id FROM cases_order WHERE customer_id IS NOT NULL",
            "DELETE FROM cases_membership"),
        migrations.AddField("order", "members", models.ManyToManyField(
            "cases.customer", through="cases.Membership", related_name="memberships")),
        migrations.AddIndex("membership", models.Index(fields=["since"], name="membership_s")),
    """, "fixed kept kept kept", varies=("id",)),
    Harmful("rows_then_schema_of_the_same_table", """
        migrations.AddField("line", "customer", models.ForeignKey(
            "cases.customer", models.CASCADE, null=True)),
        migrations.RunPython(first, migrations.RunPython.noop),
        migrations.AlterField("line", "sku", models.CharField(max_length=50)),
        migrations.AlterModelOptions("line", {"verbose_name": "position"}),
        migrations.AddField("line", "kind", models.CharField(max_length=9, null=True)),
    """, "fixed kept kept kept kept", above='''
        def first(apps, schema_editor):
            Line = apps.get_model("cases", "Line")
            for line in Line.objects.order_by("pk")[:20]:
                line.customer_id = 1
                line.save()

        '''),
    Harmful("partial_unique_constraint_over_rows_marked_in_sql", """
        migrations.AddField("order", "is_primary", models.BooleanField(db_default=False)),
        migrations.RunSQL("UPDATE cases_order SET is_primary = true FROM ("
            "SELECT customer_id, min(id) AS first FROM cases_order GROUP BY 1) f"
            " WHERE f.first = cases_order.id", migrations.RunSQL.noop),
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["customer"], condition=models.Q(is_primary=True), name="one_primary")),
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["customer", "total"], include=["currency"], name="cust_total")),
    """, "kept fixed fixed fixed"),
    Harmful("lower_in_place", """
        migrations.RunPython(normalize, migrations.RunPython.noop),
        migrations.AddConstraint("order", models.UniqueConstraint(
            Lower("slug"), name="order_slug_ci")),
    """, "fixed fixed", above='''
        from django.db.models.functions import Lower


        def normalize(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.update(number=Lower("number"))

        '''),
    Harmful("cleaned_in_sql_and_unique", """
        migrations.RunSQL(
            "UPDATE cases_order SET slug = lower(trim(replace(slug, '-', ''))),"
            " note = nullif(trim(note), ''), currency = CASE WHEN currency = 'EUR' THEN 'eur'"
            " WHEN currency IN ('USD', 'CHF') THEN 'old' ELSE currency END",
            migrations.RunSQL.noop),
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["slug", "note"], name="order_slug_note")),
    """, "fixed fixed"),
    Harmful("backfill_with_its_way_back", """
        migrations.AddField("order", "channel", models.CharField(max_length=9, null=True)),
        migrations.RunPython(fill, clear),
        migrations.AlterField("order", "channel", models.CharField(max_length=9)),
    """, "kept fixed fixed", above='''
        WEB = "web"


        def fill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.using(schema_editor.connection.alias).update(channel=WEB)


        def clear(apps, schema_editor):
            """Leave what others wrote."""
            Order = apps.get_model("cases", "Order")
            Order.objects.filter(channel=WEB).update(channel="none")

        '''),
]  # fmt: skip
