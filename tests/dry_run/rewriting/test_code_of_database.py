"""Functions of the database whose results may depend on other rows keep one transaction."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations import RunSQL

from django_confiture.dry_run.rewriting.code_of_database import functions_made_by
from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.known_objects import KNOWS_NOTHING, read_known
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.sql.parsing.parser import parse
from tests.cases.migrations_on_disk import Cases

FACTS = Facts("shop", keys={"t": "id"}, own_functions=frozenset({"rank_of"}))
_HEAD = "CREATE FUNCTION shop.rank_of(bigint) RETURNS bigint LANGUAGE sql"


def _of(sql: str) -> Rewriting | NotRewritten:
    return rewriting_of(RunSQL(sql), parse(sql, placeholders=False), FACTS)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("UPDATE t SET a = rank_of(id)", "the function rank_of is not IMMUTABLE"),
        ("UPDATE t SET a = 1 WHERE shop.rank_of(id) > 3", "the function rank_of is not IMMUTABLE"),
        ("DELETE FROM t WHERE lower(rank_of(id)::text) = 'a'", "the function rank_of is not"),
        ("UPDATE t SET a = nextval('s')", "nextval() gives the rows of a batch that begins again"),
        ("UPDATE t SET a = b + pg_catalog.nextval('s')", "nextval() gives the rows of a batch"),
    ],
)
def test_a_statement_that_calls_one_is_not_split(sql: str, reason: str) -> None:
    new = _of(sql)
    assert isinstance(new, NotRewritten)
    assert new.reason.startswith(reason)


def test_other_functions_may_be_called() -> None:
    assert isinstance(_of("UPDATE t SET a = unaccent(lower(b)), c = gen_random_uuid()"), Rewriting)


def test_functions_that_statements_create() -> None:
    made = parse(f"{_HEAD} AS 'SELECT max(a) FROM t'; SELECT 1", placeholders=False)
    assert functions_made_by(made) == {"rank_of"}
    assert KNOWS_NOTHING.after(made).own_functions == {"rank_of"}
    immutable = parse(f"{_HEAD} IMMUTABLE AS 'SELECT $1'", placeholders=False)
    assert functions_made_by(immutable) == set()
    stable = parse(f"{_HEAD} STABLE STRICT AS 'SELECT $1'", placeholders=False)
    assert functions_made_by(stable) == {"rank_of"}


@pytest.mark.django_db(transaction=True)
def test_the_functions_of_a_database_are_known(cases: Cases) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS tablefunc")
        for name, kind in (("reads", "VOLATILE"), ("asks", "STABLE"), ("adds", "IMMUTABLE")):
            cursor.execute(
                f"CREATE FUNCTION cases_{name}(int) RETURNS int LANGUAGE sql {kind} AS 'SELECT $1'"
            )
    known = read_known(Session(connection.connection)).own_functions
    assert {each for each in known if each.startswith("cases_")} == {"cases_reads", "cases_asks"}
    assert not known & {"normal_rand", "now", "nextval"}
