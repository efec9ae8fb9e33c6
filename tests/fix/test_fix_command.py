"""``confiture_fix``: what it fixes is migrated for real, and what it refuses is left alone."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import models
from django.db.migrations import (
    AddField,
    AddIndex,
    AlterField,
    CreateModel,
    RemoveField,
    RunPython,
    RunSQL,
)
from django.test import override_settings

from django_confiture.fix.files.writing import WouldOverwrite, write_files
from django_confiture.fix.outcomes import FixedFile
from tests.cases.migrations_on_disk import Cases, query
from tests.fix.running import SETTINGS, fix, forget_modules, offered, outcomes
from tests.fix.unsteady_code import unsteady
from tests.support.dry_run import fingerprint, plain_connection
from tests.support.ruff import unsorted_imports

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

FILL = """
    INSERT INTO cases_customer (name) SELECT i::text FROM generate_series(1, 500) i;
    INSERT INTO cases_order (total, note) SELECT i, NULL FROM generate_series(1, 20000) i;
"""


def _key() -> tuple[str, models.Field[Any, Any]]:
    return "id", models.BigAutoField(primary_key=True)


@pytest.fixture
def shop(cases: Cases) -> Cases:
    """Give two tables with rows."""
    cases.add(
        "0001_shop",
        CreateModel("Customer", [_key(), ("name", models.CharField(max_length=9))]),
        CreateModel("Order", [_key(), ("total", models.IntegerField()),
                              ("note", models.TextField(null=True))]),
        RunSQL(FILL, RunSQL.noop),
    )  # fmt: skip
    cases.migrate()
    return cases


def end() -> tuple[Any, ...]:
    with plain_connection() as observer:
        found = fingerprint(observer)
        indexes = query(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid"
            " FROM pg_index WHERE indrelid::regclass::text ~ '^cases_' ORDER BY 1"
        )
    rows = {key: value for key, value in found.items() if "public.cases_" in key}
    return sorted(found["columns"]), sorted(found["constraints"]), indexes, rows


HARMFUL = [
    AddField("order", "customer", models.ForeignKey("cases.Customer", models.CASCADE, null=True)),
    AddField("customer", "age", models.IntegerField(null=True)),
    AlterField("order", "note", models.TextField(default="none")),
    AddIndex("order", models.Index(fields=["total"], name="cases_order_total")),
]


def test_the_files_migrate_to_what_the_original_makes(shop: Cases) -> None:
    shop.add("0002_more", *HARMFUL)
    shop.migrate()
    wanted = end()
    shop.migrate("0001_shop")
    with plain_connection() as observer:
        observer.execute("UPDATE cases_order SET note = NULL")

    code, document = fix("0002", "--write")

    assert (code, outcomes(document)) == (0, ["fixed", "kept", "fixed", "fixed"])
    proof = document["proof"]
    assert all(proof[f"{what}_equal"] for what in ("schema", "state", "rows"))
    assert proof["reversible"]
    assert proof["dangers_before"] >= 3
    assert proof["dangers_after"] == 0
    names = [each["name"] for each in document["files"]]
    assert names[-1] == "0002_more"
    written = {path.stem for path in shop.package.glob("0002*.py")}
    assert written == set(names)
    forget_modules(shop)
    shop.migrate("0002_more")  # by the name that whatever depends on it knows
    assert end() == wanted
    call_command("confiture_drift", stdout=StringIO())  # exits with 1 where it finds something
    shop.migrate("0001_shop")
    assert shop.applied() == {"0001_shop"}


def test_without_write_it_prints_the_files(shop: Cases) -> None:
    shop.add("0002_more", HARMFUL[3])
    before = {path.name: path.read_text() for path in shop.package.glob("*.py")}
    out = StringIO()
    with override_settings(CONFITURE=SETTINGS):
        call_command("confiture_fix", "cases", "0002", stdout=out)
    assert {path.name: path.read_text() for path in shop.package.glob("*.py")} == before
    assert "AddIndexConcurrently" in out.getvalue()
    assert "atomic = False" in out.getvalue()
    assert "Schema equal, models equal, rows equal; reversible as before." in out.getvalue()


def test_nothing_to_fix(shop: Cases) -> None:
    shop.add("0002_more", HARMFUL[1])
    code, document = fix("0002")
    assert (code, outcomes(document), document["files"]) == (1, ["kept"], [])
    assert document["proof"] is None


def test_what_has_no_recipe_is_refused_and_the_rest_is_fixed(shop: Cases) -> None:
    shop.add("0002_more", AlterField("order", "total", models.BigIntegerField()), HARMFUL[3])
    code, document = fix("0002")
    assert (code, outcomes(document)) == (0, ["refused", "fixed"])
    refused = document["operations"][0]
    assert refused["finding"] == "type-change-rewrite"
    assert "two releases" in refused["reason"]


def test_what_running_code_still_loses_is_named(shop: Cases) -> None:
    shop.add("0002_more", HARMFUL[3], RemoveField("order", "note"))
    code, document = fix("0002")
    assert (code, outcomes(document)) == (0, ["fixed", "refused"])
    proof = document["proof"]
    left = proof["running_code_breaks_left"]
    assert len(left) == proof["running_code_breaks_after"] == 3
    assert {(each["model"], each["action"]) for each in left} == {
        ("cases.Order", action) for action in ("select", "insert", "update")
    }
    for each in left:
        assert each["file"] == "0002_more"
        assert each["operations"] == [1]
        assert each["reason"] == "2. Remove field note from order is refused, and stays as it is"
        assert 'column "note"' in each["error"] or "note does not exist" in each["error"]


def test_a_whole_name_is_no_beginning(shop: Cases) -> None:
    shop.add("0002_more", HARMFUL[3])
    shop.add("0002_more_again", HARMFUL[1])
    assert fix("0002_more")[0] == 0
    with pytest.raises(CommandError, match="More than one migration matches '0002_m'"):
        fix("0002_m")


def test_two_releases_are_not_offered_where_they_do_not_help(shop: Cases) -> None:
    smaller = models.DecimalField(max_digits=3, decimal_places=2, null=True)
    shop.add("0002_more", RemoveField("order", "total"), AddField("order", "total", smaller))
    _code, document = fix("0002")
    reasons = [each["reason"] or "" for each in document["operations"]]
    assert "numeric field overflow" in reasons[1]
    assert "It takes the name of a field that the same migration removes" in reasons[1]
    assert "--releases 2" not in " ".join(reasons)


def test_a_field_in_the_place_of_another_is_not_taken_apart(shop: Cases) -> None:
    smaller = models.DecimalField(max_digits=3, decimal_places=2, default=0)
    shop.add("0002_more", RemoveField("order", "total"), AddField("order", "total", smaller))
    code, document = fix("0002", "--releases", "2")
    assert (code, outcomes(document)) == (1, ["kept", "refused"])
    assert "takes the name of a field" in document["operations"][1]["reason"]


def test_code_of_the_file_goes_with_its_operation(shop: Cases) -> None:
    shop.write("0002_more", OWN_CODE)
    code, document = fix("0002")
    assert (code, outcomes(document)) == (0, ["fixed", "kept"])
    first, last = (each["source"] for each in document["files"])
    assert "def fill" not in first
    assert last.startswith('"""What it is for."""\n')
    for text in ("from math import floor\n", "STEP = 2  # orders\n", "    # once\n"):
        assert text in last
    assert "ceil" not in last
    assert "migrations.RunPython(fill, lambda *args: None),  # by hand\n" in last


def test_imports_are_in_the_order_of_ruff(shop: Cases) -> None:
    source = OWN_CODE.replace(
        "from math",
        "from tests.support.dry_run import fingerprint\nfrom django.conf import settings\n"
        "import re\nfrom math",
    )
    shop.write("0002_more", source.replace("floor(STEP)", "fingerprint, settings, re, floor(STEP)"))
    code, document = fix("0002")
    assert code == 0
    last = document["files"][-1]["source"]
    for each in ("import re\n", "import floor\n", "import fingerprint\n", "import settings\n"):
        assert each in last
    assert [unsorted_imports(each["source"]) for each in document["files"]] == ["", ""]


OWN_CODE = """
'''What it is for.'''
from math import ceil, floor

