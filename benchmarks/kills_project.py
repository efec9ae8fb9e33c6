"""The project whose dry run is killed: migrations of each kind, on two databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

DATABASE, OTHER = "kills", "kills_other"

TABLES = """
CREATE TABLE kills_row (id integer PRIMARY KEY, number integer NOT NULL, name text NOT NULL);
INSERT INTO kills_row SELECT i, i, md5(i::text) FROM generate_series(1, {rows}) i;
CREATE TABLE kills_child (id serial PRIMARY KEY,
  row_id integer NOT NULL REFERENCES kills_row DEFERRABLE INITIALLY DEFERRED);
INSERT INTO kills_child (row_id) SELECT i FROM generate_series(1, 1000) i;
"""

SETTINGS = """
INSTALLED_APPS = ["django.contrib.contenttypes", "django_confiture", "kills"]
ADDRESS = {{"ENGINE": "django.db.backends.postgresql", **{address!r}}}
DATABASES = {{"default": {{**ADDRESS, "NAME": {database!r}}},
              "other": {{**ADDRESS, "NAME": {other!r}}}}}
USE_TZ = True
SECRET_KEY = "x"
"""

MIGRATIONS = {
    "0001_rewrite": """
        operations = [migrations.RunSQL("ALTER TABLE kills_row ALTER number TYPE bigint")]
    """,
    "0002_index": """
        operations = [migrations.RunSQL("CREATE INDEX kills_name ON kills_row (name, number)")]
    """,
    "0003_loop": """
        operations = [migrations.RunPython(loop), migrations.RunPython(other)]
    """,
    "0004_hook": """
        operations = [migrations.RunSQL("ALTER TABLE kills_row ADD extra integer"),
                      RunHook(Backfill)]
    """,
    "0005_concurrently": """
        atomic = False
        operations = [
            migrations.RunSQL("CREATE INDEX CONCURRENTLY kills_number ON kills_row (number)"),
            migrations.RunSQL("SELECT setval('kills_child_id_seq', 5000)"),
            migrations.RunSQL("UPDATE kills_row SET name = upper(name) WHERE id % 3 = 0"),
        ]
    """,
    "0006_child": """
        operations = [
            migrations.RunSQL(
                "INSERT INTO kills_child (row_id) SELECT 7 FROM generate_series(1, 20000)"
            ),
        ]
    """,
}

MIGRATION = """
from django.db import connection, connections, migrations, transaction
from django_confiture import Hook, HookPhase, HookResult, RunHook


def loop(apps, schema_editor):
    with connection.cursor() as cursor:
        for number in range(1, 400):
            cursor.execute("UPDATE kills_row SET name = %s WHERE id = %s", ["LEAK", number])


def other(apps, schema_editor):
    with transaction.atomic("other"), connections["other"].cursor() as cursor:
        cursor.execute("UPDATE kills_row SET name = 'LEAK'")


class Backfill(Hook):
    phase = HookPhase.AFTER_DDL

    def execute(self, conn, context):
        changed = conn.execute("UPDATE kills_row SET extra = number WHERE id % 2 = 0").rowcount
        return HookResult("AFTER_DDL", "Backfill", rows_affected=changed)


class Migration(migrations.Migration):
    dependencies = [("kills", name) for name in [{after!r}] if name]
    {body}
"""


def make_project(home: Path, address: dict[str, Any]) -> Path:
    """Write a project with an app of several migrations."""
    package = home / "kills" / "migrations"
    package.mkdir(parents=True)
    for directory in (package.parent, package):
        (directory / "__init__.py").touch()
    after = ""
    for name, body in MIGRATIONS.items():
        (package / f"{name}.py").write_text(
            MIGRATION.format(after=after, body=body.replace("\n    ", "\n").strip())
        )
        after = name
    upper = {name.upper(): value for name, value in address.items()}
    (home / "kills_settings.py").write_text(
        SETTINGS.format(address=upper, database=DATABASE, other=OTHER)
    )
    return home
