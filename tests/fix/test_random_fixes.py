"""Random models and operations: what is fixed is migrated for real, and ends as the original does.

``CONFITURE_FIXES`` says how many migrations are tried; each has its own seed, which its test names.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest
from django.core.management import CommandError
from django.db import Error

from tests.cases.migrations_on_disk import Cases
from tests.fix.random_migrations import random_migration
from tests.fix.running import fix, forget_modules, outcomes
from tests.fix.test_corpus import migrate_for_real, query_none, reasons_and_files, schema_now

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.fixes,
]

_COUNT = int(os.environ.get("CONFITURE_FIXES", "20"))
_FIRST = int(os.environ.get("CONFITURE_FIXES_FROM", "1"))
_NAME = "0002_change"


@pytest.mark.parametrize("seed", range(_FIRST, _FIRST + _COUNT))
def test_random_migration(
    cases: Cases, seed: int, record_property: Callable[[str, object], None]
) -> None:
    made = random_migration(seed)
    cases.write("0001_shop", made.shop)
    cases.migrate()
    query_none("ANALYZE")
    cases.write(_NAME, made.source)
    try:
        code, document = fix(_NAME, *made.arguments)
    except CommandError as error:  # pragma: no cover - it says which migration is wrong
        raise AssertionError(made.source) from error
    record_property("outcomes", " ".join(outcomes(document)))
    assert code in (0, 1), made.source + reasons_and_files(document)
    if code == 0:
        made = replace(made, irreversible=made.irreversible or not _taken_back(cases))
        migrate_for_real(cases, replace(made, outcomes=" ".join(outcomes(document))), document)


def _taken_back(cases: Cases) -> bool:
    """Return whether the original can be taken back; the shop is made again after that.

    Django makes some constraints again under another name.
    """
    before = schema_now()
    cases.migrate()
    try:
        cases.migrate("0001_shop")
    except Error:  # Django has dropped an index that a script's way back drops, too
        equal = False
    else:
        equal = schema_now() == before
    cases.drop_everything()
    forget_modules(cases)
    cases.migrate("0001_shop")
    query_none("ANALYZE")
    return equal
