"""Where a migration and its operations stand in their file."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import indent

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations import Migration, RunSQL
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.models.signals import pre_migrate

from django_confiture.dry_run.results.source_location import locate, shown
from tests.cases.migrations_on_disk import Cases
from tests.management.test_migrate_dryrun import connected, in_json
from tests.support.dry_run import migration

HEAD = "from django.db.migrations import Migration as Base, RunSQL\nnoop = RunSQL('')\n"

Where = Callable[[str], list[str]]


@pytest.fixture
def where(cases: Cases) -> Where:
    """Return what the lines say that operations are found at; ``class`` where at none."""

    def found(source: str) -> list[str]:
        cases.write("0001_case", HEAD + source)
        migration = cases.loaded("0001_case")
        source_of = locate(migration)
        lines = (HEAD + source).splitlines()
        assert source_of.line is not None
        assert lines[source_of.line - 1].startswith("class Migration")
        places = [source_of.of(operation) for operation in migration.operations]
        texts = [" ".join("\n".join(lines[a - 1 : b]).split()) for a, b in places if a and b]
        return ["class" if text.startswith("class") else text for text in texts]

    return found


ONE, TWO = "RunSQL('SELECT 1')", "RunSQL('SELECT 2')"


LIST = f"operations = [\n{ONE},\n]\n"


@pytest.mark.parametrize(
    ("body", "places"),
    [
        (f"operations = [\n{ONE},\n{TWO},\n]", [f"{ONE},", f"{TWO},"]),
        (f"operations = (\n{ONE},\n)", [f"{ONE},"]),
        (f"operations: list = [\n{ONE},\n]", [f"{ONE},"]),
        ("operations = [\nRunSQL(\n'x',\n),\n]", ["RunSQL( 'x', ),"]),
        (f"{LIST}operations += [\n{TWO},\n]", [f"{ONE},", f"{TWO},"]),
        (f"{LIST}operations = operations + [\n{TWO},\n]", [f"{ONE},", f"{TWO},"]),
        (f"{LIST}operations.append(\n{TWO}\n)", [f"{ONE},", TWO]),
        (f"{LIST}operations.extend([\n{TWO},\n])", [f"{ONE},", f"{TWO},"]),
        (f"operations = [\n{ONE},\n] + [\n{TWO},\n]", [f"{ONE},", f"{TWO},"]),
        ("operations = []", []),
    ],
    ids=[
        "list",
        "tuple",
        "annotated",
        "several lines",
        "added to",
        "added",
        "append",
        "extend",
        "concatenated",
        "empty",
    ],
)
def test_what_is_written_in_the_class(where: Where, body: str, places: list[str]) -> None:
    assert where(f"class Migration(Base):\n{indent(body, '    ')}\n") == places


@pytest.mark.parametrize(
    ("before", "listed", "places"),
    [
        ("COMMON = [noop, RunSQL('y')]", "*COMMON", ["*COMMON,"] * 2),
        ("def made():\n    return [noop, RunSQL('y')]", "*made()", ["*made(),"] * 2),
        ("", "*[RunSQL(str(n)) for n in range(2)]", ["*[RunSQL(str(n)) for n in range(2)],"] * 2),
        ("", "noop", ["noop,"]),
        ("def wrapped(each):\n    return each", "wrapped(noop)", ["wrapped(noop),"]),
    ],
    ids=["constant", "helper", "comprehension", "name", "call"],
)
def test_what_comes_from_elsewhere_is_where_it_is_named(
    where: Where, before: str, listed: str, places: list[str]
) -> None:
    source = (
        f"{before}\nclass Migration(Base):\n    operations = [\n        {ONE},\n"
        f"        {listed},\n        {TWO},\n    ]\n"
    )

    assert where(source) == [f"{ONE},", *places, f"{TWO},"]


def test_a_constant_beside_a_helper(where: Where) -> None:
    source = (
        "COMMON = [noop]\ndef made():\n    return [RunSQL('a'), RunSQL('b')]\n"
        "class Migration(Base):\n    operations = [\n        *COMMON,\n        *made(),\n    ]\n"
    )

    assert where(source) == ["*COMMON,", "*made(),", "*made(),"]


def test_two_helpers_cannot_be_told_apart(where: Where) -> None:
    source = (
        "def made():\n    return [RunSQL('a'), RunSQL('b')]\nclass Migration(Base):\n"
        f"    operations = [\n        {ONE},\n        *made(),\n        *made(),\n        {TWO},\n"
        "    ]\n"
    )

    assert where(source) == [f"{ONE},", "class", "class", "class", "class", f"{TWO},"]


def test_a_condition(where: Where) -> None:
    source = (
        f"class Migration(Base):\n    operations = [\n        {ONE},\n    ]\n"
        f"    if True:\n        operations += [{TWO}]\n"
    )

    assert where(source) == [f"{ONE},", f"if True: operations += [{TWO}]"]


def test_a_list_that_was_changed_after_the_class(where: Where) -> None:
    source = (
        f"class Migration(Base):\n    operations = [\n        {ONE},\n    ]\n"
        f"Migration.operations.append({TWO})\n"
    )

    assert where(source) == ["class", "class"]


def test_a_class_that_inherits_its_operations(where: Where) -> None:
    source = f"class Other(Base):\n    operations = [{ONE}]\nclass Migration(Other):\n    pass\n"

    assert where(source) == ["class"]


def test_the_last_class_of_the_name_counts(where: Where) -> None:
    source = (
        f"class Migration(Base):\n    operations = [{ONE}]\n"
        f"class Migration(Base):\n    operations = [\n        {TWO},\n    ]\n"
    )

    assert where(source) == [f"{TWO},"]


def test_a_migration_that_is_in_no_file() -> None:
    found = locate(migration(RunSQL("SELECT 1")))

    assert (found.file, found.line) == (None, None)
    assert found.of(RunSQL("")) == (None, None)


def test_a_class_that_another_module_made(cases: Cases) -> None:
    cases.write("0001_case", HEAD + "Migration = type('Migration', (Base,), {'operations': []})\n")

    found = locate(cases.loaded("0001_case"))

    assert found.file is not None
    assert found.line is None


def test_a_file_that_has_gone(cases: Cases) -> None:
    cases.write("0001_case", HEAD + "class Migration(Base):\n    pass\n")
    loaded = cases.loaded("0001_case")
    (cases.package / "0001_case.py").unlink()

    assert locate(loaded).line is None


def test_paths_are_those_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loose, kept = (tmp_path / name / "backend" / "shop" for name in ("loose", "kept"))
    for directory in loose, kept:
        directory.mkdir(parents=True)
        (directory / "0001.py").touch()
    subprocess.run(["git", "init", "-q", tmp_path / "kept"], check=True)

    monkeypatch.chdir(loose.parent)
    assert shown(loose / "0001.py") == "shop/0001.py"
    assert shown(Path("/nowhere/0001.py")) == "/nowhere/0001.py"
    monkeypatch.chdir(kept.parent)
    assert shown(kept / "0001.py") == "backend/shop/0001.py"


def test_the_report_has_the_places(cases: Cases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cases.package.parent)
    cases.write(
        "0001_case",
        HEAD + f"class Migration(Base):\n    operations = [\n        {ONE},\n    ]\n",
    )

    def insert(*, plan: list[tuple[Migration, bool]], **_: object) -> None:
        ((planned, _backwards),) = plan
        operations: list[Operation] = planned.operations  # type: ignore[assignment]
        operations.insert(0, RunSQL("SELECT 3"))

    with connected(pre_migrate, insert):
        document = in_json()

    (found,) = document["migrations"]
    assert found["file"] == f"{cases.package.name}/0001_case.py"
    assert found["line"] == 3
    assert [(each["line"], each["end_line"]) for each in found["operations"]] == [(3, 3), (5, 5)]
    assert connection.autocommit


def _called(migration: Migration) -> list[tuple[str, list[str]]]:
    """Return each operation's class, and what is called at its lines that is an operation."""
    source = locate(migration)
    assert source.file is not None
    lines = (Path.cwd() / source.file).read_text().splitlines()
    found = []
    for each in migration.operations:
        start, end = source.of(each)
        assert start
        assert end
        called = re.findall(r"(?:migrations\.|\b)(\w+)\(", "\n".join(lines[start - 1 : end]))
        known = {kind.__name__ for kind in map(type, migration.operations)}
        found.append((type(each).__name__, [name for name in called if name in known]))
    return found


