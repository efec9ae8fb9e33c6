"""The names of the files; no database."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.migrations import AddIndex
from django.db.migrations.migration import Migration

from django_confiture.dry_run.rewriting.files import Rewriting, RewrittenFile
from django_confiture.fix.files.written_files import WrittenFile
from django_confiture.fix.proposal import RewriteStep, proposed


def names_of(name: str, count: int, *beside: str) -> list[str]:
    """Return the names of the files that so many indexes become."""
    migration = Migration(name, "shop")
    indexes = [
        AddIndex("order", models.Index(fields=["total"], name=f"i{n}")) for n in range(count)
    ]
    vars(migration)["operations"] = indexes
    files = (RewrittenFile("index", "why", [each], atomic=False) for each in indexes)
    steps = [RewriteStep(n, indexes[n], Rewriting((each,))) for n, each in enumerate(files)]
    written = WrittenFile([], None, [], [], beside=frozenset(beside))
    return [each.name for each in proposed(migration, steps, written).files]


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


@pytest.mark.parametrize(
    "beside",
    ["0008_1", "0008_2_", "0008_1_more_index_too", "before_1_0008_more_index_again", "before"],
)
def test_migrate_finds_them_beside_others(beside: str) -> None:
    names = names_of("0008_more", 3, beside, "0008_1", "0009_more")
    assert names == [*sorted(names[:-1]), "0008_more"]
    for each in (*names, beside, "0009_more"):
        found = [other for other in (*names, "0009_more", beside) if other.startswith(each)]
        assert found == [each]


def test_a_file_of_the_same_name_is_not_evaded() -> None:
    """It is there already, and nothing is overwritten."""
    assert names_of("0008_more", 2, "0008_1_more_index") == ["0008_1_more_index", "0008_more"]
