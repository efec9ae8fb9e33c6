"""``notify``: real mail of Django's, a real web server, a function; and what can't be sent."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.core import mail
from django.db import migrations
from pytest_django import Settings

from django_confiture.hooks.builtin.notify import Notification
from django_confiture.testing import capture_hooks
from tests.cases.migrations_on_disk import Cases
from tests.support.logs import events
from tests.support.shipped_hooks import in_phases, option_messages, rehearse

FAILS = migrations.RunSQL(
    "CREATE TABLE cases_slug (slug text PRIMARY KEY); INSERT INTO cases_slug VALUES ('secret');"
    "INSERT INTO cases_slug VALUES ('secret')"
)
BOTH = ["success", "failure"]

told: list[Notification] = []


def tell(notification: Notification) -> None:
    told.append(notification)


def breaks(notification: Notification) -> None:
    raise ConnectionError("the host is down")


@pytest.fixture(autouse=True)
def _forget() -> None:
    told.clear()


class _Handler(BaseHTTPRequestHandler):
    received: list[tuple[str, str, Any]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(500 if self.path == "/broken" else 204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def webhook() -> Iterator[str]:
    """Return the address of a web server."""
    _Handler.received.clear()
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def configure(settings: Settings, *phases: str, **options: Any) -> None:
    settings.CONFITURE = in_phases(**dict.fromkeys(phases or ("ON_ERROR",), ("notify", options)))


def fail(cases: Cases) -> None:
    cases.add("0001_fails", FAILS)
    with pytest.raises(Exception, match="duplicate key"):
        cases.migrate()


def test_a_failure_is_told_by_mail_without_the_row(cases: Cases, settings: Settings) -> None:
    settings.EMAIL_SUBJECT_PREFIX = "[shop] "
    configure(settings, mail=["ops@example.com", "dba@example.com"])
    fail(cases)
    (message,) = mail.outbox
    assert message.to == ["ops@example.com", "dba@example.com"]
    assert message.subject == (
        "[shop] Migration cases.0001_fails failed on default: IntegrityError: duplicate key value "
        'violates unique constraint "cases_slug_pkey"'
    )
    assert "direction: forward" in message.body
    assert "secret" not in message.subject + str(message.body)


def test_a_failure_is_told_to_a_webhook(cases: Cases, settings: Settings, webhook: str) -> None:
    configure(settings, webhook=f"{webhook}/hooks/token")
    fail(cases)
    ((path, kind, body),) = _Handler.received
    assert (path, kind) == ("/hooks/token", "application/json")
    error = body.pop("error")
    assert error.startswith("IntegrityError: duplicate key value")
    assert body == {
        "text": f"Migration cases.0001_fails failed on default: {error}",
        "outcome": "failure",
        "migration": "cases.0001_fails",
        "direction": "forward",
        "database": "default",
    }


def test_a_success_is_told_when_it_is_committed_and_backwards_too(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0001_empty")
    configure(settings, "CLEANUP", function=tell, on=["success"])
    cases.migrate()
    cases.migrate("zero")
    assert [each.text for each in told] == [
        "Migration cases.0001_empty was applied on default",
        "Migration cases.0001_empty was unapplied on default",
    ]


def test_a_migration_that_fails_at_its_commit_is_not_told_as_a_success(
    cases: Cases, settings: Settings
) -> None:
    cases.add(
        "0001_at_commit",
        migrations.RunSQL(
            "CREATE TABLE cases_a (id int PRIMARY KEY);"
            "CREATE TABLE cases_b (a int REFERENCES cases_a DEFERRABLE INITIALLY DEFERRED);"
            "INSERT INTO cases_b VALUES (1)"
        ),
    )
    configure(settings, "CLEANUP", "ON_ERROR", function=f"{__name__}.tell", on=BOTH)
    with pytest.raises(Exception, match="violates foreign key"):
        cases.migrate()
    assert [each.outcome for each in told] == ["failure"]


def test_listed_in_both_phases_it_tells_of_each_outcome_once(
    cases: Cases, settings: Settings
) -> None:
    cases.add("0000_empty")
    configure(settings, "CLEANUP", "ON_ERROR", function=tell, on=BOTH)
    fail(cases)
    assert [(each.migration, each.outcome) for each in told] == [
        ("cases.0000_empty", "success"),
        ("cases.0001_fails", "failure"),
    ]


def test_only_what_was_asked_for_is_told(cases: Cases, settings: Settings) -> None:
    cases.add("0000_empty")
    configure(settings, "CLEANUP", "ON_ERROR", function=tell)
    cases.migrate()
    assert told == []


def test_what_cannot_be_sent_is_logged_and_the_other_channels_are_used(
    cases: Cases, settings: Settings, webhook: str, caplog: pytest.LogCaptureFixture
) -> None:
    cases.add("0001_empty")
    caplog.set_level(logging.ERROR, "django_confiture.hooks")
    address = f"{webhook}/broken"
    configure(
        settings,
        "CLEANUP",
        function=breaks,
        webhook=address,
        mail=["ops@example.com"],
        on=["success"],
    )
    cases.migrate()
    assert cases.applied() == {"0001_empty"}
    assert len(mail.outbox) == 1
    assert [(event, facts["channel"], facts["error"]) for event, facts in events(caplog)] == [
        ("notify_failed", "webhook", "HTTPError: HTTP Error 500: Internal Server Error"),
        ("notify_failed", "function", "ConnectionError: the host is down"),
    ]
    assert {facts["migration"] for _, facts in events(caplog)} == {"0001_empty"}


def test_a_failing_message_does_not_hide_why_the_migration_failed(
    cases: Cases, settings: Settings
) -> None:
    configure(settings, function=breaks)
    fail(cases)


def test_a_dry_run_tells_no_one(cases: Cases, settings: Settings) -> None:
    cases.add("0001_empty")
    configure(settings, "CLEANUP", "ON_ERROR", function=tell, on=BOTH)
    with capture_hooks() as hooks:
        assert rehearse(cases, "0001_empty").success
    assert [run.outcome for run in hooks.find("Notify")] == ["skipped"]
    assert told == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {},
            (
                "confiture.E012",
                "notify has none of 'mail', 'webhook', 'function'.",
                'Say who is told, such as {"mail": ["ops@example.com"]}.',
            ),
        ),
        (
            {"webhook": "file:///etc/passwd?token=s3cr3t"},
            (
                "confiture.E012",
                'notify: OPTIONS["webhook"] is not an address of http or https.',
                "Write one that begins with https://.",
            ),
        ),
        (
            {"mail": ["a@example.com"], "on": ["always"]},
            (
                "confiture.E012",
                "notify: OPTIONS[\"on\"] is ['always'].",
                'Write ["failure"], ["success"] or both.',
            ),
        ),
        (
            {"mail": ["a@example.com"], "emails": []},
            ("confiture.E011", "notify has the unknown option 'emails'.", "Did you mean 'mail'?"),
        ),
    ],
)
def test_wrong_options_are_system_checks(options: Any, expected: Any) -> None:
    assert option_messages("notify", options) == [expected]
