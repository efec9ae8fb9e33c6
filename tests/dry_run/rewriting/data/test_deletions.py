"""RunPython that deletes rows: batches, where as many are deleted as by one statement."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.migrations import RunPython

from django_confiture.dry_run.rewriting.data.bodies import MORE
from django_confiture.dry_run.rewriting.facts import Facts
from django_confiture.dry_run.rewriting.files import NotRewritten, Rewriting
from django_confiture.dry_run.rewriting.recipes import rewriting_of
from django_confiture.dry_run.rewriting.source import snippet
from django_confiture.dry_run.sql.parsing.parser import parse

FACTS = Facts("shop", keys={"t": "id", "line": "id"})
ALL = "SELECT t.id FROM t"
ONE = "DELETE FROM t WHERE t.a < %s"
CASCADE = (
    "SELECT t.id, t.a FROM t WHERE t.a < %s; DELETE FROM line WHERE line.t_id IN (%s, %s);"
    " DELETE FROM t WHERE t.id IN (%s, %s)"
)
MARKED = "UPDATE t SET b = %s WHERE t.b IS NULL"
EMPTIED = "UPDATE t SET up_id = %s WHERE up_id IN (%s)"
OF_A_JOIN = (
    "DELETE FROM t WHERE t.id IN (SELECT U0.id FROM t U0 INNER JOIN c U1"
    " ON (U0.c_id = U1.id) WHERE U1.name = %s)"
)
EMPTYING_OTHERS = (
    "SELECT t.id FROM t WHERE t.a < %s; UPDATE line SET t_id = %s WHERE t_id IN (%s, %s);"
    " DELETE FROM t WHERE t.id IN (%s, %s)"
)
STATES = ["old", "void"]
DELETE = "rows.filter(pk__in=batch).delete()\n"


def _of(code: Any, sql: str) -> Rewriting | NotRewritten:
    return rewriting_of(RunPython(code), parse(sql, placeholders=True), FACTS)


def deletes(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "T").objects.filter(a__lt=3).delete()


def deletes_raw(apps: Any, schema_editor: Any) -> None:
    alias = schema_editor.connection.alias
    apps.get_model("shop", "T").objects.filter(a__lt=3)._raw_delete(alias)


def deletes_each_state(apps: Any, _schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    for state in STATES:
        T.objects.filter(state=state).delete()


def marks_and_deletes(apps: Any, _schema_editor: Any) -> None:
    T = apps.get_model("shop", "T")
    T.objects.filter(b=None).update(b=1)
    T.objects.filter(a__lt=3).delete()


def deletes_row_by_row(apps: Any, _schema_editor: Any) -> None:
    for row in apps.get_model("shop", "T").objects.filter(a__lt=3).iterator():
        if row.note.startswith("x"):
            row.delete()


@pytest.mark.parametrize(
    ("code", "sql", "line"),
    [
        (deletes, ONE, f"    {DELETE}"),
        (deletes, CASCADE, f"    {DELETE}"),
        (deletes, OF_A_JOIN, f"    {DELETE}"),
        # What refers to the rows is emptied: no row is chosen by it.
        (deletes, EMPTYING_OTHERS, f"    {DELETE}"),
        (deletes_raw, ONE, "    rows.filter(pk__in=batch)._raw_delete(alias)\n"),
        (deletes_each_state, "DELETE FROM t WHERE t.state = %s", f"        {DELETE}"),
        (marks_and_deletes, f"{MARKED}; {ONE}", f"    {DELETE}"),
        (deletes_row_by_row, f"{ALL}; {ONE}", "                row.delete()\n"),
    ],
)
def test_rows_are_deleted_in_batches(code: Any, sql: str, line: str) -> None:
    new = _of(code, sql)
    assert isinstance(new, Rewriting), new
    source = snippet(new.files)
    assert line in source
    assert "values = dict()" not in source
    compile(source, "snippet", "exec")


def test_a_deleted_row_has_no_key_any_more() -> None:
    new = _of(deletes_row_by_row, f"{ALL}; {ONE}")
    assert isinstance(new, Rewriting)
    source = snippet(new.files)
    assert source.index("last = batch[-1].pk") < source.index("row.delete()")


def counts(apps: Any, _schema_editor: Any) -> None:
    deleted, _ = apps.get_model("shop", "T").objects.filter(a__lt=3).delete()
    apps.get_model("shop", "Log").objects.create(deleted=deleted)


def deletes_or_saves(apps: Any, _schema_editor: Any) -> None:
    for row in apps.get_model("shop", "T").objects.all():
        if row.a < 3:
            row.delete()
        else:
            row.b = 1
            row.save()


def deletes_and_saves_others(apps: Any, _schema_editor: Any) -> None:
    apps.get_model("shop", "T").objects.filter(a__lt=3).delete()
    for row in apps.get_model("shop", "Line").objects.all():
        row.b = 1
        row.save()


OTHERS = "which rows it deletes depends on other rows that it deletes or changes: choose them"
AGAIN = "what it writes to t depends on other rows of it"


@pytest.mark.parametrize(
    ("code", "sql", "reason"),
    [
        (counts, ONE, MORE),
        (deletes, f"SELECT a.id FROM t a JOIN t b ON a.up_id = b.id; {ONE}", OTHERS),
        # Rows without lines, where lines are deleted, too.
        (deletes, f"SELECT t.id FROM t LEFT JOIN line ON t_id = t.id; {CASCADE}", OTHERS),
        # Its own foreign key is emptied, by which rows may be chosen.
        (deletes, f"{ALL}; {EMPTIED}; {ONE}", OTHERS),
        (marks_and_deletes, f"{MARKED}; {EMPTIED}; {ONE}", OTHERS),
        (deletes, "DELETE FROM t WHERE id IN (SELECT min(U0.id) FROM t U0 GROUP BY U0.a)", AGAIN),
        (deletes, "DELETE FROM t WHERE t.id IN (SELECT U0.up_id FROM t U0)", AGAIN),
        (deletes, "DELETE FROM t WHERE t.id IN (SELECT U0.id FROM t U0 LIMIT 5)", AGAIN),
        (
            deletes,
            "DELETE FROM t WHERE id IN (SELECT t.id FROM (SELECT * FROM t LIMIT 5) t)",
            AGAIN,
        ),
        (deletes_row_by_row, f"{ALL}; SELECT 1 FROM t WHERE up_id = %s; {ONE}", OTHERS),
        (deletes_or_saves, f"{ALL}; {MARKED}; {ONE}", OTHERS),
        (deletes_and_saves_others, f"{ALL}; {MARKED}; {ONE}", "its code deletes rows and saves"),
    ],
)
def test_what_may_delete_others(code: Any, sql: str, reason: str) -> None:
    new = _of(code, sql)
    assert isinstance(new, NotRewritten)
    assert new.reason.startswith(reason)
