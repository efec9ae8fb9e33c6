"""How findings are printed."""

from __future__ import annotations

from dataclasses import replace

from django_confiture.dry_run.results import Database, Finding, MigrationResult, Report
from django_confiture.reports.text import render

DANGER = Finding(
    "index-build-blocks-writes",
    "danger",
    "measured",
    "shop_order",
    0,
    "Building [shop]_i blocks writes to shop_order",
    "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
    "    atomic = False",
    ("takes ShareLock on shop_order, which blocks writes",),
)
POLICY = Finding(
    "column-dropped", "warning", "policy", "shop_order", None, "Code still selects note", "# Wait"
)


def rendered(*findings: Finding, verbosity: int = 2) -> str:
    migration = MigrationResult("shop", "0001_a", "0001", "forward", "passed", findings=findings)
    database = Database("default", "shop", "18.6", 1024)
    return render.render(Report(database, "passed", 1.0, (migration,)), verbosity=verbosity)


def block(output: str) -> str:
    return output.partition("shop.0001_a  <1 ms\n")[2].partition("\n0 operations")[0]


def test_a_finding_with_its_evidence_and_code() -> None:
    assert (
        block(rendered(DANGER))
        == """\
  danger   Building [shop]_i blocks writes to shop_order
           index-build-blocks-writes, operation 1
           - takes ShareLock on shop_order, which blocks writes
  instead
    from django.db import migrations

    class Migration(migrations.Migration):
        atomic = False
"""
    )


def test_by_default_they_are_counted_with_what_shows_them() -> None:
    output = rendered(DANGER, verbosity=1)
    assert block(output) == ""
    assert "; 1 danger\n" in output
    assert "-v 2 shows each operation, what proves the findings, and better code." in output


def test_a_policy_says_that_it_is_one() -> None:
    assert (
        block(rendered(POLICY))
        == """\
  warning  Code still selects note
           column-dropped, by policy, not measured
  instead
    # Wait
"""
    )


def test_silenced_ones_take_a_line() -> None:
    silenced = replace(DANGER, silenced="40 rows")
    assert (
        block(rendered(silenced, replace(POLICY, relation=None, silenced="unused")))
        == """\
  silenced index-build-blocks-writes on shop_order: 40 rows
  silenced column-dropped: unused
"""
    )


def test_equal_advice_is_printed_once() -> None:
    assert rendered(POLICY, replace(POLICY, relation="shop_line")).count("# Wait") == 1


def test_they_are_counted_at_the_end() -> None:
    silenced = replace(DANGER, silenced="40 rows")
    assert "Findings: 2 dangers, 1 warning and 1 silenced." in rendered(
        DANGER, DANGER, POLICY, silenced
    )
    assert "Findings" not in rendered()


def test_code_is_never_broken() -> None:
    long = "# " + "a comment of many words " * 20 + "\nx = " + repr("a [bold] text " * 30)
    output = rendered(replace(DANGER, advice=long))
    assert all(f"    {line.rstrip()}\n" in output for line in long.splitlines())
