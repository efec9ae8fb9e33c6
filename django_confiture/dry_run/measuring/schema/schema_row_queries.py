"""The SQL that finds whose catalog rows a transaction has written."""

from __future__ import annotations

from collections.abc import Sequence

from django_confiture.postgres import FIRST_NORMAL_OID

Place = tuple[int, bool]
"""A catalog, by its number, and whether the owners of its rows are relations."""

# Where the rows are that make up an object, and which column has its owner's OID. Indexes are owned
# by tables. TOAST tables are no part of the schema, and each rewrite makes another one. Which
# column owns a sequence is in pg_depend, and a change of it also writes the row of pg_sequence.
_OF_RELATIONS = {
    "pg_class": ("oid", "t.oid >= {first} AND t.relkind NOT IN ('i', 'I', 't')"),
    "pg_attribute": (
        "attrelid",
        (
            "t.attnum > 0 AND t.attrelid IN (SELECT oid FROM pg_catalog.pg_class"
            " WHERE oid >= {first} AND relkind NOT IN ('i', 'I', 't', 'S'))"
        ),
    ),
    "pg_attrdef": ("adrelid", "t.adrelid >= {first}"),
    "pg_constraint": ("conrelid", "t.conrelid >= {first}"),
    # Of a constraint's own, those that are switched off: the others come and go with it.
    "pg_trigger": ("tgrelid", "(NOT t.tgisinternal OR t.tgenabled = 'D')"),
    "pg_rewrite": ("ev_class", "t.oid >= {first}"),
    "pg_sequence": ("seqrelid", "t.seqrelid >= {first}"),
    "pg_policy": ("polrelid", "true"),
    "pg_inherits": ("inhrelid", "true"),
    "pg_description": (
        "objoid",
        "t.classoid = 'pg_catalog.pg_class'::regclass AND t.objoid >= {first}",
    ),
}
_OF_OTHERS = {
    "pg_type": ("oid", "t.oid >= {first} AND t.typtype IN ('e', 'd')"),
    "pg_enum": ("enumtypid", "t.enumtypid >= {first}"),
    "pg_constraint": ("contypid", "t.contypid >= {first}"),
    "pg_proc": ("oid", "t.oid >= {first}"),
    "pg_extension": ("oid", "t.oid >= {first}"),
    "pg_namespace": ("oid", "t.oid >= {first}"),
    "pg_collation": ("oid", "t.oid >= {first}"),
}
# age() counts from one transaction id, whichever that is, so it orders row versions across the
# point where ids start again. A row frozen long ago may look new: its owner is read once more.
_IS_NEW = "(age({row}.xmin) <= (SELECT age FROM since) OR {row}.xmin = (SELECT own FROM since))"

CATALOGS = list(dict.fromkeys((*_OF_RELATIONS, *_OF_OTHERS, "pg_index")))
"""The catalogs with the rows of the schema's objects."""

_GO_WITH_ANOTHER = {"pg_attribute", "pg_attrdef", "pg_sequence"}
"""Catalogs whose rows are deleted only together with the owner's in pg_class, or, of a default,
where the column's row is written."""
COUNTED = [catalog not in _GO_WITH_ANOTHER for catalog in CATALOGS]
"""In which catalogs the rows have to be counted to find who has lost one."""


_SINCE = """
WITH since AS MATERIALIZED (
  SELECT age($1), pg_catalog.pg_current_xact_id_if_assigned()::xid AS own
)
"""


def _was_written(catalog: str) -> str:
    return f"($2::boolean[])[{CATALOGS.index(catalog) + 1}]"


# A table owns its indexes, which are relations themselves. Those of TOAST tables are of no owner.
_OF_INDEXES = ("indrelid", "t.indexrelid >= {first}")


def _counts(catalogs: dict[str, tuple[str, str]], *, relations: bool) -> dict[Place, str]:
    return {
        (CATALOGS.index(name), relations): f"""
SELECT {CATALOGS.index(name)}, {str(relations).lower()},
  string_agg(concat_ws(' ', owner, number), ',')
FROM (
  SELECT t.{owner} AS owner, count(*) AS number FROM pg_catalog.{name} t
  WHERE {condition.format(first=FIRST_NORMAL_OID)} GROUP BY 1
) o
"""
        for name, (owner, condition) in catalogs.items()
    }


_COUNTS = {
    **_counts({**_OF_RELATIONS, "pg_index": _OF_INDEXES}, relations=True),
    **_counts(_OF_OTHERS, relations=False),
}