from django.db import migrations, models

STEP = 2  # orders


def fill(apps, schema_editor):
    floor(STEP)


class Migration(migrations.Migration):
    dependencies = [("cases", "0001_shop")]
    operations = [
        migrations.AddIndex("order", models.Index(fields=["total"], name="cases_order_total")),
        # once
        migrations.RunPython(fill, lambda *args: None),  # by hand
    ]
""".replace("'''", '"""')


@pytest.mark.parametrize(
    ("above", "attributes", "reason"),
    [
        ("", "initial = True", "it says initial = True"),
        ("", "def apply(self, *args): pass", "its class has its own apply"),
        ("class Own(migrations.Migration):\n    pass\n", "", "its class is derived from Own"),
        ("if True:\n    class Migration: pass\n", "", ""),
    ],
)
def test_a_class_of_its_own_stays_in_one_file(
    shop: Cases, above: str, attributes: str, reason: str
) -> None:
    source = OWN_CODE.replace("class Migration", f"{above}\n\nclass Migration")
    source = source.replace("    dependencies", f"    {attributes}\n    dependencies")
    if "Own" in above:
        source = source.replace("Migration(migrations.Migration)", "Migration(Own)")
    shop.write("0002_more", source)
    code, document = fix("0002")
    assert (code, outcomes(document)) == ((1, ["refused", "refused"]) if reason else (0, FIXED))
    assert reason in (document["operations"][0]["reason"] or "")


