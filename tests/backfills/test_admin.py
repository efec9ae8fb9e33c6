"""The admin: who sees what, and who may do what."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from tests.support.backfills import PATH, books, execute, shelf

__all__ = ["shelf"]  # a fixture

pytestmark = pytest.mark.usefixtures("shelf")
LIST = "/admin/confiture_backfills/backfillrun/"
FILL = PATH + "FillSortTitle"


def client(*permissions: str) -> Client:
    """Return a client of a member of the staff with these permissions."""
    from django.apps import apps
    from django.contrib.auth.management import create_permissions

    create_permissions(apps.get_app_config("confiture_backfills"), verbosity=0)
    user = User.objects.create_user("alice", password="secret", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    logged_in = Client()
    logged_in.force_login(user)
    return logged_in


def run(name: str = "FillSortTitle") -> Any:
    from django_confiture.backfills.in_process import run_here
    from django_confiture.backfills.models import BackfillRun

    run_here(PATH + name, using="default", actor="the test")
    return BackfillRun.objects.get(name=PATH + name)


def act(browser: Client, action: str, *runs: Any) -> str:
    """Do an action of the list; return what the page says then."""
    data = {"action": action, "_selected_action": [run.pk for run in runs]}
    response = browser.post(LIST, data, follow=True)
    return "\n".join(str(message) for message in response.context["messages"])


def state() -> str:
    from django_confiture.backfills.models import BackfillRun

    return BackfillRun.objects.get().state


def test_the_list_shows_a_bar_rows_and_state() -> None:
    books(1500)
    run()
    page = client("view_backfillrun").get(LIST).content.decode()
    assert '<progress max="100" value="100.0" aria-label="100 %"></progress> 100 %' in page
    assert "1,500 of 1,500" in page
    assert "style=" not in page.partition("<progress")[2].partition("</tr>")[0]


def test_a_backfill_shows_rows_at_fault_and_who_did_what() -> None:
    books(100)
    execute("UPDATE shelf_book SET title = repeat('x', 60) WHERE id = 42")
    found = run("Broken")
    browser = client(
        "view_backfillrun", "view_backfillrowerror", "view_backfillevent", "view_backfillrange"
    )
    page = browser.get(f"{LIST}{found.pk}/change/").content.decode()
    assert "DataError: value too long for type character varying(100)" in page
    assert "<p>42</p>" in page
    assert "<p>start</p>" in page
    assert "<p>the test</p>" in page
    assert "<p>failed</p>" in page


def test_who_may_only_look_has_no_actions_and_can_do_none() -> None:
    books(10)
    found = run()
    browser = client("view_backfillrun")
    assert "Pause the selected backfills" not in browser.get(LIST).content.decode()
    act(browser, "cancel", found)
    assert state() == "completed"


def test_who_has_the_permission_acts_and_it_is_in_the_audit_trail() -> None:
    from django_confiture.backfills.models import BackfillEvent, BackfillRun

    books(10)
    found = BackfillRun.objects.create(name=FILL)
    browser = client("view_backfillrun", "operate_backfillrun")
    for action, expected in [
        ("pause", "paused"),
        ("resume", "queued"),
        ("cancel", "cancelled"),
        ("retry", "queued"),
    ]:
        assert f"{FILL} is {expected}" in act(browser, action, found)
        assert state() == expected
    seen = [(event.action, event.actor) for event in BackfillEvent.objects.all()]
    assert seen == [(name, "admin:alice") for name in ("pause", "resume", "cancel", "retry")]


def test_what_is_not_possible_is_said() -> None:
    books(10)
    found = run()
    browser = client("view_backfillrun", "operate_backfillrun")
    page = act(browser, "pause", found)
    assert f"{FILL} is completed; pause is for one that is queued or running." in page


def test_nothing_can_be_added_changed_or_deleted() -> None:
    books(10)
    found = run()
    browser = client("view_backfillrun", "operate_backfillrun")
    assert browser.get(f"{LIST}add/").status_code == 403
    assert browser.get(f"{LIST}{found.pk}/delete/").status_code == 403
    assert browser.post(f"{LIST}{found.pk}/change/", {"name": "x"}).status_code == 403
