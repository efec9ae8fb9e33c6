"""A break of the running release that another one covers: one model, one action, one reason."""

from __future__ import annotations

import pytest
from django.db import connection

from tests.cases.migrations_on_disk import Cases
from tests.fix.corpus import CORPUS
from tests.fix.running import fix, outcomes

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

_CASES = {each.name: each for each in CORPUS}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("not_null_hidden_behind_a_removed_field_in_two_releases", "note_is_set"),
        ("removed_with_unique_together_and_index_in_two_releases", "cases_line_order_id_sku_"),
    ],
)
def test_what_shows_once_the_other_waits_waits_too(cases: Cases, name: str, part: str) -> None:
    case = _CASES[name]
    cases.write("0001_shop", case.shop)
    cases.migrate()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    cases.write("0002_change", case.source)
    code, document = fix("0002_change", *case.arguments)
    assert (code, outcomes(document)) == (0, case.outcomes.split())
    sources = [each["source"] for each in document["files"]]
    first_late = next(i for i, each in enumerate(sources) if "next release" in each)
    assert not any(part in each for each in sources[:first_late])
    assert any(part in each for each in sources[first_late:])
