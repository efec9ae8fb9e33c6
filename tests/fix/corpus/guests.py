"""Migrations that look harmless by their numbers: rows of a part, for each row, by a function."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

CASES = [
    Harmful("invoice_for_some_orders_and_an_index", """
        migrations.CreateModel("Invoice", [
            ("id", models.BigAutoField(primary_key=True)),
            ("order", models.OneToOneField("cases.order", models.CASCADE)),
            ("amount", models.IntegerField()),
        ]),
        migrations.RunPython(bill, migrations.RunPython.noop),
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_total")),
    """, "fixed kept fixed", above='''
        def bill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Invoice = apps.get_model("cases", "Invoice")
            Invoice.objects.bulk_create(
                [Invoice(order=order, amount=order.total)
                 for order in Order.objects.filter(total__lte=3000).order_by("pk")],
                batch_size=500)

        '''),
    Harmful("chunks_of_a_list_of_keys", """
        migrations.AddField("order", "label", models.CharField(max_length=9, null=True)),
        migrations.RunPython(mark, migrations.RunPython.noop),
    """, "kept fixed", above='''
        def chunks(items, size):
            for start in range(0, len(items), size):
                yield items[start : start + size]


        def mark(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            keys = list(Order.objects.filter(note=None).values_list("pk", flat=True))
            for chunk in chunks(keys, 1000):
                Order.objects.filter(pk__in=chunk).update(label="quiet")

        '''),
    Harmful("rows_numbered_by_the_length_of_a_list", """
        migrations.AddField("line", "position", models.IntegerField(null=True)),
        migrations.RunPython(number, migrations.RunPython.noop),
    """, "kept fixed", above='''
        def number(apps, schema_editor):
            Line = apps.get_model("cases", "Line")
            changed = []
            for line in Line.objects.order_by("-pk"):
                line.position = len(changed)
                changed.append(line)
            Line.objects.bulk_update(changed, ["position"], batch_size=1000)

        '''),
    Harmful("update_by_a_function_that_reads_the_table", """
        migrations.AddField("order", "rank", models.IntegerField(null=True)),
        migrations.RunSQL(
            "CREATE FUNCTION cases_next() RETURNS integer LANGUAGE sql AS"
            " 'SELECT coalesce(max(rank), 0) + 1 FROM cases_order'",
            "DROP FUNCTION cases_next()"),
        migrations.RunSQL("UPDATE cases_order SET rank = cases_next()", migrations.RunSQL.noop),
    """, "kept kept fixed"),
]  # fmt: skip
