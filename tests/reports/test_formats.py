"""Markdown, GitHub, GitLab and SARIF: what they say, and that no name does harm in them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt
from pydantic_sarif.model import (  # type: ignore[import-untyped]
    StaticAnalysisResultsFormatSarifVersion210JsonSchema as Sarif,
)

from django_confiture.dry_run.results import (
    Failure,
    HookOutcome,
    MigrationResult,
    Report,
    ReverseResult,
    SchemaChange,
    SequenceMove,
    Waiter,
)
from django_confiture.reports import FORMATS, render
from django_confiture.reports.markdown.render import LIMIT, MARKER
from django_confiture.reports.phrases.wording import about, about_size, steady
from tests.support.report_cases import (
    FAILED,
    HOSTILE,
    LOCKED,
    MIGRATION,
    OPERATION,
    REWRITTEN,
    SAFE,
    everything,
    exceeded,
    forecast,
    hostile,
    report_of,
)


def markdown(*migrations: MigrationResult, **more: Any) -> str:
    return render(report_of(*migrations, **more), "markdown")


def lines(*migrations: MigrationResult, **more: Any) -> list[str]:
    return markdown(*migrations, **more).splitlines()


def marks(report: Report) -> list[str]:
    """Return the commands after the first, which is the verdict."""
    return render(report, "github").splitlines()[1:]


def code_quality(report: Report) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(render(report, "gitlab"))
    return found


def sarif(report: Report) -> dict[str, Any]:
    """Return the run, once the specification's own model has taken the document."""
    document = json.loads(render(report, "sarif"))
    Sarif.model_validate(document, strict=False)
    (run,) = document["runs"]
    assert isinstance(run, dict)
    return run


# Markdown.


def test_the_fix_goes_easy_on_the_running_release_where_it_breaks() -> None:
    broken = replace(REWRITTEN, id="running-code-breaks", fixable=False)
    fix = "**Fix:** `manage.py confiture_fix shop 0002_total --releases 2`"
    assert fix in lines(SAFE, replace(MIGRATION, findings=(REWRITTEN, broken)))
    silenced = replace(broken, silenced="no such code runs")
    assert fix not in lines(SAFE, replace(MIGRATION, findings=(REWRITTEN, silenced)))


def test_the_command_names_a_database_other_than_the_default() -> None:
    report = report_of(SAFE, MIGRATION)
    other = replace(report, database=replace(report.database, alias="other"))
    assert "**Fix:** `manage.py confiture_fix shop 0002_total --database other`" in render(
        other, "markdown"
    )


STOPPED = "1 of 2 would stop writers, the longest for about 2 s on shop_order"


def test_the_verdict_comes_first() -> None:
    assert lines(SAFE, MIGRATION)[:7] == [
        MARKER,
        "## Dry run of 2 migrations: " + STOPPED,
        "",
        "**Fix:** `manage.py confiture_fix shop 0002_total`",
        "",
        "- ⚠️ `shop.0002_total` blocks reads and writes on `shop_order` for about 2 s",
        "- ✅ `shop.0001_note` is safe: it blocks no one",
    ]


@pytest.mark.parametrize(
    ("table", "verdict"),
    [
        ({"reads_blocked_ms": 0.0}, "blocks writes on `shop_order` for about 2 s"),
        ({"reads_blocked_ms": 90.0}, "blocks writes on `shop_order` for about 2 s, reads for "),
        (
            {"rewritten": False, "rows_scanned": 0},
            "blocks reads and writes on `shop_order` for about 2 s\n",
        ),
        (
            {
                "rewritten": False,
                "rows_scanned": 0,
                "reads_blocked_ms": 9.0,
                "writes_blocked_ms": 9.0,
            },
            "is safe: it blocks reads and writes on `shop_order` for ",
        ),
        (
            {"reads_blocked_ms": 0.0, "writes_blocked_ms": 0.0, "rows_written": 600},
            "writes 600 rows of `shop_order` and keeps them locked",
        ),
    ],
)
def test_the_verdict_on_a_migration(table: dict[str, Any], verdict: str) -> None:
    migration = replace(MIGRATION, findings=(), tables=(replace(LOCKED, **table),))

    assert f"`shop.0002_total` {verdict}" in markdown(migration)


