"""What an ALTER TABLE does to the tables that inherit from the one that it names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.dry_run import migration, plain_connection, rehearse, runs

MADE = """
    CREATE TABLE dry_kind (id integer PRIMARY KEY, name varchar(50));
    CREATE TABLE dry_heir (extra integer) INHERITS (dry_kind);
    CREATE TABLE dry_user (id integer PRIMARY KEY REFERENCES dry_kind);
    INSERT INTO dry_kind SELECT i, 'name' FROM generate_series(1, 500) i;
    INSERT INTO dry_heir SELECT i, 'name', i FROM generate_series(1000, 1500) i;
    INSERT INTO dry_user SELECT i FROM generate_series(1, 500) i;
"""
REWRITE = "type-change-rewrite"


@pytest.fixture
def _made(scratch: None) -> Iterator[None]:
    with plain_connection() as plain:
        plain.execute(MADE)
        try:
            yield
        finally:
            plain.execute("DROP TABLE dry_user, dry_heir, dry_kind")


@pytest.mark.usefixtures("_made")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("name TYPE varchar(20)", {(REWRITE, "dry_kind"), (REWRITE, "dry_heir")}),
        (
            "id TYPE bigint",
            {(REWRITE, "dry_kind"), (REWRITE, "dry_heir"), ("foreign-key-scan", "dry_user")},
        ),
    ],
)
def test_a_new_type_rewrites_those_that_inherit_the_column(
    change: str, expected: set[tuple[str, str]]
) -> None:
    (result,) = rehearse(migration(runs(f"ALTER TABLE dry_kind ALTER {change}"))).migrations
    dangers = {(f.id, f.relation) for f in result.findings if f.severity == "danger"}
    assert dangers == expected
