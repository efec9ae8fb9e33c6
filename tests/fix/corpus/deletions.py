"""Code that deletes rows, and code with batches of its own, in one transaction."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

CASES = [
    Harmful("deleted_by_querysets", """
        migrations.RunPython(purge, migrations.RunPython.noop),
        migrations.AddIndex("line", models.Index(fields=["quantity", "sku"], name="line_qs")),
    """, "fixed fixed", above='''
        GONE = [0, 1, 2]


        def purge(apps, schema_editor):
            Line = apps.get_model("cases", "Line")
            for quantity in GONE:
                Line.objects.filter(quantity=quantity).delete()
            Line.objects.filter(order__currency=None)._raw_delete(schema_editor.connection.alias)
            Line.objects.filter(order__customer__name__startswith="1").update(sku="")

        '''),
    Harmful("deleted_with_what_refers_to_it", """
        migrations.RunPython(purge, migrations.RunPython.noop),
    """, "fixed", above='''
        def purge(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            with transaction.atomic():
                Order.objects.exclude(total__lt=4000).delete()


        from django.db import transaction

        ''', prepared="""
        migrations.AddField("customer", "last_order", models.ForeignKey(
            "cases.order", models.SET_NULL, null=True, related_name="+")),
        migrations.AddField("order", "before", models.ForeignKey(
            "self", models.CASCADE, null=True)),
        migrations.RunSQL("UPDATE cases_customer SET last_order_id = id * 20"),
        migrations.RunSQL("UPDATE cases_order SET before_id = id - 1 WHERE id % 3 = 0"),
    """),
    Harmful("deleted_where_its_own_key_is_emptied", """
        migrations.RunPython(purge, migrations.RunPython.noop),
    """, "kept", above='''
        def purge(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.filter(before__isnull=False).delete()

        ''', prepared="""
        migrations.AddField("order", "before", models.ForeignKey(
            "self", models.SET_NULL, null=True)),
        migrations.RunSQL("UPDATE cases_order SET before_id = id - 1 WHERE id > 1"),
    """),
    Harmful("deleted_where_rows_hold_each_other", """
        migrations.RunPython(purge, migrations.RunPython.noop),
    """, "kept", above='''
        def purge(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.filter(total__gt=0).delete()

        ''', prepared="""
        migrations.AddField("order", "before", models.ForeignKey(
            "self", models.RESTRICT, null=True)),
        migrations.RunSQL("UPDATE cases_order SET before_id = id + 6000 WHERE id <= 6000"),
    """),
    Harmful("deleted_where_rows_of_two_tables_hold_each_other", """
        migrations.RunPython(purge, migrations.RunPython.noop),
    """, "kept", above='''
        def purge(apps, schema_editor):
            Customer = apps.get_model("cases", "Customer")
            Customer.objects.filter(pk__gt=0).delete()

        ''', prepared="""
        migrations.AddField("line", "payer", models.ForeignKey(
            "cases.customer", models.RESTRICT, null=True)),
        migrations.RunSQL("DELETE FROM cases_line WHERE id > 4000"),
        migrations.RunSQL("DELETE FROM cases_order WHERE customer_id IS NULL AND id > 4000"),
        migrations.RunSQL("UPDATE cases_order SET customer_id = 1 WHERE customer_id IS NULL"),
        migrations.RunSQL("UPDATE cases_line SET payer_id = 1 + (id + 7) % 500"),
    """),
    Harmful("deleted_by_sql_where_rows_refer_to_each_other", """
        migrations.RunSQL("DELETE FROM cases_line WHERE quantity < 8", migrations.RunSQL.noop),
        migrations.RunPython(purge, migrations.RunPython.noop),
    """, "refused kept", "refer to each other", above='''
        def purge(apps, schema_editor):
            Line = apps.get_model("cases", "Line")
            Line.objects.filter(quantity=8)._raw_delete(schema_editor.connection.alias)

        ''', prepared="""
        migrations.AddField("line", "before", models.ForeignKey(
            "self", models.CASCADE, null=True)),
        migrations.RunSQL("UPDATE cases_line SET before_id = id + 9 WHERE id < 9000"),
    """),
    Harmful("deleted_row_by_row", """
        migrations.RunPython(purge, migrations.RunPython.noop),
    """, "fixed", above='''
        def purge(apps, schema_editor):
            Line = apps.get_model("cases", "Line")
            for line in Line.objects.filter(quantity__gt=0).iterator():
                if not line.sku.endswith("99"):
                    line.delete()

        '''),
    Harmful("bulk_update_where_the_list_is_full", """
        migrations.AddField("order", "label", models.CharField(max_length=40, null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
    """, "kept fixed", above='''
        SIZE = 700


        def fill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            batch = []
            for order in Order.objects.all().iterator(chunk_size=SIZE):
                order.label = f"{order.number}-{order.total}"
                batch.append(order)
                if len(batch) >= SIZE:
                    Order.objects.bulk_update(batch, ["label"])
                    batch = []
            if batch:
                Order.objects.bulk_update(batch, ["label"])

        '''),
    Harmful("slices_and_pages_of_rows", """
        migrations.AddField("order", "label", models.CharField(max_length=40, null=True)),
        migrations.AddField("line", "size", models.IntegerField(null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunPython(measure, migrations.RunPython.noop),
        migrations.AlterField("order", "label", models.CharField(max_length=40)),
    """, "kept kept fixed fixed fixed", above='''
        from django.core.paginator import Paginator

        BATCH_SIZE = 1000


        def fill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            total = Order.objects.count()
            for start in range(0, total, BATCH_SIZE):
                batch = list(Order.objects.order_by("pk")[start:start + BATCH_SIZE])
                for order in batch:
                    order.label = order.number.lower()
                Order.objects.bulk_update(batch, ["label"])


        def measure(apps, schema_editor):
            Line = apps.get_model("cases", "Line")
            paginator = Paginator(Line.objects.order_by("pk"), 1000)
            for number in paginator.page_range:
                rows = []
                for line in paginator.page(number).object_list:
                    line.size = len(line.sku)
                    rows.append(line)
                Line.objects.bulk_update(rows, ["size"])

        '''),
    Harmful("batches_of_what_is_left", """
        migrations.AddField("order", "state", models.CharField(max_length=9, null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunPython(purge, migrations.RunPython.noop),
    """, "kept fixed fixed", above='''
        from django.db import connection


        def fill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            while True:
                left = Order.objects.filter(state__isnull=True)
                ids = list(left.values_list("id", flat=True)[:2000])
                if not ids:
                    break
                Order.objects.filter(id__in=ids).update(state="open")


        def purge(apps, schema_editor):
            with connection.cursor() as cursor:
                while True:
                    cursor.execute(
                        "DELETE FROM cases_line WHERE id IN"
                        " (SELECT id FROM cases_line WHERE quantity < 6 LIMIT 1000)")
                    if cursor.rowcount == 0:
                        break

        '''),
]  # fmt: skip