def test_the_verdict_on_a_failure() -> None:
    pending = MigrationResult("shop", "0004_next", "0004", "forward", "not_run")
    stopped = replace(FAILED, name="0005_stopped", outcome="not_run")

    found = lines(FAILED, pending, stopped)

    assert found[1] == "## Dry run of 3 migrations: shop.0003_unique would fail"
    assert found[3] == (
        '- ❌ `shop.0003_unique` would fail: could not create unique index "shop_order_number_key" '
        "(12 rows of `shop_order`, such as `id=42, id=43`)"
    )
    assert found[4].startswith("- ⏹️ `shop.0005_stopped` was stopped partway: could not")
    assert found[5] == "- ⏭️ `shop.0004_next` was not run"


def test_many_tables_are_not_all_named() -> None:
    tables = tuple(replace(LOCKED, relation=f"t{n}") for n in range(9))

    assert "and so on for 5 more tables" in lines(replace(MIGRATION, tables=tables))[5]


def test_the_forecast_is_the_figure_where_there_is_one() -> None:
    found = render(forecast(), "markdown")

    assert "blocks reads and writes on `shop_order` for about 20 s in production" in found
    assert "**In production** about 20 s (about 10 s to about 50 s; such ranges held in 83" in found
    assert "- about 640 writes to shop_order would wait up to about 50 s" in found
    assert "- about 200 MB of WAL" in found
    assert "forecasts for `shop` as of 2026-11-20." in found


def test_findings_have_their_evidence_and_code() -> None:
    found = markdown(MIGRATION)

    assert "<details><summary><code>shop.0002_total</code>: 1 danger</summary>" in found
    assert "**Danger:** The new type of total" in found
    assert "(`type-change-rewrite`, operation 1, line 10)" in found
    assert "- reads of shop_order blocked for about 2 s here, until the commit" in found
    assert "- about 20 MB of WAL" in found
    assert "```python\nclass Migration(migrations.Migration):\n    atomic = False\n```" in found


def test_accepted_findings_are_said_and_do_not_count() -> None:
    accepted = replace(REWRITTEN, silenced="the table has 40 rows")

    found = markdown(replace(MIGRATION, findings=(accepted,)))

    assert "- Accepted: `type-change-rewrite`, the table has 40 rows" in found
    assert "danger" not in found


def test_what_was_not_rehearsed() -> None:
    vacuum = replace(OPERATION, rehearsed="not_rehearsed", reason="VACUUM can't be rolled back.")

    found = markdown(replace(MIGRATION, operations=(vacuum,)))

    assert "<br>Not rehearsed: VACUUM can't be rolled back." in found
    assert "0 operations rehearsed exactly, 0 in another form, 1 in part or not at all." in found


