"""Migrations as strangers write them: several habits of real teams in one file."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

_TWO = ("--releases", "2")

_REFERENCED = """
    migrations.CreateModel("Small", [
        ("id", models.AutoField(primary_key=True)),
        ("parent", models.ForeignKey("self", models.SET_NULL, null=True)),
        ("friends", models.ManyToManyField("cases.customer")),
    ], options={"db_table": "Shop small things", "indexes": [
        models.Index(fields=["parent", "-id"], name="small_parent_id")]}),
    migrations.CreateModel("Part", [
        KEY,
        ("small", models.ForeignKey("cases.small", models.CASCADE)),
        ("again", models.OneToOneField("cases.small", models.CASCADE, db_column="the Again",
            related_name="+")),
        ("loose", models.ForeignKey("cases.small", models.DO_NOTHING, null=True,
            db_constraint=False, related_name="+")),
    ]),
    migrations.RunSQL([
        'INSERT INTO "Shop small things" (parent_id)'
        ' SELECT nullif(i, 1) / 2 FROM generate_series(1, 12000) i',
        'INSERT INTO "Shop small things_friends" (small_id, customer_id)'
        ' SELECT i, 1 + i % 400 FROM generate_series(1, 12000) i',
        'INSERT INTO cases_part (small_id, "the Again", loose_id)'
        ' SELECT 1 + i % 300, i, i + 5 FROM generate_series(1, 12000) i',
    ], migrations.RunSQL.noop),
    """

CASES = [
    Harmful("unique_together_dropped", """
        migrations.AlterUniqueTogether("line", set()),
    """, "refused", "With --releases 2", prepared="""
        migrations.AlterUniqueTogether("line", {("id", "sku"), ("order", "sku")}),
    """),
    Harmful("unique_together_dropped_in_two_releases", """
        migrations.AlterUniqueTogether("line", set()),
        migrations.RemoveConstraint("order", "u_np"),
        migrations.AlterField("order", "slug", models.CharField(max_length=20)),
    """, "fixed fixed fixed", arguments=_TWO, prepared="""
        migrations.AlterUniqueTogether("line", {("id", "sku"), ("order", "sku")}),
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["number", "total"], name="u_np")),
    """),
    Harmful("unique_together_added_in_two_releases", """
        migrations.AlterUniqueTogether("line", {("id", "sku")}),
        migrations.RemoveConstraint("order", "u_np"),
    """, "fixed fixed", arguments=_TWO, prepared="""
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["number", "total"], name="u_np")),
    """),
    Harmful("conditional_unique_constraint_dropped", """
        migrations.RemoveConstraint("order", "u_np"),
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["number"], name="u_number", condition=models.Q(total__gt=6))),
    """, "fixed fixed", prepared="""
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["number", "placed"], name="u_np", condition=models.Q(total__gt=5))),
    """),
    Harmful("unique_together_becomes_a_constraint", """
        migrations.AlterUniqueTogether(name="line", unique_together=set()),
        migrations.AddConstraint(
            model_name="line",
            constraint=models.UniqueConstraint(
                fields=("order", "sku"), name="line_order_sku_uniq",
                violation_error_message="Once an order", violation_error_code="twice"),
        ),
    """, "kept fixed", prepared="""
        migrations.AlterUniqueTogether("line", {("order", "sku")}),
    """),
    Harmful("index_together_becomes_an_index", """
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["-placed", "currency"], name="order_placed_cur_4f1c2d_idx"),
        ),
        migrations.AlterIndexTogether(name="order", index_together=set()),
    """, "fixed fixed", prepared="""
        migrations.AlterIndexTogether("order", {("placed", "currency")}),
    """),
    Harmful("uuid_row_by_row", """
        migrations.AddField(
            model_name="customer",
            name="uuid",
            field=models.UUIDField(default=uuid.uuid4, editable=False, null=True),
        ),
        migrations.RunPython(gen_uuid, reverse_code=migrations.RunPython.noop),
        migrations.AlterField(
            model_name="customer",
            name="uuid",
            field=models.UUIDField(default=uuid.uuid4, editable=False, unique=True),
        ),
        migrations.AddIndex("order", models.Index(fields=["customer_ref"], name="i_cr")),
    """, "kept fixed fixed fixed", varies=("uuid",), above='''
        import uuid


        def gen_uuid(apps, schema_editor):
            MyModel = apps.get_model("cases", "Customer")
            for row in MyModel.objects.all():
                row.uuid = uuid.uuid4()
                row.save(update_fields=["uuid"])

        '''),
    Harmful("bulk_update_in_chunks", """
        migrations.AddField("order", "gross", models.DecimalField(
            max_digits=12, decimal_places=2, null=True)),
        migrations.RunPython(forwards, backwards),
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=models.Q(gross__isnull=True) | models.Q(gross__gte=models.F("total")),
            name="gross_ge_total")),
    """, "kept fixed fixed", above='''
        from decimal import Decimal

        BATCH_SIZE = 1000
        VAT = Decimal("1.19")


        def _chunks(queryset, size):
            chunk = []
            for each in queryset.iterator(chunk_size=size):
                chunk.append(each)
                if len(chunk) >= size:
                    yield chunk
                    chunk = []
            if chunk:
                yield chunk


        def forwards(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            alias = schema_editor.connection.alias
            for chunk in _chunks(Order.objects.using(alias).order_by("pk"), BATCH_SIZE):
                for order in chunk:
                    order.gross = (order.total * VAT).quantize(Decimal("0.01"))
                Order.objects.using(alias).bulk_update(chunk, ["gross"])


        def backwards(apps, schema_editor):
            apps.get_model("cases", "Order").objects.update(gross=None)

        '''),
    Harmful("update_of_f_with_a_way_back", """
        migrations.AddField("line", "amount", models.IntegerField(default=0, db_default=0)),
        migrations.RunPython(copy, back, elidable=True),
        migrations.AlterField("line", "sku", models.CharField(max_length=20, db_index=True)),
    """, "kept fixed fixed", above='''
        from django.db.models import F


        def copy(apps, schema_editor):
            apps.get_model("cases", "Line").objects.update(amount=F("quantity"))


        def back(apps, schema_editor):
            apps.get_model("cases", "Line").objects.update(quantity=F("amount"))

        '''),
    Harmful("loops_of_two_models_before_not_null", """
        migrations.AddField("line", "currency", models.CharField(max_length=3, null=True)),
        migrations.AddField("line", "owner", models.ForeignKey(
            "cases.customer", models.DO_NOTHING, null=True, related_name="+",
            db_constraint=False)),
        migrations.RunPython(fill_all, migrations.RunPython.noop),
        migrations.AlterField("line", "currency", models.CharField(max_length=3, default="EUR")),
        migrations.AlterField("line", "owner", models.ForeignKey(
            "cases.customer", models.DO_NOTHING, null=True, related_name="lines",
            db_constraint=False)),
    """, "kept fixed fixed fixed kept", above='''
        from functools import partial


        def setter(field):
            def set_all(model, value):
                model.objects.filter(**{f"{field}__isnull": True}).update(**{field: value})
            return set_all


        set_currency = setter("currency")


        def fill_all(apps, schema_editor):
            Line, Order = (apps.get_model("cases", name) for name in ("Line", "Order"))
            for customer_id in Order.objects.filter(
                customer_id__lt=20
            ).values_list("customer_id", flat=True).distinct():
                Line.objects.filter(order__customer_id=customer_id).update(
                    owner_id=customer_id, currency="CHF")
            partial(set_currency, Line)("EUR")

        '''),
    Harmful("function_and_trigger_in_sql", """
        migrations.RunSQL(
            sql=r'''
            -- keeps "note" lower; it's case-insensitive
            CREATE OR REPLACE FUNCTION cases_lower_note() RETURNS trigger AS $body$
            BEGIN
                NEW.note := lower(NEW.note); /* ; not the end */
                RETURN NEW;
            END;
            $body$ LANGUAGE plpgsql;
            CREATE TRIGGER cases_note_lower BEFORE INSERT OR UPDATE ON cases_order
                FOR EACH ROW EXECUTE PROCEDURE cases_lower_note();
            UPDATE cases_order SET note = lower(note) WHERE note <> lower(note) OR note = 'it''s';
            CREATE INDEX cases_order_note_lower ON cases_order (lower(note)) WHERE note IS NOT NULL;
            ''',
            reverse_sql='''
            DROP INDEX cases_order_note_lower;
            DROP TRIGGER cases_note_lower ON cases_order;
            DROP FUNCTION cases_lower_note();
            ''',
        ),
    """),
    Harmful("transaction_in_sql", """
        migrations.RunSQL(
            ["BEGIN", "CREATE INDEX i_t ON cases_order (total)", "COMMIT"], "DROP INDEX i_t"),
    """, "refused", "BEGIN"),
    Harmful("volatile_default_in_sql", """
        migrations.RunSQL(
            "ALTER TABLE cases_order ADD COLUMN token uuid NOT NULL DEFAULT gen_random_uuid()",
            "ALTER TABLE cases_order DROP COLUMN token",
            state_operations=[migrations.AddField("order", "token", models.UUIDField(
                db_default=RandomUUID()))],
        ),
        migrations.RunSQL(
            "CREATE UNIQUE INDEX order_token ON cases_order (token)", "DROP INDEX order_token"),
    """, "fixed fixed", varies=("token",),
        above="from django.contrib.postgres.functions import RandomUUID\n"),
    Harmful("type_with_using_in_sql", """
        migrations.RunSQL(
            "ALTER TABLE cases_order ALTER COLUMN total TYPE numeric(14, 2) USING total / 100.0",
            "ALTER TABLE cases_order ALTER COLUMN total TYPE integer USING total * 100"),
    """, "refused", "type of total"),
    Harmful("not_atomic_with_batches_of_their_own", """
        migrations.AddField("order", "year", models.IntegerField(null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex("order", models.Index(fields=["year"], name="i_year")),
        migrations.RunSQL("CREATE INDEX CONCURRENTLY i_ref ON cases_order (customer_ref)",
                          "DROP INDEX CONCURRENTLY i_ref"),
    """, "kept kept fixed kept", settings="atomic = False\n", above='''
        from django.db import transaction


        def fill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            last = 0
            while True:
                with transaction.atomic():
                    keys = list(Order.objects.filter(pk__gt=last).order_by("pk")
                                .values_list("pk", flat=True)[:700])
                    if not keys:
                        break
                    Order.objects.filter(pk__in=keys).update(year=2026)
                    last = keys[-1]

        '''),
    Harmful("separate_with_several", """
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.AddField("order", "region", models.CharField(max_length=9, null=True)),
                migrations.RunSQL(
                    "UPDATE cases_order SET region = 'eu'", migrations.RunSQL.noop),
                migrations.AddConstraint("order", models.CheckConstraint(
                    condition=models.Q(total__gt=0), name="order_total_gt_0")),
            ],
            state_operations=[
                migrations.AddField("order", "region", models.CharField(max_length=9, null=True)),
                migrations.AddConstraint("order", models.CheckConstraint(
                    condition=models.Q(total__gt=0), name="order_total_gt_0")),
            ],
        ),
    """),
    Harmful("many_to_many_gets_a_through", """
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel("LineFriend", [
                    ("id", models.BigAutoField(primary_key=True)),
                    ("line", models.ForeignKey("cases.line", models.CASCADE)),
                    ("customer", models.ForeignKey("cases.customer", models.CASCADE)),
                ], options={"db_table": "cases_line_friends"}),
                migrations.AlterField("line", "friends", models.ManyToManyField(
                    "cases.customer", through="cases.LineFriend")),
            ],
        ),
        migrations.AddField("linefriend", "since", models.DateField(null=True, db_index=True)),
        migrations.AddField("linefriend", "weight", models.PositiveSmallIntegerField(
            db_default=1, default=1)),
    """, "kept fixed fixed", prepared="""
        migrations.AddField("line", "friends", models.ManyToManyField("cases.customer")),
        migrations.RunSQL(
            "INSERT INTO cases_line_friends (line_id, customer_id)"
            " SELECT i, 1 + i % 400 FROM generate_series(1, 12000) i"),
    """),
    Harmful("one_to_one_that_is_a_primary_key", """
        migrations.CreateModel("Invoice", [
            ("order", models.OneToOneField("cases.order", models.CASCADE, primary_key=True,
                serialize=False, related_name="invoice")),
            ("paid", models.BooleanField(default=False)),
        ]),
        migrations.RunSQL(
            "INSERT INTO cases_invoice (order_id, paid) SELECT id, total > 5 FROM cases_order",
            migrations.RunSQL.noop),
        migrations.AddIndex("order", models.Index(fields=["currency", "total"], name="i_ct")),
    """, "fixed kept fixed"),
    Harmful("constraints_of_all_kinds", """
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["number"], name="u_imm", deferrable=models.Deferrable.IMMEDIATE)),
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["slug", "note"], include=["total", "code"], nulls_distinct=False,
            name="u_all")),
        migrations.AddConstraint("order", models.UniqueConstraint(
            "customer_ref", Lower("slug").desc(), condition=models.Q(currency="EUR"),
            name="u_expr")),
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=models.Q(data__has_key="a") & ~models.Q(number__contains="%"),
            name="c_json")),
        migrations.AddConstraint("line", models.CheckConstraint(
            condition=models.Q(quantity__in=range(0, 9)), name="c_in")),
    """, "fixed fixed fixed fixed fixed", above="""
        from django.db.models.functions import Lower
        """),
    Harmful("indexes_of_expressions", """
        migrations.AddIndex("order", models.Index(
            KeyTextTransform("a", "data"), name="i_key")),
        migrations.AddIndex("order", models.Index(
            Coalesce("currency", models.Value("it's %")), models.F("placed").desc(nulls_last=True),
            name="i_coalesce")),
        migrations.AddIndex("order", models.Index(
            models.Case(models.When(total__gt=5, then="total"), default=0), name="i_case",
            condition=models.Q(note__startswith="it's 100%"))),
        migrations.AddIndex("customer", models.Index(
            OpClass(Upper("email"), "varchar_pattern_ops"), name="i_upper_email")),
    """, "fixed fixed fixed fixed", above="""
        from django.contrib.postgres.indexes import OpClass
        from django.db.models.fields.json import KeyTextTransform
        from django.db.models.functions import Coalesce, Upper
        """),
    Harmful("foreign_key_required_and_without_index", """
        migrations.AlterField("order", "customer", models.ForeignKey(
            "cases.customer", models.PROTECT, db_index=False, default=1, related_name="bought")),
    """),
    Harmful("foreign_key_becomes_one_to_one_and_required", """
        migrations.AlterField("line", "order", models.OneToOneField(
            "cases.order", models.PROTECT, null=True, related_name="first_line")),
    """),
    Harmful("foreign_key_to_another_model", """
        migrations.AlterField("order", "customer", models.ForeignKey(
            "cases.line", models.SET_NULL, null=True)),
    """),
    Harmful("text_that_is_no_longer_null_and_indexed_and_unlimited", """
        migrations.AlterField("order", "currency", models.TextField(
            default="", db_index=True, db_comment="ISO 4217; it's three letters")),
    """),
    Harmful("added_at_with_one_off_default", """
        migrations.AddField("order", "created", models.DateTimeField(
            auto_now_add=True, default=django.utils.timezone.now), preserve_default=False),
        migrations.AddField("order", "modified", models.DateTimeField(auto_now=True, null=True)),
    """, "fixed kept", arguments=_TWO, varies=("created", "modified"),
        above="import django.utils.timezone\n"),
    Harmful("search_vector", """
        migrations.AddField("order", "search", SearchVectorField(null=True)),
        migrations.RunPython(vectors, migrations.RunPython.noop),
        migrations.AddIndex("order", GinIndex(fields=["search"], name="i_search")),
        migrations.AddIndex("order", GinIndex(
            SearchVector("note", "number", config="english"), name="i_vector")),
    """, "kept fixed fixed fixed", above='''
        from django.contrib.postgres.indexes import GinIndex
        from django.contrib.postgres.search import SearchVector, SearchVectorField


        def vectors(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.update(search=SearchVector("note", "number", config="english"))

        '''),
    Harmful("bigger_decimal_and_index", """
        migrations.AddField("line", "price", models.DecimalField(
            max_digits=9, decimal_places=2, null=True)),
        migrations.AlterField("line", "price", models.DecimalField(
            max_digits=12, decimal_places=2, null=True, db_index=True)),
    """, "kept fixed"),
    Harmful("custom_fields", """
        migrations.AddField("order", "mail", tests.fix.corpus.custom_fields.LowerField(
            max_length=50, null=True, unique=True)),
        migrations.AlterField("order", "number", tests.fix.corpus.custom_fields.LowerField(
            max_length=20, db_index=True)),
        migrations.AddField("line", "weight", tests.fix.corpus.custom_fields.GramsField(
            null=True)),
    """, "fixed fixed fixed", above="import tests.fix.corpus.custom_fields\n"),
    Harmful("many_to_many_removed_in_two_releases", """
        migrations.RemoveField("line", "friends"),
        migrations.AddIndex("line", models.Index(fields=["quantity"], name="i_q")),
    """, "fixed fixed", arguments=_TWO, irreversible=True, prepared="""
        migrations.AddField("line", "friends", models.ManyToManyField("cases.customer")),
    """),
    Harmful("model_and_field_to_it_removed_in_two_releases", """
        migrations.RemoveField("line", "box"),
        migrations.DeleteModel("Box"),
        migrations.AlterField("line", "quantity", models.PositiveIntegerField(default=1)),
    """, "fixed fixed fixed", arguments=_TWO, prepared="""
        migrations.CreateModel("Box", [KEY, ("size", models.IntegerField())]),
        migrations.AddField("line", "box", models.ForeignKey(
            "cases.box", models.SET_NULL, null=True)),
    """),
    Harmful("referenced_key_to_big_integer_in_two_releases", """
        migrations.AlterField("small", "id", models.BigAutoField(primary_key=True)),
        migrations.AddIndex("line", models.Index(fields=["sku"], name="i_sku")),
    """, "fixed fixed", arguments=_TWO, irreversible=True, prepared=_REFERENCED),
    Harmful("type_null_and_unique_at_once_in_two_releases", """
        migrations.AlterField("order", "total", models.DecimalField(
            max_digits=12, decimal_places=2, null=True, blank=True, unique=True)),
        migrations.AlterField("order", "number", models.CharField(
            max_length=10, null=True, default="x")),
        migrations.AlterField("line", "quantity", models.BigIntegerField(
            db_default=1, db_comment="pieces")),
    """, "fixed fixed fixed", arguments=_TWO),
    Harmful("integer_column_becomes_foreign_key_by_state", """
        migrations.SeparateDatabaseAndState(
            [migrations.RunSQL(
                "ALTER TABLE cases_order ADD CONSTRAINT ref_fk FOREIGN KEY (customer_ref)"
                " REFERENCES cases_customer (id) DEFERRABLE INITIALLY DEFERRED;"
                " CREATE INDEX ref_i ON cases_order (customer_ref)",
                "ALTER TABLE cases_order DROP CONSTRAINT ref_fk; DROP INDEX ref_i")],
            [migrations.RemoveField("order", "customer_ref"),
             migrations.AddField("order", "ref", models.ForeignKey(
                "cases.customer", models.CASCADE, db_column="customer_ref", related_name="+",
                default=1))],
        ),
    """, "fixed"),
]  # fmt: skip
