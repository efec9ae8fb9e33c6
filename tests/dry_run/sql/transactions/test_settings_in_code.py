"""Which settings a statement sets, until when, and when that can't be told."""

from __future__ import annotations

import pytest

from django_confiture.dry_run.sql.parsing.parser import parse
from django_confiture.dry_run.sql.transactions.settings_in_code import (
    EVERY_SETTING,
    SettingWrites,
    function_writes,
    setting_writes,
)

UNCLEAR = SettingWrites(unclear=True)


def local(*names: str) -> SettingWrites:
    return SettingWrites(local=frozenset(names))


def session(*names: str) -> SettingWrites:
    return SettingWrites(session=frozenset(names))


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", SettingWrites()),
        ("SET work_mem = '4MB'", session("work_mem")),
        ("SET LOCAL Work_Mem = '4MB'", local("work_mem")),
        ("RESET work_mem", session("work_mem")),
        ("RESET ALL", session(EVERY_SETTING)),
        ("SET TRANSACTION READ ONLY", SettingWrites()),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", SettingWrites()),
        ("SELECT set_config('app.tenant', '7', true)", local("app.tenant")),
        ("SELECT set_config('app.tenant'::text, '7', false)", session("app.tenant")),
        ("SELECT set_config('app.' || 'tenant', '7', true)", UNCLEAR),
        ("SELECT set_config('app.tenant', '7', 1 > 0)", UNCLEAR),
        ("SELECT set_config('app.tenant', '7')", UNCLEAR),
        ("DO $$ BEGIN PERFORM set_config('a.b', 'x', true); END $$", local("a.b")),
        ("DO $$ BEGIN EXECUTE 'SET LOCAL a.b = 1'; END $$", local("a.b")),
        ("DO $$ BEGIN SET a.b = 1; SET LOCAL c.d = 1; END $$", None),
        ("DO LANGUAGE plpython3u $$ plpy.execute('SET a.b = 1') $$", UNCLEAR),
    ],
)
def test_a_statement(sql: str, expected: SettingWrites | None) -> None:
    (statement,) = parse(sql, placeholders=False)
    if expected is None:
        expected = SettingWrites(session=frozenset({"a.b"}), local=frozenset({"c.d"}))
    assert setting_writes(statement) == expected


@pytest.mark.parametrize(
    ("source", "language", "expected"),
    [
        ("SELECT 1", "sql", SettingWrites()),
        ("SELECT set_config('a.b', '', true); SELECT 1", "sql", local("a.b")),
        ("plpy.execute('SET a.b = 1')", "plpython3u", UNCLEAR),
        ("return 1", "plpython3u", SettingWrites()),
        (
            "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RESET a.b; END $$",
            "plpgsql",
            session("a.b"),
        ),
    ],
)
def test_a_function(source: str, language: str, expected: SettingWrites) -> None:
    assert function_writes(source, language) == expected
