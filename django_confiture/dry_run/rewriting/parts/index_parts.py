"""Indexes: built and dropped CONCURRENTLY."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.migrations import RunSQL

from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NoRecipe
from django_confiture.dry_run.rewriting.parts.parts import Part, Phase
from django_confiture.dry_run.sql.parsing.building import (
    add_constraint,
    alter_table_sql,
    changed,
    statement_sql,
    without_schemas,
)
from django_confiture.dry_run.sql.parsing.enums import DropBehavior, ObjectType
from django_confiture.dry_run.sql.parsing.identifiers import qualified_name, quote_identifier
from django_confiture.dry_run.sql.parsing.nodes import (
    Node,
    dropped_relations,
    quoted_relation,
)
from django_confiture.dry_run.sql.parsing.parser import parse


def index_parts(node: Node, facts: Facts) -> Iterator[Part]:
    """Yield the parts for a CREATE INDEX."""
    if node.concurrent:
        raise NoRecipe("its CREATE INDEX is concurrent already")
    if not node.idxname:  # PostgreSQL gives it the same one
        if facts.in_partitions(node.relation):
            raise NoRecipe("its CREATE INDEX has no name")
        yield Part(Phase.INDEX, concurrently(node))
        return
    name = qualified_name(node.relation.schemaname, node.idxname)
    if facts.in_partitions(node.relation):
        yield from _partition_by_partition(node, name, facts)
        return
    names = [name]
    if (later := facts.renamed_indexes.get(node.idxname)) is not None:
        # Django does not rename it back: an operation that drops it goes by its columns.
        names.insert(0, qualified_name(node.relation.schemaname, later))
    drops = tuple(f"DROP INDEX CONCURRENTLY IF EXISTS {each}" for each in names)
    yield Part(Phase.INDEX, concurrently(node), drops[0] if len(drops) == 1 else drops)


def _partition_by_partition(node: Node, name: str, facts: Facts) -> Iterator[Part]:
    """Yield the index of the whole table, without those of its partitions; then these, joined.

    It becomes valid with the last of them.
    """
    schema = node.relation.schemaname
    built = facts.partition_indexes.get(f"{schema}.{node.idxname}" if schema else node.idxname)
    if not built or any(each.nested for each in built):
        raise NoRecipe(f"the indexes of the partitions of {node.relation.relname} are not known")
    alone = changed(node)
    alone.relation.inh = False
    drop = f"DROP INDEX IF EXISTS {name}"
    yield Part(Phase.SCHEMA, statement_sql(alone), drop)
    for number, each in enumerate(built):
        made = parse(each.definition, placeholders=False)[0].node.index_stmt
        if f"{made.relation.schemaname}.{made.idxname}" not in facts.indexes:
            yield Part(
                Phase.INDEX,
                concurrently(made),
                f"DROP INDEX CONCURRENTLY IF EXISTS {each.name}",
            )
        attach = f"ALTER INDEX {name} ATTACH PARTITION {each.name}"
        yield Part(Phase.SWITCH, attach, RunSQL.noop if number else drop)


def concurrently(node: Node) -> str:
    """Return a CREATE INDEX that lets others write."""
    return statement_sql(changed(node, concurrent=True))


def drop_index_parts(node: Node, facts: Facts) -> Iterator[Part]:
    """Yield the parts for a DROP INDEX; they are reversed as the indexes are now."""
    if node.remove_type != ObjectType.INDEX or node.behavior != DropBehavior.RESTRICT:
        raise NoRecipe("it drops what is not an index, or by CASCADE")
    for each in dropped_relations(node):
        before = facts.index(each)
        if facts.partitioned:
            raise NoRecipe("PostgreSQL drops no index of a partitioned table CONCURRENTLY")
        if before is None:
            raise NoRecipe(f"the index {each.relname} is not known")
        made = parse(before, placeholders=False)[0].node.index_stmt
        if not each.schemaname:  # found by the search path, as it will be then
            made = without_schemas(made)
        yield Part(
            Phase.CLEAN_UP,
            f"DROP INDEX CONCURRENTLY IF EXISTS {quoted_relation(each)}",
            concurrently(made),
        )


def unique_index_parts(
    relation: Node, constraint: Node, columns: list[str], facts: Facts
) -> Iterator[Part]:
    """Yield a unique index, and the constraint that takes it over."""
    if facts.in_partitions(relation):
        yield from _unique_by_partition(relation, constraint, facts)
        return
    yield unique_index_part(relation, constraint, columns, facts)
    table, name = quoted_relation(relation), quote_identifier(constraint.conname)
    use = f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}"
    drop = f"ALTER TABLE {table} DROP CONSTRAINT {name}"
    yield Part(Phase.SWITCH, f"{use}{_deferrable(constraint)}", drop)


def _deferrable(constraint: Node) -> str:
    deferrable = " DEFERRABLE" if constraint.deferrable else ""
    return f"{deferrable}{' INITIALLY DEFERRED' if constraint.initdeferred else ''}"


def _unique_by_partition(relation: Node, constraint: Node, facts: Facts) -> Iterator[Part]:
    """Yield the unique index of each partition; then the constraint of the whole takes them."""
    table, name = quoted_relation(relation), quote_identifier(constraint.conname)
    schema = relation.schemaname
    key = f"{schema}.{constraint.conname}" if schema else constraint.conname
    built = facts.partition_indexes.get(key)
    if not built or any(each.nested for each in built):
        raise NoRecipe(f"the indexes of the partitions of {relation.relname} are not known")
    alone = alter_table_sql(changed(relation, inh=False), add_constraint(constraint))
    yield Part(Phase.SWITCH, alone, f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    whole = qualified_name(schema, constraint.conname)
    for each in built:
        made = parse(each.definition, placeholders=False)[0].node.index_stmt
        drop = f"DROP INDEX CONCURRENTLY IF EXISTS {each.name}"
        yield Part(Phase.INDEX, concurrently(made), drop)
        own = quote_identifier(made.idxname)
        use = f"ADD CONSTRAINT {own} UNIQUE USING INDEX {own}{_deferrable(constraint)}"
        yield Part(Phase.SWITCH, f"ALTER TABLE {quoted_relation(made.relation)} {use}")
        yield Part(Phase.SWITCH, f"ALTER INDEX {whole} ATTACH PARTITION {each.name}")


def unique_index_part(relation: Node, constraint: Node, columns: list[str], facts: Facts) -> Part:
    """Return the unique index that a constraint can take over."""
    if facts.in_partitions(relation):
        raise NoRecipe("a partitioned table takes no unique index CONCURRENTLY")
    table, name = quoted_relation(relation), quote_identifier(constraint.conname)
    keys = ", ".join(map(quote_identifier, columns))
    included = [each.string.sval for each in constraint.including]
    include = f" INCLUDE ({', '.join(map(quote_identifier, included))})" if included else ""
    nulls = " NULLS NOT DISTINCT" if constraint.nulls_not_distinct else ""
    index = qualified_name(relation.schemaname, constraint.conname)
    make = f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({keys}){include}{nulls}"
    return Part(
        Phase.INDEX, _stored_as(constraint, make), f"DROP INDEX CONCURRENTLY IF EXISTS {index}"
    )


def _stored_as(constraint: Node, make: str) -> str:
    """Return a CREATE INDEX with the constraint's storage parameters and its tablespace."""
    if not (constraint.options or constraint.indexspace):
        return make
    node = changed(
        parse(make, placeholders=False)[0].node.index_stmt, table_space=constraint.indexspace
    )
    node.options.extend(constraint.options)
    return statement_sql(node)


