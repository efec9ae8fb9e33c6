"""A migration of an installed app, fixed in a package of the project."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest
from django.core.management import CommandError
from django.db import models
from django.db.migrations import AddIndex, CreateModel
from pytest_django import Settings

from tests.cases.migrations_on_disk import Cases, query
from tests.fix.running import fix, outcomes

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

_KEY = ("id", models.BigAutoField(primary_key=True))
_FILE = """
from django.db import migrations, models
{more}

class Migration(migrations.Migration):
    dependencies = [("cases", "0001_shop")]
    operations = [
        migrations.AddIndex("order", models.Index(fields=["total"], name="cases_order_total")),
    ]
"""


@pytest.fixture
def installed(cases: Cases, monkeypatch: pytest.MonkeyPatch) -> Cases:
    """Give an app whose migrations are not the project's."""
    cases.add("0001_shop", CreateModel("Order", [_KEY, ("total", models.IntegerField())]))
    cases.migrate()
    cases.write("0002_total", _FILE.format(more=""))
    cases.add("0003_more", AddIndex("order", models.Index(fields=["-total"], name="cases_o_t")))
    site = str(cases.package.parent)
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: site)
    return cases


def test_the_package_has_all_migrations_of_the_app(
    installed: Cases, settings: Settings, tmp_path: Path
) -> None:
    code, document = fix("0002")
    assert (code, outcomes(document)) == (1, ["refused"])
    assert "--override" in document["operations"][0]["reason"]

    package = f"{installed.package.name}_site"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    override = f"{package}.cases_migrations"
    code, document = fix("0002", "--override", override, "--write")
    assert (code, outcomes(document)) == (0, ["fixed"])
    written = {each.stem for each in (tmp_path / package / "cases_migrations").iterdir()}
    assert written == {"__init__", "0001_shop", "0002_total", "0003_more"}

    settings.MIGRATION_MODULES = {"cases": override}
    try:
        installed.migrate("0002_total")
        source = Path(sys.modules[f"{override}.0002_total"].__file__ or "").read_text()
        installed.migrate()
    finally:
        for name in [each for each in sys.modules if each.partition(".")[0] == package]:
            del sys.modules[name]
    assert "AddIndexConcurrently" in source
    found = query("SELECT indexrelid::regclass::text FROM pg_index WHERE indisvalid AND"
                  " indrelid = 'cases_order'::regclass ORDER BY 1")  # fmt: skip
    assert found == [("cases_o_t",), ("cases_order_pkey",), ("cases_order_total",)]
    assert installed.applied() == {"0001_shop", "0002_total", "0003_more"}


def test_relative_imports_keep_it_where_it_is(installed: Cases) -> None:
    (installed.package / "0002_total.py").write_text(_FILE.format(more="from . import __path__\n"))
    code, document = fix("0002", "--override", "cases_site")
    assert code == 1
    assert "its file has relative imports" in document["operations"][0]["reason"]


@pytest.mark.parametrize(
    ("package", "says"),
    [
        ("tests.fix", r"--override tests.fix: .*fix is there already\."),
        ("nowhere.cases", "there is no package 'nowhere' to put it into"),
        ("not-a-name", "it is not the dotted name of a package"),
    ],
)
@pytest.mark.usefixtures("installed")
def test_a_package_that_has_no_place(package: str, says: str) -> None:
    with pytest.raises(CommandError, match=says) as caught:
        fix("0002", "--override", package, "--write")
    assert caught.value.returncode == 2


def test_the_projects_own_migrations_need_none(cases: Cases) -> None:
    cases.write("0001_shop", _FILE.format(more="").replace('("cases", "0001_shop")', ""))
    with pytest.raises(CommandError, match=r"cases\.0001_shop is the project's own") as caught:
        fix("0001", "--override", "cases_site")
    assert caught.value.returncode == 2
