"""A corpus of plans, for each of which two releases really ran."""

from __future__ import annotations

from tests.support.release_cases import (
    columns,
    composite,
    emptied,
    new_names,
    others,
    partitions,
    referring,
    refusing,
    tables,
    things,
    types,
    values,
)
from tests.support.releases import Case

CASES: dict[str, Case] = {
    case.name: case
    for module in (
        columns,
        composite,
        emptied,
        new_names,
        others,
        partitions,
        referring,
        refusing,
        tables,
        things,
        types,
        values,
    )
    for case in module.CASES
}
