"""Values that bring a row to one partition of a table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django_confiture.dry_run.running_code.catalog.catalog_rows import CatalogRows
from django_confiture.dry_run.running_code.catalog.table import Check
from django_confiture.dry_run.running_code.catalog.tables import TableCatalog
from django_confiture.dry_run.running_code.instances.instances import Instances
from django_confiture.dry_run.running_code.instances.values import NoValueError

_VALUE = re.compile(r"'((?:[^']|'')*)'|(-?[\d.]+|MINVALUE|MAXVALUE|NULL|true|false)")
_NONE = ("MINVALUE", "MAXVALUE", "NULL")


def values_in_part(
    check: Check, table: str, instances: Instances, catalog: TableCatalog, rows: CatalogRows
) -> Mapping[str, Any]:
    """Return values by attribute: of a row that is there, else where the partition begins.

    ``table`` is the table as Django names it. Raises :class:`NoValueError` where neither is known.
    """
    if check.part is None:
        return {}
    row = rows.existing(check.part)
    if row is None:
        row = _first_values(check, table, catalog)
    return instances.loaded_values(row)


def _first_values(check: Check, table: str, catalog: TableCatalog) -> Mapping[str, str]:
    found = next(iter(catalog.tables([table])), None)
    bound = (check.bound or "").partition(" TO ")[0]
    is_readable = bound.startswith(("FOR VALUES IN", "FOR VALUES FROM"))
    values = _VALUE.findall(bound) if is_readable else []
    names = found.split_by if found is not None else ()
    if not names or len(values) < len(names) or any(each in _NONE for _text, each in values):
        raise NoValueError(f"rows of the partition {check.part}: {check.bound}")
    return {
        name: word or text.replace("''", "'")
        for name, (text, word) in zip(names, values, strict=False)
    }
