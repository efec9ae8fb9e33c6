"""Words that are looked for in every statement's text before a costly pattern is."""

import pytest

from django_confiture.dry_run.interception.counting import _SWITCHES_OFF
from django_confiture.dry_run.sql.parsing.suspects import Suspects
from django_confiture.dry_run.sql.rows.unordered_limits import _SUSPECT as LIMITS
from django_confiture.dry_run.sql.rows.unsafe_functions import _SUSPECT as UNSAFE
from django_confiture.dry_run.sql.transactions.settings_in_code import _MENTIONED, _SETS
from django_confiture.dry_run.sql.transactions.transaction_wide import _ANY


def test_pattern_is_tried_only_where_one_of_its_words_is() -> None:
    suspects = Suspects(r"\b\w+\b", "limit")

    assert suspects.search("SELECT 1") is None
    assert list(suspects.finditer("SELECT 1")) == []
    assert (found := suspects.search("SELECT 1 LIMIT 1")) is not None
    assert found[0] == "SELECT"
    assert [each[0] for each in suspects.finditer("Limit 1")] == ["Limit", "1"]


@pytest.mark.parametrize(
    ("suspects", "texts"),
    [
        (LIMITS, ["LIMIT 1", "FETCH FIRST ROW ONLY"]),
        (_SWITCHES_OFF, ["SET track_counts = off"]),
        (_SETS, ["set_config('a', 'b', true)", "SET LOCAL a = 1", "RESET ALL", "THEN SET a.b = 1"]),
        (_MENTIONED, ["current_setting('app.a')", "set_config('app.a'", "SHOW app.a", "RESET a.b"]),
        (
            UNSAFE,
            [
                *("dblink_exec('')", "lo_export(1, '')", "pg_file_write('')", "pg_promote()"),
                *("pg_terminate_backend(1)", "pg_start_backup('')", "COPY a TO ''", "CHECKPOINT"),
            ],
        ),
        (
            _ANY,
            [
                *("now()", "transaction_timestamp()", "current_time", "LOCALTIMESTAMP"),
                *("txid_current()", "pg_current_xact_id()", "pg_snapshot_xmin(a)", "xmin", "cmax"),
                *("pg_locks", "pg_listening_channels()", "pg_stat_activity", "dblink('')"),
                *("current_setting('lock_timeout')", "SHOW lock_timeout"),
                "SELECT setting FROM pg_settings WHERE name = 'lock_timeout'",
            ],
        ),
    ],
)
def test_every_text_that_matches_has_one_of_the_words(suspects: Suspects, texts: list[str]) -> None:
    for text in texts:
        assert suspects.search(text) is not None
        assert suspects.search(text.upper()) is not None
        assert suspects.search(text.lower()) is not None
