"""Migrations as the teams of other projects write them: idioms of data, constraints and files."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

_TWO = ("--releases", "2")
_FANS = """
        migrations.AddField("order", "fans", models.ManyToManyField(
            "cases.Customer", related_name="liked")),
        migrations.RunSQL("INSERT INTO cases_order_fans (order_id, customer_id) "
                          "SELECT i, 1 + i % 500 FROM generate_series(1, 3000) i"),
    """
_ONE_FAN = """
        migrations.RemoveField("order", "fans"),
        migrations.AddField("order", "fans", models.ForeignKey(
            "cases.Customer", models.CASCADE, null=True, related_name="fan_of")),
    """

CASES = [
    Harmful("update_by_a_subquery", """
        migrations.AddField("order", "customer_name", models.CharField(max_length=9, null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex("order", models.Index(fields=["customer_name"], name="i_cn")),
    """, "kept fixed fixed", above='''
        from django.db.models import OuterRef, Subquery


        def fill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Customer = apps.get_model("cases", "Customer")
            names = Customer.objects.filter(pk=OuterRef("customer_id")).values("name")[:1]
            Order.objects.update(customer_name=Subquery(names))

        '''),
    Harmful("update_of_what_an_annotation_selects", """
        migrations.AddField("order", "has_lines", models.BooleanField(default=False)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex("order", models.Index(
            fields=["placed"], condition=models.Q(has_lines=True), name="i_has")),
    """, "fixed fixed fixed", arguments=_TWO, above='''
        from django.db.models import Exists, OuterRef


        def fill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Line = apps.get_model("cases", "Line")
            lines = Line.objects.filter(order=OuterRef("pk"))
            Order.objects.annotate(has=Exists(lines)).filter(has=True).update(has_lines=True)

        '''),
    Harmful("duplicates_by_the_smallest_key_of_each_group", """
        migrations.RunPython(remove_duplicates, migrations.RunPython.noop),
        migrations.AddConstraint("line", models.UniqueConstraint(
            fields=["order", "quantity"], name="one_line_each")),
    """, "kept fixed", above='''
        from django.db.models import Min


        def remove_duplicates(apps, schema_editor):
            Line = apps.get_model("cases", "Line")
            keep = (
                Line.objects.values("order_id", "quantity")
                .annotate(min_id=Min("id"))
                .values_list("min_id", flat=True)
            )
            Line.objects.exclude(id__in=keep).delete()

        '''),
    Harmful("content_type_filled_for_a_generic_relation", """
        migrations.AddField("line", "content_type", models.ForeignKey(
            "contenttypes.ContentType", models.CASCADE, null=True)),
        migrations.AddField("line", "object_id", models.PositiveIntegerField(null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex("line", models.Index(
            fields=["content_type", "object_id"], name="i_generic")),
    """, "fixed fixed fixed fixed", varies=("content_type_id",),
    more_dependencies='("contenttypes", "0002_remove_content_type_name")', above='''
        from django.db.models import F


        def fill(apps, schema_editor):
            ContentType = apps.get_model("contenttypes", "ContentType")
            Line = apps.get_model("cases", "Line")
            content_type, _ = ContentType.objects.get_or_create(app_label="cases", model="order")
            Line.objects.filter(content_type=None).update(
                content_type=content_type, object_id=F("order_id"))

        '''),
    Harmful("money_split_by_an_expression_wrapper", """
        migrations.AddField("order", "amount", models.DecimalField(
            max_digits=12, decimal_places=2, null=True)),
        migrations.RunPython(to_decimal, to_cents),
        migrations.AlterField("order", "amount", models.DecimalField(
            max_digits=12, decimal_places=2)),
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=models.Q(amount__gte=0), name="amount_not_negative")),
    """, "kept fixed fixed fixed", arguments=_TWO, above='''
        from decimal import Decimal

        from django.db.models import DecimalField, ExpressionWrapper, F


        def to_decimal(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.update(amount=ExpressionWrapper(
                F("total") / Decimal(100),
                output_field=DecimalField(max_digits=12, decimal_places=2)))


        def to_cents(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.update(total=F("amount") * 100)

        '''),
    Harmful("foreign_key_from_distinct_texts", """
        migrations.CreateModel("Currency", [
            ("id", models.BigAutoField(primary_key=True)),
            ("code", models.CharField(max_length=3, unique=True)),
        ]),
        migrations.AddField("order", "money", models.ForeignKey(
            "cases.Currency", models.PROTECT, null=True)),
        migrations.RunPython(link, migrations.RunPython.noop),
        migrations.AddIndex("order", models.Index(fields=["number"], name="i_number")),
    """, "kept fixed fixed fixed", above='''
        def link(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Currency = apps.get_model("cases", "Currency")
            codes = Order.objects.exclude(currency=None).values_list("currency", flat=True)
            for code in codes.order_by("currency").distinct():
                currency, _ = Currency.objects.get_or_create(code=code)
                Order.objects.filter(currency=code).update(money=currency)

        '''),
    Harmful("sql_list_with_parameters_and_without", """
        migrations.RunSQL(
            sql=[
                ("UPDATE cases_order SET note = %s WHERE currency = %s", ["euro", "EUR"]),
                "CREATE INDEX i_note ON cases_order (note)",
                ("UPDATE cases_order SET note = 'x%%' WHERE note = %s", ["it's"]),
            ],
            reverse_sql=[("UPDATE cases_order SET note = NULL WHERE note = %s", ["euro"]),
                         "DROP INDEX i_note"],
            elidable=True,
        ),
    """),
    Harmful("not_atomic_with_concurrent_index_and_unique_field", """
        AddIndexConcurrently("order", models.Index(fields=["-placed"], name="i_placed_desc")),
        migrations.AlterField("customer", "email", models.CharField(max_length=50, unique=True)),
        migrations.AlterField("order", "number", models.CharField(max_length=20, unique=True)),
    """, "kept fixed fixed", settings="atomic = False\n", above="""
        from django.contrib.postgres.operations import AddIndexConcurrently
        """),
    Harmful("search_vector_with_trigger", """
        migrations.AddField("order", "search", SearchVectorField(null=True)),
        migrations.RunPython(index_entries, migrations.RunPython.noop),
        migrations.RunSQL(
            \"\"\"
            CREATE TRIGGER update_search BEFORE INSERT OR UPDATE OF number, note
            ON cases_order FOR EACH ROW EXECUTE PROCEDURE
            tsvector_update_trigger(search, 'pg_catalog.english', number, note);
            \"\"\",
            "DROP TRIGGER update_search ON cases_order",
        ),
        migrations.AddIndex("order", GinIndex(fields=["search"], name="i_search")),
    """, "kept fixed kept fixed", above='''
        from django.contrib.postgres.indexes import GinIndex
        from django.contrib.postgres.search import SearchVector, SearchVectorField


        def index_entries(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.update(search=SearchVector("number", "note"))

        '''),
    Harmful("flags_become_a_state_in_two_releases", """
        migrations.AddField("order", "state", models.CharField(
            max_length=9, choices=[("new", "New"), ("paid", "Paid")], default="new")),
        migrations.RunPython(to_state, to_flags),
        migrations.RemoveField("order", "currency"),
        migrations.AddIndex("order", models.Index(fields=["state", "-placed"], name="i_state")),
    """, "fixed fixed fixed fixed", arguments=_TWO, above='''
        from django.db.models import Case, Q, Value, When


        def to_state(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.update(state=Case(
                When(Q(currency="EUR") & Q(placed__isnull=False), then=Value("paid")),
                default=Value("new")))


        def to_flags(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.filter(state="paid").update(currency="EUR")

        '''),
    Harmful("many_to_many_replaced_by_a_foreign_key_of_its_name", _ONE_FAN,
        "refused fixed", "--releases 2", prepared=_FANS, irreversible=True),
    Harmful("many_to_many_replaced_by_a_foreign_key_of_its_name_in_two_releases", _ONE_FAN,
        "fixed fixed", arguments=_TWO, prepared=_FANS, irreversible=True),
    Harmful("many_to_many_replaced_by_a_required_key_of_its_name_in_two_releases", """
        migrations.RemoveField("order", "fans"),
        migrations.AddField("order", "fans", models.ForeignKey(
            "cases.Customer", models.CASCADE, default=1, related_name="fan_of"),
            preserve_default=False),
    """, "refused fixed", "constraint cases_order_fans_id_not_null of cases_order",
    arguments=_TWO, prepared=_FANS, irreversible=True),
    Harmful("foreign_key_required_with_other_on_delete", """
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AlterField("order", "customer", models.ForeignKey(
            "cases.Customer", models.PROTECT, related_name="orders", db_index=False)),
    """, "kept fixed", arguments=_TWO, varies=("id", "customer_id"), above='''
        def fill(apps, schema_editor):
            Customer = apps.get_model("cases", "Customer")
            Order = apps.get_model("cases", "Order")
            unknown = Customer.objects.create(name="unknown", email="")
            Order.objects.filter(customer__isnull=True).update(customer=unknown)

        '''),
    Harmful("json_taken_apart_by_transforms", """
        migrations.AddField("order", "a", models.IntegerField(null=True)),
        migrations.RunPython(take_apart, migrations.RunPython.noop),
        migrations.AddIndex("order", models.Index(fields=["a"], name="i_a")),
    """, "kept fixed fixed", above='''
        from django.db.models import IntegerField
        from django.db.models.fields.json import KeyTextTransform
        from django.db.models.functions import Cast


        def take_apart(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.filter(data__has_key="a").update(
                a=Cast(KeyTextTransform("a", "data"), IntegerField()))

        '''),
    Harmful("json_keys_removed_and_set_in_sql", """
        migrations.RunSQL(
            "UPDATE cases_order SET data = jsonb_set(data - 'a', '{b}', '[1]') WHERE data ? 'a'",
            migrations.RunSQL.noop),
        migrations.AddIndex("order", models.Index(fields=["note"], name="i_note")),
    """, "fixed fixed"),
    Harmful("pattern_index_in_the_options_instead_of_db_index", """
        migrations.AlterField("order", "code", models.CharField(max_length=20)),
        migrations.AddIndex("order", models.Index(
            fields=["code"], name="i_code_like", opclasses=["varchar_pattern_ops"])),
        migrations.AddIndex("order", models.Index(fields=["code"], name="i_code")),
    """, "fixed fixed fixed"),
    Harmful("stored_generated_column_and_its_index", """
        migrations.AddField("order", "gross", models.GeneratedField(
            expression=models.F("total") * 2, output_field=models.IntegerField(), db_persist=True)),
        migrations.AddIndex("order", models.Index(fields=["gross"], name="i_gross")),
    """, "refused fixed", "generated"),
    Harmful("nulls_set_and_default_given", """
        migrations.RunPython(forwards, lambda apps, schema_editor: None),
        migrations.AlterField("order", "currency", models.CharField(
            max_length=3, default="EUR", choices=[("EUR", "Euro"), ("USD", "Dollar")])),
    """, "kept fixed", arguments=_TWO, above='''
        def forwards(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            db_alias = schema_editor.connection.alias
            Order.objects.using(db_alias).filter(currency__isnull=True).update(currency="EUR")

        '''),
    Harmful("cursor_of_the_connection_with_parameters", """
        migrations.RunPython(forwards, migrations.RunPython.noop),
        migrations.AddIndex("order", models.Index(fields=["note"], name="i_note")),
    """, "kept fixed", above='''
        from django.db import connection


        def forwards(apps, schema_editor):
            with connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE cases_order o SET note = c.name FROM cases_customer c"
                    " WHERE c.id = o.customer_id AND o.currency = %s", ["EUR"])

        '''),
    Harmful("operations_that_depend_on_the_settings", """
        migrations.AddIndex("order", models.Index(fields=["number"], name="i_number")),
        *([migrations.AddIndex("order", models.Index(fields=["note"], name="i_note"))]
          if settings.USE_TZ else []),
    """, "fixed fixed", above="""
        from django.conf import settings
        """),
    Harmful("rows_locked_before_they_are_saved", """
        migrations.RunPython(clean, migrations.RunPython.noop),
        migrations.AddIndex("order", models.Index(fields=["note"], name="i_note")),
    """, "fixed fixed", above='''
        from django.db import transaction


        def clean(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            changed = 0
            with transaction.atomic(using=schema_editor.connection.alias):
                for order in Order.objects.select_for_update().filter(total__lte=1500):
                    order.note = order.number.lower()
                    order.save(update_fields=["note"])
                    changed += 1
            print(f"{changed} orders")

        '''),
    Harmful("unique_index_in_sql_with_state", """
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(
                "CREATE UNIQUE INDEX u_number ON cases_order (number)",
                "DROP INDEX u_number")],
            state_operations=[migrations.AddConstraint("order", models.UniqueConstraint(
                models.F("number"), name="u_number"))],
        ),
    """, "fixed"),
    Harmful("text_moved_to_an_array_in_one_update", """
        migrations.AddField("order", "labels", ArrayField(
            models.CharField(max_length=20), default=list, blank=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex("order", GinIndex(fields=["labels"], name="i_labels")),
    """, "fixed fixed fixed", arguments=_TWO, above='''
        from django.contrib.postgres.fields import ArrayField
        from django.contrib.postgres.indexes import GinIndex
        from django.db.models import F, Func


        def fill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.exclude(note=None).update(
                labels=Func(F("number"), F("code"), template="ARRAY[%(expressions)s]"))

        '''),
    Harmful("unique_together_with_a_condition_instead", """
        migrations.AlterUniqueTogether("order", unique_together={("customer", "number")}),
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["customer", "slug"], condition=models.Q(currency="EUR"), name="one_euro")),
        migrations.AlterIndexTogether("line", set()),
    """, "fixed fixed kept"),
    Harmful("all_models_of_the_app_that_have_a_field", """
        migrations.RunPython(update_fields, migrations.RunPython.noop),
        migrations.AddIndex("order", models.Index(fields=["note"], name="i_note")),
    """, "kept fixed", above='''
        def update_fields(apps, schema_editor):
            for model in apps.get_app_config("cases").get_models():
                if any(field.name == "note" for field in model._meta.get_fields()):
                    model.objects.filter(note__isnull=True).update(note="")

        '''),
]  # fmt: skip
