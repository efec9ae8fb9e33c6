"""Migrations with an ``apply`` of their own are called as ``migrate`` calls them: once."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import Migration, RunPython, RunSQL
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from tests.support.dry_run import for_real, python, rehearse, runs

AUDIT = "INSERT INTO dry_row (id, name, number, code) VALUES (9001, 'audit', 1, 'audit')"
ADD = "ALTER TABLE dry_row ADD extra int"


class Audited(Migration):
    """Writes a row that may be there once."""

    def apply(self, *args: Any, **kwargs: Any) -> ProjectState:
        state = super().apply(*args, **kwargs)
        args[1].execute(AUDIT)
        return state


class NoDataBesideSchema(Migration):
    """Refuses data migrations together with changes of the schema."""

    def apply(self, *args: Any, **kwargs: Any) -> ProjectState:
        kinds = {type(each) for each in self.operations}
        if {RunPython, RunSQL} <= kinds:
            raise RuntimeError("data and schema in one migration")
        return super().apply(*args, **kwargs)


class SkipsTheFirst(Migration):
    """Runs all operations but the first."""

    def apply(
        self,
        project_state: ProjectState,
        schema_editor: BaseDatabaseSchemaEditor,
        collect_sql: bool = False,
    ) -> ProjectState:
        self.__dict__["operations"] = self.operations[1:]
        return super().apply(project_state, schema_editor, collect_sql)


def make(kind: type[Migration], *operations: Operation, atomic: bool = True) -> Migration:
    attributes = {"operations": list(operations), "atomic": atomic}
    case: Migration = type("Migration", (kind,), attributes)("0001_case", "cases")
    return case


def nothing(raw: Any) -> None:
    """Do nothing."""


def test_an_apply_that_writes_after_all_operations(scratch: None) -> None:
    operations = runs(ADD), runs("UPDATE dry_row SET extra = 1 WHERE id < 4")
    (result,) = rehearse(make(Audited, *operations)).migrations
    assert result.error is None
    assert [len(each.statements) for each in result.operations] == [1, 1]
    assert AUDIT not in [each.sql for op in result.operations for each in op.statements]
    audit = result.statements[0]  # what comes next records it as applied
    assert audit.sql == AUDIT
    assert audit.executions == 1
    assert for_real(make(Audited, *operations)) == ""


def test_an_apply_that_looks_at_all_operations(scratch: None) -> None:
    (result,) = rehearse(make(NoDataBesideSchema, python(nothing), runs(ADD))).migrations
    assert result.error is not None
    assert result.error.message == "data and schema in one migration"
    assert result.operations == ()
    (result,) = rehearse(make(NoDataBesideSchema, runs(ADD))).migrations
    assert result.error is None


def test_an_apply_that_leaves_operations_out(scratch: None) -> None:
    (result,) = rehearse(make(SkipsTheFirst, runs("nonsense"), runs(ADD))).migrations
    assert result.error is None
    (operation,) = result.operations
    assert operation.index == 1
    assert [each.sql for each in operation.statements] == [ADD]
    assert {each.operation for each in result.findings} <= {1, None}


@pytest.mark.parametrize("atomic", [True, False])
def test_one_operation_twice(scratch: None, atomic: bool) -> None:
    once = runs("UPDATE dry_row SET number = number + 1 WHERE id = 1")
    (result,) = rehearse(make(Migration, once, runs(ADD), once, atomic=atomic)).migrations
    assert result.error is None
    assert [each.index for each in result.operations] == [0, 1, 2]
    assert [len(each.statements) for each in result.operations] == [1, 1, 1]


def test_operations_are_as_they_were(scratch: None) -> None:
    operation = runs(ADD)
    before = dict(vars(operation))
    rehearse(make(Migration, operation))
    assert vars(operation) == before


class Notifies(Migration):
    """Does what a dry run can't rehearse, in none of its operations."""

    def apply(self, *args: Any, **kwargs: Any) -> ProjectState:
        transaction.on_commit(nothing_at_commit)
        return super().apply(*args, **kwargs)


def nothing_at_commit() -> None:
    """Do nothing."""


def test_what_an_apply_does_unrehearsed_is_a_warning(scratch: None) -> None:
    (result,) = rehearse(make(Notifies, runs(ADD))).migrations

    assert [each.rehearsed for each in result.operations] == ["exact"]
    assert any(
        each.startswith(
            "This report covers what ran around its operations only in part: The on_commit"
            " callback tests.dry_run.test_operation_boundaries.nothing_at_commit was"
        )
        for each in result.warnings
    )
