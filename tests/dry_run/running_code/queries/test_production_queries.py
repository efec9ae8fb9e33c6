"""Production's queries, prepared before and after: what fails, what loses its index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest
from django.db import connection, connections, models
from django.db.migrations import Migration, RemoveField, RemoveIndex, RunSQL
from django.db.migrations.operations import AddIndex
from django.db.migrations.state import ProjectState

from django_confiture.dry_run.judge import Known
from django_confiture.dry_run.results import Report
from django_confiture.dry_run.transaction_rehearsal import transaction_rehearsal
from django_confiture.production.stats import ProductionStats, QueryStats
from tests.support.dry_run import apply_from, clean_up, migration
from tests.support.release_cases.library import ROWS, library
from tests.support.releases import Writer, applied

pytestmark = pytest.mark.django_db(transaction=True)

_SERIES = "SELECT day, count(summary) FROM cases_book, generate_series"
LACK_TYPES = [
    f"{_SERIES}($1, $2) day GROUP BY 1",
    f"{_SERIES}($1, $2, $3) day WHERE day < now() GROUP BY 1",
    "SELECT left(summary, $1), count(*) FROM cases_book GROUP BY left(summary, $2) ORDER BY 1",
    "SELECT 1 FROM cases_book GROUP BY left(summary, $1) ORDER BY left(summary, $2)",
    "SELECT concat(summary, $1) FROM cases_book WHERE id = $2",
    "SELECT json_build_object($1, summary, $2, $3 + $4) FROM cases_book",
    "SELECT summary FROM cases_book WHERE title = 'ä' AND now() > $1 + $2",
    "SELECT left(title, $1), summary FROM cases_book GROUP BY ROLLUP(left(title, $2), 2)",
]

_INDEX = models.Index(fields=["title"], name="book_title")


@pytest.fixture
def state() -> Iterator[ProjectState]:
    """Commit the library, with rows and an index on the titles."""
    clean_up("default")
    found = applied(
        ProjectState(), migration(*library(), AddIndex("Book", _INDEX), name="0001_first")
    )
    Writer(found, ROWS).fill(unfilled=())
    yield found
    connection.close()
    clean_up("default")


def rehearse(state: ProjectState, texts: Sequence[str], *plan: Migration) -> Report:
    queries = tuple(
        QueryStats(str(number), text, 12.5, 0.2) for number, text in enumerate(texts, 1)
    )
    stats = ProductionStats(
        "shop", 180000, False, 1, datetime.now(UTC), 1.0, 0.0, {}, queries=queries
    )
    wrapper = connections["default"]
    rehearsal = transaction_rehearsal(wrapper, running_code=True, known=Known(stats))
    apply_from(state, rehearsal, wrapper, plan)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        assert cursor.fetchone() == (0,)
    return rehearsal.report()


def test_a_query_that_no_longer_prepares_is_a_break(state: ProjectState) -> None:
    texts = [
        "SELECT summary FROM cases_book WHERE id = $1",
        "SELECT title FROM cases_book WHERE id = $1",
        "UPDATE cases_book SET summary = $1 WHERE title = $2",
    ]
    drop = migration(RemoveField("Book", "summary"), name="0002_drop")
    deploy = rehearse(state, texts, drop).deploy
    found = [each for each in deploy.old_code if each.action == "query"]
    assert [(each.model, each.table, each.sqlstate, each.sql) for each in found] == [
        (None, "cases_book", "42703", texts[0]),
        (None, "cases_book", "42703", texts[2]),
    ]
    assert {(each.migration, each.operation) for each in found} == {("cases.0002_drop", 0)}
    assert deploy.checked.queries == 3


def test_a_break_of_queries_alone_is_a_finding(state: ProjectState) -> None:
    drop = RunSQL("DROP VIEW cases_titles", RunSQL.noop)
    with connection.cursor() as cursor:
        cursor.execute("CREATE VIEW cases_titles AS SELECT title FROM cases_book")
    report = rehearse(state, ["SELECT title FROM cases_titles"], migration(drop, name="0002_v"))
    (found,) = [e for e in report.migrations[0].findings if e.id == "running-code-breaks"]
    assert found.relation == "cases_titles"
    assert found.message == "1 statement of production on cases_titles can no longer be prepared"
    assert 'relation "cases_titles" does not exist' in found.evidence[0]
    assert report.deploy.order == "code_first"


def test_what_does_not_prepare_before_is_left_out_and_counted(state: ProjectState) -> None:
    texts = ["SELECT gone FROM cases_book", "SELECT title FROM cases_book WHERE id = $1"]
    drop = migration(RemoveField("Book", "summary"), name="0002_drop")
    deploy = rehearse(state, texts, drop).deploy
    assert deploy.checked.queries == 1
    assert [each for each in deploy.not_checked if "queries of production" in each] == [
        "1 of 2 queries of production: they can't be prepared on this database before the plan"
    ]


@pytest.mark.parametrize("text", LACK_TYPES)
def test_what_lacks_the_types_of_its_values_is_prepared(state: ProjectState, text: str) -> None:
    drop = migration(RemoveField("Book", "summary"), name="0002_drop")
    deploy = rehearse(state, [text], drop).deploy
    assert deploy.checked.queries == 1
    found = [each for each in deploy.old_code if each.action == "query"]
    assert [(each.sqlstate, each.sql) for each in found] == [("42703", text)]


def test_a_text_that_is_no_query_is_never_sent(state: ProjectState) -> None:
    texts = ["SELECT id FROM cases_book; DELETE FROM cases_book", "TRUNCATE cases_book"]
    drop = migration(RemoveField("Book", "summary"), name="0002_drop")
    deploy = rehearse(state, texts, drop).deploy
    assert (deploy.checked.queries, len(deploy.not_checked)) == (0, 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) > 0 FROM cases_book")
        assert cursor.fetchone() == (True,)


def test_a_plan_that_loses_its_index_has_regressed(state: ProjectState) -> None:
    texts = ["SELECT id FROM cases_book WHERE title = $1", "SELECT title FROM cases_book"]
    plan = migration(RemoveIndex("Book", "book_title"), name="0002_index")
    report = rehearse(state, texts, plan)
    (found,) = [e for e in report.migrations[0].findings if e.id == "query-plan-regressed"]
    assert (found.severity, found.basis, found.relation) == ("warning", "measured", "cases_book")
    assert found.message == "Production's plan of 1 frequent statement on cases_book gets worse"
    assert found.evidence[0] == (
        f"{texts[0]} (12 calls a second): no index of cases_book finds its rows now"
    )
    assert found.evidence[1].startswith("before: ")
    assert "Seq Scan on cases_book" in found.evidence[2]
    assert not [each for each in report.deploy.old_code if each.action == "query"]


def test_a_plan_that_keeps_an_index_has_not(state: ProjectState) -> None:
    texts = ["SELECT id FROM cases_book WHERE title = $1"]
    other = models.Index(fields=["title", "id"], name="book_title_id")
    plan = migration(AddIndex("Book", other), RemoveIndex("Book", "book_title"), name="0002_index")
    found = {each.id for each in rehearse(state, texts, plan).migrations[0].findings}
    assert "query-plan-regressed" not in found


def test_the_first_migration_counts(state: ProjectState) -> None:
    texts = ["SELECT id FROM cases_book WHERE title = $1"]
    report = rehearse(
        state,
        texts,
        migration(RemoveIndex("Book", "book_title"), name="0002_index"),
        migration(AddIndex("Book", _INDEX), name="0003_back"),
        migration(RemoveIndex("Book", "book_title"), name="0004_again"),
    )
    regressed = [
        [e.id for e in m.findings].count("query-plan-regressed") for m in report.migrations
    ]
    assert regressed == [1, 0, 0]
