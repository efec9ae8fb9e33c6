"""The advice for a renamed field, followed as a user would: the model, then ``makemigrations``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.dry_run import parameters, plain_connection
from tests.support.paths import ROOT

NAME = f"confiture_renames_{os.getpid()}"
SETTINGS = """
INSTALLED_APPS = ["django.contrib.contenttypes", "django_confiture", "shop"]
SECRET_KEY = "renames"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CONFITURE = {{"MIGRATE": {{"LOCK_TIMEOUT": "2s"}}}}
DATABASES = {{"default": {{"ENGINE": "django.db.backends.postgresql", **{database!r}}}}}
"""
COMMANDS = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
from django.core.management import call_command
django.setup()
for line in sys.argv[1:]:
    try:
        call_command(*line.split())
    except SystemExit as error:  # 1: the dry run found a danger
        assert error.code in (0, 1)
        assert line.startswith("migrate_dryrun")
"""
MODELS = """
from django.db import models


class Customer(models.Model):
    name = models.CharField(max_length=20)


class Order(models.Model):
    {text} = models.CharField(max_length=20, db_index=True{text_column})
    {key} = models.ForeignKey(Customer, models.CASCADE, null=True{key_column})

    class Meta:
        indexes = [models.Index(fields=["{text}", "{key}"], name="shop_order_both")]
        constraints = [models.UniqueConstraint(fields=["{key}", "{text}"], name="shop_order_one")]
"""
BEFORE = MODELS.format(text="note", key="customer", text_column="", key_column="")
NAIVE = MODELS.format(text="remark", key="buyer", text_column="", key_column="")
ADVISED = MODELS.format(
    text="remark",
    key="buyer",
    text_column=', db_column="note"',
    key_column=', db_column="customer_id"',
)


@pytest.fixture
def project(tmp_path: Path, both_databases: None) -> Iterator[Path]:
    """Make a project of one app with its own database, and nothing in either."""
    with plain_connection() as connection:
        connection.execute(f"CREATE DATABASE {NAME}")
    known = {key.upper(): value for key, value in parameters().items() if key != "dbname"}
    (tmp_path / "settings.py").write_text(SETTINGS.format(database={**known, "NAME": NAME}))
    (tmp_path / "commands.py").write_text(COMMANDS)
    (tmp_path / "shop/migrations").mkdir(parents=True)
    (tmp_path / "shop/__init__.py").write_text("")
    (tmp_path / "shop/migrations/__init__.py").write_text("")
    yield tmp_path
    with plain_connection() as connection:
        connection.execute(f"DROP DATABASE {NAME} WITH (FORCE)")


def run(project: Path, models: str, *commands: str) -> str:
    """Run commands with these models, and say yes to each question; return what they print."""
    (project / "shop/models.py").write_text(models)
    environment = {**os.environ, "PYTHONPATH": f"{project}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-B", "commands.py", *commands],
        cwd=project,
        env=environment,
        input="y\n" * 9,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def findings(output: str) -> list[dict[str, Any]]:
    document = json.loads(output[output.index("{") :])
    assert document["outcome"] == "passed"
    return [each for m in document["migrations"] for each in m["findings"]]


def everything() -> list[Any]:
    """Return what the tables are, and what is in them."""
    with psycopg.connect(**{**parameters(), "dbname": NAME}, autocommit=True) as observer:
        return [
            observer.execute(query).fetchall()
            for query in (
                (
                    "SELECT attname, atttypid FROM pg_attribute"
                    " WHERE attrelid = 'shop_order'::regclass AND attnum > 0 ORDER BY attnum"
                ),
                (
                    "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
                    " WHERE indrelid = 'shop_order'::regclass ORDER BY 1"
                ),
                (
                    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
                    " WHERE conrelid = 'shop_order'::regclass ORDER BY 1"
                ),
                "SELECT * FROM shop_order ORDER BY id",
            )
        ]


def test_a_field_is_renamed_as_the_advice_says(project: Path) -> None:
    run(project, BEFORE, "makemigrations shop", "migrate -v 0")
    with psycopg.connect(**{**parameters(), "dbname": NAME}, autocommit=True) as writer:
        writer.execute("INSERT INTO shop_customer VALUES (1, 'one')")
        writer.execute("INSERT INTO shop_order VALUES (1, 'text', 1)")
    before = everything()

    dry_run = "migrate_dryrun shop --format json"
    harmful = findings(run(project, NAIVE, "makemigrations shop -n naive -v 0", dry_run))
    (renamed,) = (
        each["advice"]
        for each in harmful
        if (each["id"], each["relation"]) == ("running-code-breaks", "shop_order")
    )
    assert "db_column set to the old name" in renamed
    assert "operations into state_operations of a SeparateDatabaseAndState" in renamed

    (project / "shop/migrations/0002_naive.py").unlink()
    run(project, ADVISED, "makemigrations shop -n advised -v 0")
    edit(project / "shop/migrations/0002_advised.py")
    assert findings(run(project, ADVISED, dry_run, "migrate -v 0")) == []
    run(project, ADVISED, "makemigrations --check", "confiture_drift")
    assert everything() == before


def edit(migration: Path) -> None:
    """Put what removes and adds indexes and constraints into the state, as the advice says."""
    source = migration.read_text()
    found = re.findall(r"migrations\.(?:Add|Remove)(?:Index|Constraint)", source)
    assert len(found) == 4
    operation = r"( {8}migrations\.(?:Add|Remove)(?:Index|Constraint)\(\n.*?\n {8}\),\n)"
    state = r"        migrations.SeparateDatabaseAndState(state_operations=[\n\1        ]),\n"
    migration.write_text(re.sub(operation, state, source, flags=re.S))