def refresh_part(node: Node, facts: Facts) -> Part:
    """Return the part for a REFRESH MATERIALIZED VIEW."""
    if node.concurrent or node.skip_data:
        raise NoRecipe("its REFRESH MATERIALIZED VIEW is concurrent already, or WITH NO DATA")
    view = node.relation
    made = [parse(sql, placeholders=False)[0].node.index_stmt for sql in facts.indexes.values()]
    if not any(
        each.unique
        and each.relation.relname == view.relname
        and view.schemaname in ("", each.relation.schemaname)
        and not each.HasField("where_clause")
        and all(key.index_elem.name for key in each.index_params)
        for each in made
    ):
        raise NoRecipe(f"{view.relname} has no unique index on columns for REFRESH CONCURRENTLY")
    return Part(Phase.INDEX, statement_sql(changed(node, concurrent=True)))


def reindex_part(node: Node, facts: Facts) -> Part:
    """Return the part for a REINDEX."""
    if facts.partitioned:
        raise NoRecipe("its REINDEX is about a partitioned table")
    sql = statement_sql(node)
    if node.params:
        raise NoRecipe("its REINDEX has options")
    return Part(Phase.INDEX, sql.replace("REINDEX ", "REINDEX (CONCURRENTLY) ", 1), RunSQL.noop)
