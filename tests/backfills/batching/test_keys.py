"""A cursor is kept as JSON: keys of every kind, exactly."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from django_confiture.backfills.batching.keys import key_to_json


@pytest.mark.parametrize(
    ("key", "stored"),
    [
        (2**63 - 1, [2**63 - 1]),
        ("a", ["a"]),
        (("Library 1", 7), ["Library 1", 7]),
        (UUID(int=1), ["00000000-0000-0000-0000-000000000001"]),
        (Decimal("0.10"), ["0.10"]),
        (date(2026, 1, 2), ["2026-01-02"]),
        (time(3, 4, 5, 6), ["03:04:05.000006"]),
        (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), ["2026-01-02T03:04:05.000006+00:00"]),
    ],
)
def test_nothing_is_rounded(key: Any, stored: list[Any]) -> None:
    assert json.loads(json.dumps(key_to_json(key))) == stored


@pytest.mark.parametrize("key", [b"a", memoryview(b"a")])
def test_a_binary_key(key: Any) -> None:
    with pytest.raises(TypeError, match="a binary primary key can't be walked"):
        key_to_json(key)
