"""The shape of a case, and the shop that it changes."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent, indent

BASE = '''
from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

KEY = ("id", models.BigAutoField(primary_key=True))
ROWS = """
INSERT INTO cases_customer (name, email)
  SELECT i::text, 'c' || i || '@example.org' FROM generate_series(1, 500) i;
INSERT INTO cases_order
  (total, number, note, currency, placed, data, code, customer_id, customer_ref, slug, tags)
  SELECT i, 'N' || i, CASE WHEN i % 2 = 0 THEN 'it''s' END, CASE WHEN i % 3 <> 0 THEN 'EUR' END,
    CASE WHEN i % 5 <> 0 THEN timestamptz '2026-01-01 UTC' + i * interval '1 minute' END,
    '{"a": 1}', 'c' || i, CASE WHEN i % 4 <> 0 THEN 1 + i % 500 END, 1 + i % 500, 's' || i,
    ARRAY['x', 'y'] FROM generate_series(1, 12000) i;
INSERT INTO cases_line (order_id, quantity, sku)
  SELECT 1 + i % 12000, i % 9, 'k' || i FROM generate_series(1, 12000) i;
INSERT INTO "Shop old $ table" ("Amount $") SELECT i FROM generate_series(1, 12000) i;
"""


class Migration(migrations.Migration):
    dependencies = []
    operations = [
        migrations.CreateModel("Customer", [
            KEY, ("name", models.CharField(max_length=9)),
            ("email", models.CharField(max_length=50)),
        ]),
        migrations.CreateModel("Order", [
            KEY,
            ("total", models.IntegerField()),
            ("number", models.CharField(max_length=20)),
            ("note", models.TextField(null=True)),
            ("currency", models.CharField(max_length=3, null=True)),
            ("placed", models.DateTimeField(null=True)),
            ("data", models.JSONField()),
            ("code", models.CharField(max_length=20, db_index=True)),
            ("customer", models.ForeignKey("cases.Customer", models.CASCADE, null=True)),
            ("customer_ref", models.IntegerField()),
            ("slug", models.CharField(max_length=20, unique=True)),
            ("tags", ArrayField(models.TextField())),
        ], options={
            "indexes": [models.Index(fields=["placed"], name="cases_order_placed")],
        }),
        migrations.CreateModel("Line", [
            KEY,
            ("order", models.ForeignKey("cases.Order", models.CASCADE)),
            ("quantity", models.IntegerField()),
            ("sku", models.CharField(max_length=20)),
        ]),
        migrations.CreateModel("Old", [
            KEY, ("amount", models.IntegerField(db_column="Amount $")),
        ], options={"db_table": "Shop old $ table"}),
        migrations.RunSQL(ROWS, migrations.RunSQL.noop),
    ]
'''

_FILE = '''\
"""What the team wrote."""
{above}

class Migration(migrations.Migration):
{settings}    dependencies = [("cases", "0001_shop"){more}]

    operations = [
{operations}
    ]
'''
_IMPORTS = "from django.db import migrations, models\n"


@dataclass(frozen=True)
class Harmful:
    """A migration, as its team wrote it."""

    name: str
    operations: str
    """The source of its operations."""
    outcomes: str = "fixed"
    """One word an operation."""
    reason: str = ""
    """Part of the reason, where one is refused."""
    above: str = ""
    """The source above the class, imports of Django's migrations and models apart."""
    settings: str = ""
    """Attributes of the class."""
    varies: tuple[str, ...] = ()
    """Columns whose values differ from run to run."""
    own_default: bool = False
    """Whether a field's default is a function of the file, which each loading makes again."""
    irreversible: bool = False
    prepared: str = ""
    """The source of more operations that the shop was made with."""
    more_dependencies: str = ""
    arguments: tuple[str, ...] = ()
    """Of the command."""
    breaks: int | None = None
    """How much running code can't do any more with the files."""

    @property
    def source(self) -> str:
        """The migration file."""
        return _FILE.format(
            above=_IMPORTS + dedent(self.above),
            settings=indent(dedent(self.settings), "    "),
            operations=indent(dedent(self.operations).strip(), " " * 8),
            more=f",\n{self.more_dependencies}" if self.more_dependencies else "",
        )

    @property
    def shop(self) -> str:
        """The migration file before it."""
        before, end = BASE.rsplit("    ]", 1)
        return f"{before}{indent(dedent(self.prepared).strip(), ' ' * 8)}\n    ]{end}"