FIXED = ["fixed", "kept"]
ATTRIBUTES = """
    # asked by the deploy script
    owner = f"team-{floor(1.5)}"

    def window(self):
        return range(2, 4)
"""


def test_each_file_has_the_attributes_of_the_class(shop: Cases) -> None:
    shop.write("0002_more", OWN_CODE.replace("    dependencies", f"{ATTRIBUTES}\n    dependencies"))
    code, document = fix("0002")
    assert (code, outcomes(document)) == (0, ["fixed", "kept"])
    for each in document["files"]:
        assert ATTRIBUTES.strip() in each["source"]
        assert "from math import floor\n" in each["source"]


def test_a_migration_that_fails_is_refused(shop: Cases) -> None:
    shop.add("0002_more", HARMFUL[3], RunSQL("SELECT 1 / 0"))
    code, document = fix("0002")
    assert code == 1
    assert "it fails: division by zero" in document["operations"][0]["reason"]


def test_what_a_database_has_applied_is_refused(shop: Cases) -> None:
    shop.add("0002_more", HARMFUL[3])
    code, document = fix("0002", "--applied-elsewhere")
    assert code == 1
    assert "applied elsewhere" in document["operations"][0]["reason"]
    shop.migrate()
    code, document = fix("0002")
    assert code == 1
    assert "the database 'default' has applied it" in document["operations"][0]["reason"]


def test_a_squashed_migration_stays_in_one_file(shop: Cases) -> None:
    replaced = '    replaces = [("cases", "0002_a")]\n    dependencies'
    shop.write("0002_more", OWN_CODE.replace("    dependencies", replaced))
    code, document = fix("0002_more")
    assert (code, outcomes(document)) == (1, ["refused", "refused"])
    assert "it replaces other migrations (squashed)" in document["operations"][0]["reason"]


def test_a_migration_that_a_squashed_one_replaces_stays_in_one_file(shop: Cases) -> None:
    shop.write("0002_more", OWN_CODE)
    replaces = 'replaces = [("cases", "0001_shop"), ("cases", "0002_more")]'
    before = 'dependencies = [("cases", "0001_shop")]'
    shop.write("0001_squashed_0002_more", OWN_CODE.replace(before, replaces))
    code, document = fix("0002_more")
    assert (code, outcomes(document)) == (1, ["refused", "refused"])
    reason = document["operations"][0]["reason"]
    assert reason.startswith("cases.0001_squashed_0002_more replaces it (squashed), and would not")
    assert not offered()


def test_no_file_is_overwritten(shop: Cases) -> None:
    shop.add("0002_more", HARMFUL[0])
    _code, document = fix("0002")
    first = shop.package / f"{document['files'][0]['name']}.py"
    first.write_text("mine")
    files = [FixedFile(each["name"], each["source"]) for each in document["files"]]
    with pytest.raises(WouldOverwrite, match=first.name):
        write_files(shop.package, files)
    assert first.read_text() == "mine"
    first.unlink()


