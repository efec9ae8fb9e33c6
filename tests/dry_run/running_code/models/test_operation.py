"""The operation that a break is put down to, where several change the same table."""

from __future__ import annotations

import pytest

from django_confiture.dry_run.locks.modes import LockMode
from django_confiture.dry_run.running_code.failure import Failure
from django_confiture.dry_run.running_code.models.operation import operation_of
from django_confiture.dry_run.running_code.models.touched import OperationStep
from django_confiture.sql_text import names_in

_RELATIONS = frozenset(("Lines of orders",))
_COMMON = names_in("Lines of orders")
_TEXTS = (
    'ALTER TABLE "Lines of orders" DROP CONSTRAINT "once"',
    'ALTER TABLE "Lines of orders" ADD COLUMN "note" varchar(20) DEFAULT \'\' NOT NULL',
    'ALTER TABLE "Lines of orders" ADD CONSTRAINT "once" UNIQUE ("item", "note")',
    'ALTER TABLE "Lines of orders" DROP COLUMN "rank" CASCADE',
    'ALTER TABLE "Lines of orders" ALTER COLUMN "price" TYPE numeric(4, 2)',
)


def steps() -> list[OperationStep]:
    locks = {"Lines of orders": LockMode.AccessExclusiveLock}
    return [OperationStep(number, locks, (text,)) for number, text in enumerate(_TEXTS)]


@pytest.mark.parametrize(
    ("sqlstate", "error", "operation"),
    [
        ("23502", 'null value in column "note" of relation "Lines of orders" violates', 1),
        ("23505", 'duplicate key value violates unique constraint "once"', 2),
        ("42703", "column Lines of orders.rank does not exist", 3),
        ("22003", "numeric field overflow", 4),
        ("P0001", "no", None),
    ],
)
def test_operation(sqlstate: str, error: str, operation: int | None) -> None:
    failure = Failure(sqlstate, error, "")
    assert operation_of(failure, steps(), _RELATIONS, _COMMON) == operation


@pytest.mark.parametrize(
    ("texts", "sqlstate", "error"),
    [
        (
            ["CREATE UNIQUE INDEX c ON line (lower(code))", "ALTER TABLE line DROP CONSTRAINT u"],
            "42P10",
            "there is no unique or exclusion constraint matching the ON CONFLICT specification",
        ),
        (
            [
                "UPDATE line SET code = o.code FROM old o; ALTER TABLE line RENAME x TO y",
                "DROP TABLE old",
            ],
            "42P01",
            'relation "old" does not exist',
        ),
        (
            [
                "ALTER TABLE line RENAME name TO title",
                "ALTER TABLE line ADD name text GENERATED ALWAYS AS (title) STORED",
            ],
            "428C9",
            'cannot insert a non-DEFAULT value into column "name"',
        ),
        (
            ["ALTER TABLE line ALTER name DROP NOT NULL", "ALTER TABLE line DROP name"],
            "42703",
            "column line.name does not exist",
        ),
        (
            [
                "ALTER TABLE line ADD CONSTRAINT c CHECK (NOT (up = id AND up IS NOT NULL))",
                "ALTER TABLE line ADD path text DEFAULT '' NOT NULL",
            ],
            "23502",
            'null value in column "path" of relation "line" violates not-null constraint',
        ),
    ],
)
def test_what_only_names_it_does_not_bring_it_about(
    texts: list[str], sqlstate: str, error: str
) -> None:
    locks = {"line": LockMode.AccessExclusiveLock, "old": LockMode.AccessExclusiveLock}
    found = [
        OperationStep(number, locks, tuple(text.split("; "))) for number, text in enumerate(texts)
    ]

    failure = Failure(sqlstate, error, "")
    assert operation_of(failure, found, frozenset(locks), names_in("line")) == 1


_REFUSED = 'update or delete on table "user" violates foreign key constraint "who" on table "fan"'


@pytest.mark.parametrize(
    ("texts", "filled", "operation"),
    [
        (["CREATE TABLE fan", "", "DROP TABLE user_fans"], 1, 1),
        (["CREATE TABLE fan", "", "ALTER TABLE fan ADD CONSTRAINT who FOREIGN KEY"], 1, 2),
        (["ALTER TABLE fan ADD CONSTRAINT who FOREIGN KEY", "", ""], 1, 1),
        (["", "ALTER TABLE fan ADD CONSTRAINT who FOREIGN KEY", ""], None, 1),
    ],
)
def test_a_deletion_is_refused_where_rows_refer(
    texts: list[str], filled: int | None, operation: int
) -> None:
    """Not where the table is made, which has no rows yet."""
    altering = {"user": LockMode.AccessExclusiveLock}
    found = [
        OperationStep(
            number,
            altering if text else {},
            (text,) if text else (),
            filled=frozenset(["fan"] if number == filled else []),
        )
        for number, text in enumerate(texts)
    ]
    failure = Failure("23503", _REFUSED, "", constraint="who")

    assert operation_of(failure, found, frozenset(["user"]), names_in("user")) == operation