def test_the_rest_of_the_run() -> None:
    hook = HookOutcome("backfill", "AFTER_DDL", 5.0, 1200, "completed")
    migration = replace(
        MIGRATION,
        direction="backward",
        operations=(replace(OPERATION, hooks=(hook,)),) * 25,
        warnings=("A real migration would also call 2 on_commit callbacks.",),
    )
    found = markdown(
        migration,
        replace(SAFE, rehearsed_first=True),
        exceeded=(exceeded(), exceeded(budget="fail_on", limit="danger", figure="x-y")),
        outcome="exceeded",
        since="origin/main",
        error=Failure("ValueError", "receiver failed", None, None),
        warnings=(
            "Gave up after waiting for the lock of session 4711 (psql, idle in transaction).",
        ),
        yielded_to=(Waiter(42, "web", 250.0, "shop_order", "UPDATE"),),
        sequences_moved=(SequenceMove("shop", "shop_seq", 1, 2),),
        dead_bytes=3 * 1024**2,
    )

    for part in (
        "## Dry run of 1 migration since origin/main: it would stop writers for about 2 s on ",
        "shop_order, over the budget",
        "**Over the budget:** --fail-on danger: x-y",
        "**Over the budget:** --max-blocking 500 ms: shop.0002_total blocks writes on shop_order",
        "**Fails outside the migrations:** receiver failed",
        "`shop.0002_total` (backwards) blocks",
        "<br>Hook `backfill` (AFTER_DDL): 1,200 rows in under 10 ms",
        "And 5 more operations.",
        "- Note: A real migration would also call 2 on_commit callbacks.",
        "Rehearsed first, since they are pending too but not new: `shop.0001_note`.",
        "Gave way to web, whose UPDATE on `shop_order` waited.",
        "on a clone of a database that no one uses (--clone-of ALIAS)",
        "Note: Gave up after waiting for the lock of another session (psql, idle in transaction).",
        "Sequences moved, which no rollback undoes: `shop_seq`.",
        "Dead space left until VACUUM: about 2 MB.",
        "Everything was rolled back.",
    ):
        assert part in found, part


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("same", "Undone, and the schema is as it was before."),
        ("different", "Undone, but the schema is not as it was before: added table `left_over`"),
        ("irreversible", "It can't be undone: no way back"),
    ],
)
def test_the_reverse(outcome: Any, said: str) -> None:
    change = SchemaChange("added", "table", None, "left_over", None, "TABLE")
    error = Failure("IrreversibleError", "no way back", None, None)
    reverse = ReverseResult(
        outcome, differences=(change,), error=error if outcome == "irreversible" else None
    )

    assert f"**Reverse:** {said}" in markdown(SAFE, reverse=reverse)


def test_nothing_to_rehearse() -> None:
    assert lines()[1] == "## No migration is pending: nothing to rehearse"
    assert lines(since="main")[1] == "## No migration since main: nothing to rehearse"


def test_two_runs_differ_only_where_facts_do() -> None:
    slower = replace(
        MIGRATION,
        duration_ms=1710.0,
        tables=(replace(LOCKED, reads_blocked_ms=1655.0, writes_blocked_ms=1655.0),),
        operations=(replace(OPERATION, duration_ms=1555.0),),
        findings=(replace(REWRITTEN, evidence=("reads blocked for 1.7 s", "21.9 MB of WAL")),),
    )
    first = replace(
        MIGRATION,
        findings=(replace(REWRITTEN, evidence=("reads blocked for 1.6 s", "22.6 MB of WAL")),),
    )

    assert markdown(first, dead_bytes=9_000_000) == markdown(slower, dead_bytes=10_100_000)
    assert render(report_of(first), "gitlab") == render(report_of(slower), "gitlab")


@pytest.mark.parametrize("count", [60, 400, 1000])
def test_a_comment_fits_and_the_verdict_is_kept(count: int) -> None:
    many = [replace(MIGRATION, name=f"{n:04}_{'x' * 40}") for n in range(count)]

    found = markdown(*many, FAILED)

    assert len(found.encode()) <= LIMIT
    assert found.splitlines()[1] == (
        f"## Dry run of {count + 1:,} migrations: shop.0003_unique would fail; {count:,} of "
        f"{count + 1:,} would stop writers, the longest for about 2 s on shop_order"
    )
    assert "Everything was rolled back." in found
    assert ("left out: a comment takes 65,536 characters" in found) is (count > 60)
    if count < 1000:
        assert found.count("\n- ⚠️ ") == count
        assert "<code>shop.0003_unique</code></summary>" in found
    else:
        assert "more, in the JSON report." in found
        assert "- ❌ `shop.0003_unique` would fail" in found


