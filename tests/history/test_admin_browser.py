"""The admin of the ledger in a real browser: it shows everything, and nothing can be changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.management import call_command
from django.db import migrations
from django.test import Client, override_settings
from django.test.testcases import LiveServerThread
from django.utils import timezone
from playwright.sync_api import expect

from django_confiture import RunHook
from tests.cases.migrations_on_disk import Cases, query
from tests.support import recording
from tests.support.browser import Watched, watching

HISTORY = "/admin/confiture_history/"
LISTS = ("migrationexecution", "hookexecution", "dryrun", "forecast")
SHOTS = os.environ.get("CONFITURE_SCREENSHOTS")
"""A directory for pictures of each page, to look at."""


@pytest.fixture
def ledger(history: None, cases: Cases) -> Cases:
    """Two dry runs, of which one fails; and what then really ran, some of it out of its range."""
    cases.add("0001_table", migrations.RunSQL("CREATE TABLE cases_row (id integer)"))
    cases.add("0002_hook", RunHook("tests.support.recording.ForwardRecord", options={"name": "h"}))
    insert = "INSERT INTO cases_row SELECT generate_series(1, 2000)"
    cases.add("0003_fill", migrations.RunSQL(insert))
    cases.add("0004_not_null", migrations.RunSQL("ALTER TABLE cases_row ALTER id SET NOT NULL"))
    with recording.recording():
        call_command("migrate_dryrun", "cases", verbosity=0, output=Path("/dev/null"))
        cases.migrate()
    cases.add("0005_fails", migrations.RunSQL("SELECT 1 / 0"))
    with pytest.raises(SystemExit):
        call_command("migrate_dryrun", "cases", verbosity=0, output=Path("/dev/null"))
    _spread()
    return cases


def _spread() -> None:
    """Make durations of several orders of magnitude of it, and sign them again."""
    from django_confiture.history import ledger
    from django_confiture.history.accuracy import MigrationForecast
    from django_confiture.history.models import DryRun, MigrationExecution

    now = timezone.now()
    row = DryRun(
        made_at=now, database="default", duration_ms=9.5, headline="One of its own", report_hash=""
    )
    actual = {
        "a_quick": 8.0,
        "b_long_name_of_a_migration_that_does_much": 90_000.0,
        "c_as_said": 700.0,
    }
    estimate = {"low_ms": 300.0, "expected_ms": 650.0, "high_ms": 1400.0, "confidence_percent": 80}
    forecasts = [MigrationForecast("shop", each, "forward", estimate, []) for each in actual]
    ledger.append_dry_run(row, forecasts, using="default")
    for name, duration in actual.items():
        execution = MigrationExecution(
            database="default",
            app_label="shop",
            name=name,
            direction="forward",
            outcome="completed",
            started_at=now + timedelta(seconds=1),
            duration_ms=duration,
            os_user="deploy",
            host="web-1",
        )
        ledger.append(execution, [], [], using="default")


@pytest.fixture
def server(ledger: Cases) -> Iterator[str]:
    """Serve the admin with its static files, and the tables of Django's that its index needs."""
    with override_settings(CONFITURE={"ENABLED": False}):
        call_command("migrate", "admin", verbosity=0)
        with _serving() as address:
            yield address
        call_command("migrate", "admin", "zero", verbosity=0)


@contextmanager
def _serving() -> Iterator[str]:
    thread = LiveServerThread("127.0.0.1", StaticFilesHandler)
    thread.daemon = True
    thread.start()
    thread.is_ready.wait()
    assert thread.error is None
    yield f"http://127.0.0.1:{thread.port}"
    thread.terminate()
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    for _ in range(100):  # its threads close their connections when the browser has closed its own
        if query(others) == [(1,)]:
            break
        time.sleep(0.05)


@contextmanager
def browsing(server: str, user: User) -> Iterator[Watched]:
    """Open a browser in which a user is logged in."""
    client = Client()
    client.force_login(user)
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": server}
    with watching() as watched:
        watched.page.context.add_cookies([cookie])  # type: ignore[list-item]
        yield watched


def reader(*models: str) -> User:
    user = User.objects.create_user("reader", is_staff=True)
    found = Permission.objects.filter(content_type__app_label="confiture_history")
    if models:
        found = found.filter(codename__in=[f"view_{each}" for each in models])
    user.user_permissions.add(*found)
    return user


def pages() -> dict[str, str]:
    """Return every page of the ledger: its name → its address."""
    found = {name: f"{HISTORY}{name}/" for name in LISTS}
    for name in LISTS:
        row = apps.get_model("confiture_history", name).objects.order_by("pk").first()
        assert row is not None
        found[f"{name}-detail"] = f"{HISTORY}{name}/{row.pk}/change/"
    failed = apps.get_model("confiture_history", "dryrun").objects.get(verdict="failed")
    return {
        "index": "/admin/",
        **found,
        "dryrun-failed": f"{HISTORY}dryrun/{failed.pk}/change/",
        "accuracy": f"{HISTORY}forecast/accuracy/",
    }


