"""The order of the files of several operations; no database."""

from __future__ import annotations

import pytest
from django.db.migrations import RunSQL
from django.db.migrations.migration import Migration

from django_confiture.dry_run.rewriting.files import Rewriting, RewrittenFile
from django_confiture.fix.proposal import RewriteStep, proposed


def order_of(*operations: str) -> list[str]:
    """Return number and kind of each file, by the kinds that each operation becomes."""
    migration = Migration("0008_keys", "shop")
    whole = [RunSQL(f"SELECT {number}") for number in range(len(operations))]
    vars(migration)["operations"] = whole
    steps = [
        RewriteStep(number, whole[number], Rewriting(tuple(map(_file, kinds.split()))))
        for number, kinds in enumerate(operations)
    ]
    new = proposed(migration, steps, None)
    *names, _last = [each.name for each in new.files]
    origins = [min(new.origins[each.name]) for each in new.files]
    kinds = [each.partition("_keys_")[2] for each in names]
    return [f"{kind} {origin}" for kind, origin in zip([*kinds, "last"], origins, strict=True)]


def _file(kind: str) -> RewrittenFile:
    sql = RunSQL("SELECT 1")
    return RewrittenFile(kind, "why", [sql], next_release=kind == "next_release")


def test_foreign_keys_between_new_columns_come_after_what_all_operations_fill() -> None:
    """They would be checked for each row that is filled after them."""
    assert order_of(
        "fill index foreign_keys validate next_release", "fill check validate next_release"
    ) == [
        "fill 0", "index 0", "fill 1", "check 1", "validate 1", "foreign_keys 0", "validate 0",
        "next_release 0", "last 1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("operations", "order"),
    [
        (
            ("fill foreign_keys next_release", "index"),
            ["fill 0", "foreign_keys 0", "index 1", "last 0"],
        ),
        (
            ("fill next_release", "fill next_release"),
            ["fill 0", "fill 1", "next_release 0", "last 1"],
        ),
    ],
)  # fmt: skip
def test_others_stay_in_their_order(operations: tuple[str, ...], order: list[str]) -> None:
    assert order_of(*operations) == order
