"""What a refusal says; no database."""

from __future__ import annotations

import pytest
from django.db.migrations import RunSQL

from django_confiture.finding_ids import SEVERITIES
from django_confiture.fix.judging.judgment import Judgment


@pytest.mark.parametrize("finding", sorted(SEVERITIES))
def test_harm_that_is_left_comes_with_what_can_be_done(finding: str) -> None:
    refused = Judgment(RunSQL("SELECT 1"), "fixed").refused(finding)
    assert (refused.outcome, refused.finding) == ("refused", finding)
    head = f"what it would become would still do harm: {finding}. "
    instead = (refused.reason or "").removeprefix(head)
    assert refused.reason == head + instead
    assert instead.endswith((".", "}}"))
    assert "\n" not in instead


def test_other_reasons_stay_as_they_are() -> None:
    refused = Judgment(RunSQL("SELECT 1"), "fixed").refused("it can't")
    assert (refused.finding, refused.reason) == (None, "it can't")
