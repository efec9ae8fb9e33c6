"""What the tests of other connections share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections


@pytest.fixture
def mirror(untouched: None) -> Iterator[str]:
    """An alias of the same database under another name."""
    connections.databases["mirror"] = {**connections.databases["default"]}
    try:
        yield "mirror"
    finally:
        connections["mirror"].close()
        del connections["mirror"], connections.databases["mirror"]
