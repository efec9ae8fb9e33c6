"""Hooks and an operation that write down that they ran, and fail when a test wants it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import psycopg
from django.db import connection
from django.db.migrations import RunPython

from django_confiture import Hook, HookContext, HookPhase, HookResult

TABLES = """
    CREATE TABLE recording_log (id serial PRIMARY KEY, what text);
    CREATE TABLE recording_parent (id integer PRIMARY KEY);
    CREATE TABLE recording_child (
        parent_id integer REFERENCES recording_parent DEFERRABLE INITIALLY DEFERRED
    );
"""
DROP = "DROP TABLE IF EXISTS recording_log, recording_parent, recording_child"

ran: list[str] = []
"""What ran, in order, whether it was rolled back or not."""

fails: dict[str, str] = {}
"""What is to fail, and how."""

contexts: list[HookContext] = []


def operation(*, atomic: bool | None = None) -> RunPython:
    """Return a reversible operation that writes down that it ran."""

    def run(apps: Any, schema_editor: Any) -> None:
        with schema_editor.connection.cursor() as cursor:
            _record("operation", cursor)

    return RunPython(run, run, atomic=atomic)


class Record(Hook):
    """Writes down ``options["name"]``."""

    phase = HookPhase.BEFORE_DDL
    directions: ClassVar[tuple[str, ...]] = ("forward", "backward")

    def execute(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        contexts.append(context)
        _record(self.options["name"], conn)
        return HookResult(self.options["name"], "Record", rows_affected=1)


class ForwardRecord(Record):
    """Handles one direction only, as hooks do by default."""

    directions = ("forward",)


def _record(what: str, database: Any) -> None:
    ran.append(what)
    how = fails.get(what)
    database.execute("INSERT INTO recording_log (what) VALUES (%s)", [what])
    if how == "commit":
        database.execute("INSERT INTO recording_child VALUES (1)")
    elif how == "interrupt":
        raise KeyboardInterrupt
    elif how is not None:
        raise ValueError(f"{what} was told to fail")


def persisted() -> list[str]:
    """Return what is in the table, in the order of its ids."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT what FROM recording_log ORDER BY id")
        return [what for (what,) in cursor.fetchall()]


def forget() -> None:
    """Start over."""
    ran.clear()
    fails.clear()
    contexts.clear()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE recording_log, recording_parent, recording_child")


@contextmanager
def recording() -> Iterator[None]:
    """Make the tables, for as long as the context is open."""
    with connection.cursor() as cursor:
        cursor.execute(DROP)
        cursor.execute(TABLES)
    ran.clear()
    fails.clear()
    contexts.clear()
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(DROP)


def in_every_phase(hook: str = "tests.support.recording.Record", **more: Any) -> dict[str, Any]:
    """Return ``CONFITURE["PHASES"]`` with a hook in each phase that records its phase."""
    return {
        phase: [{"HOOK": hook, "OPTIONS": {"name": phase}, **more}]
        for phase in HookPhase.__members__
    }