@pytest.mark.parametrize(
    ("installed", "settings", "formatter"),
    [
        (["ruff"], "", "ruff"),
        (["ruff"], "[tool.black]\n", "ruff"),
        (["black"], "[tool.ruff]\n", "black"),
        (["ruff", "black"], "[tool.ruff]\nlint.select = []\n", "ruff"),
        (["ruff", "black"], "[tool.ruff]\n[tool.black]\nline-length = 79\n", "black"),
    ],
)
def test_files_are_formatted_as_the_project_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    installed: list[str],
    settings: str,
    formatter: str,
) -> None:
    programs, migrations, told = tmp_path / "bin", tmp_path / "shop", tmp_path / "told"
    programs.mkdir()
    migrations.mkdir()
    (tmp_path / "pyproject.toml").write_text(settings)
    for each in installed:
        (programs / each).write_text(f'#!/bin/sh\necho "{each} $@" > {told}\n')
        (programs / each).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    (written,) = write_files(migrations, [FixedFile("0002_more", "x  =  1\n")])
    options = {"ruff": "format --quiet", "black": "--fast --"}[formatter]
    assert told.read_text() == f"{formatter} {options} {written}\n"


def test_what_can_not_be_loaded_again_is_refused_with_the_reason(shop: Cases) -> None:
    once = "    once = 1 / ('proposed' not in __name__)\n    dependencies"
    shop.write("0002_more", OWN_CODE.replace("    dependencies", once))
    code, document = fix("0002")
    assert (code, outcomes(document)) == (1, ["refused", "refused"])
    for each in document["operations"]:
        assert each["reason"] == "what it would become can't be loaded: division by zero"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("0009", "Cannot find a migration matching '0009' from app 'cases'. The last one is "),
        ("000", "More than one migration matches '000' in app 'cases'. Please be more specific. "),
    ],
)
def test_a_wrong_name_is_said(shop: Cases, name: str, says: str) -> None:
    shop.add("0002_more", HARMFUL[3])
    with pytest.raises(CommandError, match=says) as caught:
        fix(name)
    assert caught.value.returncode == 2


def test_columns_that_vary_from_run_to_run_are_not_compared(shop: Cases) -> None:
    shop.add("0002_more", RunPython(unsteady, RunPython.noop), HARMFUL[3])
    code, document = fix("0002")
    assert code == 0
    assert document["proof"]["rows_equal"]
    assert document["proof"]["not_compared"] == ['"public"."cases_order".total']


def test_rows_that_differ_fail_the_proof(shop: Cases) -> None:
    """A migration that does as it should when it is first rehearsed, and later does not."""
    shop.write("0002_more", ONCE)
    before = {path.name for path in shop.package.glob("*.py")}
    code, document = fix("0002", "--write")
    assert code == 5
    assert document["proof"]["rows_equal"] is False
    assert 'the rows of "public"."cases_order" differ' in document["proof"]["differences"]
    assert {path.name for path in shop.package.glob("*.py")} == before


def test_the_case_to_report_has_no_names(shop: Cases) -> None:
    shop.write("0002_more", ONCE)
    code, out = printed("cases", "0002")
    assert code == 5
    assert "Please report it: manage.py confiture_fix cases 0002_more --reduced-case" in out
    forget_modules(shop)
    code, out = printed("cases", "0002", "--reduced-case")
    assert code == 5
    assert "  AddIndex: index-build-blocks-writes\n    CREATE INDEX " in out
    assert "rows_equal: False" in out
    assert "  the rows of public.name2 differ" in out
    assert not re.search("cases_order|cases_customer|total", out), out


def test_what_holds_has_nothing_to_report(shop: Cases) -> None:
    shop.add("0002_more", HARMFUL[3])
    code, out = printed("cases", "0002", "--reduced-case")
    assert (code, out) == (0, "cases.0002_more has nothing to report: its proof holds.\n")


ONCE = """
from django.db import migrations, models

from tests.fix.unsteady_code import only_first


class Migration(migrations.Migration):
    dependencies = [("cases", "0001_shop")]
    operations = [
        migrations.RunPython(only_first(__name__), migrations.RunPython.noop),
        migrations.AddIndex("order", models.Index(fields=["total"], name="cases_order_total")),
    ]
"""


LOST = """
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("cases", "0009_nowhere")]
"""


def test_migrations_that_do_not_load_are_one_line(shop: Cases) -> None:
    shop.write("0002_lost", LOST)
    with pytest.raises(CommandError, match="nonexistent parent node") as caught:
        fix("0002")
    assert caught.value.returncode == 2


