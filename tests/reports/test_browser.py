"""The HTML report in a real browser; skipped where there is no Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from django_confiture.dry_run.results import Blocked, HookOutcome, Report
from django_confiture.dry_run.results.deploy import Break, Deploy
from django_confiture.reports import render
from django_confiture.reports.phrases.deploy import ACTIONS
from tests.support.browser import launched
from tests.support.report_cases import (
    FAILED,
    LOCKED,
    MIGRATION,
    SAFE,
    everything,
    exceeded,
    forecast,
    hostile,
    report_of,
    vast,
)

HOOK = HookOutcome("backfill", "AFTER_DDL", 300.0, 5, "completed")
BLOCKED = replace(LOCKED, blocked=(Blocked(20.0, 30.0, "writes"), Blocked(30.0, 1650.0, "reads")))
DRAWN = replace(MIGRATION, tables=(BLOCKED,), hooks=(HOOK,))
REPORTS = {
    "shop": report_of(SAFE, DRAWN, FAILED, exceeded=(exceeded(),), outcome="exceeded"),
    "forecast": replace(
        forecast(),
        migrations=tuple(
            replace(each, tables=(replace(each.tables[0], blocked=BLOCKED.blocked),))
            for each in forecast().migrations
        ),
    ),
    "everything": everything(),
    "long names": hostile("x" * 63),
    "right to left": hostile("\u05d0\u05d1\u05d2 \u202eabc"),
    "script": hostile("</script><script>document.title='harm'</script><img src=//x onerror=x>"),
    "nothing": report_of(),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


class Opened:
    """Opens reports, and fails where a page complains or asks for anything."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.browser = browser
        self.folder = folder
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def __call__(self, report: Report, **options: Any) -> Page:
        path = self.folder / "report.html"
        path.write_text(render(report, "html"), encoding="utf-8")
        context = self.browser.new_context(**options)
        page = context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(path.as_uri())
        assert self.requests == [path.as_uri()]
        return page


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Opened]:
    opener = Opened(browser, tmp_path)
    yield opener
    assert opener.complaints == []
    assert len(set(opener.requests)) <= 1
    for context in browser.contexts:
        context.close()


reports = pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)


def panel(page: Page) -> str:
    return page.inner_text(".facts-panel")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@reports
def test_axe_finds_nothing(opened: Opened, report: Report, scheme: Any) -> None:
    page = opened(report, color_scheme=scheme, reduced_motion="reduce")
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")

    found = Axe().run(page)

    assert found.violations_count == 0, found.generate_report()


@reports
def test_no_sideways_scrolling_on_a_telephone(opened: Opened, report: Report) -> None:
    page = opened(report, viewport={"width": 390, "height": 844})
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")

    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_releases_fit_the_page_whatever_the_names(opened: Opened) -> None:
    error = f'column "{"x" * 63}" of relation "{"y" * 63}" does not exist'
    name = f"shop.{'Z' * 60}"
    broken = tuple(
        Break(name, "y" * 63, action, "42703", error, "SQL", f"shop.0001_{'m' * 60}", 0)
        for action in ACTIONS
    )
    page = opened(
        report_of(SAFE, deploy=Deploy("code_first", broken)),
        viewport={"width": 1100, "height": 900},
    )
    assert page.evaluate(
        "() => { const box = document.querySelector('#deploy .scroll');"
        " return box.scrollWidth <= box.clientWidth; }"
    )


def test_pointing_at_a_bar_tells_what_it_is(opened: Opened) -> None:
    page = opened(REPORTS["shop"])
    assert "to see details here" in panel(page)

    page.hover("a.bar.reads")

    assert "shop_order: reads and writes blocked for 1.6 s by shop.0002_total" in panel(page)
    assert "AccessExclusiveLock" in panel(page)
    assert "ALTER TABLE shop_order ALTER total TYPE bigint" in panel(page)
    assert "4 kB of WAL" in panel(page)

    page.hover("a.hook")
    assert "hook backfill, 300 ms" in panel(page)


def test_the_keyboard_goes_through_the_drawing(opened: Opened) -> None:
    page = opened(REPORTS["shop"])
    page.focus("a[data-facts]")
    assert "shop.0001_note, 12 ms" in panel(page)

    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    assert "shop.0002_total, 1.6 s" in panel(page)

    page.keyboard.press("Tab")  # not to the next bar, but to what is told, and past it
    assert page.evaluate("document.activeElement.className") == "facts-panel told"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('[data-timeline]')") is None

    page.focus("a.bar.reads")
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id === 'm1'")


