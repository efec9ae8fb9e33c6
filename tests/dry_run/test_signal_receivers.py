"""What receivers of pre_migrate and post_migrate do is in the report, and counts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.db.models.signals import post_migrate, pre_migrate
from django.dispatch import Signal

from tests.cases.migrations_on_disk import Cases, query
from tests.management.test_migrate_dryrun import NUMBER, THING, connected, dry_run, in_json
from tests.support.clone import alone
from tests.support.dry_run import runs

VIEW = "CREATE MATERIALIZED VIEW cases_totals AS SELECT count(*) AS n FROM cases_thing"

SIGNALS = pytest.mark.parametrize("signal", [pre_migrate, post_migrate], ids=["pre", "post"])


def refresh_totals(**_: object) -> None:
    """Do as receivers do that keep a materialized view up to date."""
    _execute("REFRESH MATERIALIZED VIEW cases_totals")


def rewrite_things(**_: object) -> None:
    _execute("ALTER TABLE cases_thing ALTER number TYPE bigint")


def write_things(**_: object) -> None:
    _execute("UPDATE cases_thing SET number = 2")


def read_things(**_: object) -> None:
    _execute("SELECT count(*) FROM cases_thing")


def do_nothing(**_: object) -> None:
    """Do nothing, as a receiver does that only looks at the plan."""


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.fixture
def things(cases: Cases) -> Cases:
    """Give a table with rows, a view of it, and a migration that is still to be applied."""
    cases.add("0001_thing", THING)
    cases.add("0002_number", NUMBER)
    cases.migrate()
    _execute("INSERT INTO cases_thing (number) SELECT i FROM generate_series(1, 2000) i")
    _execute(VIEW)
    cases.add("0003_own", runs("SELECT 1"))
    return cases


@contextmanager
def received(signal: Signal, *receivers: Callable[..., None]) -> Iterator[None]:
    with ExitStack() as stack:
        for each in receivers:
            stack.enter_context(connected(signal, each))
        yield


@contextmanager
def _copied() -> Iterator[None]:
    """Let nothing else be connected to the database that is to be copied."""
    with alone():
        for each in connections.all():
            each.close()
        yield


def _receivers(*args: str, code: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = in_json("cases", *args, code=code)["receivers"]
    return found


def _of(section: dict[str, Any], receiver: Callable[..., None]) -> dict[str, Any]:
    (found,) = (
        each for each in section["operations"] if each["description"].endswith(receiver.__name__)
    )
    return dict(found)


@SIGNALS
@pytest.mark.parametrize("way", ["", "--clone"])
def test_a_receiver_is_measured_as_a_migration_is(signal: Signal, way: str, things: Cases) -> None:
    with (
        received(signal, refresh_totals, rewrite_things, do_nothing),
        _copied() if way else ExitStack(),
    ):
        sections = _receivers(*filter(None, [way]))

    name = "pre_migrate" if signal is pre_migrate else "post_migrate"
    (section,) = (each for each in sections if each["name"] == name)
    assert section["app_label"] == "receivers"
    refreshed, rewritten = _of(section, refresh_totals), _of(section, rewrite_things)
    assert not any("do_nothing" in each["description"] for each in section["operations"])
    assert refreshed["description"] == f"{__name__}.refresh_totals"
    assert refreshed["statements"][0]["sql"] == "REFRESH MATERIALIZED VIEW cases_totals"
    assert "AccessExclusiveLock" in {each["mode"] for each in refreshed["statements"][0]["locks"]}
    assert rewritten["statements"][0]["rewrites"] == ["cases_thing"]
    assert {"cases_thing", "cases_totals"} <= {each["relation"] for each in section["tables"]}
    assert all(each["writes_blocked_ms"] > 0 for each in section["tables"] if each["rewritten"])
    assert {each["id"] for each in section["findings"]} >= {"type-change-rewrite"}
    assert query("SELECT max(number) FROM cases_thing") == [(2000,)]


def test_where_it_is_written_is_marked_in_pull_requests(things: Cases) -> None:
    with received(post_migrate, rewrite_things):
        shown = dry_run("cases", "--format", "github").out
        sarif = json.loads(dry_run("cases", "--format", "sarif").out)

    line = rewrite_things.__code__.co_firstlineno
    (marked,) = (each for each in shown.splitlines() if "type-change-rewrite" in each)
    assert f"file=tests/dry_run/test_signal_receivers.py,line={line}" in marked
    places = [
        place["physicalLocation"]["artifactLocation"]["uri"]
        for result in sarif["runs"][0]["results"]
        for place in result["locations"]
    ]
    assert "tests/dry_run/test_signal_receivers.py" in places


@pytest.mark.parametrize("name", ["text", "markdown", "html"])
def test_it_is_a_section_of_the_report(name: str, things: Cases) -> None:
    with received(post_migrate, rewrite_things):
        shown = dry_run("cases", "--format", name, verbosity=2).out
    without = dry_run("cases", "--format", name, verbosity=2).out

    assert "receivers.post_migrate" in shown
    assert "test_signal_receivers.rewrite_things" in shown
    assert "receivers." not in without


def test_the_text_says_what_it_blocks(things: Cases) -> None:
    with received(post_migrate, rewrite_things):
        shown = dry_run("cases").out

    words = " ".join(shown.split())
    assert (
        "Dry run of 1 migration: receivers of signals would stop writers, the longest for" in words
    )
    assert re.search("^LOCKS .* receivers.post_migrate: ", shown, re.MULTILINE)
    assert "reads and writes of cases_thing" in shown


@pytest.mark.parametrize(
    "flags", [("--fail-on", "danger"), ("--max-blocking", "0ms"), ("--max-duration", "0ms")]
)
def test_it_counts_for_budgets(flags: tuple[str, str], things: Cases) -> None:
    with received(post_migrate, rewrite_things):
        document = in_json("cases", *flags, code=3)

    exceeded = {each["migration"] for each in document["exceeded"]}
    assert "receivers.post_migrate" in exceeded


def test_nothing_pending_is_said_and_what_receivers_do_all_the_same(things: Cases) -> None:
    things.migrate()
    with received(post_migrate, rewrite_things):
        shown = dry_run("cases")

    assert shown.code == 0
    assert "No migration is pending" in shown.out
    assert re.search("^LOCKS .* receivers.post_migrate: ", shown.out, re.MULTILINE)
    assert dry_run("cases").out == "No migration is pending: nothing to rehearse.\n"


def test_what_django_does_by_itself_is_measured_and_no_noise(cases: Cases) -> None:
    cases.add("0001_thing", THING)

    (section,) = _receivers()
    shown = dry_run("cases").out

    names = [each["description"] for each in section["operations"]]
    assert "django.contrib.auth.management.create_permissions" in names
    assert section["tables"]
    assert "receivers" not in shown


def test_a_receiver_that_only_reads(things: Cases) -> None:
    with received(post_migrate, read_things):
        (section,) = _receivers()
        shown = dry_run("cases").out

    assert _of(section, read_things)["statements"][0]["scans"]
    assert "receivers.post_migrate\n" in shown
    assert re.search("^ ok  *receivers.post_migrate$", shown, re.MULTILINE)


def test_the_calls_for_each_app_are_one(things: Cases) -> None:
    post_migrate.connect(write_things, weak=False)
    try:
        (section,) = _receivers()
    finally:
        post_migrate.disconnect(write_things)

    (statement,) = _of(section, write_things)["statements"]
    assert statement["executions"] > 1


def test_a_partial_and_an_object_have_names(things: Cases) -> None:
    class Listener:
        def __call__(self, **_: object) -> None:
            write_things()

    with received(post_migrate, partial(rewrite_things), Listener()):
        (section,) = _receivers()

    names = {each["description"].rpartition("test_signal_receivers.")[2] for each in _own(section)}
    assert "rewrite_things" in names
    assert any(name.endswith("Listener") for name in names)


def _own(section: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in section["operations"] if each["description"].startswith("tests.")]


@SIGNALS
def test_one_that_fails_is_named(signal: Signal, things: Cases) -> None:
    def fails(**_: object) -> None:
        write_things()
        _execute("SELECT 1 / 0")

    with received(signal, fails):
        document = in_json("cases", code=1)
        shown = dry_run("cases").out
        marked = dry_run("cases", "--format", "github").out

    assert document["error"]["type"] == "DivisionByZero"
    (section,) = document["receivers"]
    assert (section["outcome"], section["error"]["type"]) == ("failed", "DivisionByZero")
    assert section["error"]["operation"].endswith("fails")
    assert re.search("^FAIL  *receivers..*_migrate would fail$", shown, re.MULTILINE)
    assert marked.count("division by zero") == 1
    assert "test_signal_receivers.py" in marked


def test_one_that_calls_migrate_again_loses_nothing(things: Cases) -> None:
    def migrates(**_: object) -> None:
        write_things()
        if len(calls) < 1:
            calls.append("migrate")
            call_command("migrate", "cases", verbosity=0)
        rewrite_things()

    calls: list[str] = []
    with received(post_migrate, migrates):
        document = in_json("cases", "0002")
        calls.clear()
    assert document["outcome"] == "passed"
    (section,) = document["receivers"]
    (own,) = _own(section)
    texts = [each["sql"] for each in own["statements"]]
    assert any("UPDATE" in text for text in texts)
    assert any("ALTER TABLE cases_thing" in text for text in texts)
    assert "cases_thing" in {each["relation"] for each in section["tables"]}
    assert [each["name"] for each in document["migrations"]] == ["0003_own"]


def test_findings_of_receivers_are_accepted_in_the_settings(things: Cases, settings: Any) -> None:
    reason = "the table has 40 rows"
    settings.CONFITURE = {"SILENCED": {"receivers.post_migrate": {"type-change-rewrite": reason}}}
    with received(post_migrate, rewrite_things):
        (section,) = _receivers("--fail-on", "danger")

    (found,) = (each for each in section["findings"] if each["id"] == "type-change-rewrite")
    assert found["silenced"] == reason
