"""The reference of findings lists those that exist."""

from __future__ import annotations

import re

import pytest

from django_confiture.dry_run.findings.advice.of_operations import PRINTED
from django_confiture.dry_run.findings.finding import POLICY
from django_confiture.finding_ids import SEVERITIES
from tests.corpus import CASES
from tests.support.paths import DOCS

PAGE = (DOCS / "findings.md").read_text()
SECTIONS = dict(re.findall(r"^### ([a-z-]+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_documents_every_finding_and_no_other() -> None:
    assert SECTIONS.keys() == SEVERITIES.keys()
    assert SEVERITIES.keys() >= POLICY


@pytest.mark.parametrize("name", sorted(SEVERITIES))
def test_says_what_proves_it_and_what_to_write(name: str) -> None:
    policy = ", policy" if name in POLICY else ""
    assert SECTIONS[name].startswith(f"**{SEVERITIES[name]}{policy}.**")
    assert "**Evidence:**" in SECTIONS[name]
    assert "**Instead:**" in SECTIONS[name]


def test_counts_what_is_left_without_code() -> None:
    words = len(SEVERITIES) - len(PRINTED)
    wanted = f"Of the {len(SEVERITIES)} findings, {len(PRINTED)} print code where a recipe covers"
    intro = " ".join(PAGE.partition("## Indexes")[0].split())
    assert wanted in intro
    assert f"The other {words} say in words what to do" in intro
    assert set(re.findall(r"`([a-z-]+)`", intro)) >= PRINTED


def test_the_corpus_has_a_case_of_every_finding() -> None:
    expected = {name for case in CASES for step in case.plan for name, _ in step.expected}
    # In tests/support/release_cases, tests/dry_run/running_code and tests/dry_run/schema_check;
    # an INVALID index is made by the tests of findings, as no migration leaves one in a rollback.
    of_its_own = {
        *("query-plan-regressed", "running-code-breaks", "schema-differs-from-models"),
        "invalid-index-left",
    }
    assert expected | of_its_own == SEVERITIES.keys()
