"""Migrations as people new to the project write them: of more kinds."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

_TWO = ("--releases", "2")
_ARRAY = "from django.contrib.postgres.fields import ArrayField\n"

CASES = [
    Harmful("field_added_and_another_removed_in_two_releases", """
        migrations.AddField("order", "state", models.CharField(max_length=9, default="new")),
        migrations.RemoveField("order", "code"),
    """, "fixed fixed", arguments=_TWO, irreversible=True),
    Harmful("column_replaced_by_another_in_two_releases", """
        migrations.AddField("order", "amount", models.BigIntegerField(default=0)),
        migrations.RunPython(copy, migrations.RunPython.noop),
        migrations.RemoveField("order", "total"),
        migrations.RenameField("order", "amount", "total"),
    """, "kept refused kept kept", "between its files", arguments=_TWO, irreversible=True, above='''
        def copy(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            for order in Order.objects.iterator():
                order.amount = order.total
                order.save()

        '''),
    Harmful("name_split_in_two_releases", """
        migrations.AddField("customer", "first", models.CharField(max_length=9, default="")),
        migrations.AddField("customer", "last", models.CharField(max_length=9, default="")),
        migrations.RunPython(split, join),
        migrations.RemoveField("customer", "name"),
        migrations.AddIndex("order", models.Index(fields=["number"], name="i_n")),
    """, "fixed fixed fixed fixed fixed", arguments=_TWO, irreversible=True, above='''
        def split(apps, schema_editor):
            Customer = apps.get_model("cases", "Customer")
            for each in Customer.objects.all():
                each.first, _, each.last = each.name.partition("1")
                each.save()


        def join(apps, schema_editor):
            for each in apps.get_model("cases", "Customer").objects.all():
                each.name = each.first + each.last
                each.save()

        '''),
    Harmful("hstore_and_index", """
        HStoreExtension(),
        migrations.AddField("order", "attributes", HStoreField(null=True, blank=True)),
        migrations.AddIndex("order", GinIndex(fields=["attributes"], name="i_hstore")),
        migrations.AddIndex("order", GistIndex(
            fields=["attributes"], opclasses=["gist_hstore_ops"], name="i_hstore_gist")),
    """, "kept kept fixed fixed", irreversible=True, above="""
        from django.contrib.postgres.fields import HStoreField
        from django.contrib.postgres.indexes import GinIndex, GistIndex
        from django.contrib.postgres.operations import HStoreExtension
        """),
    Harmful("booking_with_exclusion", """
        BtreeGistExtension(),
        migrations.AddField("order", "booked", DateTimeRangeField(null=True)),
        migrations.RunPython(book, migrations.RunPython.noop),
        migrations.AddConstraint("order", ExclusionConstraint(
            name="no_overlap", expressions=[
                ("booked", RangeOperators.OVERLAPS), ("customer_ref", RangeOperators.EQUAL)],
            condition=models.Q(currency="EUR"))),
        migrations.AlterField("order", "customer_ref", models.IntegerField(db_index=True)),
    """, "kept kept fixed refused fixed", "exclusion constraint", irreversible=True, above='''
        import datetime

        from django.contrib.postgres.constraints import ExclusionConstraint
        from django.contrib.postgres.fields import DateTimeRangeField, RangeOperators
        from django.contrib.postgres.operations import BtreeGistExtension
        from django.db.backends.postgresql.psycopg_any import DateTimeTZRange


        def book(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            day = datetime.timedelta(days=1)
            changed = []
            for order in Order.objects.exclude(placed=None).order_by("pk").iterator():
                at = order.placed + order.pk * day
                order.booked = DateTimeTZRange(at, at + day)
                changed.append(order)
            Order.objects.bulk_update(changed, ["booked"], batch_size=1000)

        '''),
    Harmful("exclusion_on_an_empty_table_made_in_the_same_migration", """
        migrations.CreateModel("Slot", [
            ("id", models.BigAutoField(primary_key=True)),
            ("during", DateTimeRangeField()),
            ("order", models.ForeignKey("cases.order", models.CASCADE)),
        ]),
        migrations.AddConstraint("slot", ExclusionConstraint(
            name="slot_free", expressions=[("during", RangeOperators.OVERLAPS)])),
        migrations.AddIndex("order", models.Index(fields=["number"], name="i_n")),
    """, "kept kept fixed", above="""
        from django.contrib.postgres.constraints import ExclusionConstraint
        from django.contrib.postgres.fields import DateTimeRangeField, RangeOperators
        """),
    Harmful("array_of_longer_texts_in_two_releases", """
        migrations.AlterField("order", "marks", ArrayField(models.CharField(max_length=20),
            default=list, blank=True)),
    """, "fixed", arguments=_TWO, above=_ARRAY, prepared="""
        migrations.AddField("order", "marks", ArrayField(
            models.CharField(max_length=9), default=list)),
        migrations.RunSQL("UPDATE cases_order SET marks = ARRAY['a', number]"),
    """),
    Harmful("array_of_longer_texts", """
        migrations.AlterField("order", "marks", ArrayField(models.CharField(max_length=20),
            default=list, blank=True)),
    """, "refused", "--releases 2", above=_ARRAY, prepared="""
        migrations.AddField("order", "marks", ArrayField(
            models.CharField(max_length=9), default=list)),
        migrations.RunSQL("UPDATE cases_order SET marks = ARRAY['a', number]"),
    """),
    Harmful("text_to_array_in_two_releases", """
        migrations.AddField("order", "notes", ArrayField(models.TextField(), default=list)),
        migrations.RunPython(wrap, migrations.RunPython.noop),
        migrations.RemoveField("order", "note"),
    """, "fixed fixed fixed", arguments=_TWO, irreversible=False, above='''
        from django.contrib.postgres.fields import ArrayField


        def wrap(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            for order in Order.objects.filter(note__isnull=False).iterator(chunk_size=2000):
                order.notes = [order.note]
                order.save(update_fields=["notes"])

        '''),
    Harmful("many_to_many_replaced_by_a_through_in_two_releases", """
        migrations.CreateModel("Membership", [
            ("id", models.BigAutoField(primary_key=True)),
            ("line", models.ForeignKey("cases.line", models.CASCADE)),
            ("customer", models.ForeignKey("cases.customer", models.CASCADE)),
            ("role", models.CharField(max_length=9, default="member")),
        ]),
        migrations.RunPython(copy, migrations.RunPython.noop),
        migrations.RemoveField("line", "friends"),
        migrations.AddField("line", "friends", models.ManyToManyField(
            "cases.customer", through="cases.Membership")),
    """, "fixed kept fixed kept", arguments=_TWO, irreversible=True, varies=("id",), prepared="""
        migrations.AddField("line", "friends", models.ManyToManyField("cases.customer")),
        migrations.RunSQL(
            "INSERT INTO cases_line_friends (line_id, customer_id)"
            " SELECT i, 1 + i % 400 FROM generate_series(1, 12000) i"),
    """, above='''
        def copy(apps, schema_editor):
            Line = apps.get_model("cases", "Line")
            Membership = apps.get_model("cases", "Membership")
            Membership.objects.bulk_create(
                [Membership(line_id=each.line_id, customer_id=each.customer_id)
                 for each in Line.friends.through.objects.order_by("id")],
                batch_size=500)

        '''),
    Harmful("chain_of_alter_fields", """
        migrations.AddField("order", "ref", models.CharField(max_length=10, null=True)),
        migrations.AlterField("order", "ref", models.CharField(max_length=30, null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AlterField("order", "ref", models.CharField(max_length=30)),
        migrations.AlterField("order", "ref", models.CharField(max_length=30, unique=True)),
        migrations.AlterField("order", "ref", models.CharField(
            max_length=30, unique=True, db_comment="of the customer")),
    """, "kept kept fixed fixed fixed kept", above='''
        def fill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            for order in Order.objects.select_related("customer").iterator():
                order.ref = f"R{order.pk}"
                order.save(update_fields=("ref",))

        '''),
    Harmful("default_row_and_foreign_key_not_null", """
        migrations.CreateModel("Channel", [
            ("id", models.BigAutoField(primary_key=True)),
            ("slug", models.SlugField(unique=True)),
        ]),
        migrations.AddField("order", "channel", models.ForeignKey(
            "cases.channel", models.PROTECT, null=True)),
        migrations.RunPython(assign, unassign),
        migrations.AlterField("order", "channel", models.ForeignKey(
            "cases.channel", models.PROTECT)),
    """, "kept fixed fixed fixed", above='''
        def assign(apps, schema_editor):
            Channel = apps.get_model("cases", "Channel")
            Order = apps.get_model("cases", "Order")
            web, _ = Channel.objects.get_or_create(slug="web")
            shop, created = Channel.objects.get_or_create(slug="shop")
            Order.objects.filter(currency="EUR").update(channel=web)
            Order.objects.filter(channel__isnull=True).update(channel=shop)


        def unassign(apps, schema_editor):
            pass

        '''),
    Harmful("not_null_foreign_key_with_default_of_a_function_in_two_releases", """
        migrations.AddField("order", "buyer", models.ForeignKey(
            "cases.customer", models.PROTECT, default=first_customer, related_name="bought")),
    """, "fixed", arguments=_TWO, own_default=True, above='''
        def first_customer():
            return 1

        '''),
    Harmful("foreign_key_to_a_field", """
        migrations.AddField("line", "order_slug", models.ForeignKey(
            "cases.order", models.CASCADE, to_field="slug", null=True, related_name="+",
            db_column="orderSlug")),
        migrations.RunPython(copy, migrations.RunPython.noop),
    """, "fixed fixed", above='''
        def copy(apps, schema_editor):
            Line = apps.get_model("cases", "Line")
            slugs = apps.get_model("cases", "Order").objects.filter(
                pk=models.OuterRef("order_id")).values("slug")[:1]
            Line.objects.update(order_slug_id=models.Subquery(slugs))

        '''),
    Harmful("sql_with_parameters", """
        migrations.AddField("order", "channel", models.CharField(max_length=9, null=True)),
        migrations.RunSQL(
            [("UPDATE cases_order SET channel = %s WHERE number LIKE %s", ["web", "N%"])],
            [("UPDATE cases_order SET channel = %s", [None])], elidable=True),
        migrations.RunSQL(
            "UPDATE cases_order SET channel = 'b' WHERE note LIKE 'it%'",
            reverse_sql=migrations.RunSQL.noop),
    """, "kept fixed fixed"),
    Harmful("script_of_several_alters", """
        migrations.RunSQL('''
            ALTER TABLE ONLY cases_order
                ADD COLUMN IF NOT EXISTS weight integer,
                ADD COLUMN height double precision DEFAULT 0 NOT NULL;
            COMMENT ON COLUMN cases_order.weight IS 'in grams';
            ALTER TABLE cases_order ALTER COLUMN number SET STATISTICS 500;
            CREATE INDEX IF NOT EXISTS cases_order_weight ON cases_order USING btree (weight)
                WHERE weight IS NOT NULL;
            ALTER TABLE cases_order ADD CONSTRAINT weight_ok CHECK (weight > 0),
                ADD CONSTRAINT height_ok CHECK (height >= 0);
            ANALYZE cases_order;
        ''', '''
            ALTER TABLE cases_order DROP CONSTRAINT weight_ok, DROP CONSTRAINT height_ok;
            DROP INDEX cases_order_weight;
            ALTER TABLE cases_order ALTER COLUMN number SET STATISTICS -1;
            ALTER TABLE cases_order DROP COLUMN weight, DROP COLUMN height;
        ''', state_operations=[
            migrations.AddField("order", "weight", models.IntegerField(null=True)),
            migrations.AddField("order", "height", models.FloatField(default=0)),
        ]),
    """, "fixed"),
    Harmful("serial_in_sql", """
        migrations.RunSQL(
            "ALTER TABLE cases_order ADD COLUMN seq bigserial; "
            "ALTER TABLE public.cases_line ADD COLUMN \\"No.\\" serial UNIQUE",
            "ALTER TABLE cases_order DROP COLUMN seq; "
            "ALTER TABLE cases_line DROP COLUMN \\"No.\\""),
    """),
    Harmful("identity_always_in_sql", """
        migrations.RunSQL(
            "ALTER TABLE public.cases_order ADD COLUMN seq integer GENERATED ALWAYS AS IDENTITY",
            "ALTER TABLE cases_order DROP COLUMN seq"),
        migrations.RunSQL("CREATE UNIQUE INDEX i_seq ON cases_order (seq)", "DROP INDEX i_seq"),
    """, "fixed fixed"),
    Harmful("serial_of_rows_in_another_order", """
        migrations.RunSQL(
            "ALTER TABLE cases_order ADD COLUMN seq bigserial",
            "ALTER TABLE cases_order DROP COLUMN seq"),
        migrations.AddIndex("line", models.Index(fields=["sku"], name="i_sku")),
    """, "fixed fixed", prepared="""
        migrations.RunSQL("UPDATE cases_order SET note = 'moved' WHERE total < 50"),
    """),
    Harmful("serial_of_rows_that_the_migration_moves", """
        migrations.RunSQL(
            "UPDATE cases_order SET note = 'moved' WHERE total < 5000", migrations.RunSQL.noop),
        migrations.RunSQL(
            "ALTER TABLE cases_order ADD COLUMN seq bigserial",
            "ALTER TABLE cases_order DROP COLUMN seq"),
    """, "kept refused", "by where they lie"),
    Harmful("identity_with_options_in_sql", """
        migrations.RunSQL(
            "ALTER TABLE cases_order ADD COLUMN seq bigint"
            " GENERATED BY DEFAULT AS IDENTITY (START WITH 1000)",
            "ALTER TABLE cases_order DROP COLUMN seq"),
    """, "refused", "an identity with options"),
    Harmful("generated_column_in_sql", """
        migrations.RunSQL(
            "ALTER TABLE cases_order ADD COLUMN twice integer"
            " GENERATED ALWAYS AS (total * 2) STORED",
            "ALTER TABLE cases_order DROP COLUMN twice"),
    """, "refused", "stored generated column"),
    Harmful("long_and_quoted_names", """
        migrations.AddField("long", "customer", models.ForeignKey(
            "cases.customer", models.CASCADE, null=True,
            db_column='Kunde & ' + "x" * 50)),
        migrations.AlterField("long", "amount", models.PositiveIntegerField(
            db_column="Betrag " + "y" * 55, db_index=True)),
        migrations.AddField("long", "mark", models.SlugField(
            null=True, unique=True, db_column="it's a mark")),
        migrations.AlterUniqueTogether("long", {("amount", "customer")}),
    """, "fixed fixed fixed fixed", prepared="""
        migrations.CreateModel("Long", [
            KEY, ("amount", models.IntegerField(db_column="Betrag " + "y" * 55)),
        ], options={"db_table": "Shop " + "ü" * 10 + "z" * 38}),
        migrations.RunSQL(
            'INSERT INTO "Shop ' + "ü" * 10 + "z" * 38 + '" ("Betrag ' + "y" * 55 + '")'
            " SELECT i FROM generate_series(1, 12000) i", migrations.RunSQL.noop),
    """),
    Harmful("composite_key", """
        migrations.AddField("seat", "holder", models.ForeignKey(
            "cases.customer", models.SET_NULL, null=True)),
        migrations.RunSQL("UPDATE cases_seat SET label = 'x' WHERE label = ''",
            migrations.RunSQL.noop),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AlterField("seat", "label", models.CharField(max_length=9, db_index=True)),
        migrations.AddConstraint("seat", models.CheckConstraint(
            condition=models.Q(number__gt=0), name="seat_number")),
    """, "fixed fixed fixed fixed fixed", prepared="""
        migrations.CreateModel("Seat", [
            ("pk", models.CompositePrimaryKey("row", "number", blank=True, editable=False,
                primary_key=True, serialize=False)),
            ("row", models.IntegerField()), ("number", models.IntegerField()),
            ("label", models.CharField(max_length=9)),
        ]),
        migrations.RunSQL("INSERT INTO cases_seat (row, number, label)"
            " SELECT i / 10, 1 + i, '' FROM generate_series(1, 12000) i", migrations.RunSQL.noop),
    """, above="""
        def fill(apps, schema_editor):
            Seat = apps.get_model("cases", "Seat")
            Seat.objects.filter(holder=None).update(holder=1)

        """),
    Harmful("bloom_and_hash", """
        BloomExtension(),
        migrations.AddIndex("order", BloomIndex(
            fields=["total", "customer_ref"], length=80, columns=[4, 4], name="i_bloom")),
        migrations.AddIndex("order", HashIndex(fields=["number"], fillfactor=70, name="i_hash")),
        migrations.AddIndex("order", models.Index(
            fields=["-total", "number"], include=["currency"],
            condition=~models.Q(currency="EUR"), name="i_covering")),
        migrations.RenameIndex("order", new_name="order_placed_i", old_name="cases_order_placed"),
    """, "kept fixed fixed fixed kept", irreversible=True, above="""
        from django.contrib.postgres.indexes import BloomIndex, HashIndex
        from django.contrib.postgres.operations import BloomExtension
        """),
    Harmful("collation_of_an_indexed_column_in_two_releases", """
        migrations.AlterField("order", "code", models.CharField(
            max_length=20, db_index=True, db_collation="C")),
    """, "refused", "rebuilds indexes", arguments=_TWO),
    Harmful("collation_of_a_column_without_index", """
        migrations.AlterField("order", "number", models.CharField(
            max_length=20, db_collation="C")),
    """, "kept"),
    Harmful("loops_over_related_objects", """
        migrations.AddField("customer", "spent", models.IntegerField(null=True)),
        migrations.RunPython(sums, migrations.RunPython.noop),
        migrations.AlterField("customer", "spent", models.PositiveIntegerField(default=0)),
        migrations.AddField("order", "lines", models.IntegerField(null=True)),
        migrations.RunPython(counts, migrations.RunPython.noop),
    """, "kept fixed fixed kept fixed", above="""
        from collections import Counter

        from django.db import transaction
        from django.db.models import Count, Sum


        def sums(apps, schema_editor):
            Customer = apps.get_model("cases", "Customer")
            with transaction.atomic():
                for customer in Customer.objects.prefetch_related("order_set"):
                    customer.spent = sum(each.total for each in customer.order_set.all())
                    customer.save(update_fields=["spent"])


        def counts(apps, schema_editor):
            Line = apps.get_model("cases", "Line")
            Order = apps.get_model("cases", "Order")
            found = Counter(Line.objects.values_list("order_id", flat=True))
            batch = []
            for order in Order.objects.only("pk").iterator(chunk_size=500):
                order.lines = found.get(order.pk, 0)
                batch.append(order)
                if len(batch) == 500:
                    Order.objects.bulk_update(batch, ["lines"])
                    batch.clear()
            Order.objects.bulk_update(batch, ["lines"])

        """),
    Harmful("code_of_the_project", """
        migrations.AddField("order", "hash", models.CharField(max_length=32, null=True)),
        migrations.RunPython(code=hashes, reverse_code=migrations.RunPython.noop),
        migrations.AddIndex("order", models.Index(fields=["hash"], name="i_hash")),
        migrations.RunPython(custom_fields.LowerField.check_all
            if hasattr(custom_fields.LowerField, "check_all") else migrations.RunPython.noop),
    """, "kept fixed fixed kept", irreversible=True, above="""
        import hashlib

        from tests.fix.corpus import custom_fields


        class Hasher:
            def __init__(self, apps):
                self.orders = apps.get_model("cases", "Order").objects

            def run(self):
                for order in self.orders.exclude(number="").iterator():
                    order.hash = hashlib.md5(order.number.encode()).hexdigest()
                    order.save(update_fields=["hash"])


        def hashes(apps, schema_editor):
            if schema_editor.connection.vendor != "postgresql":
                return
            Hasher(apps).run()

        """),
    Harmful("model_moved_between_apps_by_state", """
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.AlterModelTable("Line", "cases_position")],
            state_operations=[migrations.AlterModelTable("Line", "cases_position")],
        ),
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),
    """, "refused fixed", "running release"),
    Harmful("state_only_then_database", """
        migrations.SeparateDatabaseAndState(state_operations=[
            migrations.AddIndex("order", models.Index(fields=["currency"], name="i_cur"))]),
        migrations.RunSQL("CREATE INDEX i_cur ON cases_order (currency)", "DROP INDEX i_cur"),
        migrations.SeparateDatabaseAndState([
            migrations.RunSQL("ALTER TABLE cases_order ADD CONSTRAINT c CHECK (total > -1)",
                "ALTER TABLE cases_order DROP CONSTRAINT c")],
            [migrations.AddConstraint("order", models.CheckConstraint(
                condition=models.Q(total__gt=-1), name="c"))]),
    """, "kept fixed fixed"),
    Harmful("renamed_and_indexed_in_two_releases", """
        migrations.RenameField("order", "placed", "placed_at"),
        migrations.AlterField("order", "placed_at", models.DateTimeField(null=True, db_index=True)),
    """, "fixed fixed", arguments=_TWO),
    Harmful("field_renamed_and_backfilled_in_two_releases", """
        migrations.RenameField("line", "sku", "code"),
        migrations.AddField("line", "kind", models.CharField(max_length=9, default="x")),
        migrations.RunPython(kinds, migrations.RunPython.noop),
    """, "fixed fixed fixed", arguments=_TWO, above="""
        def kinds(apps, schema_editor):
            Line = apps.get_model("cases", "Line")
            Line.objects.filter(code__startswith="k1").update(kind="one")

        """),
    Harmful("delete_of_duplicates_and_unique", """
        migrations.RunPython(delete_duplicates, migrations.RunPython.noop),
        migrations.AlterUniqueTogether("line", {("order", "quantity")}),
    """, "kept fixed", above="""
        from django.db.models import Count, Min


        def delete_duplicates(apps, schema_editor):
            Line = apps.get_model("cases", "Line")
            doubles = (Line.objects.values("order_id", "quantity")
                .annotate(n=Count("id"), first=Min("id")).filter(n__gt=1).order_by())
            for each in doubles:
                Line.objects.filter(order_id=each["order_id"], quantity=each["quantity"]).exclude(
                    pk=each["first"]).delete()

        """),
    Harmful("delete_of_duplicates_in_sql_and_unique", """
        migrations.RunSQL(
            "DELETE FROM cases_line a USING cases_line b"
            " WHERE a.id > b.id AND a.sku = b.sku", migrations.RunSQL.noop),
        migrations.AlterField("line", "sku", models.CharField(max_length=20, unique=True)),
    """, "kept fixed"),
    Harmful("unique_with_nulls_in_sql", """
        migrations.RunSQL(
            "ALTER TABLE cases_order ADD CONSTRAINT u_sql UNIQUE NULLS NOT DISTINCT"
            " (number, note) DEFERRABLE INITIALLY DEFERRED",
            "ALTER TABLE cases_order DROP CONSTRAINT u_sql"),
        migrations.RunSQL(
            "ALTER TABLE cases_line ADD UNIQUE (sku, id) INCLUDE (quantity)",
            "ALTER TABLE cases_line DROP CONSTRAINT cases_line_sku_id_quantity_key"),
        migrations.RunSQL("ALTER TABLE cases_order ADD EXCLUDE USING btree (id WITH =)",
            "ALTER TABLE cases_order DROP CONSTRAINT cases_order_id_excl"),
    """, "fixed fixed refused", "PostgreSQL can neither"),
    Harmful("insert_select_on_conflict", """
        migrations.CreateModel("Stat", [
            ("order", models.OneToOneField("cases.order", models.CASCADE, primary_key=True)),
            ("lines", models.IntegerField(default=0)),
        ]),
        migrations.RunSQL('''
            INSERT INTO cases_stat (order_id, lines)
            SELECT order_id, count(*) FROM cases_line GROUP BY 1
            ON CONFLICT (order_id) DO UPDATE SET lines = excluded.lines;
        ''', "DELETE FROM cases_stat"),
        migrations.AddIndex("line", models.Index(fields=["quantity", "sku"], name="i_qs")),
    """, "fixed kept fixed"),
    Harmful("swappable_user_and_content_types", """
        migrations.CreateModel("Note", [
            ("id", models.BigAutoField(primary_key=True)),
            ("content_type", models.ForeignKey("contenttypes.contenttype", models.CASCADE)),
            ("object_id", models.PositiveIntegerField()),
            ("author", models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)),
        ], options={"indexes": [models.Index(
            fields=["content_type", "object_id"], name="note_object")]}),
        migrations.AddField("order", "handled_by", models.ForeignKey(
            settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True)),
        migrations.AddField("order", "sent", models.BooleanField(null=True)),
        migrations.RunPython(notes, migrations.RunPython.noop),
    """, "kept fixed kept fixed", above="""
        from django.conf import settings


        def notes(apps, schema_editor):
            ContentType = apps.get_model("contenttypes", "ContentType")
            Order = apps.get_model("cases", "Order")
            ContentType.objects.get_or_create(app_label="cases", model="order")
            Order.objects.filter(placed__isnull=False).update(sent=True)

        """, more_dependencies="""
        ("contenttypes", "0002_remove_content_type_name"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    """),
    Harmful("defaults_of_the_database_and_longer_choices", """
        migrations.AddField("order", "stage", models.CharField(max_length=9, db_default="new",
            choices=[("new", "New"), ("done", "Done")], db_index=True)),
        migrations.AlterField("order", "stage", models.CharField(max_length=30, db_default="new",
            db_index=True)),
        migrations.AlterField("order", "total", models.IntegerField(
            default=0, db_default=0, validators=[MinValueValidator(0)])),
        migrations.AlterField("order", "note", models.TextField(null=False, blank=True,
            db_default="")),
    """, "fixed kept kept fixed", above="""
        from django.core.validators import MinValueValidator
        """),
    Harmful("stable_defaults_of_the_database", """
        migrations.AddField("order", "created", models.DateTimeField(db_default=Now())),
        migrations.AddField("order", "year", models.IntegerField(
            db_default=models.functions.ExtractYear(Now()))),
        migrations.AlterField("order", "created", models.DateTimeField(
            db_default=Now(), db_index=True)),
    """, "kept kept fixed", varies=("created",), above="""
        import django.db.models.functions
        from django.db.models.functions import Now
        """),
    Harmful("boolean_from_text_in_two_releases", """
        migrations.AddField("order", "is_euro", models.BooleanField(default=False)),
        migrations.RunSQL("UPDATE cases_order SET is_euro = (currency = 'EUR') "
            "WHERE currency IS NOT NULL", migrations.RunSQL.noop),
        migrations.RemoveField("order", "currency"),
        migrations.AddIndex("order", models.Index(
            fields=["placed"], condition=models.Q(is_euro=True), name="i_euro")),
    """, "fixed fixed fixed fixed", arguments=_TWO),
    Harmful("unique_constraint_replaced_by_wider", """
        migrations.RemoveConstraint("order", "u_np"),
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["number", "total", "slug"], name="u_np")),
    """, "refused fixed", "With --releases 2", prepared="""
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["number", "total"], name="u_np")),
    """),
    Harmful("index_replaced_under_the_same_name", """
        migrations.RemoveIndex("order", "cases_order_placed"),
        migrations.AddIndex("order", models.Index(
            fields=["placed", "total"], name="cases_order_placed")),
    """, "fixed fixed"),
]  # fmt: skip
