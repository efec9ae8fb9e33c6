"""The imports of a written file are in the order of isort and ruff."""

from __future__ import annotations

import pytest

from django_confiture.dry_run.rewriting.imports import with_sorted_imports
from tests.support.ruff import unsorted_imports

ALL_SECTIONS = """\
from tests.support import databases
from django.utils.timezone import now
from django.db import models
from . import zones
import uuid
from .. import apps
from django.db import migrations
from re import compile as compiled, IGNORECASE, Pattern, sub
import django.db.models.deletion
import tests.cases
from collections import defaultdict
from __future__ import annotations
import datetime as dt, os
from psycopg.types import json, json10, json9
import datetime
from .helpers import *
from .helpers import slug_of
from uuid import uuid4


class Migration(migrations.Migration):
    pass
"""


def test_every_kind_of_import() -> None:
    assert "I001" in unsorted_imports(ALL_SECTIONS)
    source = with_sorted_imports(ALL_SECTIONS)
    assert unsorted_imports(source) == ""
    assert "from django.db import migrations, models\n" in source
    assert source.startswith("from __future__ import annotations\n\nimport datetime\n")
    assert with_sorted_imports(source) == source


@pytest.mark.parametrize(
    "rest", ["STEP = 2\n", "# steps\nSTEP = 2\n", "def f(): ...\n", "@f\ndef g(): ...\n"]
)
@pytest.mark.parametrize("blank", [0, 1, 2, 3])
def test_blank_lines_behind_them(rest: str, blank: int) -> None:
    newlines = "\n" * blank
    assert unsorted_imports(with_sorted_imports(f"import uuid\nimport re\n{newlines}{rest}")) == ""


def test_a_docstring_stays_above() -> None:
    source = '"""Words."""\n\nimport uuid\nimport re\n\nx = 1\n'
    assert with_sorted_imports(source) == '"""Words."""\n\nimport re\nimport uuid\n\nx = 1\n'


@pytest.mark.parametrize(
    "source",
    [
        "x = 1\n",
        '"""Words."""\n',
        # Both give the name datetime, and the last one counts.
        "from datetime import datetime\nimport datetime\n\nx = datetime\n",
        "import uuid as x\nimport re as x\n",
    ],
)
def test_what_has_no_order_stays(source: str) -> None:
    assert with_sorted_imports(source) == source


def test_comments_inside_an_import_stay() -> None:
    source = "import uuid\nfrom re import (  # noqa: F401\n    sub,\n)\nimport abc\n"
    assert with_sorted_imports(source) == (
        "import abc\nimport uuid\nfrom re import (  # noqa: F401\n    sub,\n)\n"
    )