def test_one_migration_with_much_in_it_fits() -> None:
    wide = replace(REWRITTEN, advice="x" * 100_000, evidence=("y" * 10_000,) * 50)
    operation = replace(OPERATION, description="z" * 10_000)
    big = replace(MIGRATION, findings=(wide,) * 300, operations=(operation,) * 300)

    found = markdown(SAFE, big)

    assert len(found.encode()) <= LIMIT
    assert "`shop.0002_total` blocks" in found


# GitHub.


def test_annotations() -> None:
    first, *rest = render(report_of(MIGRATION, FAILED), "github").splitlines()

    assert first == (
        "::notice title=migrate_dryrun::Dry run of 2 migrations: shop.0003_unique would fail; 1 of "
        "2 would stop writers, the longest for 1.6 s on shop_order; 1 danger"
    )
    place = "file=shop/migrations/0002_total.py,line=10,endLine=14"
    failure = (
        'UniqueViolation: could not create unique index "shop_order_number_key" '
        "(12 rows of shop_order, such as id=42, id=43)"
    )
    assert rest == [
        f"::error title=shop.0003_unique would fail,{place}::{failure}",
        f"::error title=shop.0002_total%3A type-change-rewrite,{place}::{REWRITTEN.message}",
    ]


def test_an_annotation_of_what_is_in_no_file() -> None:
    error = Failure("ValueError", "receiver failed", None, None)

    assert marks(report_of(SAFE, error=error)) == [
        "::error title=Fails outside the migrations::ValueError: receiver failed"
    ]


def test_more_annotations_than_github_shows() -> None:
    many = [replace(MIGRATION, name=f"{n:04}") for n in range(25)]

    found = marks(report_of(*many))

    assert len(found) == 10
    assert found[-1].startswith("::error title=16 more%3A GitHub shows 10 of a kind::16 more prob")
    assert "%0Ashop.0024: type-change-rewrite: The new type" in found[-1]


def test_what_is_over_the_budget_is_said_once() -> None:
    failing = exceeded(budget="fail_on", limit="warning", figure="type-change-rewrite")
    report = report_of(MIGRATION, exceeded=(failing, exceeded()), outcome="exceeded")

    assert [each.partition(",")[0] for each in marks(report)] == [
        "::error title=shop.0002_total%3A type-change-rewrite",
        "::error title=shop.0002_total%3A over the budget",
    ]


def test_what_only_ran_first_gets_no_mark_unless_it_fails() -> None:
    first = replace(MIGRATION, rehearsed_first=True)

    assert marks(report_of(first, SAFE)) == []
    assert len(marks(report_of(replace(FAILED, rehearsed_first=True)))) == 1


# GitLab.


def test_code_quality() -> None:
    (found,) = code_quality(report_of(MIGRATION))

    assert re.fullmatch("[0-9a-f]{40}", found.pop("fingerprint"))
    assert found == {
        "description": "shop.0002_total: The new type of total makes PostgreSQL rewrite shop_order",
        "check_name": "type-change-rewrite",
        "severity": "critical",
        "location": {
            "path": "shop/migrations/0002_total.py",
            "lines": {"begin": 10, "end": 14},
        },
    }


def test_fingerprints_are_stable_and_differ() -> None:
    twice = replace(MIGRATION, findings=(REWRITTEN, REWRITTEN, replace(REWRITTEN, operation=None)))
    other = replace(MIGRATION, name="0003_other")
    moved = replace(OPERATION, line=50, end_line=54)

    prints = [each["fingerprint"] for each in code_quality(report_of(twice, other, FAILED))]

    assert len(set(prints)) == 5
    again = report_of(replace(twice, operations=(moved,)), other, FAILED)
    assert [each["fingerprint"] for each in code_quality(again)] == prints


