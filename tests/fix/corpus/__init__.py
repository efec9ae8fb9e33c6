"""Harmful migrations as they are in real projects, and what ``confiture_fix`` makes of each."""

from __future__ import annotations

from tests.fix.corpus import columns, constraints, data, indexes, raw_sql, releases
from tests.fix.corpus.harmful import Harmful

CORPUS: list[Harmful] = [
    *indexes.CASES,
    *constraints.CASES,
    *columns.CASES,
    *data.CASES,
    *raw_sql.CASES,
    *releases.CASES,
]
