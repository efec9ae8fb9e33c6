"""The HTML report: what the page is made of, that it stays small, and that no name does harm."""

from __future__ import annotations

import re
import zipfile
from base64 import b64decode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.test.utils import override_settings
from hatchling.builders.wheel import WheelBuilder

import django_confiture
from django_confiture.dry_run.results import (
    Blocked,
    CloneResult,
    DeadSpace,
    Failure,
    HookOutcome,
    LockCapacity,
    MigrationResult,
    PlannedTable,
    Preflight,
    Production,
    Range,
    ReverseResult,
    Sampled,
    SchemaChange,
    SequenceMove,
    Waiter,
    Write,
)
from django_confiture.reports import render
from django_confiture.reports.html.timeline import MIGRATIONS, TABLES, timeline
from tests.support.paths import ROOT
from tests.support.report_cases import (
    FAILED,
    HOSTILE,
    LOCKED,
    MIGRATION,
    OPERATION,
    REWRITE,
    REWRITTEN,
    SAFE,
    everything,
    exceeded,
    forecast,
    hostile,
    report_of,
    vast,
)

BLOCKED = replace(LOCKED, blocked=(Blocked(50.0, 1650.0, "reads"),))
DRAWN = replace(MIGRATION, tables=(BLOCKED,))
TEMPLATES = Path(django_confiture.__file__).parent / "reports" / "html" / "templates"
VOID = {"meta", "br", "link"}
SHAPES = {"rect", "line", "circle", "use"}