def test_what_has_the_focus_is_not_covered(opened: Opened) -> None:
    page = opened(vast(40, 1), viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    boxes = "(e) => e.getBoundingClientRect()"

    for bar in page.locator("a.bar").all():
        bar.focus()
        box, told = bar.evaluate(boxes), page.locator(".facts-panel").evaluate(boxes)
        assert box["bottom"] <= told["top"] or box["top"] >= told["bottom"]
        assert box["top"] >= 0


def test_what_is_told_is_told_to_screen_readers_too(opened: Opened) -> None:
    page = opened(REPORTS["shop"])
    bar = page.locator("a.bar.reads")

    assert bar.get_attribute("aria-label") == (
        "shop_order: reads and writes blocked for 1.6 s by shop.0002_total"
    )
    facts = page.locator(f"#{bar.get_attribute('aria-describedby')}").text_content()
    assert "AccessExclusiveLock" in (facts or "")


def test_the_first_tap_tells_and_the_second_goes_there(opened: Opened) -> None:
    page = opened(REPORTS["shop"], has_touch=True, viewport={"width": 390, "height": 844})

    page.tap("a.bar.reads")
    assert "reads and writes blocked" in panel(page)
    assert page.evaluate("location.hash") == ""

    page.tap("a.bar.reads")
    page.wait_for_function("location.hash === '#m1'")


def test_the_shortest_is_still_visible(opened: Opened) -> None:
    short = replace(BLOCKED, blocked=(Blocked(1.0, 1.01, "writes"),))
    page = opened(
        report_of(replace(SAFE, tables=(short,)), replace(DRAWN, duration_ms=3_600_000.0))
    )

    box = page.evaluate(
        "(() => { const r = document.querySelector('a.writes rect');"
        "return r.getBoundingClientRect().width + parseFloat(getComputedStyle(r).strokeWidth) })()"
    )
    assert box >= 2


def test_a_link_opens_the_migration(opened: Opened) -> None:
    page = opened(REPORTS["shop"])
    assert not page.is_visible("#m0")

    page.click("#verdict a >> text=shop.0001_note")

    page.wait_for_selector("#m0", state="visible")


def test_all_are_opened_and_closed(opened: Opened) -> None:
    page = opened(REPORTS["shop"])

    page.click("text=Open all")
    assert page.locator("details.migration[open]").count() == 3
    page.click("text=Close all")
    assert page.locator("details.migration[open]").count() == 0


def test_code_is_copied(opened: Opened) -> None:
    page = opened(REPORTS["shop"], permissions=["clipboard-read", "clipboard-write"])

    page.click(".copy button")

    page.wait_for_selector("text=Copied")
    assert page.evaluate("navigator.clipboard.readText()") == (
        "class Migration(migrations.Migration):\n    atomic = False"
    )


def test_nothing_is_lost_without_javascript(opened: Opened) -> None:
    page = opened(REPORTS["shop"], java_script_enabled=False)

    assert not page.is_visible(".facts-panel")
    assert not page.is_visible(".tools")
    assert page.locator("a.bar.reads title").text_content() == (
        "shop_order: reads and writes blocked for 1.6 s by shop.0002_total"
    )
    page.click("#verdict a >> text=shop.0001_note")
    page.wait_for_selector("#m0", state="visible")


def test_paper_has_the_migrations_with_problems(opened: Opened) -> None:
    page = opened(REPORTS["shop"], color_scheme="dark")
    page.click("text=Close all")
    page.emulate_media(media="print")

    assert page.is_visible("#m1 .finding")
    assert not page.is_visible("nav")
    width = "document.querySelector('.bands').getBoundingClientRect().width"
    assert page.evaluate(width) <= page.evaluate("innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_a_vast_page_works(opened: Opened) -> None:
    page = opened(vast(1_000, 10))

    assert page.locator("details.migration").count() == 1_000
    assert page.locator("a.migration").count() == 40
    page.evaluate("location.hash = '#m700'")
    page.wait_for_selector("#m700", state="visible")
