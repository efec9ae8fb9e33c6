"""The printed code of a migration whose file has functions of its own."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

from django.core.management import call_command
from django.db import migrations, models

from tests.cases.migrations_on_disk import Cases
from tests.support.shipped_hooks import execute

SOURCE = """
from django.db import migrations, models


def own_code():
    return "x"


class Migration(migrations.Migration):
    dependencies = [("cases", "0001_fruit")]
    operations = [
        migrations.AddField("fruit", "code", models.CharField({options})),
    ]
"""
TABLE = migrations.CreateModel("Fruit", [("id", models.BigAutoField(primary_key=True))])


def advice(cases: Cases, options: str) -> dict[str, str]:
    """Return what a dry run advises for each finding of a field with these options."""
    cases.add("0001_fruit", TABLE)
    cases.migrate()
    execute("INSERT INTO cases_fruit SELECT generate_series(1, 20000)")
    cases.write("0002_code", SOURCE.format(options=options))
    out = StringIO()
    call_command("migrate_dryrun", "cases", format="json", stdout=out, stderr=StringIO())
    (migration,) = json.loads(out.getvalue())["migrations"]
    found: list[dict[str, Any]] = migration["findings"]
    return {each["id"]: each["advice"] for each in found}


def test_a_function_of_the_file_can_not_be_imported_so_there_are_words(cases: Cases) -> None:
    said = advice(cases, "max_length=9, default=own_code, db_index=True")
    assert (
        "There is no code for the operation: it needs a function of a migration's file"
        in (said["index-build-blocks-writes"])
    )


def test_a_constant_of_the_file_is_written_as_its_value(cases: Cases) -> None:
    said = advice(cases, "max_length=9, default=own_code(), db_index=True")
    assert "migrations.AddField(" in said["index-build-blocks-writes"]
    compile(said["index-build-blocks-writes"], "advice", "exec")