@pytest.mark.parametrize(("who", "scheme"), [("reader", "light"), ("superuser", "dark")])
def test_every_page(server: str, who: str, scheme: Literal["light", "dark"]) -> None:
    user = reader() if who == "reader" else User.objects.create_superuser("root")
    addresses = pages()
    with browsing(server, user) as watched:
        watched.page.emulate_media(color_scheme=scheme)
        for name, address in addresses.items():
            watched.page.set_viewport_size({"width": 1280, "height": 900})
            answer = watched.page.goto(server + address)
            assert answer is not None
            assert answer.status == 200, name
            _picture(watched, f"{name}-{scheme}")
            # Its own parts; what Django's templates do is Django's.
            if watched.page.locator(".confiture").count():
                assert watched.violations(".confiture") == [], name
            _cannot_be_changed(watched, name)
            _fits_a_telephone(watched, name)
            _picture(watched, f"{name}-{scheme}-390")
        assert watched.errors == []
        assert watched.hosts() == {server.removeprefix("http://")}


def _cannot_be_changed(watched: Watched, name: str) -> None:
    page = watched.page
    for button in ("_save", "_addanother", "_continue", "_saveasnew"):
        assert page.locator(f"[name={button}]").count() == 0, name
    own = ".app-confiture_history" if name == "index" else "#content"
    links = page.locator(f"{own} .deletelink, {own} .addlink, {own} .changelink")
    assert [each.inner_html() for each in links.all() if each.is_visible()] == [], name
    assert page.locator("select[name=action]").count() == 0, name
    fields = page.locator("#content :is(input, textarea, select):not([type=hidden], #searchbar)")
    seen = [each.get_attribute("value") for each in fields.all() if each.is_visible()]
    assert seen in ([], ["Search"]), name


def _fits_a_telephone(watched: Watched, name: str) -> None:
    watched.page.set_viewport_size({"width": 390, "height": 844})
    for part in watched.page.locator(".confiture").all():
        box = part.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 390, name


def _picture(watched: Watched, name: str) -> None:
    if SHOTS:
        watched.page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def test_the_audit_trail_of_hooks(server: str) -> None:
    with browsing(server, reader("hookexecution")) as watched:
        page = watched.page
        page.goto(f"{server}/admin/")
        page.get_by_role("link", name="Hook executions", exact=True).first.click()
        row = page.locator("#result_list tbody tr")
        expect(row).to_have_count(1)
        for text in ("ForwardRecord", "BEFORE_DDL", "cases.0002_hook", "default", "completed"):
            expect(row).to_contain_text(text)
        page.locator("#searchbar").fill("0002_hook")
        page.locator("#searchbar").press("Enter")
        expect(row).to_have_count(1)
        page.locator("#searchbar").fill("unknown")
        page.locator("#searchbar").press("Enter")
        expect(row).to_have_count(0)
        assert watched.errors == []


def test_a_dry_run_and_its_report(server: str) -> None:
    with browsing(server, reader("dryrun")) as watched:
        page = watched.page
        page.goto(f"{server}{HISTORY}dryrun/")
        page.locator("#searchbar").fill("0005_fails")
        page.locator("#searchbar").press("Enter")
        expect(page.locator("#result_list tbody tr")).to_have_count(1)
        page.locator("#result_list tbody th a").click()
        headline = page.locator("#confiture-headline")
        expect(headline).to_contain_text("Dry run of 1 migration: cases.0005_fails would fail")
        failed = page.get_by_role("row", name="cases.0005_fails")
        expect(failed).to_contain_text("division by zero")
        expect(page.locator("pre")).to_contain_text("cases.0005_fails would fail")
        page.get_by_role("link", name="Text").click()
        assert "cases.0005_fails would fail" in page.inner_text("body")
        assert watched.errors == []


def test_the_chart(server: str) -> None:
    with browsing(server, reader("forecast", "migrationexecution")) as watched:
        page = watched.page
        page.goto(f"{server}{HISTORY}forecast/")
        page.get_by_role("link", name="Forecasts against reality").click()
        chart = page.get_by_role("img", name="Forecast and real durations")
        expect(chart).to_be_visible()
        quick = page.get_by_role("row", name="shop.a_quick")
        for text in ("300 ms to 1.4 s", "650 ms", "8 ms", "0.01", "below"):
            expect(quick).to_contain_text(text)
        expect(page.get_by_role("row", name="shop.c_as_said")).to_contain_text("in range")
        outside = [page.get_by_role("cell", name=side).count() for side in ("above", "below")]
        expect(chart.locator(".confiture-outside")).to_have_count(sum(outside))
        _reachable_by_keyboard(watched, "confiture-scroll")
        assert watched.errors == []


def _reachable_by_keyboard(watched: Watched, name: str) -> None:
    for _ in range(60):
        watched.page.keyboard.press("Tab")
        if watched.page.evaluate(f"document.activeElement.classList.contains('{name}')"):
            return
    pytest.fail(f"{name} cannot be reached by the keyboard")


def test_who_may_see_nothing_sees_nothing(server: str) -> None:
    addresses = pages()
    with browsing(server, User.objects.create_user("powerless", is_staff=True)) as watched:
        page = watched.page
        page.goto(f"{server}/admin/")
        assert "Migration history" not in page.inner_text("body")
        for name, address in addresses.items():
            if name != "index":
                answer = page.goto(server + address)
                assert answer is not None
                assert answer.status == 403, name
