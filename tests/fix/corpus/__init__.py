"""Harmful migrations as they are in real projects, and what ``confiture_fix`` makes of each."""

from __future__ import annotations

from tests.fix.corpus import (
    colleagues,
    columns,
    constraints,
    data,
    deletions,
    guests,
    habits,
    indexes,
    neighbors,
    newcomers,
    projects,
    raw_sql,
    releases,
    renames,
    scripts,
    strangers,
    tables,
    teams,
    types,
    visitors,
)
from tests.fix.corpus.harmful import Harmful

CORPUS: list[Harmful] = [
    *indexes.CASES,
    *constraints.CASES,
    *columns.CASES,
    *data.CASES,
    *deletions.CASES,
    *guests.CASES,
    *habits.CASES,
    *colleagues.CASES,
    *neighbors.CASES,
    *newcomers.CASES,
    *projects.CASES,
    *raw_sql.CASES,
    *releases.CASES,
    *renames.CASES,
    *scripts.CASES,
    *strangers.CASES,
    *tables.CASES,
    *teams.CASES,
    *types.CASES,
    *visitors.CASES,
]

_NAMED = {each.name: each for each in CORPUS}
OFTEN = [
    _NAMED[name]
    for name in (
        # Rows between changes of the schema
        "rows_then_schema_of_the_same_table",
        "partial_unique_constraint_over_rows_marked_in_sql",
        # --releases 2
        "not_null_column_with_one_off_default_and_index_in_two_releases",
        "field_added_and_another_removed_in_two_releases",
        "model_deleted_in_two_releases",
        "field_renamed_filled_and_required_in_two_releases",
        "referenced_model_renamed_in_two_releases",
        # Refused
        "field_removed",
        "model_renamed",
        "foreign_key_constraint_of_an_integer",
        "type_in_sql",
        # Django's own concurrent and NOT VALID operations
        "two_checks",
        # RunSQL: indexes, rows, constraints
        "create_indexes_with_state",
        "irreversible_index",
        "constraints_without_names",
        "refresh_of_a_materialized_view",
        "reindex",
        "update_in_sql",
        "add_foreign_key",
        # AlterField: what it drops and makes again, and several changes in one
        "not_null_foreign_key_with_default",
        "unique_instead_of_index",
        "index_instead_of_unique",
        "not_null_and_longer",
        # Partitions, models of settings, what stands apart, attributes of the class
        "index_of_a_partitioned_table",
        "foreign_key_to_another_app",
        "state_and_database_apart",
        "class_with_attributes",
        "new_model_with_keys_and_backfill",
        "bigger_indexed_integer_in_two_releases",
        "index",
        # Code of the file, alone in its own
        "column_and_its_backfill",
    )
]
"""What ``make test`` runs: one case of each kind. ``make fixes`` runs them all."""