def printed(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        with override_settings(CONFITURE=SETTINGS):
            call_command("confiture_fix", *arguments, stdout=out, no_color=True)
    except SystemExit as error:
        return int(error.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_without_a_migration_it_takes_what_is_pending(shop: Cases) -> None:
    shop.add("0002_more", HARMFUL[3])
    shop.add("0003_quiet", HARMFUL[1])
    shop.add("0004_note", HARMFUL[2])
    before = {path.name for path in shop.package.glob("*.py")}
    code, out = printed("cases", "--check")
    assert code == 1
    assert "Can be fixed, with --write: cases.0002_more and cases.0004_note. 1 migr" in out
    assert "class Migration" not in out
    assert {path.name for path in shop.package.glob("*.py")} == before
    code, out = printed("cases", "--write")
    assert code == 0
    assert "# Written: 0004_note.py" in out
    assert "Fixed: cases.0002_more and cases.0004_note. 1 migration stays as it is." in out
    forget_modules(shop)
    shop.migrate()
    assert {"0002_more", "0003_quiet", "0004_note"} < shop.applied()
    assert printed("cases", "--check") == (0, "No migration of this project is pending here.\n")
    assert printed("cases")[0] == 1
    shop.migrate("0001_shop")


def test_json_of_what_is_pending(shop: Cases) -> None:
    shop.add("0002_more", HARMFUL[1])
    code, out = printed("cases", "--format", "json")
    assert code == 1
    assert [each["migration"] for each in json.loads(out)["fixes"]] == ["cases.0002_more"]


def test_a_comment_for_the_pull_request(shop: Cases) -> None:
    shop.add("0002_more", AlterField("order", "total", models.CharField(max_length=9)), HARMFUL[3])
    code, out = printed("cases", "0002", "--format", "markdown")
    assert code == 0
    assert out.startswith("### cases.0002_more\n\nIt blocks others for ")
    assert "stays as it is: it changes the type of total" in out
    assert "0002_1_more_unchanged.py</code></summary>" in out
    assert "```suggestion" not in out


def test_a_review_for_github_suggests_the_lines_that_change(shop: Cases) -> None:
    shop.write("0002_more", OWN_CODE)
    shop.write(
        "0003_quiet",
        OWN_CODE.replace("0001_shop", "0002_more").replace(
            'AddIndex("order", models.Index(fields=["total"], name="cases_order_total"))',
            'AddField("order", "more", models.IntegerField(null=True))',
        ),
    )
    (shop.package / ".git").mkdir()  # where its repository begins
    code, out = printed("cases", "--format", "github")
    assert code == 0
    review = json.loads(out)
    assert review["event"] == "COMMENT"
    assert review["body"].startswith("### cases.0003_quiet\n")
    (comment,) = review["comments"]
    assert (comment["path"], comment["side"]) == ("0002_more.py", "RIGHT")
    suggested = comment["body"].partition("```suggestion\n")[2].partition("\n```")[0].split("\n")
    lines = (shop.package / "0002_more.py").read_text().splitlines()
    lines[comment["start_line"] - 1 : comment["line"]] = suggested
    _code, document = fix("0002")
    assert lines == document["files"][-1]["source"].splitlines()
    # What stays is not in it.
    assert "    # once" not in suggested
    assert comment["line"] < len(lines)


def test_since_needs_a_revision_that_git_knows(shop: Cases) -> None:
    shop.add("0002_more", HARMFUL[3])
    with pytest.raises(CommandError, match="git knows no such commit") as caught:
        printed("--since", "nowhere")
    assert caught.value.returncode == 2


def test_arguments_that_do_not_fit_together(shop: Cases) -> None:
    shop.add("0002_more", HARMFUL[3])
    shop.add("0002_some", HARMFUL[1])
    for arguments, said in (
        (
            ("0002",),
            "in app 'cases'. Please be more specific. They are 0002_more and 0002_some.",
        ),
        (
            ("0002_more", "--since", "main"),
            "--since takes all that a branch adds: leave it out, or",
        ),
        (
            ("--override", "x.y"),
            "--override needs the migration: manage.py confiture_fix APP_LABEL",
        ),
    ):
        with pytest.raises(CommandError, match=re.escape(said)) as caught:
            printed("cases", *arguments)
        assert caught.value.returncode == 2


def test_an_app_without_migrations(shop: Cases) -> None:
    with pytest.raises(CommandError, match="label 'postgres' has migrations") as caught:
        printed("postgres")
    assert caught.value.returncode == 2
