"""The ledger has who was in the way of a migration, and the admin shows it."""

from __future__ import annotations

import re

from django.contrib.auth.models import User
from django.db import migrations
from django.test import Client
from pytest_django import Settings

from tests.cases.migrations_on_disk import Cases
from tests.support.sessions import holding


def test_who_was_in_the_way_is_in_the_ledger(
    history: None, cases: Cases, settings: Settings
) -> None:
    cases.add("0001_waits", migrations.RunSQL("LOCK TABLE django_content_type"))
    settings.CONFITURE = {
        "MIGRATE": {"LOCK_TIMEOUT": "400ms", "LOCK_RETRIES": 9, "RETRY_DELAY": "10ms"}
    }
    with holding(
        "LOCK TABLE django_content_type IN ACCESS SHARE MODE", name="web", waited_for_s=0.7
    ):
        cases.migrate()
    from django_confiture.history import hash_chain
    from django_confiture.history.models import MigrationExecution  # once it is installed

    row = MigrationExecution.objects.get(name="0001_waits")
    assert row.attempts >= 2
    blocker = row.blockers[0]
    assert (blocker["attempt"], blocker["application_name"]) == (1, "web")
    assert (blocker["relation"], blocker["mode"]) == ("django_content_type", "AccessExclusiveLock")
    assert hash_chain.verify("default") == []
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    page = client.get(f"/admin/confiture_history/migrationexecution/{row.pk}/change/")
    text = page.content.decode().replace("\N{NO-BREAK SPACE}", " ")
    assert re.search(
        r"attempt 1: web, pid \d+, idle in transaction, in a transaction for \d+ ms, waited \d+ ms,"
        r" for AccessExclusiveLock on django_content_type",
        text,
    )
    row.blockers = []
    row.save()
    assert [each.message for each in hash_chain.verify("default")] == [
        f"row {row.number} was changed"
    ]
