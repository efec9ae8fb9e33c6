"""Data and schema in one migration."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

_FILL = '''
    BATCH = 500


    def _orders(apps):
        return apps.get_model("cases", "Order").objects


    def fill(apps, schema_editor):
        """Give each order its channel."""
        _orders(apps).filter(total__lte=BATCH * 1000).update(channel="web")  # all of them


    def clear(apps, schema_editor):
        _orders(apps).update(channel=None)

    '''

CASES = [
    Harmful("column_and_its_backfill", """
        migrations.AddField("order", "channel", models.CharField(max_length=9, null=True)),
        # All orders came from the web so far.
        migrations.RunPython(fill, clear),
    """, "kept fixed", above=_FILL),
    Harmful("column_backfill_not_null", """
        migrations.AddField("order", "channel", models.CharField(max_length=9, null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AlterField("order", "channel", models.CharField(max_length=9)),
    """, "kept fixed fixed", above=_FILL),
    Harmful("foreign_key_backfill_not_null", """
        migrations.AddField("line", "customer", models.ForeignKey(
            "cases.customer", models.CASCADE, null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AlterField("line", "customer", models.ForeignKey(
            "cases.customer", models.CASCADE)),
    """, "fixed fixed fixed", above='''
        def fill(apps, schema_editor):
            Line = apps.get_model("cases", "Line")
            first = apps.get_model("cases", "Customer").objects.order_by("pk").first()
            Line.objects.update(customer=first)

        '''),
    Harmful("lambda_and_index", """
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),
        migrations.RunPython(lambda apps, schema_editor: None, migrations.RunPython.noop),
    """, "fixed kept"),
    Harmful("row_by_row", """
        migrations.AddField("line", "price", models.IntegerField(null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),
        migrations.AddIndex("line", models.Index(fields=["price"], name="i_price")),
    """, "kept fixed fixed", above='''
        import itertools


        class Prices:
            """Knows prices."""

            def of(self, line):
                return line.quantity * 3


        def fill(apps, schema_editor):
            lines = apps.get_model("cases", "Line").objects.order_by("pk")
            prices = Prices()
            for line in itertools.islice(lines.iterator(), 200):
                line.price = prices.of(line)
                line.save(update_fields=["price"])
            lines.filter(price=None).update(price=0)

        '''),
    Harmful("update_in_sql", """
        migrations.AddField("order", "channel", models.CharField(max_length=9, null=True)),
        migrations.RunSQL(
            "UPDATE cases_order SET channel = 'web' WHERE channel IS NULL AND total > 5",
            reverse_sql="UPDATE cases_order SET channel = NULL",
        ),
    """, "kept fixed"),
    Harmful("update_from_another_column_in_sql", """
        migrations.AddField("order", "cents", models.BigIntegerField(null=True)),
        migrations.RunSQL("UPDATE cases_order SET cents = total * 100", migrations.RunSQL.noop),
    """, "kept fixed"),
    Harmful("delete_in_sql", """
        migrations.AddField("line", "price", models.IntegerField(null=True)),
        migrations.RunSQL("DELETE FROM cases_line WHERE quantity < 5", migrations.RunSQL.noop),
    """, "kept fixed"),
    Harmful("new_rows_and_an_index", """
        migrations.RunPython(add, migrations.RunPython.noop),
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),
    """, "kept fixed", above='''
        def add(apps, schema_editor):
            Customer = apps.get_model("cases", "Customer")
            Customer.objects.bulk_create([Customer(name="n", email="e") for _ in range(3)])

        ''', varies=("id",)),
    Harmful("default_of_the_file", """
        migrations.AddField("order", "label", models.CharField(
            max_length=9, null=True, default=label, db_index=True)),
    """, above='''
        def label():
            return "plain"

        ''', own_default=True),
    Harmful("operation_of_the_file", """
        Nothing(),
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),
    """, "kept fixed", above='''
        class Nothing(migrations.RunSQL):
            def __init__(self):
                super().__init__("SELECT 1", "SELECT 1")

        '''),
    Harmful("schema_change_in_python", """
        migrations.RunPython(change, migrations.RunPython.noop),
    """, "refused", above='''
        def change(apps, schema_editor):
            schema_editor.execute("CREATE INDEX i_t ON cases_order (total)")

        '''),
    Harmful("mapping_and_updates_and_their_way_back", """
        migrations.RunPython(fill, back),
        migrations.AddIndex("customer", models.Index(fields=["email"], name="i_email")),
    """, "fixed fixed", above='''
        CURRENCIES = {"EUR": "USD", "GBP": "CHF"}


        def fill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            lines = apps.get_model("cases", "Line").objects.filter(quantity__gt=5)
            for old, new in CURRENCIES.items():
                Order.objects.filter(currency=old).update(currency=new)
            Order.objects.exclude(note=None).update(note="x")
            lines.update(quantity=5)


        def back(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            for new, old in CURRENCIES.items():
                Order.objects.filter(currency=old).update(currency=new)
            Order.objects.filter(note="x").update(note="it's")

        '''),
    Harmful("rows_saved_and_updated_in_bulk", """
        migrations.AddField("order", "label", models.CharField(max_length=40, null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddField("line", "size", models.IntegerField(null=True)),
        migrations.RunPython(measure, migrations.RunPython.noop),
    """, "kept fixed kept fixed", above='''
        from django.utils.text import slugify


        def label_of(order):
            return slugify(order.number + " " + order.slug)


        def fill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            for order in Order.objects.filter(label=None, total__lt=3000).iterator():
                order.label = label_of(order)
                order.save(update_fields=["label"])


        def measure(apps, schema_editor):
            Line = apps.get_model("cases", "Line")
            changed = []
            for line in Line.objects.all():
                if line.quantity % 2:
                    line.size = len(line.sku)
                    changed.append(line)
            Line.objects.bulk_update(changed, ["size"], batch_size=1000)

        '''),
]  # fmt: skip
