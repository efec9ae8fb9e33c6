"""Projects to migrate: wagtail's, and made-up ones, with five migrations an app, three tables each.

Run as a script inside the project: applies the first half of the plan, and fills all tables.
"""

from __future__ import annotations

import sys
from pathlib import Path

MIGRATIONS_OF_AN_APP = 5
TABLES_OF_A_MIGRATION = 3

_SETTINGS = """
import json, os

SECRET_KEY = "benchmark"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
WAGTAIL_SITE_NAME = "benchmark"
ENGINE = "django.db.backends.postgresql"
DATABASES = {{"default": {{"ENGINE": ENGINE, **json.loads(os.environ["BENCH"])}}}}
CONFITURE = json.loads(os.environ["BENCH_CONFITURE"])
INSTALLED_APPS = json.loads(os.environ["BENCH_APPS"]) + {apps}
TEMPLATES = [{{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}}]
"""

WAGTAIL = [
    "wagtail.contrib.forms",
    "wagtail.contrib.redirects",
    "wagtail.contrib.settings",
    "wagtail.contrib.search_promotions",
    "wagtail.contrib.simple_translation",
    "wagtail.embeds",
    "wagtail.sites",
    "wagtail.users",
    "wagtail.snippets",
    "wagtail.documents",
    "wagtail.images",
    "wagtail.search",
    "wagtail.admin",
    "wagtail",
    "modelcluster",
    "taggit",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
]

_HEAD = """from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = {dependencies}
    operations = [
"""
_MODEL = """        migrations.CreateModel("{name}", [
            ("id", models.BigAutoField(primary_key=True)),
            ("name", models.CharField(max_length=100, db_index=True)),
            ("number", models.IntegerField(default=0)),{reference}
        ]),
"""
_REFERENCE = """
            ("parent", models.ForeignKey("{app}.{parent}", models.CASCADE, related_name="+")),"""
_CHANGES = """        migrations.AddField("{parent}", "added{number}", models.TextField(null=True)),
        migrations.AlterField("{parent}", "number", models.BigIntegerField(default=0)),
"""


def write_wagtail(home: Path) -> None:
    """Write the settings of a project with all apps of wagtail."""
    (home / "bench_settings.py").write_text(_SETTINGS.format(apps=WAGTAIL))


def write_made_up(home: Path, migrations: int) -> None:
    """Write a project of so many migrations, whose models are those that they end with."""
    apps = [f"app{number:03}" for number in range(migrations // MIGRATIONS_OF_AN_APP)]
    (home / "bench_settings.py").write_text(_SETTINGS.format(apps=apps))
    for app in apps:
        (home / app / "migrations").mkdir(parents=True)
        (home / app / "__init__.py").write_text("")
        (home / app / "migrations" / "__init__.py").write_text("")
        for number in range(1, MIGRATIONS_OF_AN_APP + 1):
            path = home / app / "migrations" / f"{number:04}_step.py"
            path.write_text(_migration(app, number))
        (home / app / "models.py").write_text(_models(app))


def _migration(app: str, number: int) -> str:
    text = _HEAD.format(dependencies=[(app, f"{number - 1:04}_step")] if number > 1 else [])
    parent = f"Model{number - 1}x0"
    for index in range(TABLES_OF_A_MIGRATION):
        reference = _REFERENCE.format(app=app, parent=parent) if number > 1 else ""
        text += _MODEL.format(name=f"Model{number}x{index}", reference=reference)
    if number > 1:
        text += _CHANGES.format(parent=parent, number=number)
    return text + "    ]\n"


def _models(app: str) -> str:
    lines = ["from django.db import models"]
    for number in range(1, MIGRATIONS_OF_AN_APP + 1):
        for index in range(TABLES_OF_A_MIGRATION):
            altered = index == 0 and number < MIGRATIONS_OF_AN_APP
            kind = "BigIntegerField" if altered else "IntegerField"
            lines += [
                f"class Model{number}x{index}(models.Model):",
                "    name = models.CharField(max_length=100, db_index=True)",
                f"    number = models.{kind}(default=0)",
            ]
            if number > 1:
                target = f'"Model{number - 1}x0", models.CASCADE, related_name="+"'
                lines.append(f"    parent = models.ForeignKey({target})")
            if altered:
                lines.append(f"    added{number + 1} = models.TextField(null=True)")
    return "\n".join(lines) + "\n"


# What follows runs in a process of the project.


def apply_first_half(rows: int) -> None:
    """Apply the first half of the plan, and put so many rows into each table that takes them."""
    import django

    django.setup()
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor
    from made_up_rows import fill

    executor = MigrationExecutor(connection)
    targets = executor.loader.graph.leaf_nodes()
    plan = executor.migration_plan(targets)
    executor.migrate(targets, plan[: len(plan) // 2])
    filled, tables = fill(connection, rows)
    print(f"{len(plan) // 2} of {len(plan)} applied, {filled} of {tables} tables filled")


if __name__ == "__main__":
    apply_first_half(int(sys.argv[1]))
