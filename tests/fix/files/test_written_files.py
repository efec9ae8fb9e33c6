"""A migration file taken apart: its operations, and the code that they need."""

from __future__ import annotations

from pathlib import Path

from django_confiture.fix.files.written_files import WrittenFile, read_written

SOURCE = """
from __future__ import annotations
from math import ceil, floor

try:
    import json
except ImportError:
    def json(): ...


def twice(function):
    return function


# In steps
@twice
def fill(apps, schema_editor):
    floor(json)


class Migration(migrations.Migration):
    operations = [One(), Two()]
"""


def written(tmp_path: Path, source: str) -> WrittenFile | None:
    path = tmp_path / "0001_it.py"
    path.write_text(source)
    return read_written(path)


def test_operations_on_one_line_are_written_on_lines_of_their_own(tmp_path: Path) -> None:
    file = written(tmp_path, SOURCE)
    assert file is not None
    assert [file.operation(i) for i in (0, 1)] == ["        One(),\n", "        Two(),\n"]


def test_code_brings_what_it_needs(tmp_path: Path) -> None:
    file = written(tmp_path, SOURCE)
    assert file is not None
    imports, code = file.needed_by({"fill"})
    assert imports == ["from __future__ import annotations", "from math import floor"]
    assert "# In steps\n@twice\ndef fill(" in code
    assert "def twice(" in code
    assert "try:\n    import json\n" in code
    assert file.needed_by({"elsewhere"}) == ([], "")


def test_a_file_without_one_class_of_migrations_is_left_whole(tmp_path: Path) -> None:
    assert written(tmp_path, "Migration = make()\n") is None


def test_operations_that_are_not_one_list(tmp_path: Path) -> None:
    file = written(tmp_path, SOURCE.replace("[One(), Two()]", "[One(), *more]"))
    assert file is not None
    assert file.operations == []


def test_attributes_with_and_without_a_type_go_with_the_class(tmp_path: Path) -> None:
    source = SOURCE.replace(
        "    operations", "    owner: str = 'a'\n    team = 'b'\n    operations"
    )
    file = written(tmp_path, source)
    assert file is not None
    assert "    owner: str = 'a'\n    team = 'b'" in file.own_attributes()
    assert "operations" not in file.own_attributes()


EFFECTS = """
import crm.lookups
import django.utils.timezone
from django.db import migrations
from django.db.models import CharField
from django.db.models.functions import Length
from shop.constants import *
from shop.texts import short

NAMES = {}
NAMES["a"] = short
LIST = []
LIST.append(1)
for name in ("b", "c"):
    NAMES[name] = LIST
CharField.register_lookup(Length)


@CharField.register_lookup
class Shout(Length):
    lookup_name = "shout"


def fill(apps, schema_editor):
    print(NAMES)


class Migration(migrations.Migration):
    operations = [One(django)]
"""


def test_what_a_module_does_to_others_goes_with_all_code(tmp_path: Path) -> None:
    file = written(tmp_path, EFFECTS)
    assert file is not None
    imports, code = file.needed_by([])
    assert imports == [
        "import crm.lookups",
        "from django.db.models import CharField",
        "from django.db.models.functions import Length",
        "from shop.constants import *",
    ]
    assert "CharField.register_lookup(Length)\n" in code
    assert "@CharField.register_lookup\nclass Shout(Length):" in code
    assert "NAMES" not in code


def test_what_changes_a_value_goes_with_it(tmp_path: Path) -> None:
    file = written(tmp_path, EFFECTS)
    assert file is not None
    imports, code = file.needed_by({"fill"})
    assert "from shop.texts import short" in imports
    assert 'NAMES = {}\nNAMES["a"] = short\nLIST = []\nLIST.append(1)\nfor name in' in code
