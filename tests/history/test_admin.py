"""The ledger's admin: users with the view permission see everything, no one can change it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection, migrations
from django.test import Client
from pytest_django import Settings

from django_confiture import RunHook
from tests.cases.migrations_on_disk import Cases
from tests.support import recording, report_cases

LISTS = ("migrationexecution", "hookexecution", "dryrun", "forecast")
ACCURACY = "/admin/confiture_history/forecast/accuracy/"


@pytest.fixture
def ledger(history: None, cases: Cases) -> Cases:
    """A dry run of two migrations, of which one has a hook, and then both for real."""
    cases.add("0001_table", migrations.RunSQL("CREATE TABLE cases_row (id integer)"))
    cases.add("0002_hook", RunHook("tests.support.recording.ForwardRecord", options={"name": "h"}))
    with recording.recording():
        call_command("migrate_dryrun", "cases", verbosity=0, output=Path("/dev/null"))
        cases.migrate()
    return cases


def model(name: str) -> Any:
    return apps.get_model("confiture_history", name)


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def root() -> Client:
    return client_of(User.objects.create_superuser("root"))


def reader(*models: str) -> Client:
    """Return a client of a new user, who may view these models."""
    create_permissions(apps.get_app_config("confiture_history"), verbosity=0)  # as after migrate
    user = User.objects.create_user(f"reader {User.objects.count()}", is_staff=True)
    names = [f"view_{each}" for each in models]
    user.user_permissions.add(*Permission.objects.filter(codename__in=names))
    return client_of(user)


def page(name: str, rest: str = "") -> str:
    return f"/admin/confiture_history/{name}/{rest}"


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def content(client: Client, address: str, **query: str) -> str:
    answer = client.get(address, query)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize("name", LISTS)
def test_no_user_can_change_anything(ledger: Cases, name: str) -> None:
    client = root()
    before = list(model(name).objects.order_by("pk").values())
    pk = before[0]["id"]
    shown = content(client, page(name, f"{pk}/change/"))
    assert 'name="_save"' not in shown
    assert client.get(page(name, "add/")).status_code == 403
    for address in ("add/", f"{pk}/change/", f"{pk}/delete/"):
        assert client.post(page(name, address), {"post": "yes"}).status_code == 403
    client.post(page(name), {"action": "delete_selected", "_selected_action": [pk]})
    assert list(model(name).objects.order_by("pk").values()) == before


@pytest.mark.parametrize("name", LISTS)
def test_an_action_of_the_whole_site_is_not_offered(
    ledger: Cases, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def destroy(_admin: object, _request: object, rows: Any) -> None:
        rows.delete()

    monkeypatch.setitem(admin.site._actions, "destroy", destroy)
    client, count = root(), model(name).objects.count()
    pk = model(name).objects.values_list("pk", flat=True)[0]
    assert 'name="action"' not in content(client, page(name))
    client.post(page(name), {"action": "destroy", "_selected_action": [pk], "index": 0})
    assert model(name).objects.count() == count > 0


def test_there_is_no_permission_but_to_view(ledger: Cases) -> None:
    names = Permission.objects.filter(content_type__app_label="confiture_history")
    assert sorted(names.values_list("codename", flat=True)) == [
        "view_dryrun",
        "view_forecast",
        "view_hookexecution",
        "view_migrationexecution",
        "view_statementexecution",
    ]


@pytest.mark.parametrize("name", LISTS)
def test_each_list_needs_its_permission(ledger: Cases, name: str) -> None:
    others = reader(*(each for each in LISTS if each != name))
    pk = model(name).objects.values_list("pk", flat=True)[0]
    for address in ("", f"{pk}/change/", f"{pk}/history/"):
        assert others.get(page(name, address)).status_code == 403
    assert f'"{page(name)}"' not in content(others, "/admin/confiture_history/")
    assert reader(name).get(page(name)).status_code == 200


def test_what_belongs_to_a_migration_needs_its_own(ledger: Cases) -> None:
    pk = model("migrationexecution").objects.get(name="0001_table").pk
    address = page("migrationexecution", f"{pk}/change/")
    assert "CREATE TABLE cases_row" not in content(reader("migrationexecution"), address)
    both = reader("migrationexecution", "statementexecution")
    assert "CREATE TABLE cases_row (id integer)" in content(both, address)


def test_hooks(ledger: Cases) -> None:
    client = reader("hookexecution")
    row = model("hookexecution").objects.get()
    assert row.started_at >= row.execution.started_at
    shown = content(client, page("hookexecution"))
    execution = row.execution
    for text in (
        "ForwardRecord",
        "BEFORE_DDL",
        "cases.0002_hook",
        f"{execution.os_user}@{execution.host}",
        "completed",
        '<td class="field-rows">1</td>',
        '<td class="field-database">default</td>',
    ):
        assert text in shown
    for words, count in (("Forward", 1), ("0002_hook", 1), (execution.os_user, 1), ("0001", 0)):
        assert f"{count} hook execution" in content(client, page("hookexecution"), q=words)
    assert "0 hook executions" in content(client, page("hookexecution"), outcome__exact="failed")
    detail = content(client, page("hookexecution", f"{row.pk}/change/"))
    assert f"migrationexecution/{execution.pk}/change/" in detail


def test_a_dry_run(ledger: Cases) -> None:
    client = reader("dryrun")
    row = model("dryrun").objects.get()
    shown = content(client, page("dryrun"))
    assert "Dry run of 2 migrations: all would apply" in shown
    for words, count in (("0002_hook", 1), ("would apply", 1), (row.os_user, 1), ("0009", 0)):
        assert f"{count} dry run" in content(client, page("dryrun"), q=words)
    detail = content(client, page("dryrun", f"{row.pk}/change/"))
    for text in ("cases.0001_table", "cases.0002_hook", "None.", "Everything was rolled back."):
        assert text in detail
    assert f"default: {connection.settings_dict['NAME']}, PostgreSQL" in detail


def test_the_report_in_each_form(ledger: Cases) -> None:
    client = reader("dryrun")
    row = model("dryrun").objects.get()
    answer = client.get(page("dryrun", "1/report.json"))
    assert answer.content.decode() == row.report
    assert json.loads(answer.content)["schema_version"] == 1
    assert answer["Content-Type"] == "application/json; charset=utf-8"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert content(client, page("dryrun", "1/report.txt")).startswith("Dry run of 2 migrations")
    assert "## Dry run of 2 migrations" in content(client, page("dryrun", "1/report.md"))
    assert client.get(page("dryrun", "1/report.exe")).status_code == 404
    assert client.get(page("dryrun", "2/report.json")).status_code == 404
    assert reader("forecast").get(page("dryrun", "1/report.json")).status_code == 403


def _with_report(text: str) -> Any:
    row = model("dryrun").objects.get()
    row.report = text
    row.save()
    return row


def test_a_report_with_everything(ledger: Cases) -> None:
    from django_confiture.reports import render

    row = _with_report(render(report_cases.hostile("<script>alert(1)</script>"), "json"))
    detail = content(root(), page("dryrun", f"{row.pk}/change/"))
    assert "<script>alert" not in detail
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in detail


def test_findings_and_forecasts(ledger: Cases) -> None:
    from django_confiture.reports import render

    row = _with_report(render(report_cases.forecast(), "json"))
    detail = content(root(), page("dryrun", f"{row.pk}/change/"))
    for text in (report_cases.REWRITTEN.id, "danger", "8.1 s to 41.0 s", "reads and writes on"):
        assert text in detail


@pytest.mark.parametrize("text", ["{", "[]", '{"outcome": "passed"}', '{"database": 1}'])
def test_a_report_that_cannot_be_read(ledger: Cases, text: str) -> None:
    row = _with_report(text)
    client = root()
    detail = content(client, page("dryrun", f"{row.pk}/change/"))
    assert "This release cannot read the report." in detail
    assert "The ledger was tampered with: dry run 1 was changed." in detail
    assert content(client, page("dryrun", "1/report.json")) == text
    assert client.get(page("dryrun", "1/report.txt")).status_code == 404


def test_a_report_that_was_not_kept(ledger: Cases) -> None:
    row = _with_report("")
    client = root()
    assert "was not kept" in content(client, page("dryrun", f"{row.pk}/change/"))
    assert client.get(page("dryrun", "1/report.json")).status_code == 404


def test_what_is_wrong_with_the_ledger_is_said(
    ledger: Cases, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_confiture.history.admin import read_only

    client = root()
    for name in LISTS:
        assert "was tampered with" not in content(client, page(name))
    execute("UPDATE confiture_history_migrationexecution SET host = 'elsewhere'")
    for name in ("migrationexecution", "hookexecution"):
        shown = content(client, page(name))
        assert "The ledger was tampered with: row 2 was changed." in shown
        assert "problems in all" not in shown
    assert "was tampered with" not in content(client, page("dryrun"))
    monkeypatch.setattr(read_only, "MOST_PROBLEMS", 1)
    shown = content(client, page("migrationexecution"))
    assert "row 2 was changed" not in shown
    assert "2 problems in all; see manage.py confiture_history_verify." in shown
    execute("UPDATE confiture_history_dryrun SET verdict = 'failed'")
    for name in ("dryrun", "forecast"):
        assert "dry run 1 was changed" in content(client, page(name))


def test_without_the_permission_nothing_is_said(ledger: Cases) -> None:
    execute("UPDATE confiture_history_migrationexecution SET host = 'elsewhere'")
    client = reader("dryrun")
    client.get(page("migrationexecution"))
    assert "was tampered with" not in content(client, "/admin/confiture_history/")


def test_real_migrations(ledger: Cases) -> None:
    executions = model("migrationexecution").objects
    executions.filter(name="0001_table").update(direction="backward", os_user="ann", host="web-1")
    client = reader("migrationexecution")
    shown = content(client, page("migrationexecution"))
    assert "cases.0001_table (backwards)" in shown
    assert "ann@web-1" in shown
    pk = executions.get(name="0001_table").pk
    detail = content(client, page("migrationexecution", f"{pk}/change/"))
    assert detail.index("cases.0001_table (backwards)") < detail.index("chain of hashes")


def test_a_forecast(ledger: Cases) -> None:
    client = reader("forecast")
    shown = content(client, page("forecast"))
    assert "cases.0002_hook" in shown
    assert "Forecasts against reality" not in shown
    row = model("forecast").objects.get(name="0001_table")
    detail = content(client, page("forecast", f"{row.pk}/change/"))
    assert row.estimate["basis"][0] in detail
    assert f"dryrun/{row.dry_run_id}/change/" in detail


# The chart.


def test_the_chart(ledger: Cases) -> None:
    executions = model("migrationexecution").objects
    executions.update(duration_ms=123_456)
    forecasts = model("forecast").objects
    forecasts.filter(name="0002_hook").update(estimate=_estimate(200_000, 300_000, 400_000))
    client = reader("forecast", "migrationexecution")
    assert ACCURACY in content(client, page("forecast"))
    shown = content(client, ACCURACY)
    assert "2 runs on “default”:" in " ".join(shown.split())
    assert shown.count('class="confiture-outside"') == 3  # with the legend
    assert shown.count("2.1 min") == 2
    assert shown.count("<td>above</td>") == shown.count("<td>below</td>") == 1
    forecasts.filter(name="0002_hook").update(estimate=_estimate(100_000, 120_000, 400_000))
    assert content(client, ACCURACY).count("<td>in range</td>") == 1
    assert "<script" not in shown.split('<div class="confiture"')[1].split("</main>")[0]


def _estimate(*range_ms: float) -> dict[str, Any]:
    names = ("low_ms", "expected_ms", "high_ms")
    return {**dict(zip(names, range_ms, strict=True)), "confidence_percent": 80, "basis": []}


def test_the_chart_needs_both_permissions(ledger: Cases) -> None:
    for name in ("forecast", "migrationexecution"):
        assert reader(name).get(ACCURACY).status_code == 403
    assert Client().get(ACCURACY).status_code == 302


def test_a_chart_of_nothing(history: None, cases: Cases) -> None:
    client = reader("forecast", "migrationexecution")
    assert "Nothing to compare: no migration ran on “default”" in content(client, ACCURACY)
    shown = content(client, ACCURACY, database="<b>")
    assert "on “&lt;b&gt;” after" in shown


def test_the_chart_of_another_database(ledger: Cases) -> None:
    for name in ("forecast", "migrationexecution"):
        model(name).objects.filter(name="0002_hook").update(database="<two>")
    client = reader("forecast", "migrationexecution")
    shown = content(client, ACCURACY)
    assert "?database=%3Ctwo%3E" in shown
    assert "&lt;two&gt;</a>" in shown
    shown = content(client, ACCURACY, database="<two>")
    assert ">cases.0002_hook</a>" in shown
    assert ">cases.0001_table</a>" not in shown


def test_the_newest_are_drawn(ledger: Cases, monkeypatch: pytest.MonkeyPatch) -> None:
    from django_confiture.history.pages import accuracy_chart

    monkeypatch.setattr(accuracy_chart, "MOST", 1)
    shown = content(reader("forecast", "migrationexecution"), ACCURACY)
    assert "Shown are the newest 1;" in shown
    assert ">cases.0002_hook</a>" in shown
    assert ">cases.0001_table</a>" not in shown


def test_the_scale() -> None:
    from tests.support.history import installed

    with installed():
        from django_confiture.history.accuracy import Comparison
        from django_confiture.history.pages.accuracy_chart import Scale

        def scale(low: float, high: float) -> Scale:
            return Scale.of([Comparison("migration", "x", low, low, low, high, 80)])

        assert scale(100, 100) == Scale(2, 3)
        assert scale(0, 5) == Scale(-1, 1)
        wide = scale(1, 99_999_999)
        assert [tick.text for tick in wide.ticks] == [
            "1 ms",
            "100 ms",
            "10.0 s",
            "16.7 min",
            "1666.7 min",
        ]
        assert (wide.x(0), wide.x(1), wide.x(10**8)) == ("-7.50%", "4.00%", "96.00%")


def test_without_time_zones(ledger: Cases, settings: Settings) -> None:
    settings.USE_TZ = False
    client = root()
    for name in LISTS:
        content(client, page(name))
    content(client, ACCURACY)
