"""What databases that the project does not name are known to have applied."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.migrations import AddIndex

from django_confiture.fix.judging.obstacles import AppliedElsewhere, obstacles
from tests.cases.migrations_on_disk import Cases
from tests.support.dry_run import plain_connection

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def test_a_database_of_the_ledger(cases: Cases) -> None:
    cases.add("0001_i", AddIndex("order", models.Index(fields=["total"], name="i")))
    migration = cases.loaded("0001_i")
    assert list(obstacles(migration, AppliedElsewhere())) == []
    # What "default" has applied, it is asked itself.
    assert list(obstacles(migration, AppliedElsewhere(by_ledger=["default"]))) == []
    (reason,) = obstacles(migration, AppliedElsewhere(by_ledger=["berlin", "default"]))
    assert reason.startswith("the ledger says that the database 'berlin' has applied it: files")


def test_a_database_that_can_not_be_asked_may_have_applied_it(cases: Cases) -> None:
    cases.add("0001_i", AddIndex("order", models.Index(fields=["total"], name="i")))
    with plain_connection() as observer:
        observer.execute("ALTER TABLE django_migrations RENAME COLUMN app TO label")
        try:
            (reason,) = obstacles(cases.loaded("0001_i"), AppliedElsewhere())
        finally:
            observer.execute("ALTER TABLE django_migrations RENAME COLUMN label TO app")
    assert reason.startswith("the database 'default' can't be asked whether it has applied it: ")


def test_a_file_whose_class_is_made_elsewhere_stays_whole(cases: Cases) -> None:
    cases.write(
        "0001_made",
        "from django.db import migrations\n\nMigration = type('Migration', "
        "(migrations.Migration,), {'__module__': __name__, 'operations': []})\n",
    )
    reasons = list(obstacles(cases.loaded("0001_made"), AppliedElsewhere()))
    assert "its file does not have exactly one class Migration at its top level" in reasons
