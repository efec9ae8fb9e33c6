"""What is there before each case: models, and objects that only SQL knows."""

from django.contrib.postgres.fields import IntegerRangeField
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import Q


def _id():
    return ("id", models.BigAutoField(primary_key=True))


OBJECTS = """
CREATE EXTENSION IF NOT EXISTS btree_gist;
ALTER TABLE cases_customer ADD CONSTRAINT cases_customer_country_known
    CHECK (country IS NOT NULL);
CREATE TABLE cases_event (id integer NOT NULL, kind text NOT NULL) PARTITION BY LIST (kind);
CREATE TABLE cases_event_a PARTITION OF cases_event FOR VALUES IN ('a');
CREATE TABLE cases_event_b (id integer NOT NULL, kind text NOT NULL);
CREATE TABLE cases_event_c (id integer NOT NULL, kind text NOT NULL CHECK (kind = 'c'));
CREATE DOMAIN cases_amount AS integer;
CREATE TYPE cases_mood AS ENUM ('sad', 'happy');
CREATE TABLE cases_feeling (id integer PRIMARY KEY, mood cases_mood);
CREATE UNIQUE INDEX cases_feeling_ready ON cases_feeling (id);
CREATE TABLE cases_priced (id integer, amount cases_amount, feeling integer
    CONSTRAINT cases_priced_feeling REFERENCES cases_feeling ON DELETE CASCADE);
CREATE INDEX cases_priced_by_feeling ON cases_priced (feeling);
CREATE MATERIALIZED VIEW cases_totals AS
    SELECT status, count(*) AS orders FROM cases_order GROUP BY status;
CREATE UNIQUE INDEX cases_totals_status ON cases_totals (status);
CREATE VIEW cases_open AS SELECT id FROM cases_order WHERE status = 'new';
CREATE SCHEMA cases_old;
CREATE TABLE cases_old.thing (id integer);
CREATE FUNCTION cases_touch() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RETURN new; END $$;
CREATE TRIGGER cases_touched BEFORE UPDATE ON cases_archive
    FOR EACH ROW EXECUTE FUNCTION cases_touch();
CREATE PROCEDURE cases_fill() LANGUAGE sql AS $$ UPDATE cases_order SET note = 'filled' $$;
CREATE FUNCTION cases_index() RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN CREATE INDEX cases_order_total_f ON cases_order (total); END $$;
"""

REMOVE = """
DROP MATERIALIZED VIEW cases_totals; DROP VIEW cases_open;
DROP TABLE cases_event, cases_event_b, cases_event_c, cases_priced, cases_feeling;
DROP DOMAIN cases_amount; DROP TYPE cases_mood; DROP SCHEMA cases_old CASCADE;
DROP FUNCTION cases_touch() CASCADE; DROP PROCEDURE cases_fill(); DROP FUNCTION cases_index();
"""

ROWS = """
INSERT INTO cases_customer (email, name, country, active)
    SELECT i || '@example.com', 'customer ' || i, 'DE', true FROM generate_series(1, 2000) i;
INSERT INTO cases_order (number, status, total, price, note, code, placed_at, currency, customer_id)
    SELECT 'N' || i, (ARRAY['new', 'paid', 'sent'])[1 + i % 3], i, i, NULL, 'C' || i,
           now(), 'EUR', 1 + i % 2000 FROM generate_series(1, 20000) i;
INSERT INTO cases_line (order_id, product_id, quantity, during)
    SELECT 1 + i % 20000, 1 + i % 500, 1, int4range(i, i + 1) FROM generate_series(1, 30000) i;
INSERT INTO cases_archive (payload) SELECT 'payload ' || i FROM generate_series(1, 5000) i;
INSERT INTO cases_tag (name) SELECT 'tag ' || i FROM generate_series(1, 40) i;
INSERT INTO cases_event SELECT i, 'a' FROM generate_series(1, 5000) i;
INSERT INTO cases_event_b SELECT i, 'b' FROM generate_series(1, 5000) i;
INSERT INTO cases_event_c SELECT i, 'c' FROM generate_series(1, 5000) i;
INSERT INTO cases_feeling SELECT i, 'sad' FROM generate_series(1, 500) i;
INSERT INTO cases_priced SELECT i, i, 1 + i % 500 FROM generate_series(1, 5000) i;
REFRESH MATERIALIZED VIEW cases_totals;
"""


class Migration(migrations.Migration):
    initial = True

    operations = [
        migrations.CreateModel(
            "Customer",
            [
                _id(),
                ("email", models.EmailField(unique=True)),
                ("name", models.CharField(max_length=200)),
                ("country", models.CharField(max_length=2, null=True)),
                ("active", models.BooleanField(default=True)),
            ],
        ),
        migrations.CreateModel("Tag", [_id(), ("name", models.CharField(max_length=50))]),
        migrations.CreateModel("Archive", [_id(), ("payload", models.TextField())]),
        migrations.CreateModel(
            "Order",
            [
                _id(),
                ("number", models.CharField(max_length=20)),
                ("status", models.CharField(max_length=10)),
                ("total", models.IntegerField()),
                ("price", models.DecimalField(max_digits=10, decimal_places=2)),
                ("note", models.TextField(null=True)),
                ("code", models.CharField(max_length=20, db_index=True)),
                ("placed_at", models.DateTimeField()),
                ("currency", models.CharField(max_length=3, null=True)),
                ("customer", models.ForeignKey("cases.Customer", models.CASCADE)),
                ("tags", models.ManyToManyField("cases.Tag")),
            ],
        ),
        migrations.CreateModel(
            "Line",
            [
                _id(),
                ("order", models.ForeignKey("cases.Order", models.CASCADE)),
                (
                    "product",
                    models.ForeignKey(
                        "cases.Archive", models.CASCADE, db_constraint=False, db_index=False
                    ),
                ),
                ("quantity", models.IntegerField()),
                ("during", IntegerRangeField()),
            ],
            options={
                "indexes": [models.Index(fields=["quantity"], name="cases_line_quantity")],
                "constraints": [
                    models.UniqueConstraint(fields=["id", "order"], name="cases_line_id_order")
                ],
            },
        ),
        AddConstraintNotValid(
            "line", models.CheckConstraint(condition=Q(quantity__gt=0), name="cases_line_positive")
        ),
        migrations.RunSQL(OBJECTS, REMOVE),
        migrations.RunSQL(ROWS, migrations.RunSQL.noop),
    ]
