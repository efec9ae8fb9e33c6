"""What databases that the project does not name are known to have applied."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.migrations import AddIndex

from django_confiture.fix.obstacles import AppliedElsewhere, obstacles
from tests.cases.migrations_on_disk import Cases

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def test_a_database_of_the_ledger(cases: Cases) -> None:
    cases.add("0001_i", AddIndex("order", models.Index(fields=["total"], name="i")))
    migration = cases.loaded("0001_i")
    assert list(obstacles(migration, AppliedElsewhere())) == []
    # What "default" has applied, it is asked itself.
    assert list(obstacles(migration, AppliedElsewhere(by_ledger=["default"]))) == []
    (reason,) = obstacles(migration, AppliedElsewhere(by_ledger=["berlin", "default"]))
    assert reason.startswith("the ledger says that the database 'berlin' has applied it: files")
