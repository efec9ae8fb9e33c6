"""Texts are compared, and kept, without the values in them."""

import pytest

from tests.support import history

with history.installed():
    from django_confiture.history.normalized_sql import LONGEST, normalize


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT  1\n FROM t ;", "SELECT ? FROM t"),
        ("UPDATE t SET a = 'secret' WHERE b=-1.5e3", "UPDATE t SET a = ? WHERE b=?"),
        ("SELECT 'it''s', E'a\\'b', U&'x', B'01', '' FROM t1", "SELECT ? FROM t1"),
        ("SELECT $$a 'b'$$, $tag$ $$ $tag$ FROM t", "SELECT ? FROM t"),
        ('UPDATE "t 1" SET "it\'s" = %s', 'UPDATE "t 1" SET "it\'s" = %s'),
        ("SELECT a -- it's secret\n, b /* 'x' */ FROM t", "SELECT a , b FROM t"),
        ("INSERT INTO t (a, b) VALUES (%s, %s), (%s, %s)", "INSERT INTO t (a, b) VALUES (%s)"),
        ("SELECT a FROM t WHERE b IN (1, 2,3)", "SELECT a FROM t WHERE b IN (?)"),
        (
            "ALTER TABLE t ADD c varchar(50) DEFAULT 'x' NOT NULL",
            ("ALTER TABLE t ADD c varchar(?) DEFAULT ? NOT NULL"),
        ),
        ("SELECT t1.c2, $1 FROM t1", "SELECT t1.c2, $1 FROM t1"),
        ("SELECT 'never ends", "SELECT ?"),
        ("SELECT \x00\ud800 1", "SELECT ? ?"),
        ("", ""),
    ],
)
def test_normalize(sql: str, expected: str) -> None:
    assert normalize(sql) == expected
    assert normalize(expected) == expected


def test_a_long_text_is_cut() -> None:
    cut = normalize("SELECT " + "a, " * 5000)
    assert len(cut) == LONGEST
    assert cut.endswith("…")
