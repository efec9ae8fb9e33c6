"""Code whose names come from other modules, those beside the migration included."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db.migrations import RunPython

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.rewriting.source import snippet
from django_confiture.dry_run.sql.parsing.parser import parse

FACTS = Facts("shop", keys={"t": "id"})
HELPERS = """
import os.path
PREFIX = "P-"
SETTINGS = object()
def code_of(sku): return PREFIX + sku
"""
FILL = """
def fill(apps, schema_editor):
    Product = apps.get_model("shop", "Product")
    for product in Product.objects.filter(code=None):
        product.code = %s
        product.save(update_fields=["code"])
"""
Made = Callable[[str], Any]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    """Return how to make a migration's function, which stands beside ``_helpers.py``."""
    package = tmp_path / "bakery" / "migrations"
    package.mkdir(parents=True)
    for directory in (package, package.parent):
        (directory / "__init__.py").touch()
    (package / "_helpers.py").write_text(HELPERS)
    (package / "0001_initial.py").write_text(HELPERS)
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(source: str) -> Any:
        (package / "0002_fill.py").write_text(source)
        return importlib.import_module("bakery.migrations.0002_fill").fill

    yield make
    for each in [name for name in sys.modules if name.partition(".")[0] == "bakery"]:
        del sys.modules[each]


def _of(function: Any) -> Rewriting | NotRewritten:
    sql = "SELECT id FROM t; UPDATE t SET code = 'x' WHERE id = 1"
    return rewriting_of(RunPython(function), parse(sql, placeholders=False), FACTS)


@pytest.mark.parametrize(
    ("imported", "value", "written"),
    [
        (
            "from ._helpers import code_of",
            "code_of(product.sku)",
            ["from bakery.migrations._helpers import code_of"],
        ),
        (
            "from ._helpers import PREFIX as SHORT, code_of",
            "SHORT + product.sku",
            ["from bakery.migrations._helpers import PREFIX as SHORT"],
        ),
        (
            "from . import _helpers",
            "_helpers.code_of(product.sku)",
            ["from bakery.migrations import _helpers"],
        ),
        (
            "from bakery.migrations._helpers import *",
            "code_of(product.sku)",
            ["from bakery.migrations._helpers import code_of"],
        ),
        (
            "from django.conf import settings",
            "settings.LANGUAGE_CODE",
            ["from django.conf import settings"],
        ),
        (
            "import os.path\nimport os\nimport importlib.util as found",
            "os.path.join(product.sku, found.MAGIC_NUMBER)",
            ["import importlib.util as found", "import os", "import os.path"],
        ),
        (
            """
try:
    from nowhere import code_of
except ImportError:
    from ._helpers import code_of
""",
            "code_of(product.sku)",
            ["from bakery.migrations._helpers import code_of"],
        ),
    ],
)
def test_imports_stay_as_they_are(
    made: Made, imported: str, value: str, written: list[str]
) -> None:
    new = _of(made(imported + FILL % value))
    assert isinstance(new, Rewriting)
    lines = snippet(new.files).split("def ")[0].splitlines()
    djangos = "from django.db import"
    assert [e for e in lines if "import" in e and not e.startswith(djangos)] == sorted(written)


@pytest.mark.parametrize(
    "defined",
    [
        "code_of = __import__('importlib').import_module('bakery.migrations.0001_initial').code_of",
        "from bakery.migrations._helpers import SETTINGS\ncode_of = (SETTINGS,)[0].__str__",
        "from ._helpers import code_of\ndef code_of(sku, code_of=code_of): return code_of(sku)",
        "class code_of:\n    pass",
    ],
)
def test_what_no_import_gives_is_refused(made: Made, defined: str) -> None:
    new = _of(made(defined + FILL % "str(code_of).strip(product.sku)"))
    assert isinstance(new, NotRewritten)
    assert new.reason == "its code needs code_of"
