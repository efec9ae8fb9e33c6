"""Columns whose sequence gives other numbers than the one that Django would make for them.

``SERIAL`` counts as the identity that took its place, so the sequences behind both are looked at
here. One that is not the column's own stays when the column goes, or goes with another one, and
``pg_get_serial_sequence()``, by which Django sets sequences after a load, does not find it. One
that ends before the column's type does, as where only the column was made a ``bigint``, fails each
INSERT from then on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from django_confiture.dry_run.measuring.schema.schema_objects import SchemaObject
from django_confiture.dry_run.schema_check.comparison import IDENTITY, SERIAL
from django_confiture.dry_run.server.side_channel import Session, array

_NUMBERED = re.compile(rf"{SERIAL.pattern}|{IDENTITY}")
_REMARKS = """
SELECT concat(k.attrelid, '.', k.attnum), concat_ws(', ',
  CASE WHEN NOT u.own THEN 'not its own sequence' END,
  CASE WHEN s.seqmax < CASE k.atttypid WHEN 'pg_catalog.int2'::regtype THEN 32767
      WHEN 'pg_catalog.int4'::regtype THEN 2147483647 ELSE 9223372036854775807 END
    THEN concat('up to ', s.seqmax) END)
FROM pg_catalog.pg_attribute k
JOIN (
  SELECT d.adrelid AS relation, d.adnum AS number, e.refobjid AS sequence, EXISTS (
    SELECT FROM pg_catalog.pg_depend o WHERE o.classid = 'pg_catalog.pg_class'::regclass
      AND o.objid = e.refobjid AND o.deptype = 'a' AND o.refobjid = d.adrelid
      AND o.refobjsubid = d.adnum) AS own
  FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_depend e
    ON e.classid = 'pg_catalog.pg_attrdef'::regclass AND e.objid = d.oid
    AND e.refclassid = 'pg_catalog.pg_class'::regclass
  UNION ALL
  SELECT i.refobjid, i.refobjsubid, i.objid, true FROM pg_catalog.pg_depend i
  WHERE i.classid = 'pg_catalog.pg_class'::regclass AND i.deptype = 'i'
    AND i.refclassid = 'pg_catalog.pg_class'::regclass AND i.refobjsubid > 0
) u ON u.relation = k.attrelid AND u.number = k.attnum
JOIN pg_catalog.pg_sequence s ON s.seqrelid = u.sequence
WHERE k.attrelid = ANY ($1::oid[]) AND concat(k.attrelid, '.', k.attnum) = ANY ($2::text[])
"""


def with_sequences(
    session: Session, tables: Mapping[str, Sequence[SchemaObject]]
) -> Mapping[str, Sequence[SchemaObject]]:
    """Return the tables' objects, with a remark at each column that is numbered otherwise."""
    numbered = {
        each.key
        for objects in tables.values()
        for each in objects
        if each.kind == "column" and _NUMBERED.search(each.definition)
    }
    if not numbered:
        return tables
    relations = {key.partition(".")[0] for key in numbered}
    params = [array(relations), array(numbered)]
    remarks = {key: f" /* {text} */" for key, text in session.query(_REMARKS, params) if text}
    return {
        table: [
            replace(each, definition=_NUMBERED.sub(rf"\g<0>{remarks[each.key]}", each.definition))
            if each.kind == "column" and each.key in remarks
            else each
            for each in objects
        ]
        for table, objects in tables.items()
    }
