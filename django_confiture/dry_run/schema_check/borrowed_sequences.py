"""Columns whose default takes its numbers from a sequence that is not their own.

Such a column is no ``serial``: the sequence stays when the column goes, or goes with another one,
and ``pg_get_serial_sequence()``, by which Django sets sequences after a load, does not find it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from django_confiture.dry_run.measuring.schema.schema_objects import SchemaObject
from django_confiture.dry_run.schema_check.comparison import SERIAL

if TYPE_CHECKING:
    from django_confiture.dry_run.server.side_channel import Session

_NOT_ITS_OWN = " /* not its own sequence */"
_BORROWED = """
SELECT concat(d.adrelid, '.', d.adnum)
FROM pg_catalog.pg_attrdef d
JOIN pg_catalog.pg_depend u ON u.classid = 'pg_catalog.pg_attrdef'::regclass AND u.objid = d.oid
  AND u.refclassid = 'pg_catalog.pg_class'::regclass
JOIN pg_catalog.pg_class s ON s.oid = u.refobjid AND s.relkind = 'S'
WHERE concat(d.adrelid, '.', d.adnum) = ANY ($1::text[])
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend o
    WHERE o.classid = u.refclassid AND o.objid = s.oid AND o.deptype = 'a'
      AND o.refobjid = d.adrelid AND o.refobjsubid = d.adnum)
"""


def with_borrowed_sequences(
    session: Session, tables: Mapping[str, Sequence[SchemaObject]]
) -> Mapping[str, Sequence[SchemaObject]]:
    """Return the tables' objects, with a remark behind each default of such a column."""
    numbered = [
        each.key
        for objects in tables.values()
        for each in objects
        if each.kind == "column" and SERIAL.search(each.definition)
    ]
    if not numbered:
        return tables
    borrowed = {key for (key,) in session.query(_BORROWED, [f"{{{','.join(numbered)}}}"])}
    return {
        table: [
            replace(each, definition=SERIAL.sub(rf"\g<0>{_NOT_ITS_OWN}", each.definition))
            if each.kind == "column" and each.key in borrowed
            else each
            for each in objects
        ]
        for table, objects in tables.items()
    }
