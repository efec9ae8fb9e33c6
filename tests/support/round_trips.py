"""Round trips are counted as on a fast machine with no other client."""

from __future__ import annotations

import pytest

from django_confiture.dry_run.measuring import probe_queries, prober


@pytest.fixture(autouse=True)
def fast_and_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no reading be made again because of time or of other clients.

    On a slow machine one is older when the next statement comes; and the WAL that others write
    looks like something that this session did unseen.
    """
    monkeypatch.setattr(prober, "_FRESH_S", 60.0)
    for query in "ACTIVITY", "GLANCE", "LOCKED":
        text = getattr(probe_queries, query)
        assert probe_queries.WAL_POSITION in text
        alone = text.replace(probe_queries.WAL_POSITION, "'0/0'::pg_catalog.pg_lsn")
        monkeypatch.setattr(probe_queries, query, alone)
