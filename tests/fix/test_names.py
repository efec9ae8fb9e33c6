"""The names of the files; no database."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.migrations import AddIndex
from django.db.migrations.migration import Migration

from django_confiture.dry_run.rewriting.files import Rewriting, RewrittenFile
from django_confiture.fix.proposal import RewriteStep, proposed


def names_of(name: str, count: int) -> list[str]:
    """Return the names of the files that so many indexes become."""
    migration = Migration(name, "shop")
    indexes = [
        AddIndex("order", models.Index(fields=["total"], name=f"i{n}")) for n in range(count)
    ]
    vars(migration)["operations"] = indexes
    files = (RewrittenFile("index", "why", [each], atomic=False) for each in indexes)
    steps = [RewriteStep(n, indexes[n], Rewriting((each,))) for n, each in enumerate(files)]
    return [each.name for each in proposed(migration, steps, None).files]


def test_names_have_the_migrations_name_and_a_number() -> None:
    assert names_of("0008_order_total", 3) == [
        "0008_1_order_total_index",
        "0008_2_order_total_index",
        "0008_order_total",
    ]


@pytest.mark.parametrize("count", [2, 3, 12])
@pytest.mark.parametrize(
    "name", ["0008_more", "0008_1", "0008_", "8", "0008", "more", "more_2", "0008_" + "long" * 55]
)
def test_migrate_finds_each_by_its_name(name: str, count: int) -> None:
    """Django takes what it is told for the beginning of a name, and refuses if it finds several."""
    names = names_of(name, count)
    assert all(len(each) <= 255 for each in names)
    assert names == [*sorted(names[:-1]), name]
    for each in names:
        assert [other for other in names if other.startswith(each)] == [each]
