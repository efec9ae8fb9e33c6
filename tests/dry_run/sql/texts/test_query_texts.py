"""No value of a query leaves production, wherever in its text it is."""

from __future__ import annotations

import pytest

from django_confiture.dry_run.sql.texts.query_texts import without_values

SECRET = "4111222"


@pytest.mark.parametrize(
    "text",
    [
        f"SELECT * FROM card WHERE number = '{SECRET}'",
        f"SELECT * FROM card WHERE number = {SECRET}",
        f"SELECT * FROM card WHERE number = -{SECRET}.5",
        f"SELECT * FROM card WHERE number = {SECRET}e3",
        f"SELECT * FROM card WHERE number = 0x{SECRET}",
        f"SELECT * FROM card WHERE number = E'\\n{SECRET}'",
        f"SELECT * FROM card WHERE number = $$ {SECRET} $$",
        f"SELECT * FROM card WHERE number = $tag$ {SECRET} $tag$",
        f"SELECT * FROM card WHERE number = U&'{SECRET}'",
        f"SELECT * FROM card WHERE number = U&'!0041{SECRET}' UESCAPE '!'",
        f"SELECT * FROM card WHERE number = N'{SECRET}'",
        f"SELECT * FROM card WHERE number = X'{SECRET}'",
        "SELECT * FROM card WHERE number = B'0111'",
        f"SELECT * FROM card WHERE at > now() - interval '{SECRET} days'",
        f"SELECT * FROM card WHERE number = ANY ('{{{SECRET}}}'::integer[])",
        f"SELECT * FROM card WHERE data @> '{{\"number\": {SECRET}}}'",
        f"SELECT * FROM card LIMIT {SECRET} OFFSET {SECRET}",
        f"SELECT 'a'\n'{SECRET}' FROM card",
        f"SELECT * FROM card -- {SECRET}",
        f"/* {SECRET} /* {SECRET} */ */ SELECT * FROM card /* {SECRET} */ WHERE id = $1",
        f"INSERT INTO card (number) VALUES ('{SECRET}'), ($1)",
        f"UPDATE card SET number = '{SECRET}' WHERE id = $7",
        f"DELETE FROM card WHERE number IN ('{SECRET}', $1)",
        f"MERGE INTO card USING b ON card.id = b.id WHEN MATCHED THEN UPDATE SET n = '{SECRET}'",
        f"WITH found AS (SELECT '{SECRET}' AS n) SELECT * FROM card, found",
        f"SELECT CAST('{SECRET}' AS varchar(12)) FROM card",
        # Utility statements, which PostgreSQL counts as they are written.
        f"SET application_name = '{SECRET}'",
        f"DO $$ BEGIN PERFORM '{SECRET}'; END $$",
        f"DECLARE c CURSOR FOR SELECT * FROM card WHERE number = '{SECRET}'",
        f"PREPARE p AS SELECT * FROM card WHERE number = '{SECRET}'",
        f"EXECUTE p ('{SECRET}')",
        f"EXPLAIN SELECT * FROM card WHERE number = '{SECRET}'",
        f"COPY card TO '{SECRET}'",
        f"COMMENT ON TABLE card IS '{SECRET}'",
        f"CREATE ROLE r PASSWORD '{SECRET}'",
        f"CALL pay('{SECRET}')",
        f"NOTIFY c, '{SECRET}'",
        f"CREATE TABLE t AS SELECT '{SECRET}' FROM card",
        # Texts that can't be read.
        f"SELECT * FROM card WHERE number = '{SECRET}",
        f"SELECT * FROM card WHERE 'it\\'s {SECRET}",
        f"SELECT * FROM card WHERE number = '{SECRET}'; SELECT 1",
    ],
)
def test_no_value_stays(text: str) -> None:
    clean = without_values(text)
    assert clean is None or (SECRET not in clean and "'" not in clean and "0111" not in clean)


def test_what_stays_is_the_query() -> None:
    text = 'SELECT a.b,  "x  y" FROM s."T t" a -- who\nWHERE a.b = $2 AND c<>5 AND d > interval $1'
    assert without_values(text) == (
        'SELECT a.b, "x  y" FROM s."T t" a WHERE a.b = $2 AND c<>$3 AND d > $1::interval'
    )


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (
            'SELECT EXTRACT($1 FROM a."at" AT TIME ZONE $2) FROM a',
            'SELECT pg_catalog.date_part($1, a."at" AT TIME ZONE $2) FROM a',
        ),
        (
            "SELECT CAST($1 AS numeric($2,$3)), (x)::varchar($4) FROM a WHERE y = $5",
            "SELECT CAST($1 AS numeric), (x)::varchar FROM a WHERE y = $2",
        ),
        ("SELECT left(x, $1), a.char($2) FROM a", "SELECT left(x, $1), a.char($2) FROM a"),
        ("SELECT round(x::numeric, 2) FROM a", "SELECT round(x::numeric, $1) FROM a"),
    ],
)
def test_what_only_normalizing_writes_is_written_so_that_it_prepares(text: str, clean: str) -> None:
    assert without_values(text) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (
            "SELECT date_trunc($1, at), count(*) FROM a WHERE n > 7 GROUP BY 1 ORDER BY 2 DESC, 1",
            "SELECT date_trunc($1, at), count(*) FROM a WHERE n > $2 GROUP BY 1 ORDER BY 2 DESC, 1",
        ),
        (
            "SELECT a, b, sum(c) FROM a GROUP BY ROLLUP(1, 2) LIMIT 5",
            "SELECT a, b, sum(c) FROM a GROUP BY ROLLUP(1, 2) LIMIT $1",
        ),
        ("SELECT DISTINCT ON (1) a FROM a", "SELECT DISTINCT ON (1) a FROM a"),
        (
            "SELECT (SELECT b FROM b ORDER BY 1 LIMIT 2) FROM a WHERE at > interval $1",
            "SELECT (SELECT b FROM b ORDER BY 1 LIMIT $2) FROM a WHERE at > $1::interval",
        ),
        # Values that only look like a position.
        (
            "SELECT rank() OVER (ORDER BY 1), sum(c ORDER BY 2) FROM a ORDER BY a + 3",
            "SELECT rank() OVER (ORDER BY $1), sum(c ORDER BY $2) FROM a ORDER BY a + $3",
        ),
        ("SELECT a FROM a ORDER BY 4111222", "SELECT a FROM a ORDER BY $1"),
    ],
)
def test_a_number_that_names_a_column_is_no_value(text: str, clean: str) -> None:
    assert without_values(text) == clean


@pytest.mark.parametrize("text", ["SELECT 1", "SELECT * FROM pg_class", "", "BEGIN"])
def test_what_is_about_no_table_of_the_database_is_left_out(text: str) -> None:
    assert without_values(text) is None
