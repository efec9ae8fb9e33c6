"""Plans that read on from a cursor WITH HOLD after the transaction that declared it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.contrib.auth.models import Group
from django.db import connection, transaction

from tests.support.artifact_cases import Case, first, second
from tests.support.dry_run import python, runs

IN_USE = (
    'OperationalError: cannot ALTER TABLE "{}" because it is being used by active queries in this'
    " session"
)
DECLARED = "DECLARE dry_held CURSOR WITH HOLD FOR SELECT id, number AS id FROM dry_row ORDER BY 1"


@contextmanager
def three_groups() -> Iterator[None]:
    Group.objects.bulk_create(Group(name=name) for name in ("a", "b", "c"))
    yield
    Group.objects.all().delete()


def alters_while_iterating() -> None:
    with three_groups(), connection.cursor() as cursor:
        groups = Group.objects.order_by("name").iterator(chunk_size=1)
        seen = [next(groups).name]
        cursor.execute("ALTER TABLE auth_group ADD dry_added integer")
        for group in groups:
            cursor.execute("UPDATE auth_group SET dry_added = 1 WHERE id = %s", [group.pk])
            seen.append(group.name)
        cursor.execute("ALTER TABLE auth_group DROP dry_added")
    assert seen == ["a", "b", "c"]


def alters_while_iterating_in_atomic() -> None:
    with transaction.atomic():
        alters_while_iterating()


def fetches(expected: list[tuple[int, int]], command: str = "FETCH 2 FROM") -> Callable[[], None]:
    def code() -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"{command} dry_held")
            assert cursor.fetchall() == expected

    return code


ALTERS = "ALTER TABLE dry_row ADD dry_added integer"
CLOSES = "CLOSE dry_held"

CURSOR_CASES: dict[str, Case] = {
    "h: iterator(), then ALTER TABLE": Case(
        lambda: [first(python(alters_while_iterating), atomic=False)],
        naive=IN_USE.format("auth_group"),
    ),
    "h: iterator() in a transaction, then ALTER TABLE": Case(
        lambda: [first(python(alters_while_iterating_in_atomic), atomic=False)],
        IN_USE.format("auth_group"),
    ),
    "h: DECLARE, then ALTER TABLE": Case(
        lambda: [
            first(
                runs(DECLARED),
                python(fetches([(1, 1), (2, 2)])),
                runs(ALTERS),
                python(fetches([(3, 3), (4, 4)])),
                runs(CLOSES),
                atomic=False,
            )
        ],
        naive=IN_USE.format("dry_row"),
    ),
    "h: DECLARE and FETCH in one migration, ALTER TABLE in the next": Case(
        lambda: [
            first(runs(DECLARED), python(fetches([(1, 1), (2, 2)]))),
            second(runs(ALTERS), python(fetches([(3, 3), (4, 4)])), runs(CLOSES)),
        ],
        naive=IN_USE.format("dry_row"),
    ),
    "h: the rows are those of before the COMMIT": Case(
        lambda: [
            first(
                runs(DECLARED),
                runs("DELETE FROM dry_row"),
                python(fetches([(1, 1), (2, 2)])),
                runs(CLOSES),
                atomic=False,
            )
        ],
    ),
    "h: the same name again": Case(
        lambda: [
            first(
                runs(DECLARED),
                runs(CLOSES),
                runs(DECLARED),
                runs(ALTERS),
                runs(CLOSES),
                atomic=False,
            )
        ],
        naive=IN_USE.format("dry_row"),
    ),
    "h: a cursor without HOLD outside a transaction": Case(
        lambda: [first(runs(DECLARED.replace(" WITH HOLD", "")), atomic=False)],
        "InternalError: DECLARE CURSOR can only be used in transaction blocks",
        naive="",
    ),
    "h: LOCK TABLE outside a transaction": Case(
        lambda: [first(runs("LOCK TABLE dry_row"), atomic=False)],
        "InternalError: LOCK TABLE can only be used in transaction blocks",
        naive="",
    ),
    "h: a cursor without HOLD is gone": Case(
        lambda: [
            first(runs(DECLARED.replace(" WITH HOLD", ""))),
            second(python(fetches([]))),
        ],
        'ProgrammingError: cursor "dry_held" does not exist',
        naive="AssertionError",
    ),
}