def counts(chosen: Sequence[bool]) -> str:
    """Return the query for how many rows each owner has in the chosen ones of ``CATALOGS``.

    A text for each. It names those catalogs alone: the others would take longer than these.
    """
    return " UNION ALL ".join(text for (catalog, _kind), text in _COUNTS.items() if chosen[catalog])


_LOOKED_UP = {
    "pg_attribute": (
        "t.attnum > 0 AND t.attrelid >= {first} AND (SELECT c.relkind NOT IN ('i', 'I', 't', 'S')"
        " FROM pg_catalog.pg_class c WHERE c.oid = t.attrelid)"
    ),
}
"""The same conditions for a few rows: each is looked up."""


_OF_SEVERAL_SORTS = {"pg_class", "pg_constraint"}
"""Relations and indexes; constraints of tables and of domains."""
_NO_TOAST = "(SELECT c.relkind <> 't' FROM pg_catalog.pg_class c WHERE c.oid = {oid})"


def _new_rows(catalogs: dict[str, tuple[str, str]], *, relations: bool) -> str:
    return " UNION ".join(
        f"SELECT {str(relations).lower()}, t.{owner} FROM pg_catalog.{name} t"
        f" WHERE {_was_written(name)} AND {_IS_NEW.format(row='t')}"
        f" AND {_LOOKED_UP.get(name, condition).format(first=FIRST_NORMAL_OID)}"
        for name, (owner, condition) in catalogs.items()
        if name not in _OF_SEVERAL_SORTS
    )


# No index finds new rows, so each catalog is gone through once, whichever sorts of rows it has.
WRITTEN = f"""
{_SINCE}
{_new_rows(_OF_RELATIONS, relations=True)} UNION {_new_rows(_OF_OTHERS, relations=False)}
UNION SELECT true, t.indrelid FROM pg_catalog.pg_index t
WHERE {_was_written("pg_index")} AND {_IS_NEW.format(row="t")}
  AND t.indrelid >= {FIRST_NORMAL_OID} AND {_NO_TOAST.format(oid="t.indrelid")}
UNION SELECT true, CASE WHEN t.relkind IN ('i', 'I') THEN (
    SELECT i.indrelid FROM pg_catalog.pg_index i WHERE i.indexrelid = t.oid) ELSE t.oid END
FROM pg_catalog.pg_class t
WHERE {_was_written("pg_class")} AND {_IS_NEW.format(row="t")} AND t.oid >= {FIRST_NORMAL_OID}
  AND t.relkind <> 't' AND t.relnamespace <> 'pg_toast'::regnamespace
UNION SELECT t.contypid = 0, CASE t.contypid WHEN 0 THEN t.conrelid ELSE t.contypid END
FROM pg_catalog.pg_constraint t
WHERE {_was_written("pg_constraint")} AND {_IS_NEW.format(row="t")}
  AND greatest(t.conrelid, t.contypid) >= {FIRST_NORMAL_OID}
"""
"""The owners of which a row was written since. ``$2`` says for each catalog, in the order of
``STATE``, whether any of its rows was."""

NEWEST = "pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::xid"
"""No transaction, or part of one, that begins to write from now on has an older id than this."""

# The parts of our own transaction count as running until all of it ends. One that is rolled back
# does not, and it has the newest id once it has written something: here, into the WAL alone.
ADVANCE = "SELECT pg_catalog.pg_logical_emit_message(true, 'confiture', '')"
"""Makes ``NEWEST`` newer than all that was written before, once it is rolled back."""

MAY_ADVANCE = """
SELECT bool_and(pg_catalog.has_function_privilege(oid, 'EXECUTE')) FROM pg_catalog.pg_proc
WHERE proname = 'pg_logical_emit_message' AND pronamespace = 'pg_catalog'::regnamespace
"""


def _counted(*what: str) -> list[str]:
    return [
        " + ".join(
            f"pg_catalog.pg_stat_get_xact_tuples_{each}('pg_catalog.{catalog}'::regclass)"
            for each in what
        )
        for catalog in CATALOGS
    ]


STATE = f"""
SELECT json_build_array({", ".join(_counted("inserted", "updated", "deleted"))}),
  json_build_array({", ".join(_counted("deleted"))}),
  current_setting('track_counts'), current_setting('search_path'),
  (SELECT json_agg(name) FROM pg_catalog.pg_prepared_statements WHERE name LIKE 'confiture\\_%'),
  {NEWEST}
"""
"""How many rows of each catalog this transaction wrote and deleted so far, whether that is counted
at all, the search path, which statements of ours are prepared, and the newest
transaction."""
