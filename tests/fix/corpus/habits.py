"""Migrations as people write them by habit: types back and forth, SQL by hand, odd files."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

_TWO = ("--releases", "2")

CASES = [
    Harmful("null_then_not_null_then_bigger_in_two_releases", """
        migrations.AlterField("order", "total", models.BigIntegerField(null=True)),
        migrations.AlterField("order", "total", models.BigIntegerField(default=0)),
        migrations.AddIndex("order", models.Index(fields=["total"], name="order_total")),
    """, "refused fixed fixed", "fails the proof", arguments=_TWO),
    Harmful("renamed_copied_and_removed_in_two_releases", """
        migrations.RenameField("order", "note", "old_note"),
        migrations.AddField("order", "note", models.TextField(default="", blank=True)),
        migrations.RunPython(copy, migrations.RunPython.noop),
        migrations.RemoveField("order", "old_note"),
    """, "refused refused fixed kept", "put it into a separate migration", arguments=_TWO,
        irreversible=True, above='''
        def copy(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.exclude(old_note=None).update(note=models.F("old_note"))

        '''),
    Harmful("schema_editor_executes_an_update", """
        migrations.AddField("line", "total", models.DecimalField(
            max_digits=10, decimal_places=2, null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AlterField("line", "total", models.DecimalField(
            max_digits=10, decimal_places=2)),
    """, "kept fixed fixed", above='''
        def fill(apps, schema_editor):
            table = apps.get_model("cases", "Line")._meta.db_table
            schema_editor.execute(f"UPDATE {table} SET total = quantity * 1.5")

        '''),
    Harmful("cursor_that_fetches_and_writes", """
        migrations.AddField("order", "rank", models.IntegerField(null=True, db_index=True)),
        migrations.RunPython(rank, migrations.RunPython.noop),
    """, "fixed fixed", above='''
        from django.db import connection


        def rank(apps, schema_editor):
            with connection.cursor() as cursor:
                cursor.execute("SELECT id, row_number() OVER (ORDER BY total) FROM cases_order")
                for pk, number in cursor.fetchall():
                    cursor.execute("UPDATE cases_order SET rank = %s WHERE id = %s", [number, pk])

        '''),
    Harmful("unique_index_then_using_index_in_sql", """
        migrations.RunSQL(
            "CREATE UNIQUE INDEX order_number_key ON cases_order (number);"
            "ALTER TABLE cases_order ADD CONSTRAINT order_number_uniq UNIQUE"
            " USING INDEX order_number_key;",
            "ALTER TABLE cases_order DROP CONSTRAINT order_number_uniq;",
            state_operations=[migrations.AddConstraint("order", models.UniqueConstraint(
                fields=["number"], name="order_number_uniq"))]),
    """),
    Harmful("text_to_integer_in_two_releases", """
        migrations.AlterField("order", "code", models.IntegerField(db_index=True)),
    """, "fixed", arguments=_TWO, irreversible=True, prepared="""
        migrations.RunSQL("UPDATE cases_order SET code = id::text"),
    """),
    Harmful("date_to_datetime_and_back_in_two_releases", """
        migrations.AlterField("order", "placed", models.DateField(null=True)),
        migrations.AlterField("order", "placed", models.DateTimeField(null=True)),
    """, "refused fixed", "fails the proof", arguments=_TWO, irreversible=True),
    Harmful("smaller_integer_with_check_in_two_releases", """
        migrations.AlterField("line", "quantity", models.PositiveSmallIntegerField(default=1)),
        migrations.AddConstraint("line", models.CheckConstraint(
            condition=models.Q(quantity__lte=100), name="line_quantity_max")),
        migrations.AddIndex("line", models.Index(
            fields=["quantity"], condition=models.Q(quantity__gt=5), name="line_many")),
    """, "fixed fixed fixed", arguments=_TWO),
    Harmful("text_becomes_foreign_key_by_to_field_in_two_releases", """
        migrations.AlterField("line", "sku", models.ForeignKey(
            "cases.order", models.CASCADE, to_field="slug", db_column="sku", related_name="+")),
    """, "fixed", arguments=_TWO, irreversible=True, prepared="""
        migrations.RunSQL("UPDATE cases_line SET sku = 's' || order_id"),
    """),
    Harmful("many_to_many_to_itself_and_its_table", """
        migrations.AddField("order", "related", models.ManyToManyField(
            "self", db_table="Shop relations", symmetrical=False)),
        migrations.AddIndex("order", models.Index(fields=["note"], name="order_note",
            opclasses=["text_pattern_ops"])),
        migrations.AlterField("order", "related", models.ManyToManyField(
            "cases.order", db_table="Shop relations", symmetrical=False, blank=True)),
    """, "kept fixed kept"),
    Harmful("index_of_coalesce_cast_and_collate", """
        migrations.AddIndex("order", models.Index(
            Coalesce("note", models.Value("it's")), Cast("total", models.CharField()),
            Collate("number", "C"), name="order_mixed")),
        migrations.AddConstraint("order", models.UniqueConstraint(
            Coalesce("customer_ref", 0), "slug", name="order_once", nulls_distinct=False)),
    """, "fixed fixed", above="""
        from django.db.models.functions import Cast, Coalesce, Collate
        """),
    Harmful("removed_with_unique_together_and_index_in_two_releases", """
        migrations.AlterUniqueTogether("line", set()),
        migrations.RemoveIndex("line", "line_sku"),
        migrations.RemoveField("line", "sku"),
        migrations.AddField("line", "article", models.ForeignKey(
            "cases.order", models.SET_NULL, null=True, related_name="articles")),
    """, "fixed fixed fixed fixed", arguments=_TWO, irreversible=True, prepared="""
        migrations.AlterUniqueTogether("line", {("order", "sku")}),
        migrations.AddIndex("line", models.Index(fields=["sku"], name="line_sku")),
    """),
    Harmful("required_one_to_one_with_default_of_a_query_in_two_releases", """
        migrations.AddField("order", "twin", models.OneToOneField(
            "cases.order", models.SET_NULL, null=True, related_name="+")),
        migrations.RunPython(pair, migrations.RunPython.noop),
        migrations.AlterField("order", "twin", models.OneToOneField(
            "cases.order", models.CASCADE, related_name="+")),
    """, "fixed fixed fixed", above='''
        def pair(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.filter(twin=None).update(twin_id=models.F("id"))

        '''),
    Harmful("file_with_tabs_and_operations_of_a_function", """
        *on("order", "total", "number"),
        migrations.RunPython(touch, migrations.RunPython.noop),
    """, "fixed fixed kept", above='''
        def on(model, *names):
        \tfor name in names:
        \t\tyield migrations.AddIndex(
        \t\t\tmodel, models.Index(fields=[name], name=f"{model}_{name}"))


        def touch(apps, schema_editor):
        \tapps.get_model("cases", "Customer").objects.filter(pk=1).update(name="n")

        '''),
    Harmful("names_beyond_ascii", """
        migrations.AddField("order", "größe", models.CharField(max_length=9, null=True)),
        migrations.RunPython(fülle, migrations.RunPython.noop),
        migrations.AlterField("order", "größe", models.CharField(
            max_length=9, default="ß", db_index=True)),
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=~models.Q(größe="日本"), name="größe_ok")),
    """, "kept fixed fixed fixed", above='''
        def fülle(apps, schema_editor):
            apps.get_model("cases", "Order").objects.update(größe="für")

        '''),
    Harmful("unmanaged_and_proxy_beside_an_index", """
        migrations.CreateModel("Report", [
            ("id", models.BigAutoField(primary_key=True)),
        ], options={"managed": False, "db_table": "cases_order_report"}),
        migrations.CreateModel("OpenOrder", [], options={"proxy": True}, bases=("cases.order",)),
        migrations.AddIndex("order", models.Index(fields=["-total"], name="order_total_desc")),
        migrations.AlterModelManagers("order", [("objects", models.Manager())]),
    """, "kept kept fixed kept"),
    Harmful("batches_with_inner_atomic_and_savepoints", """
        migrations.AddField("order", "state", models.CharField(max_length=9, null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AlterField("order", "state", models.CharField(max_length=9, default="new")),
        migrations.AddIndex("order", models.Index(fields=["state", "placed"], name="order_state")),
    """, "kept fixed fixed fixed", above='''
        from django.db import transaction


        def fill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            while True:
                with transaction.atomic():
                    keys = list(Order.objects.filter(state=None).order_by("pk")
                                .values_list("pk", flat=True)[:2500])
                    if not keys:
                        break
                    Order.objects.filter(pk__in=keys).update(state="old")

        '''),
    Harmful("float_to_decimal_and_required_in_two_releases", """
        migrations.AlterField("order", "weight", models.DecimalField(
            max_digits=10, decimal_places=3, default=0)),
    """, "fixed", arguments=_TWO, prepared="""
        migrations.AddField("order", "weight", models.FloatField(null=True)),
        migrations.RunSQL("UPDATE cases_order SET weight = total / 8.0 WHERE total % 3 = 0"),
    """),
    Harmful("insert_select_and_delete_orphans_in_sql", """
        migrations.CreateModel("Archive", [
            ("id", models.BigIntegerField(primary_key=True)),
            ("data", models.JSONField()),
        ]),
        migrations.RunSQL([
            "INSERT INTO cases_archive"
            " SELECT id, to_jsonb(o) FROM cases_order o WHERE total < 6000",
            "DELETE FROM cases_line WHERE order_id < 6001",
        ], migrations.RunSQL.noop),
        migrations.AddIndex("archive", GinIndex(fields=["data"], name="archive_data")),
        migrations.AlterField("line", "quantity", models.PositiveIntegerField()),
    """, "kept fixed kept fixed", above="from django.contrib.postgres.indexes import GinIndex\n"),
    Harmful("model_renamed_with_a_check_and_a_column_in_two_releases", """
        migrations.RenameModel("Line", "Item"),
        migrations.AddConstraint("item", models.CheckConstraint(
            condition=models.Q(quantity__gte=0), name="item_quantity")),
        migrations.AddField("item", "weight", models.IntegerField(null=True)),
        migrations.AddIndex("order", models.Index(fields=["total"], name="order_total")),
    """, "fixed fixed kept fixed", arguments=_TWO),
    Harmful("keys_of_json_set_in_a_loop", """
        migrations.RunPython(set_keys, migrations.RunPython.noop),
    """, "fixed", above='''
        def set_keys(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            changed = []
            for order in Order.objects.filter(total__gt=3).iterator():
                data = order.data
                data["version"] = 2
                data.setdefault("name", order.number)
                data.pop("a", None)
                order.data = data
                changed.append(order)
            Order.objects.bulk_update(changed, ["data"], batch_size=500)

        '''),
    Harmful("sql_sent_by_code", """
        migrations.RunPython(fill_day, back),
        migrations.RunPython(upper, migrations.RunPython.noop, elidable=True),
        migrations.RunPython(add, migrations.RunPython.noop),
    """, "fixed fixed kept", above='''
        UPPER = "UPDATE cases_line SET sku = '5%%' WHERE sku LIKE 'k%%'"


        def fill_day(apps, schema_editor):
            if schema_editor.connection.vendor != "postgresql":
                return
            with schema_editor.connection.cursor() as cursor:
                cursor.execute("""
                    UPDATE cases_order SET note = to_char(placed AT TIME ZONE 'UTC', 'YYYY');
                    DELETE FROM cases_line WHERE quantity = 3
                """)


        def back(apps, schema_editor):
            with schema_editor.connection.cursor() as cursor:
                cursor.execute("UPDATE cases_order SET note = NULL")


        def upper(apps, schema_editor):
            schema_editor.execute(UPPER)


        def add(apps, schema_editor):
            schema_editor.execute("UPDATE cases_order SET total = total + 1")

        '''),
    Harmful("loop_behind_a_question", """
        migrations.RunPython(fill, migrations.RunPython.noop),
    """, "fixed", above="""
        def fill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            orders = Order.objects.filter(note=None).order_by("total")
            total = orders.count()
            if not orders.exists():
                print("Nothing to do")
                return
            print(f"Filling {total} of {Order.objects.count()}")
            for order in orders.iterator():
                order.note = order.number.lower()
                order.save(update_fields=["note"])

        """),
    Harmful("updates_behind_a_question_about_another_table", """
        migrations.RunPython(fill, migrations.RunPython.noop),
    """, "fixed", above="""
        def fill(apps, schema_editor):
            if apps.get_model("cases", "Customer").objects.count() > 10:
                Order = apps.get_model("cases", "Order")
                Order.objects.filter(note=None).update(note="-")
                Order.objects.filter(total__gt=1000).update(note="big")

        """),
    Harmful("loop_behind_a_question_that_it_answers", """
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex("order", models.Index(fields=["note"], name="order_note")),
    """, "kept fixed", above="""
        def fill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            if Order.objects.filter(note="n1").exists():
                return
            for order in Order.objects.all():
                order.note = order.number.lower()
                order.save()

        """),
    Harmful("loop_that_prints_logs_and_counts", """
        migrations.RunPython(shorten, migrations.RunPython.noop),
    """, "fixed", above='''
        import logging

        logger = logging.getLogger(__name__)


        def shorten(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            count = 0
            changed = []
            for order in Order.objects.all():
                if order.total > 100:
                    order.note = order.number.lower()
                else:
                    logger.debug("%s is small", order.number)
                    order.note = "-"
                changed.append(order)
                count += 1
                if count % 5000 == 0:
                    print(f"{count} done")
            Order.objects.bulk_update(changed, ["note"], batch_size=500)
            logger.info("%d in all", count)

        '''),
]  # fmt: skip
