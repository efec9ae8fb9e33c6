"""Migrations as teams write them: several things in one file, and code of the file."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

CASES = [
    Harmful("everything_at_once", """
        migrations.AddField("order", "channel", models.CharField(max_length=9, null=True)),
        migrations.RunPython(fill, reverse_code=unfill),
        migrations.AlterField("order", "channel", models.CharField(max_length=9)),
        migrations.AddIndex("order", models.Index(fields=["channel", "-placed"], name="i_cp")),
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=models.Q(total__gte=MIN), name="order_total_min")),
        migrations.AlterUniqueTogether("line", {("order", "id")}),
        migrations.AlterModelOptions("order", {"ordering": ["-placed"], "verbose_name": "order"}),
    """, "kept fixed fixed fixed fixed fixed kept", above='''
        import logging
        from collections import defaultdict
        from functools import lru_cache

        logger = logging.getLogger(__name__)

        MIN = 0
        NAMES = {True: "web", False: "shop"}


        @lru_cache(maxsize=None)
        def name_of(odd):
            return NAMES[odd]


        def make_filler(field):
            def fill(apps, schema_editor):
                Order = apps.get_model("cases", "Order")
                counts = defaultdict(int)
                for odd in (True, False):
                    found = Order.objects.annotate(m=models.F("total") % 2).filter(m=int(odd))
                    counts[odd] = found.update(**{field: name_of(odd)})
                logger.debug("filled %r", dict(counts))
            return fill


        fill = make_filler("channel")


        def unfill(apps, schema_editor):
            pass

        '''),
    Harmful("class_with_attributes", """
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),
        migrations.AddIndex("line", models.Index(fields=["sku"], name="i_sku")),
    """, "fixed fixed", settings="""
        initial = False
        owner = "team-orders"
        maintenance_window = {"from": 2, "to": 4}
    """),
    Harmful("method_of_the_class", """
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),
        migrations.RunPython(forwards, migrations.RunPython.noop),
    """, "fixed fixed", settings="""
        def forwards(apps, schema_editor):
            apps.get_model("cases", "Order").objects.filter(note=None).update(note="")

    """),
    Harmful("not_atomic_with_concurrent_index", """
        migrations.AddField("order", "region", models.CharField(max_length=9, null=True)),
        AddIndexConcurrently("order", models.Index(fields=["region"], name="i_region")),
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=models.Q(total__lt=10**6), name="sane")),
    """, "kept kept fixed", settings="atomic = False\n", above="""
        from django.contrib.postgres.operations import AddIndexConcurrently
        """),
    Harmful("partial_hints_and_elidable", """
        migrations.AddField("order", "tax", models.DecimalField(
            max_digits=9, decimal_places=2, null=True)),
        migrations.RunPython(
            functools.partial(fill, factor=TAX), migrations.RunPython.noop,
            hints={"target_db": "default"}, elidable=True),
        migrations.AddIndex("order", models.Index(fields=["tax"], name="i_tax")),
    """, "kept fixed fixed", above='''
        import functools
        from decimal import Decimal as D

        TAX = D("0.19")


        def fill(apps, schema_editor, factor):
            from django.db.models import F

            Order = apps.get_model("cases", "Order")
            db = schema_editor.connection.alias
            Order.objects.using(db).update(tax=F("total") * factor)

        '''),
    Harmful("null_default_type_and_index_at_once", """
        migrations.AlterField("order", "currency", models.CharField(
            max_length=10, default="EUR", db_index=True, help_text="ISO")),
    """),
    Harmful("null_text_and_unique_at_once", """
        migrations.AlterField("order", "number", models.TextField(null=True, unique=True)),
    """),
    Harmful("unique_together_changed", """
        migrations.AlterUniqueTogether("order", {("number", "total")}),
        migrations.AlterUniqueTogether("order", {("number", "total"), ("customer", "number")}),
        migrations.AlterUniqueTogether("order", {("customer", "number")}),
    """, "refused refused kept", "drops it again"),
    Harmful("many_to_many_with_through", """
        migrations.CreateModel("Tag", [
            ("id", models.BigAutoField(primary_key=True)),
            ("name", models.CharField(max_length=9, unique=True)),
        ]),
        migrations.CreateModel("OrderTag", [
            ("id", models.BigAutoField(primary_key=True)),
            ("order", models.ForeignKey("cases.order", models.CASCADE)),
            ("tag", models.ForeignKey("cases.tag", models.CASCADE)),
        ], options={"unique_together": {("order", "tag")}}),
        migrations.AddField("order", "labels", models.ManyToManyField(
            "cases.tag", through="cases.OrderTag", related_name="+")),
        migrations.RunPython(tag, migrations.RunPython.noop),
        migrations.AddConstraint("line", models.UniqueConstraint(
            fields=["id", "sku"], name="u_is")),
    """, "kept fixed kept kept fixed", varies=("id",), above='''
        def tag(apps, schema_editor):
            Tag, Through = (apps.get_model("cases", n) for n in ("Tag", "OrderTag"))
            one = Tag.objects.create(name="old")
            orders = apps.get_model("cases", "Order").objects.order_by("pk")
            Through.objects.bulk_create(Through(order=each, tag=one) for each in orders)

        '''),
    Harmful("foreign_key_to_another_app", """
        migrations.AddField("order", "kind", models.ForeignKey(
            "contenttypes.contenttype", models.PROTECT, null=True, blank=True)),
        migrations.AddField("order", "seller", models.ForeignKey(
            settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")),
    """, "fixed fixed", above="from django.conf import settings\n", settings="""
        run_before = []
    """, more_dependencies="""
        ("contenttypes", "0002_remove_content_type_name"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    """),
    Harmful("generated_column_and_index", """
        migrations.AddField("order", "double", models.GeneratedField(
            expression=models.F("total") * 2, output_field=models.BigIntegerField(),
            db_persist=True)),
        migrations.AddIndex("order", models.Index(fields=["double"], name="i_double")),
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),
    """, "refused fixed fixed"),
    Harmful("positive_small_in_two_releases", """
        migrations.AddField("line", "boxes", models.PositiveSmallIntegerField(default=1)),
        migrations.AlterField("line", "quantity", models.PositiveIntegerField()),
    """, "fixed fixed", arguments=("--releases", "2")),
    Harmful("array_and_gin", """
        migrations.AddField("order", "marks", ArrayField(
            models.CharField(max_length=9), default=list, null=True, db_index=True)),
        migrations.AddIndex("order", GinIndex(fields=["tags"], name="i_tags")),
        migrations.AddIndex("order", BrinIndex(
            fields=["placed"], autosummarize=True, pages_per_range=16, name="i_brin")),
        migrations.AddIndex("order", SpGistIndex(fields=["number"], name="i_spgist")),
        migrations.AddIndex("order", GinIndex(
            fields=["data"], name="i_ops", opclasses=["jsonb_path_ops"])),
    """, "fixed fixed fixed fixed fixed", above="""
        from django.contrib.postgres.fields import ArrayField
        from django.contrib.postgres.indexes import BrinIndex, GinIndex, SpGistIndex
        """),
    Harmful("range_and_exclusion", """
        migrations.AddField("order", "period", DateTimeRangeField(null=True)),
        migrations.AddIndex("order", GistIndex(
            fields=["period"], opclasses=["range_ops"], fillfactor=90, name="i_period")),
        migrations.AddConstraint("order", ExclusionConstraint(
            name="ex", expressions=[("period", RangeOperators.OVERLAPS)])),
    """, "kept fixed refused", "exclusion constraint", above="""
        from django.contrib.postgres.constraints import ExclusionConstraint
        from django.contrib.postgres.fields import DateTimeRangeField, RangeOperators
        from django.contrib.postgres.indexes import GistIndex
        """),
    Harmful("default_of_the_database_and_unique", """
        migrations.AddField("order", "stage", models.CharField(
            max_length=9, db_default="new", db_index=True)),
        migrations.AddField("order", "priority", models.SmallIntegerField(db_default=3)),
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["stage", "number"], name="u_sn")),
    """, "fixed kept fixed"),
    Harmful("uuid_in_three_steps", """
        migrations.AddField("order", "public_id", models.UUIDField(
            default=uuid.uuid4, null=True, editable=False)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AlterField("order", "public_id", models.UUIDField(
            default=uuid.uuid4, unique=True, editable=False)),
    """, "kept fixed fixed", varies=("public_id",), above='''
        import uuid


        def fill(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            Order.objects.update(public_id=RandomUUID())


        from django.contrib.postgres.functions import RandomUUID

        '''),
    Harmful("operations_of_a_comprehension", """
        *[
            migrations.AddIndex("order", models.Index(fields=[name], name=f"i_{name}"))
            for name in FIELDS
        ],
        migrations.RunPython(touch, migrations.RunPython.noop),
    """, "fixed fixed kept", above='''
        FIELDS = ["total", "number"]


        def touch(apps, schema_editor):
            apps.get_model("cases", "Customer").objects.filter(pk=1).update(name="n")

        '''),
    Harmful("constraint_replaced", """
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=models.Q(total__gte=0), name="sane")),
        migrations.RemoveConstraint("order", "sane"),
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=models.Q(total__gte=1), name="sane")),
    """, "refused kept fixed", "drops it again"),
    Harmful("unique_constraint_with_opclasses", """
        migrations.AddConstraint("order", models.UniqueConstraint(
            fields=["number"], name="u_n", opclasses=["varchar_pattern_ops"])),
    """),
    Harmful("new_model_with_keys_and_backfill", """
        migrations.CreateModel("Shipment", [
            ("id", models.BigAutoField(primary_key=True)),
            ("order", models.OneToOneField("cases.order", models.CASCADE)),
            ("customers", models.ManyToManyField("cases.customer")),
        ]),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddField("line", "shipment", models.ForeignKey(
            "cases.shipment", models.SET_NULL, null=True)),
    """, "fixed kept fixed", above='''
        def fill(apps, schema_editor):
            Order, Shipment = (apps.get_model("cases", n) for n in ("Order", "Shipment"))
            Shipment.objects.bulk_create(
                [Shipment(order=each) for each in Order.objects.order_by("pk")[:3000]])

        '''),
    Harmful("order_with_respect_to", """
        migrations.AlterOrderWithRespectTo("line", "order"),
    """, "refused", "running release"),
    Harmful("renamed_table", """
        migrations.AlterModelTable("line", "cases_item"),
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),
    """, "refused fixed"),
    Harmful("collation_changed", """
        migrations.AlterField("order", "code", models.CharField(
            max_length=20, db_index=True, db_collation="C")),
    """, "refused"),
    Harmful("backfill_by_queryset", """
        migrations.AddField("order", "source", models.CharField(max_length=9, null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
    """, "kept fixed", above='''
        def fill(apps, schema_editor):
            apps.get_model("cases", "Order").objects.update(source="web")

        '''),
    Harmful("own_operation_class", """
        Traced("order", models.Index(fields=["total"], name="i_t")),
        migrations.AddIndex("order", models.Index(fields=["number"], name="i_n")),
    """, "refused fixed", above='''
        class Traced(migrations.AddIndex):
            def database_forwards(self, *args):
                super().database_forwards(*args)

        '''),
    Harmful("index_removed_with_its_column", """
        migrations.RemoveIndex("order", "cases_order_placed"),
        migrations.RemoveField("order", "placed"),
        migrations.AddIndex("order", models.Index(fields=["total"], name="i_t")),
    """, "fixed fixed fixed", arguments=("--releases", "2")),
    Harmful("trigram", """
        TrigramExtension(),
        migrations.AddIndex("order", GinIndex(
            OpClass(Upper("number"), "gin_trgm_ops"), name="i_trgm")),
    """, "kept fixed", above="""
        from django.contrib.postgres.indexes import GinIndex, OpClass
        from django.contrib.postgres.operations import TrigramExtension
        from django.db.models.functions import Upper
        """),
    Harmful("comments_and_choices", """
        migrations.AlterField("order", "number", models.CharField(
            "No.", max_length=20, choices=[("a", "A")], db_comment="of the order")),
        migrations.AlterModelTableComment("order", "what is bought"),
        migrations.AlterField("order", "customer", models.ForeignKey(
            "cases.customer", models.PROTECT, null=True, related_name="orders")),
        migrations.AlterField("line", "quantity", models.PositiveIntegerField(default=1)),
    """, "kept kept kept fixed"),
]  # fmt: skip
