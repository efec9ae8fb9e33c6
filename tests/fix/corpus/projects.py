"""Migrations as they pile up in projects that are years old: leftovers, chains, helpers."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

_TWO = ("--releases", "2")

CASES = [
    Harmful("unique_together_becomes_a_constraint_of_the_same_columns", """
        migrations.AlterUniqueTogether(name="line", unique_together=set()),
        migrations.AddConstraint(
            model_name="line",
            constraint=models.UniqueConstraint(fields=("order", "sku"), name="line_order_sku"),
        ),
    """, "kept fixed", prepared="""
        migrations.AlterUniqueTogether("line", {("order", "sku")}),
    """),
    Harmful("helper_that_bulk_updates_then_not_null_then_unique_together", """
        migrations.AddField("line", "position", models.PositiveIntegerField(null=True)),
        migrations.RunPython(number_lines, migrations.RunPython.noop),
        migrations.AlterField("line", "position", models.PositiveIntegerField(default=0)),
        migrations.AlterUniqueTogether("line", {("order", "position")}),
        migrations.AlterModelOptions("line", {"ordering": ("order", "position")}),
    """, "fixed fixed fixed fixed kept", above='''
        from itertools import groupby


        def batches(iterable, size):
            batch = []
            for each in iterable:
                batch.append(each)
                if len(batch) == size:
                    yield batch
                    batch = []
            if batch:
                yield batch


        def number_lines(apps, schema_editor):
            Line = apps.get_model("cases", "Line")
            manager = Line._default_manager.using(schema_editor.connection.alias)
            changed = []
            for _order, lines in groupby(manager.order_by("order_id", "pk"), lambda l: l.order_id):
                for position, line in enumerate(lines):
                    line.position = position
                    changed.append(line)
            for batch in batches(changed, 500):
                manager.bulk_update(batch, ["position"])

        '''),
    Harmful("functional_unique_constraint_and_its_field", """
        migrations.AlterField("customer", "email", models.EmailField(max_length=254)),
        migrations.AddConstraint("customer", models.UniqueConstraint(
            Lower("email").desc(), "name", name="%(app_label)s_%(class)s_mail".replace(
                "%(app_label)s_%(class)s", "cases_customer"),
            violation_error_message="Taken.")),
        migrations.AddConstraint("order", models.UniqueConstraint(
            Lower("number"), name="order_number_ci", condition=models.Q(note__isnull=False))),
    """, "kept fixed fixed", above="from django.db.models.functions import Lower\n"),
    Harmful("deferrable_and_nulls_distinct_and_replaced_later", """
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["customer_ref", "number"], name="u_def",
            deferrable=models.Deferrable.IMMEDIATE)),
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["customer", "number"], name="u_nulls", nulls_distinct=False)),
        migrations.RemoveConstraint("order", "u_def"),
    """, "refused refused kept", "drops it again"),
    Harmful("foreign_key_to_field_with_db_column", """
        migrations.AddField("line", "by_slug", models.ForeignKey(
            "cases.order", models.SET_NULL, to_field="slug", db_column="Order Slug", null=True,
            related_name="lines_by_slug")),
        migrations.RunSQL(
            'UPDATE cases_line SET "Order Slug" = o.slug FROM cases_order o WHERE o.id = order_id',
            migrations.RunSQL.noop),
        migrations.AlterField("line", "by_slug", models.ForeignKey(
            "cases.order", models.CASCADE, to_field="slug", db_column="Order Slug",
            related_name="lines_by_slug")),
    """, "fixed fixed fixed"),
    Harmful("tree_of_itself_with_paths", """
        migrations.AddField("order", "parent", models.ForeignKey(
            "self", models.CASCADE, null=True, blank=True, related_name="children")),
        migrations.AddField("order", "path", models.CharField(
            max_length=255, db_collation="C", default="")),
        migrations.RunPython(paths, migrations.RunPython.noop),
        migrations.AddIndex("order", models.Index(
            OpClass("path", "varchar_pattern_ops"), name="order_path")),
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=~models.Q(parent=models.F("id")), name="order_not_own_parent")),
    """, "fixed fixed fixed fixed fixed", arguments=_TWO, above='''
        from django.contrib.postgres.indexes import OpClass


        def paths(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            if not Order.objects.exists():
                return
            for order in Order.objects.only("pk").iterator(chunk_size=1000):
                Order.objects.filter(pk=order.pk).update(path=f"{order.pk:08d}")

        '''),
    Harmful("multi_table_child_gets_indexed_parent_field", """
        migrations.AddField("parent", "published", models.DateTimeField(null=True, db_index=True)),
        migrations.AddField("child", "weight", models.FloatField(null=True)),
        migrations.RunPython(publish, migrations.RunPython.noop),
        migrations.AddIndex("child", models.Index(fields=["-weight"], name="child_weight")),
        migrations.AddConstraint("child", models.CheckConstraint(
            condition=models.Q(weight__isnull=True) | models.Q(weight__gt=0), name="heavy")),
    """, "fixed kept fixed fixed fixed", prepared="""
        migrations.CreateModel("Parent", [
            KEY, ("title", models.CharField(max_length=20))]),
        migrations.CreateModel("Child", [
            ("parent_ptr", models.OneToOneField(
                "cases.Parent", models.CASCADE, auto_created=True, parent_link=True,
                primary_key=True, serialize=False)),
            ("color", models.CharField(max_length=9)),
        ], bases=("cases.parent",)),
        migrations.RunSQL(
            "INSERT INTO cases_parent (title) SELECT i::text FROM generate_series(1, 12000) i;"
            "INSERT INTO cases_child (parent_ptr_id, color)"
            " SELECT i, 'red' FROM generate_series(1, 12000) i;"),
    """, above='''
        def publish(apps, schema_editor):
            Child = apps.get_model("cases", "Child")
            Child.objects.filter(color="red").update(weight=1.5)

        '''),
    Harmful("one_to_one_profile_moved_to_primary_key_by_state", """
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField("line", "quantity", models.IntegerField(
                    db_column="quantity", choices=[(1, "one")]))],
            database_operations=[
                migrations.RunSQL(
                    "CREATE INDEX line_q ON cases_line (quantity)",
                    "DROP INDEX line_q"),
                migrations.RunSQL(
                    "ALTER TABLE cases_line ADD CONSTRAINT q_sane CHECK (quantity < 100)",
                    "ALTER TABLE cases_line DROP CONSTRAINT q_sane"),
            ],
        ),
    """),
    Harmful("json_column_defaults_and_gin_path_ops", """
        migrations.AddField("order", "extra", models.JSONField(default=dict, blank=True)),
        migrations.AddField("order", "flags", ArrayField(
            models.CharField(max_length=12), default=empty, size=8)),
        migrations.AddIndex("order", GinIndex(
            fields=["extra"], name="order_extra", opclasses=["jsonb_path_ops"], fastupdate=False)),
        migrations.AddIndex("order", models.Index(
            models.F("data__a"), name="order_data_a")),
        migrations.AddIndex("order", BTreeIndex(
            fields=["number"], name="order_number_ff", fillfactor=70)),
    """, "fixed fixed fixed fixed fixed", arguments=_TWO, own_default=True, above='''
        from django.contrib.postgres.fields import ArrayField
        from django.contrib.postgres.indexes import BTreeIndex, GinIndex


        def empty():
            return []

        '''),
    Harmful("uuid_with_default_in_one_step", """
        migrations.AddField("order", "uuid", models.UUIDField(
            default=uuid.uuid4, editable=False, db_index=True)),
    """, "fixed", arguments=_TWO, varies=("uuid",), above="import uuid\n"),
    Harmful("decimal_more_precise_in_two_releases", """
        migrations.AlterField("order", "price", models.DecimalField(
            max_digits=12, decimal_places=4, default=0)),
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=models.Q(price__gte=0), name="price_positive")),
    """, "fixed fixed", arguments=_TWO, prepared="""
        migrations.AddField("order", "price", models.DecimalField(
            max_digits=8, decimal_places=2, null=True)),
        migrations.RunSQL("UPDATE cases_order SET price = total / 3.0"),
        migrations.AlterField("order", "price", models.DecimalField(
            max_digits=8, decimal_places=2, default=0)),
    """),
    Harmful("narrower_and_choices_and_index_in_two_releases", """
        migrations.AlterField("order", "number", models.CharField(
            max_length=12, choices=[("a", "A"), ("b", "B")], db_index=True)),
    """, "fixed", arguments=_TWO),
    Harmful("text_to_limited_text_in_two_releases", """
        migrations.AlterField("order", "note", models.CharField(
            max_length=200, default="", blank=True)),
    """, "fixed", arguments=_TWO),
    Harmful("nullable_boolean_becomes_required", """
        migrations.RunPython(decide, migrations.RunPython.noop),
        migrations.AlterField("order", "paid", models.BooleanField(default=False)),
        migrations.AddIndex("order", models.Index(
            fields=["paid"], condition=models.Q(paid=False), name="order_unpaid")),
    """, "fixed fixed fixed", prepared="""
        migrations.AddField("order", "paid", models.BooleanField(null=True)),
    """, above='''
        def decide(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.filter(paid__isnull=True, total__gt=100).update(paid=True)
            Order.objects.filter(paid__isnull=True).update(paid=False)

        '''),
    Harmful("database_defaults_of_functions", """
        migrations.AddField("order", "created", models.DateTimeField(
            db_default=Now(), db_index=True)),
        migrations.AddField("order", "token", models.UUIDField(db_default=RandomUUID())),
        migrations.AddField("order", "year", models.IntegerField(
            db_default=ExtractYear(Now()))),
        migrations.AlterField("order", "currency", models.CharField(
            max_length=3, db_default="EUR")),
    """, "fixed fixed kept fixed", varies=("created", "token"), above="""
        from django.contrib.postgres.functions import RandomUUID
        from django.db.models.functions import ExtractYear, Now
        """),
    Harmful("many_helpers_in_one_script", """
        migrations.RunSQL(
            sql=[
                ("UPDATE cases_order SET note = %s WHERE note IS NULL", ["-"]),
                "ALTER TABLE cases_order ALTER COLUMN note SET NOT NULL",
                "CREATE INDEX IF NOT EXISTS order_note ON cases_order USING btree (left(note, 9))",
                "COMMENT ON COLUMN cases_order.note IS 'what the customer said; or -'",
            ],
            reverse_sql=[
                "COMMENT ON COLUMN cases_order.note IS NULL",
                "DROP INDEX order_note",
                "ALTER TABLE cases_order ALTER COLUMN note DROP NOT NULL",
            ],
            state_operations=[
                migrations.AlterField("order", "note", models.TextField(
                    db_comment="what the customer said; or -"))],
        ),
    """),
    Harmful("swapped_user_and_generic_relation", """
        migrations.AddField("order", "content_type", models.ForeignKey(
            "contenttypes.ContentType", models.CASCADE, null=True)),
        migrations.AddField("order", "object_id", models.PositiveBigIntegerField(null=True)),
        migrations.AddIndex("order", models.Index(
            fields=["content_type", "object_id"], name="order_object")),
        migrations.AddField("order", "approver", models.ForeignKey(
            settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True,
            related_name="approved_orders", limit_choices_to={"is_staff": True})),
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=models.Q(content_type=None, object_id=None)
            | models.Q(content_type__isnull=False, object_id__isnull=False),
            name="both_or_none")),
    """, "fixed fixed fixed fixed fixed", above="from django.conf import settings\n",
        more_dependencies="""
        ("contenttypes", "0002_remove_content_type_name"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    """),
    Harmful("rename_index_of_leftover_index_together", """
        migrations.RenameIndex("line", new_name="line_os_idx", old_fields=("order", "sku")),
        migrations.AddIndex("line", models.Index(fields=["sku", "order"], name="line_so_idx")),
        migrations.RenameIndex("line", new_name="line_so", old_name="line_so_idx"),
        migrations.RemoveIndex("line", "line_os_idx"),
    """, "kept fixed kept fixed", irreversible=True, prepared="""
        migrations.AlterIndexTogether("line", {("order", "sku")}),
    """),
    Harmful("field_renamed_among_other_changes_in_two_releases", """
        migrations.AddField("order", "shipped", models.DateTimeField(null=True)),
        migrations.RenameField("order", "placed", "ordered"),
        migrations.AlterField("order", "number", models.CharField(max_length=20, db_index=True)),
        migrations.AddIndex("order", models.Index(fields=["shipped"], name="order_shipped")),
    """, "kept fixed fixed fixed", arguments=_TWO),
    Harmful("quoted_names_of_63_bytes_filled_in_sql", """
        migrations.AddField("old", "ratio", models.IntegerField(
            db_column="ratio in parts of the total amount as it was before taxes came", null=True)),
        migrations.RunSQL(
            'UPDATE "Shop old $ table" SET "ratio in parts of the total amount as it was before'
            ' taxes came" = "Amount $" % 100', migrations.RunSQL.noop),
        migrations.AlterField("old", "ratio", models.PositiveIntegerField(
            db_column="ratio in parts of the total amount as it was before taxes came")),
        migrations.AddConstraint("old", models.CheckConstraint(
            condition=models.Q(ratio__lt=100), name="ratio is sane")),
        migrations.AddIndex("old", models.Index(
            fields=["ratio"], name="ratio idx")),
    """, "kept fixed fixed fixed fixed"),
    Harmful("status_enum_split_with_case_when", """
        migrations.AddField("order", "status", models.CharField(
            max_length=12, choices=[("new", "new"), ("old", "old")], default="new",
            db_index=True)),
        migrations.RunPython(code=set_status, reverse_code=migrations.RunPython.noop),
        migrations.AlterField("order", "status", models.CharField(
            max_length=12, choices=[("new", "new"), ("old", "old")], default="new")),
    """, "refused refused refused", "when the migration ends", arguments=_TWO, above='''
        from django.db.models import Case, Value, When


        def set_status(apps, _schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.update(status=Case(
                When(placed__isnull=True, then=Value("new")),
                When(placed__year__lt=2027, then=Value("old")),
                default=Value("new"),
            ))

        '''),
    Harmful("foreign_key_to_big_table_becomes_required_with_get_or_create", """
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AlterField("order", "customer", models.ForeignKey(
            to="cases.customer", on_delete=models.PROTECT, related_name="orders")),
        migrations.AlterField("order", "currency", models.CharField(
            max_length=3, default="EUR", db_index=True)),
    """, "kept fixed fixed", varies=("id", "customer_id"), above='''
        def fill(apps, schema_editor):
            Customer = apps.get_model("cases", "Customer")
            Order = apps.get_model("cases", "Order")
            orphans = Order.objects.filter(customer=None)
            if orphans:
                unknown, _ = Customer.objects.get_or_create(name="unknown", email="")
                orphans.update(customer=unknown)

        '''),
    Harmful("covering_and_conditional_indexes_replaced_under_new_names", """
        migrations.RemoveIndex(model_name="order", name="cases_order_placed"),
        migrations.AddIndex(model_name="order", index=models.Index(
            "customer", models.F("placed").desc(nulls_last=True), name="order_latest")),
        migrations.AddIndex(model_name="order", index=models.Index(
            fields=["code"], include=["number", "total"], name="order_code_cover")),
        migrations.AlterField("order", "code", models.CharField(max_length=20)),
        migrations.AddIndex(model_name="order", index=HashIndex(fields=["code"], name="order_h")),
        migrations.AddIndex(model_name="order", index=BrinIndex(fields=["id"], name="order_b")),
    """, "fixed fixed fixed fixed fixed fixed", above="""
        from django.contrib.postgres.indexes import BrinIndex, HashIndex
        """),
    Harmful("table_comment_and_defaults_and_check_of_choices", """
        migrations.AlterModelTableComment("order", "Bestellungen: \\"alle\\"; it's all"),
        migrations.AlterField("order", "currency", models.CharField(
            max_length=3, null=True, db_default="EUR", db_comment="ISO 4217; upper case")),
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=models.Q(currency__in=["EUR", "USD"]) | models.Q(currency=None),
            name="currency_known")),
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=models.Q(number__regex=r"^N[0-9]+$"), name="number_pattern")),
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=~models.Q(note__contains="100%"), name="note_sane")),
    """, "kept kept fixed fixed fixed"),
    Harmful("three_models_of_a_module_moved_apart", """
        migrations.CreateModel("Address", [
            ("id", models.BigAutoField(primary_key=True)),
            ("customer", models.OneToOneField(
                "cases.customer", models.CASCADE, related_name="address")),
            ("city", models.CharField(max_length=50, db_index=True)),
        ], options={"constraints": [models.UniqueConstraint(
            Lower("city"), "customer", name="address_city")]}),
        migrations.RunPython(make, drop),
        migrations.AddField("order", "ship_to", models.ForeignKey(
            "cases.address", models.PROTECT, null=True)),
        migrations.RunPython(link, migrations.RunPython.noop),
        migrations.AlterField("order", "ship_to", models.ForeignKey(
            "cases.address", models.PROTECT)),
    """, "fixed kept fixed fixed fixed", irreversible=True, above='''
        from django.db.models import OuterRef, Subquery
        from django.db.models.functions import Lower


        def make(apps, schema_editor):
            Customer, Address = (apps.get_model("cases", n) for n in ("Customer", "Address"))
            customers = Customer.objects.order_by("pk")
            Address.objects.bulk_create(
                [Address(customer=each, city=each.name) for each in customers])


        def drop(apps, schema_editor):
            apps.get_model("cases", "Address").objects.all().delete()


        def link(apps, schema_editor):
            Order, Address = (apps.get_model("cases", n) for n in ("Order", "Address"))
            Order.objects.update(ship_to=Subquery(
                Address.objects.filter(customer_id=OuterRef("customer_ref")).values("pk")[:1]))

        '''),
    Harmful("composite_primary_key_table_gets_references", """
        migrations.CreateModel("Stock", [
            ("pk", models.CompositePrimaryKey("order_id", "sku")),
            ("order", models.ForeignKey("cases.order", models.CASCADE)),
            ("sku", models.CharField(max_length=20)),
            ("amount", models.IntegerField(default=0)),
        ]),
        migrations.RunPython(count, migrations.RunPython.noop),
        migrations.AddIndex("stock", models.Index(fields=["sku"], name="stock_sku")),
        migrations.AddIndex("line", models.Index(fields=["sku"], name="line_sku")),
    """, "fixed kept kept fixed", above='''
        def count(apps, schema_editor):
            Stock, Line = (apps.get_model("cases", n) for n in ("Stock", "Line"))
            seen = {(each.order_id, each.sku): each for each in Line.objects.all()}
            Stock.objects.bulk_create(
                Stock(order_id=key[0], sku=key[1], amount=each.quantity)
                for key, each in sorted(seen.items()))

        '''),
    Harmful("data_in_a_do_block_beside_an_index", """
        migrations.RunSQL('''
            DO $$
            DECLARE r record;
            BEGIN
              FOR r IN SELECT id FROM cases_order WHERE note IS NULL LOOP
                UPDATE cases_order SET note = 'none; -- yet' WHERE id = r.id;
              END LOOP;
            END $$;
        ''', migrations.RunSQL.noop),
        migrations.AddIndex("order", models.Index(fields=["number"], name="order_n")),
        migrations.AlterField("order", "note", models.TextField()),
    """, "refused fixed fixed", "it runs DO"),
    Harmful("materialized_view_and_its_index", """
        migrations.RunSQL(
            "CREATE MATERIALIZED VIEW cases_totals AS"
            " SELECT customer_ref, sum(total) AS total FROM cases_order GROUP BY 1;"
            "CREATE UNIQUE INDEX cases_totals_ref ON cases_totals (customer_ref);",
            "DROP MATERIALIZED VIEW cases_totals;"),
        migrations.AddIndex("order", models.Index(fields=["customer_ref"], name="order_ref")),
    """, "kept fixed"),
    Harmful("many_to_many_through_gets_unique_and_extra", """
        migrations.CreateModel("Watch", [
            ("id", models.BigAutoField(primary_key=True)),
            ("order", models.ForeignKey("cases.order", models.CASCADE, related_name="+")),
            ("customer", models.ForeignKey("cases.customer", models.CASCADE, related_name="+")),
            ("since", models.DateField(auto_now_add=True)),
        ]),
        migrations.AddField("order", "watchers", models.ManyToManyField(
            "cases.customer", through="cases.Watch", related_name="watched")),
        migrations.AddConstraint("watch", models.UniqueConstraint(
            fields=["order", "customer"], name="watch_once")),
        migrations.AlterField("order", "customer_ref", models.PositiveIntegerField()),
    """, "kept kept kept fixed"),
    Harmful("field_removed_and_added_as_another_type_in_two_releases", """
        migrations.RemoveField("order", "note"),
        migrations.AddField("order", "note", models.JSONField(null=True)),
        migrations.AddIndex("order", models.Index(fields=["total"], name="order_total")),
    """, "kept kept fixed", arguments=_TWO),
]  # fmt: skip