def test_severities_of_gitlab() -> None:
    findings = tuple(replace(REWRITTEN, severity=each) for each in ("danger", "warning", "notice"))
    report = report_of(replace(MIGRATION, findings=findings), FAILED, exceeded=(exceeded(),))

    found = [each["severity"] for each in code_quality(report)]

    assert found == ["blocker", "critical", "critical", "major", "minor"]


def test_what_is_in_no_file_is_the_commands() -> None:
    error = Failure("ValueError", "receiver failed", None, None)
    (found,) = code_quality(report_of(SAFE, error=error))

    assert found["location"] == {"path": "manage.py", "lines": {"begin": 1, "end": 1}}


# SARIF.


def test_a_result_of_sarif() -> None:
    run = sarif(report_of(MIGRATION))

    (result,) = run["results"]
    assert result["ruleId"] == "type-change-rewrite"
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "type-change-rewrite"
    assert result["level"] == "error"
    assert result["message"]["text"].startswith("shop.0002_total: The new type of total")
    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "shop/migrations/0002_total.py"},
        "region": {"startLine": 10, "endLine": 14},
    }
    assert run["invocations"][0]["executionSuccessful"] is True


def test_an_accepted_finding_is_a_suppressed_result() -> None:
    accepted = replace(REWRITTEN, silenced="the table has 40 rows")
    run = sarif(report_of(replace(MIGRATION, findings=(accepted,))))

    assert run["results"][0]["suppressions"] == [
        {"kind": "inSource", "justification": "the table has 40 rows"}
    ]


def test_a_path_in_sarif_is_a_uri() -> None:
    run = sarif(report_of(replace(MIGRATION, file="a b/ü#?.py")))

    (result,) = run["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "a%20b/%C3%BC%23%3F.py"


# Problems that all of them know.


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            {"yielded_to": (Waiter(42, "", 250.0, None, ""),)},
            ("gave-way", "The dry run gave way: statement of no name waited for it."),
        ),
        (
            {
                "reverse": ReverseResult(
                    "different",
                    differences=(SchemaChange("added", "table", None, "left_over", None, ""),),
                )
            },
            ("migration-not-reversed", "shop.0001_note: added table left_over"),
        ),
        (
            {"reverse": ReverseResult("failed", (FAILED,))},
            ("migration-not-reversed", "shop.0003_unique: UniqueViolation: could not create"),
        ),
    ],
    ids=["yielded", "other schema", "undoing fails"],
)
def test_other_problems(more: dict[str, Any], expected: tuple[str, str]) -> None:
    (found,) = code_quality(report_of(SAFE, **more))

    assert found["check_name"] == expected[0]
    assert found["description"].startswith(expected[1])


def test_what_was_not_rehearsed_is_a_notice() -> None:
    vacuum = replace(OPERATION, rehearsed="not_rehearsed", reason="VACUUM can't be rolled back.")
    report = report_of(replace(SAFE, operations=(vacuum,)))

    place = "file=shop/migrations/0001_note.py,line=10,endLine=14"
    said = "Alter field total on order: VACUUM can't be rolled back."
    assert marks(report) == [f"::notice title=shop.0001_note%3A not rehearsed,{place}::{said}"]


# Rounded figures.


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0, "under 10 ms"),
        (7.4, "under 10 ms"),
        (12, "about 10 ms"),
        (340, "about 200 ms"),
        (360, "about 500 ms"),
        (800, "about 1 s"),
        (1_600, "about 2 s"),
        (44_000, "about 50 s"),
        (46_000, "about 1 min"),
        (3_600_000, "about 50 min"),
    ],
)
def test_rounded_durations(ms: float, said: str) -> None:
    assert about(ms) == said


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (10, "about 10 bytes"),
        (9_000, "about 10 kB"),
        (800 * 1024, "about 1 MB"),
        (3 * 1024**3, "about 2 GB"),
        (10**17, "about 100000 TB"),
    ],
)
def test_rounded_sizes(size: int, said: str) -> None:
    assert about_size(size) == said


