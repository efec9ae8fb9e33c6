"""Migrations whose files do more than define, and storage, locks and indexes that are rarer."""

from __future__ import annotations

from tests.fix.corpus.harmful import Harmful

CASES = [
    Harmful("expression_of_the_file_in_a_check", """
        migrations.AddConstraint("order", models.CheckConstraint(
            condition=models.Q(total__lte=Doubled("total")), name="order_doubled")),
        migrations.AddIndex("order", models.Index(fields=["number"], name="i_number")),
    """, "fixed fixed", own_default=True, above='''
        class Doubled(models.Func):
            template = "(2 * %(expressions)s)"
            output_field = models.IntegerField()

        '''),
    Harmful("rows_of_a_join_locked_that_no_other_session_locks", """
        migrations.RunPython(copy, migrations.RunPython.noop),
        migrations.AddIndex("order", models.Index(fields=["note"], name="i_note")),
    """, "fixed fixed", above='''
        from django.db import transaction


        def copy(apps, schema_editor):
            Order = apps.get_model("cases", "Order")
            orders = (
                Order.objects.select_for_update(of=("self",), skip_locked=True)
                .select_related("customer")
                .filter(note__isnull=True, customer__isnull=False, total__lte=2500)
                .order_by("pk")
            )
            with transaction.atomic():
                for order in orders:
                    order.note = order.customer.email
                    order.save(update_fields=["note"])

        '''),
    Harmful("text_to_limited_indexed_text_in_two_releases", """
        migrations.AlterField("order", "note", models.CharField(
            max_length=200, default="", db_index=True, db_comment="internal")),
    """, arguments=("--releases", "2")),
    Harmful("unique_column_in_a_tablespace", """
        migrations.AddField("order", "ref", models.CharField(
            max_length=20, null=True, unique=True, db_tablespace="pg_default")),
        migrations.RunSQL(
            "ALTER TABLE cases_order ADD CONSTRAINT number_u UNIQUE (number) WITH (fillfactor=70)",
            "ALTER TABLE cases_order DROP CONSTRAINT number_u"),
    """, "fixed fixed"),
    Harmful("rows_of_a_table_whose_trigger_counts", """
        migrations.RunSQL(
            "UPDATE cases_order SET note = lower(note)", migrations.RunSQL.noop),
        migrations.AddIndex("line", models.Index(fields=["sku"], name="i_sku")),
    """, "refused fixed", "the trigger cases_order_bump of cases_order counts", prepared="""
        migrations.AddField("order", "version", models.IntegerField(default=0, db_default=0)),
        migrations.RunSQL(r'''
            CREATE FUNCTION cases_bump() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                NEW.version := OLD.version + 1;
                RETURN NEW;
            END $$;
            CREATE TRIGGER cases_order_bump BEFORE UPDATE ON cases_order
                FOR EACH ROW EXECUTE FUNCTION cases_bump();
            ''', "DROP TRIGGER cases_order_bump ON cases_order; DROP FUNCTION cases_bump()"),
    """),
]  # fmt: skip