class Page(HTMLParser):
    """What a browser makes of the page."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": [], "h1": [], "h2": []}
        self.feed(html)
        self.close()
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), attrs
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SHAPES, tag
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        within = self.open[-1] if self.open else ""
        if within in self.inside:
            self.inside[within].append(data)
        if within not in ("script", "style"):
            self.words.append(data)

    def all(self, tag: str, name: str = "") -> list[dict[str, str | None]]:
        """Return the attributes of the elements, of one class if it is given."""
        found = [attrs for each, attrs in self.seen if each == tag]
        return [e for e in found if not name or name in (e.get("class") or "").split()]


def page(*migrations: MigrationResult, **more: Any) -> Page:
    return Page(render(report_of(*migrations, **more), "html"))


# The order of the page.


def test_the_verdict_comes_first() -> None:
    found = page(SAFE, DRAWN, FAILED)

    stopped = "1 of 3 would stop writers, the longest for 1.6 s on shop_order"
    assert found.inside["h1"] == [f"shop.0003_unique would fail; {stopped}"]
    assert found.inside["h2"] == [
        "Verdict",
        "Which table is blocked, and when",
        "Migrations",
        "What this can't tell, and what it left",
    ]
    for said in (
        "✓ Safe shop.0001_note is safe: it blocks no one",
        "! Stops writes 1.6 s shop.0002_total blocks reads and writes on shop_order for about 1.6",
        "✗ Fails shop.0003_unique would fail: could not create unique index",
        '"shop_order_number_key" (12 rows of shop_order , such as id=42, id=43 )',
        "Everything was rolled back.",
    ):
        assert said in found.text, said


def test_headings_go_down_one_level_at_a_time() -> None:
    levels = [int(tag[1]) for tag, _ in Page(render(everything(), "html")).seen if tag in HEADINGS]

    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


HEADINGS = {"h1", "h2", "h3", "h4"}


def test_what_else_the_head_says() -> None:
    found = page(
        DRAWN,
        outcome="yielded",
        error=Failure("ValueError", "receiver failed", None, None),
        exceeded=tuple(exceeded(message=f"--max-wal {n}") for n in range(6)),
        yielded_to=(Waiter(42, "web", 250.0, "shop_order", "UPDATE"),),
    )

    for said in (
        "Fails outside the migrations: receiver failed",
        "Gave way to session 42 (web), whose UPDATE on shop_order had waited 250 ms.",
        "Over the budget --max-wal 0",
        "and 2 more",
    ):
        assert said in found.text, said


def test_a_copy_that_was_left_behind() -> None:
    clone = CloneResult("confiture_clone_1", "default", "wal_log", 1200.0)

    left = page(SAFE, mode="clone", clone=clone, rolled_back=False).text
    gone = page(SAFE, mode="clone", clone=clone).text

    assert "Left behind: the clone confiture_clone_1. Drop it." in left
    assert "On a clone of shop, made in 1.2 s" in gone
    assert "It ran on a clone, which was dropped." in gone
    assert "Left behind" not in gone


def test_nothing_to_rehearse() -> None:
    found = page()

    assert found.inside["h1"] == ["nothing to rehearse"]
    assert "No migration is pending" in found.text


def test_harmless_ones_are_folded_where_there_are_many() -> None:
    safe = [replace(SAFE, name=f"{n:04}_note") for n in range(31)]

    assert "31 more are safe" in page(DRAWN, *safe).text
    safe[-1] = replace(safe[-1], outcome="not_run")
    assert "30 more are safe and 1 did not run" in page(DRAWN, *safe).text


def test_what_only_ran_first_is_said() -> None:
    found = page(DRAWN, replace(SAFE, rehearsed_first=True))

    assert "Ran first, since they are pending but not new: shop.0001_note." in found.text
    assert "Dry run of 1 migration" in found.text


# The drawing.


def test_bars_and_bands() -> None:
    hook = HookOutcome("notify", "BEFORE_DDL", 20.0, 0, "completed")
    last = HookOutcome("backfill", "AFTER_DDL", 30.0, 5, "completed", started_ms=825.0)
    later = replace(LOCKED, relation="shop_line", blocked=(Blocked(0.0, 400.0, "writes"),))
    migration = replace(DRAWN, tables=(BLOCKED, later), hooks=(hook, last), commit_ms=12.0)

    found = page(SAFE, migration)

    (reads,), (writes,) = found.all("a", "reads"), found.all("a", "writes")
    assert reads["aria-label"] == (
        "shop_order: reads and writes blocked for 1.6 s by shop.0002_total"
    )
    assert writes["aria-label"] == "shop_line: writes blocked for 400 ms by shop.0002_total"
    assert reads["href"] == "#m1"
    assert [each["aria-label"] for each in found.all("a", "hook")] == [
        "shop.0002_total, hook notify, 20 ms",
        "shop.0002_total, hook backfill, 30 ms",
    ]
    assert len(found.all("a", "operation")) == 2
    assert {"bands", "lane"} <= {each.get("class") for each in found.all("svg")}
    for said in (
        "lock AccessExclusiveLock",
        "statement ALTER TABLE shop_order ALTER total TYPE bigint",
        "time 1.5 s for the statement, 4 kB of WAL",
        "reads 400,000 rows",
    ):
        assert said in found.text, said
    drawn = timeline([replace(migration, duration_ms=1650.0)])
    assert [each.x for each in drawn.operations if each.kind == "hook"][-1] == "50%"


def test_rows_that_are_locked() -> None:
    wrote = Write("shop_order", 0, 400, 0)
    update = replace(
        OPERATION.statements[0], sql="UPDATE shop_order SET x = 1", writes=(wrote,), locks=()
    )
    locked = replace(
        LOCKED,
        strongest_lock="RowExclusiveLock",
        reads_blocked_ms=0.0,
        writes_blocked_ms=0.0,
        blocked_by="",
        rows_written=400,
        row_locks=(Blocked(50.0, 1650.0, "rows"),),
        production=Production(2_000_000, None, None, rows_locked=Range(1000.0, 2000.0, 3000.0)),
    )
    operation = replace(DRAWN.operations[0], statements=(update,))

    found = page(replace(DRAWN, tables=(locked,), operations=(operation,)))

    (bar,) = found.all("a", "rows")
    assert bar["aria-label"] == (
        "shop_order: writes of some rows blocked for 1.6 s by shop.0002_total"
    )
    for said in (
        "lock on each row that it updated or deleted, until the transaction ends",
        "statement UPDATE shop_order SET x = 1",
        "in production about 2.0 s",
        "writes of some rows for 1.6 s",
    ):
        assert said in found.text, said


def test_each_bar_has_its_facts_and_its_migration() -> None:
    found = Page(render(vast(3, 4), "html"))
    ids = [each["id"] for _, each in found.seen if "id" in each]

    assert len(ids) == len(set(ids))
    told = [each for each in found.all("a") if "data-facts" in each]
    assert len(told) == 3 + 12 + 3
    assert {each["data-facts"] for each in told} <= set(ids)
    for link in found.all("a"):
        assert (link["href"] or "")[1:] in ids


def test_positions() -> None:
    drawn = timeline([replace(SAFE, duration_ms=0.0), replace(DRAWN, duration_ms=1000.0)])

    first, second = ((float(m.x[:-1]), float(m.width[:-1])) for m in drawn.migrations)
    assert first == pytest.approx((0.0, 3.5), abs=0.01)
    assert sum(second) == pytest.approx(100, abs=0.01)
    assert [(tick.x, tick.text) for tick in drawn.ticks] == [("0%", "0"), ("100%", "1.7 s")]
    (bar,) = drawn.lanes[0].bars
    # The migration is drawn to the end of what it blocks, which is after its own.
    assert float(bar.x[:-1]) == pytest.approx(3.5 + 96.5 * 50 / 1650, abs=0.01)
    assert float(bar.x[:-1]) + float(bar.width[:-1]) == pytest.approx(100, abs=0.01)


def test_the_same_as_a_table() -> None:
    found = page(DRAWN)

    assert (
        "shop.0002_total shop_order reads and writes 1.6 s 50 ms to 1.6 s ALTER TABLE shop_order "
        "ALTER total TYPE bigint" in found.text
    )


def test_a_long_plan_is_drawn_in_part() -> None:
    migrations = vast(MIGRATIONS + 60, 1).migrations
    slow = replace(migrations[7].tables[0], writes_blocked_ms=1e6)
    fails = replace(FAILED, tables=())
    drawn = timeline(
        [*migrations[:7], replace(migrations[7], tables=(slow,)), *migrations[8:], fails]
    )

    assert len(drawn.migrations) == MIGRATIONS
    assert {"m7", f"m{MIGRATIONS + 60}"} <= {each.target for each in drawn.migrations}
    assert drawn.notes[0] == (
        f"Drawn are the {MIGRATIONS} of 101 migrations that block longest; the tables below have "
        "the others."
    )
    assert len(drawn.rows) == MIGRATIONS + 60


def test_many_tables_are_drawn_in_part() -> None:
    tables = tuple(replace(BLOCKED, relation=f"t{n}") for n in range(TABLES + 5))
    drawn = timeline([replace(DRAWN, tables=tables, operations=(OPERATION,) * 20), *PENDING])

    assert len(drawn.lanes) == TABLES
    assert drawn.notes == (
        "Drawn are the 25 of 30 tables that are blocked longest.",
        "Of each migration, the 12 operations that took longest are drawn.",
        "1 migration did not run and is not drawn.",
    )


PENDING = (MigrationResult("shop", "0009_next", "0009", "forward", "not_run"),)


# Forecasts.


def test_forecasts() -> None:
    found = Page(render(forecast(), "html"))

    (drawn,) = (each for each in found.all("svg") if each.get("role") == "img")
    assert drawn["aria-label"] == (
        "shop.0002_total: about 16.5 s in production, 8.1 s to 41.0 s; 1.6 s here"
    )
    for said in (
        "blocks reads and writes on shop_order for about 16.0 s in production",
        "such ranges held in 83 of 100 cases",
        "300 MB of WAL",
        "about 640 writes to shop_order would wait up to 40 s",
        "10 times the rows",
        "those in production are forecasts for shop, PostgreSQL 18",
        "made with the calibration of 2026-11-19.",
    ):
        assert said in found.text, said


def test_without_production_nothing_is_forecast() -> None:
    found = page(DRAWN).text

    assert "No forecast: nothing is known of production." in found
    assert "in production about" not in found


# One migration.


def test_details_of_a_migration() -> None:
    sampled = replace(
        REWRITE, sampled=Sampled(1.04, (20_000, 80_000), (90.0, 380.0)), note="not as written"
    )
    again = replace(REWRITTEN, message="The same advice", basis="policy")
    accepted = replace(REWRITTEN, silenced="the table has 40 rows")
    hook = HookOutcome("notify", "CLEANUP", 0.0, 0, "skipped", "not in a dry run")
    migration = replace(
        DRAWN,
        direction="backward",
        operations=(replace(OPERATION, statements=(sampled,), hooks=(hook,)),),
        findings=(REWRITTEN, again, accepted),
        warnings=("A real migration would also call 2 on_commit callbacks.",),
        schema_changes=(SchemaChange("added", "table", None, "shop_coupon", None, "TABLE"),),
        statements=(replace(REWRITE, sql="INSERT INTO django_migrations"),),
    )
    found = page(migration)

    for said in (
        "shop.0002_total (backwards) blocks",
        "shop/migrations/0002_total.py, line 6",
        "danger The new type of total makes PostgreSQL rewrite shop_order",
        "type-change-rewrite , operation 1, line 10",
        "reads of shop_order blocked for 1.6 s here, until the commit",
        "Instead: class Migration(migrations.Migration): atomic = False",
        "by policy, not measured",
        "accepted type-change-rewrite on shop_order : the table has 40 rows",
        "shop_order AccessExclusiveLock 1.6 s 1.6 s rewritten, 400,000 rows read",
        "Alter field total on order 1.5 s, line 10",
        "hook notify (CLEANUP) skipped: not in a dry run",
        "ALTER TABLE shop_order ALTER total TYPE bigint",
        "reads shop_order: 200,000 rows in 2 passes · rewrites shop_order · builds shop_order_p",
        "4 kB of WAL · AccessExclusiveLock on shop_order, blocks reads and writes · grows with its",
        "its rows to the power of 1.04, by samples of 20,000 and 80,000",
        "not as written",
        "INSERT INTO django_migrations",
        "+ table shop_coupon",
        "note A real migration would also call 2 on_commit callbacks.",
    ):
        assert said in found.text, said
    assert found.text.count("Instead:") == 1


def test_those_with_problems_are_open() -> None:
    over = exceeded(replace(SAFE, name="0004_over"))
    notice = replace(SAFE, name="0005_notice", findings=(replace(REWRITTEN, severity="notice"),))
    found = page(SAFE, DRAWN, FAILED, replace(SAFE, name="0004_over"), notice, exceeded=(over,))

    opened = ["open" in each for each in found.all("details", "migration")]
    assert opened == [False, True, True, True, False]


def test_only_so_many_are_open() -> None:
    found = page(*(replace(DRAWN, name=f"{n:04}") for n in range(30)))

    assert sum("open" in each for each in found.all("details", "migration")) == 20


# The end.


def test_limits() -> None:
    vacuum = replace(OPERATION, rehearsed="not_rehearsed", reason="VACUUM can't be rolled back.")
    preflight = Preflight(
        tables=(PlannedTable("shop_order", 200_000, 35_000_000, 2),) * 60,
        not_known=("2 RunPython",),
        sessions=2,
        longest=None,
        oldest_transaction=None,
        hidden_sessions=0,
        dead_space=(DeadSpace("shop_order", 10, 4_000_000),),
        max_dead_bytes=1024**3,
        locks=LockCapacity(103, 0, 34_560),
        lock_timeout_ms=1000.0,
        yield_after_ms=None,
    )
    found = page(
        replace(DRAWN, operations=(vacuum,)),
        preflight=preflight,
        warnings=("1 connection was opened past Django's.",),
        sequences_moved=(SequenceMove("shop", "shop_seq", 1, 2),),
        dead_bytes=3 * 1024**2,
    )

    for said in (
        "0 operations rehearsed exactly, 0 in another form, 1 in part or not at all.",
        "Alter field total on order. Not rehearsed: VACUUM can't be rolled back.",
        "1 connection was opened past Django's.",
        "Sequence shop_seq in shop moved from 1 to 2.",
        "Dead space left until VACUUM: 3 MB.",
        "touches 2 RunPython may touch others",
        "at work 2 other sessions on these tables",
        "leaves up to 4 MB of dead space in shop_order, until VACUUM",
        "no watchdog: others wait until it ends",
        "locks needs about 103; 0 of 34,560 were taken",
        "shop_order 200,000 33 MB 2",
        "And 10 more.",
    ):
        assert said in found.text, said


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("same", "Undone, and the schema is as it was before. Rows were not compared"),
        ("different", "Undone, but the schema is not as it was before. + table left_over"),
        ("irreversible", "It can't be undone. IrreversibleError no way back"),
        ("failed", "Undoing it fails. IrreversibleError no way back 12 rows of shop_order"),
    ],
)
def test_the_reverse(outcome: Any, said: str) -> None:
    error = Failure("IrreversibleError", "no way back\nDETAIL: secret", None, None)
    fails = outcome in ("irreversible", "failed")
    reverse = ReverseResult(
        outcome,
        (FAILED,) if outcome == "failed" else (),
        (SchemaChange("added", "table", None, "left_over", None, "TABLE"),)
        if outcome == "different"
        else (),
        error=error if fails else None,
    )
    found = page(SAFE, reverse=reverse)

    assert said in found.text
    assert "secret" not in found.text


# What it may do.


def test_the_page_may_load_nothing() -> None:
    html = render(everything(), "html")
    found = Page(html)

    (policy,) = (
        each["content"] or ""
        for each in found.all("meta")
        if each.get("http-equiv") == "Content-Security-Policy"
    )
    directives = dict(each.split(maxsplit=1) for each in policy.split("; "))
    assert directives.pop("default-src") == "'none'"
    assert directives.pop("base-uri") == directives.pop("form-action") == "'none'"
    for name in ("script", "style"):
        (content,) = found.inside[name]
        (algorithm,) = re.findall("'sha256-(.*)'", directives.pop(f"{name}-src"))
        assert b64decode(algorithm) == sha256(content.encode()).digest()
    assert directives == {}
    assert not re.search(r"https?://|url\((?!#)|@import|src=", html.replace("default-src", ""))


def test_it_needs_no_settings_of_the_project() -> None:
    expected = render(everything(), "html")

    with override_settings(
        TEMPLATES=[], INSTALLED_APPS=[], USE_THOUSAND_SEPARATOR=True, LANGUAGE_CODE="de"
    ):
        assert render(everything(), "html") == expected


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_the_page_is_nothing_but_what_the_templates_say(name: str) -> None:
    html = render(hostile(name), "html")
    found, plain = Page(html), Page(render(everything(), "html"))

    assert found.open == []
    if name.strip():
        assert [(tag, [*attrs]) for tag, attrs in found.seen] == [
            (tag, [*attrs]) for tag, attrs in plain.seen
        ]
    for tag, attrs in found.seen:
        assert not [each for each in attrs if each.startswith("on") or each == "style"], tag
        assert (attrs.get("href") or "#").startswith("#")
    assert found.inside["script"] == plain.inside["script"]
    assert all(c.isprintable() or c == "\n" for c in html)
    assert html.encode()


def test_a_name_is_shown_as_it_is() -> None:
    name = HOSTILE["script"]

    assert name in page(replace(DRAWN, warnings=(name,))).text


# It stays small, and it is in the package.


def test_a_vast_report_stays_small() -> None:
    """``benchmarks/page.py`` says how long a browser takes to open it."""
    html = render(vast(980, 10), "html")

    assert len(html.encode()) < 5_000_000
    assert html.count('<details class="migration') == 980
    assert html.count("</i><code>ALTER TABLE ") == 9_800


def test_what_has_no_room_is_left_out_of_the_harmless_first() -> None:
    code = replace(REWRITTEN, advice="x" * 20_000)
    calm = replace(SAFE, findings=(replace(code, severity="notice"),))
    migrations = [replace(calm, name=f"{n:04}") for n in range(300)]
    migrations[150] = replace(DRAWN, findings=(code,))

    html = render(report_of(*migrations), "html")

    assert 4_000_000 < len(html.encode()) < 5_000_000
    left_out = html.count("There is no room for its statements and code in this page")
    assert 0 < left_out < 100
    body = html[html.index('id="m150"') :]
    assert "x" * 20_000 in body[: body.index('id="m151"')]


@pytest.mark.parametrize("long", ["sql", "many"])
def test_one_vast_migration_stays_small(long: str) -> None:
    statement = replace(REWRITE, sql="x" * 1_000_000 if long == "sql" else "SELECT 1")
    slow = replace(statement, sql="SELECT 2", duration_ms=9e9)
    statements = (*(statement,) * (30 if long == "sql" else 6_000), slow)
    migration = replace(DRAWN, operations=(replace(OPERATION, statements=statements),))

    html = render(report_of(migration), "html")

    assert len(html.encode()) < 500_000
    assert "<code>SELECT 2</code>" in html
    assert ("5501 shorter statements are left out" in html) is (long == "many")


def test_the_wheel_has_the_templates(tmp_path: Path) -> None:
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(built) as wheel:
        names = set(wheel.namelist())
    assert {
        f"django_confiture/reports/html/templates/{each.name}" for each in TEMPLATES.iterdir()
    } <= names