def test_figures_in_sentences() -> None:
    assert steady("12 rows, 1,650 ms, about 9.6 MB, <1 ms; 3 steps in t2 s") == (
        "12 rows, about 2 s, about 10 MB, under 10 ms; 3 steps in t2 s"
    )


def test_much_of_everything_is_counted() -> None:
    statements = (replace(OPERATION.statements[0], executions=3, note="not as written"),) * 12
    names = tuple(f"index_{n}" for n in range(14))
    built = replace(OPERATION.statements[0], indexes_built=names)
    operation = replace(OPERATION, statements=(built, *statements))
    finding = replace(REWRITTEN, basis="policy")
    tables = tuple(replace(LOCKED, relation=f"t{n}") for n in range(30))
    over = tuple(exceeded(message=f"--max-wal {n}") for n in range(25))
    migration = replace(MIGRATION, operations=(operation,), findings=(finding,) * 25, tables=tables)

    found = markdown(migration, exceeded=over)

    for part in (
        "-- and 3 more statements",
        "-- 3 times  -- not as written",
        "`index_9` and 5 more",
        "And 5 more findings.",
        "line 10, by policy, not measured)",
        "- and 5 more over the budget.",
    ):
        assert part in found, part


# No name does harm.


class Page(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[str] = []
        self.attributes: list[Any] = []
        self.plain: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += [each for each in attrs if each[0] != "class"]
        if tag != "br":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "code" not in self.open:
            self.plain.append(data)


EXPECTED_TAGS = {"br", "code", "details", "h2", "li", "p", "pre", "strong", "sub", "summary", "ul"}
names = pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)


@names
def test_markdown_is_nothing_but_text(name: str) -> None:
    found = render(hostile(name), "markdown")

    page = Page(MarkdownIt("commonmark", {"html": True}).enable("strikethrough").render(found))
    assert {*page.seen} - {"em"} <= EXPECTED_TAGS
    assert page.attributes == []
    assert page.open == []
    assert page.seen.count("details") == 2
    assert not re.search(r"@\w|(?<!&)#\d|://|www\.", "".join(page.plain)), page.plain
    assert all(c.isprintable() or c in "\n\u200b" for c in found)
    assert found.encode()


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


@names
def test_annotations_are_commands_only(name: str) -> None:
    found = render(hostile(name), "github").splitlines()

    assert len(found) == len(render(everything(), "github").splitlines())
    for line in found:
        assert re.fullmatch(r"::(error|warning|notice) [^:\r\n]*::[^\r\n]*", line)
        properties, message = line[2:].split("::", 1)
        assert [each.partition("=")[0] for each in properties.partition(" ")[2].split(",")] in (
            ["title"],
            ["title", "file", "line", "endLine"],
        )
        assert all(c.isprintable() for c in message)
        assert re.findall(r"%(?!25|0A|0D)", message) == []


@names
@pytest.mark.parametrize("output_format", ["gitlab", "sarif", "json"])
def test_json_formats_stay_json(name: str, output_format: str) -> None:
    found = render(hostile(name), output_format)

    assert found.isascii()
    assert all(c.isprintable() or c == "\n" for c in found)
    assert json.loads(found)


@names
def test_sarif_stays_sarif(name: str) -> None:
    run = sarif(hostile(name))

    assert all(_shown(name).strip() in each["message"]["text"] for each in run["results"][2:3])


@pytest.mark.parametrize("output_format", FORMATS)
def test_no_parameters_or_rows_in_any_format(output_format: str) -> None:
    """The results have none, so no format can; the failure's DETAIL stays out, too."""
    error = Failure("UniqueViolation", "duplicate key\nDETAIL:  Key (a)=(secret) exists.", "x", "y")

    found = render(report_of(replace(FAILED, error=error)), output_format)

    assert "secret" not in found or output_format in ("json", "text")
