"""Whole tables: rewrites, partitions, views, domains, triggers, timeouts."""

from __future__ import annotations

from collections.abc import Sequence

from django_confiture.dry_run.findings.advice import migration_code
from django_confiture.dry_run.findings.subject import Step
from django_confiture.dry_run.sql.building import alter_table_sql
from django_confiture.dry_run.sql.nodes import Node, definition, subcommands, written_name


def rewrite(step: Step) -> str:
    """Return what to do about a rewrite that has no online form."""
    return migration_code.comment(
        f"{step.statement.command} has no form that lets others work meanwhile. Use pg_repack,",
        "or fill a new table in batches and swap the names, or plan a maintenance window",
        "and give it a lock_timeout.",
    )


def hidden_scan() -> str:
    """Return what to do about a scan under a lock that code hides."""
    return migration_code.comment(
        "Write the statement as an operation of its own, so that its online form can be",
        "used: constraints NOT VALID first, VALIDATE CONSTRAINT in a later migration.",
    )


def attach(step: Step, clause: Node) -> str:
    """Return how to attach a partition without the scan."""
    part = written_name(definition(clause).partition_cmd.name)
    name = f"{part.rpartition('.')[2]}_bound"
    return migration_code.migrations(
        migration_code.comment(
            "A CHECK that says what the bound says spares PostgreSQL the reading."
        ),
        migration_code.migration(
            migration_code.run_sql(
                f"ALTER TABLE {part} ADD CONSTRAINT {name} CHECK (...) NOT VALID",
                f"ALTER TABLE {part} DROP CONSTRAINT {name}",
            )
        ),
        migration_code.migration(
            migration_code.without_reverse(f"ALTER TABLE {part} VALIDATE CONSTRAINT {name}"),
            comment="The next migration",
        ),
        migration_code.migration(
            migration_code.without_reverse(step.result.sql),
            migration_code.without_reverse(f"ALTER TABLE {part} DROP CONSTRAINT {name}"),
            comment="And the one after it",
        ),
    )


def detach(step: Step) -> str:
    """Return how to detach a partition while others work."""
    return migration_code.migrations(
        migration_code.comment("CONCURRENTLY is refused where there is a default partition."),
        migration_code.migration(
            migration_code.without_reverse(f"{step.result.sql} CONCURRENTLY"), atomic=False
        ),
    )


def refresh(view: str) -> str:
    """Return how to refresh a materialized view that stays readable."""
    return migration_code.migrations(
        migration_code.comment(
            "CONCURRENTLY needs a unique index on the view, on columns without WHERE."
        ),
        migration_code.migration(
            migration_code.without_reverse(f"REFRESH MATERIALIZED VIEW CONCURRENTLY {view}"),
            atomic=False,
        ),
    )


def domain(step: Step) -> str:
    """Return how to add a constraint to a domain that only new values have to obey."""
    name = ".".join(part.string.sval for part in step.node.type_name)
    constraint = definition(step.node).constraint
    label = constraint.conname or step.node.name or f"{name}_check"
    return migration_code.migrations(
        migration_code.migration(
            migration_code.run_sql(
                f"{step.result.sql.rstrip('; ')} NOT VALID",
                f"ALTER DOMAIN {name} DROP CONSTRAINT {label}",
            )
        ),
        migration_code.comment(
            "VALIDATE CONSTRAINT of a domain blocks writes as well: give it a quiet hour,",
            "or put the CHECK on the tables, where validating it blocks no one.",
        ),
    )


def alone() -> str:
    """Return how to take a short lock safely."""
    return migration_code.comment(
        "It takes no time by itself. Give it a migration of its own, so that nothing else",
        "runs under its lock, and a lock_timeout:",
        'CONFITURE = {"MIGRATE": {"LOCK_TIMEOUT": "2s", "LOCK_RETRIES": 10}}',
    )


def truncate(table: str) -> str:
    """Return how to empty a table without the lock."""
    return migration_code.migrations(
        migration_code.comment(
            "Delete in batches, if code that still runs must not find it locked."
        ),
        migration_code.batches(table, "delete()"),
        migration_code.fills(table),
    )


def one_alter(steps: Sequence[Step]) -> str:
    """Return the ALTER TABLE that does all in one pass, if they are of one kind."""
    nodes = [step.node for step in steps if step.statement.what == "alter_table_stmt"]
    if len(nodes) < len(steps) or len({written_name(node.relation) for node in nodes}) > 1:
        return migration_code.comment(
            "Do it in one statement: each of them writes the whole table again."
        )
    together = alter_table_sql(nodes[0].relation, *(c for node in nodes for c in subcommands(node)))
    models = [
        migration_code.operation(s.django)
        for s in steps
        if s.django and migration_code.changes_models(s.django)
    ]
    sql = migration_code.without_reverse(together)
    if not models:
        return migration_code.migration(sql)
    return migration_code.migrations(
        migration_code.comment(
            "One pass over the table in place of several; state_operations as before."
        ),
        migration_code.migration(sql),
    )


def lock_timeout() -> str:
    """Return the setting that limits the wait."""
    return 'CONFITURE = {"MIGRATE": {"LOCK_TIMEOUT": "2s", "LOCK_RETRIES": 10}}'
