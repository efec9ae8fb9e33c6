"""The names of sequences, as reports print them."""

from __future__ import annotations

import pytest
from django.db import connection

from django_confiture.dry_run.measuring.nontransactional import sequence_positions
from django_confiture.dry_run.server.side_channel import Session


@pytest.mark.django_db
def test_sequences_have_their_schema_only_outside_the_search_path() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE SEQUENCE shared; CREATE SEQUENCE hidden; SELECT nextval('shared')")
        cursor.execute("CREATE SCHEMA tenant; CREATE SEQUENCE tenant.numbers")
        cursor.execute("CREATE SEQUENCE tenant.hidden; SELECT setval('tenant.hidden', 5)")
        cursor.execute("SET LOCAL search_path = tenant, public")
    found = sequence_positions(Session(connection.connection))
    assert (found["numbers"], found["hidden"], found["shared"]) == (None, 5, 1)
    assert found["public.hidden"] is None
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL search_path = tenant")
    found = sequence_positions(Session(connection.connection))
    assert (found["numbers"], found["public.shared"]) == (None, 1)
