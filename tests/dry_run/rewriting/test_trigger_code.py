"""Triggers that may not run twice for a row keep an UPDATE in one transaction."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations import RunSQL

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.known_objects import read_known
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.rewriting.trigger_code import may_run_twice
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.dry_run.sql.parsing.parser import parse
from tests.cases.migrations_on_disk import Cases

UPDATE = "UPDATE t SET a = lower(a)"


@pytest.mark.parametrize(
    "body",
    [
        "NEW.updated_at := now();",
        "NEW.total = NEW.price * NEW.quantity;",
        "NEW.note := lower(trim(NEW.note)); -- not INSERT INTO log",
        "IF NEW.a IS DISTINCT FROM OLD.a THEN NEW.changed := true; END IF;",
        "IF NEW.a = OLD.a - 1 THEN RAISE EXCEPTION 'insert into %', OLD.a; END IF;",
        "PERFORM pg_notify('orders', NEW.id::text);",
    ],
)
def test_what_sets_columns_by_others_may_run_twice(body: str) -> None:
    assert may_run_twice("plpgsql", f"BEGIN {body} RETURN NEW; END")


@pytest.mark.parametrize(
    "body",
    [
        "NEW.version := OLD.version + 1;",
        'NEW."version" = coalesce(NEW."version", 0) + 1;',
        "NEW.note := md5(NEW.note);",
        "IF true THEN NEW.history := OLD.history || NEW.note; END IF;",
        "INSERT INTO log SELECT OLD.*;",
        "UPDATE totals SET n = n + 1;",
        "UPDATE ONLY totals AS t SET n = n + 1;",
        "NEW.number := nextval('numbers');",
        "PERFORM count_up(NEW.id);",
        "EXECUTE format('SELECT %s()', TG_ARGV[0]);",
    ],
)
def test_what_counts_or_writes_elsewhere_may_not(body: str) -> None:
    assert not may_run_twice("plpgsql", f"BEGIN {body} RETURN NEW; END")


def test_functions_in_other_languages() -> None:
    assert may_run_twice("internal", "tsvector_update_trigger_byid")
    assert not may_run_twice("c", "moddatetime")
    assert not may_run_twice("plpython3u", "return None")


def test_an_update_with_such_a_trigger_is_one_statement() -> None:
    facts = Facts("shop", keys={"t": "id"}, counting={"t": "audit"})
    new = rewriting_of(RunSQL(UPDATE), parse(UPDATE, placeholders=False), facts)
    assert isinstance(new, NotRewritten)
    assert new.reason.startswith("the trigger audit of t counts or writes elsewhere, once more")
    without = rewriting_of(
        RunSQL(UPDATE), parse(UPDATE, placeholders=False), Facts("shop", keys={"t": "id"})
    )
    assert isinstance(without, Rewriting)


@pytest.mark.django_db(transaction=True)
def test_the_triggers_of_a_database_are_known(cases: Cases) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE cases_a (n int); CREATE TABLE cases_b (n int)")
        for name, body in (("counts", "NEW.n := OLD.n + 1"), ("sets", "NEW.n := 1")):
            cursor.execute(
                f"CREATE FUNCTION cases_{name}() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN {body}; RETURN NEW; END $$"
            )
        for table, events, function in (
            ("a", "INSERT OR UPDATE", "counts"), ("b", "INSERT", "counts"), ("b", "UPDATE", "sets"),
        ):  # fmt: skip
            cursor.execute(
                f"CREATE TRIGGER {function}_{events[:3]} BEFORE {events} ON cases_{table}"
                f" FOR EACH ROW EXECUTE FUNCTION cases_{function}()"
            )
    known = read_known(Session(connection.connection))
    assert known.counting == {"public.cases_a": "counts_ins", "cases_a": "counts_ins"}