def test_every_operation_of_the_demo() -> None:
    disk = MigrationLoader(None).disk_migrations
    shop = {name: each for (app, name), each in disk.items() if app == "shop"}
    assert len(shop) >= 10
    for name, each in shop.items():
        for operation, called in _called(each):
            assert called == [operation], name


def test_a_squashed_migration(cases: Cases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cases.package.parent)
    head = "from django.db import migrations, models\n\n\nclass Migration(migrations.Migration):\n"
    fields = "[('id', models.AutoField(primary_key=True))]"
    cases.write(
        "0001_row",
        f"{head}    operations = [\n        migrations.CreateModel('Row', {fields}),\n"
        "        migrations.RunSQL('SELECT 1', elidable=False),\n    ]\n",
    )
    cases.write(
        "0002_more",
        f"{head}    dependencies = [('cases', '0001_row')]\n    operations = [\n"
        "        migrations.RunSQL('SELECT 2'),\n"
        "        migrations.AddField('Row', 'number', models.IntegerField(null=True)),\n    ]\n",
    )
    call_command("squashmigrations", "cases", "0002", interactive=False, verbosity=0)
    importlib.invalidate_caches()

    (found,) = in_json("cases")["migrations"]

    assert found["name"] == "0001_squashed_0002_more"
    called = _called(cases.loaded(found["name"]))
    assert [name for name, _called in called] == ["CreateModel", "RunSQL", "RunSQL", "AddField"]
    assert all([operation] == each for operation, each in called)
    text = (cases.package / "0001_squashed_0002_more.py").read_text().splitlines()
    starts = [text[each["line"] - 1].strip() for each in found["operations"]]
    assert [start.split("(")[0] for start in starts] == [
        "migrations.CreateModel",
        "migrations.RunSQL",
        "migrations.RunSQL",
        "migrations.AddField",
    ]


def test_what_did_not_run_has_a_place_too(cases: Cases) -> None:
    cases.add("0001_fails", RunSQL("SELECT 1 / 0"))
    cases.add("0002_never", RunSQL("SELECT 1"))

    document = in_json(code=1)

    assert document["migrations"][1]["line"] == 7


def test_a_module_without_its_source(cases: Cases, monkeypatch: pytest.MonkeyPatch) -> None:
    cases.write("0001_case", HEAD + "class Migration(Base):\n    pass\n")
    loaded = cases.loaded("0001_case")
    module = sys.modules[type(loaded).__module__]
    monkeypatch.setattr(module, "__file__", "0001_case.pyc")

    assert locate(loaded).file is None
