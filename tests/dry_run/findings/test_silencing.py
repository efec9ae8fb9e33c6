"""Findings are accepted for a migration or an operation, with a reason, and stay listed."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.migrations import RunSQL, SeparateDatabaseAndState
from pytest_django import Settings

from django_confiture.checks import check_confiture
from django_confiture.dry_run.results import Finding
from django_confiture.silencing import check_plan, silenced
from tests.support.dry_run import migration, rehearse

INDEX, DROP = "index-build-blocks-writes", "column-dropped"
REASON = {INDEX: "the table has 40 rows"}


def build() -> RunSQL:
    return RunSQL("CREATE INDEX dry_i ON dry_row (number)")


def drop() -> RunSQL:
    return RunSQL("ALTER TABLE dry_row DROP COLUMN code")


def findings(*operations: RunSQL | SeparateDatabaseAndState, **attributes: object) -> list[Finding]:
    case = migration(*operations)
    for name, value in attributes.items():
        setattr(case, name, value)
    (result,) = rehearse(case).migrations
    assert result.error is None
    return [each for each in result.findings if each.id != "no-lock-timeout"]


def test_nothing_is_silenced_by_itself(scratch: None) -> None:
    (found,) = findings(build())
    assert (found.id, found.silenced) == (INDEX, None)


def test_a_migration_accepts_a_finding(scratch: None) -> None:
    first, second = findings(build(), drop(), confiture_silenced=REASON)
    assert (first.id, first.silenced) == (INDEX, "the table has 40 rows")
    assert (second.id, second.silenced) == (DROP, None)


def test_an_operation_accepts_its_own_findings_only(scratch: None) -> None:
    other = RunSQL("CREATE INDEX dry_j ON dry_parent (name)")
    first, second = findings(silenced(build(), REASON), other)
    assert (first.relation, first.silenced) == ("dry_row", "the table has 40 rows")
    assert (second.relation, second.silenced) == ("dry_parent", None)


def test_an_operation_inside_another_accepts_too(scratch: None) -> None:
    whole = SeparateDatabaseAndState(database_operations=[silenced(build(), REASON)])
    (found,) = findings(whole)
    assert found.silenced == "the table has 40 rows"


def test_silenced_returns_the_operation() -> None:
    operation = build()
    assert silenced(operation, REASON) is operation


@pytest.mark.parametrize(
    ("reasons", "message"),
    [
        (
            {"index-build-blocks-write": "small"},
            (
                "names 'index-build-blocks-write', which is not a finding; "
                "write 'index-build-blocks-writes'."
            ),
        ),
        ({"E1": "small"}, "names 'E1', which is not a finding; write an id that a report shows."),
        ({INDEX: " "}, f"gives no reason for '{INDEX}'; write why it is accepted."),
        ({INDEX: None}, f"gives no reason for '{INDEX}'; write why it is accepted."),
        ([INDEX], f"is ['{INDEX}']; write a dictionary of finding ids and reasons."),
    ],
)
def test_mistakes_are_named(reasons: object, message: str) -> None:
    with pytest.raises(ImproperlyConfigured) as raised:
        silenced(build(), reasons)  # type: ignore[arg-type]
    assert str(raised.value) == f"silenced(RunSQL) {message}"

    case = migration()
    case.confiture_silenced = reasons  # type: ignore[attr-defined]
    with pytest.raises(ImproperlyConfigured) as raised:
        check_plan([(case, False)])
    assert str(raised.value) == f"Migration cases.0001_case: confiture_silenced {message}"


def test_a_mistake_stops_the_dry_run_before_it_starts(scratch: None) -> None:
    case = migration(build())
    case.confiture_silenced = {"E1": "small"}  # type: ignore[attr-defined]
    with pytest.raises(ImproperlyConfigured, match="names 'E1'"):
        rehearse(case)


def test_settings_silence_by_pattern(scratch: None, settings: Settings) -> None:
    settings.CONFITURE = {"SILENCED": {"cases.0001_*": REASON, "shop.*": {DROP: "other app"}}}
    first, second = findings(build(), drop())
    assert (first.id, first.silenced) == (INDEX, "the table has 40 rows")
    assert (second.id, second.silenced) == (DROP, None)


def test_the_file_wins_over_the_settings(scratch: None, settings: Settings) -> None:
    settings.CONFITURE = {"SILENCED": {"*": {INDEX: "settings"}}}
    (found,) = findings(build(), confiture_silenced={INDEX: "file"})
    assert found.silenced == "file"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"shop.*": [INDEX]}, f"is ['{INDEX}']; write a dictionary of finding ids and reasons."),
        (
            {"shop.*": {"E1": "x"}},
            "names 'E1', which is not a finding; write an id that a report shows.",
        ),
        ({"shop.*": {INDEX: ""}}, f"gives no reason for '{INDEX}'; write why it is accepted."),
    ],
)
def test_mistakes_in_settings_stop_the_dry_run_and_are_checks(
    scratch: None, settings: Settings, value: object, message: str
) -> None:
    settings.CONFITURE = {"SILENCED": value}
    with pytest.raises(ImproperlyConfigured) as raised:
        rehearse(migration(build()))
    assert str(raised.value) == f'CONFITURE["SILENCED"]["shop.*"] {message}'
    (error,) = [each for each in check_confiture() if each.id == "confiture.E013"]
    problem, _, fix = str(raised.value).partition("; ")
    assert error.msg == f"{problem}."
    assert error.hint is not None
    assert error.hint.lower() == fix.lower()


def test_a_pattern_that_matches_no_migration_is_a_check(settings: Settings) -> None:
    settings.CONFITURE = {"SILENCED": {"shop.0*": REASON, "nowhere.*": REASON}}
    (warning,) = [each for each in check_confiture() if each.id == "confiture.W001"]
    assert warning.msg == ("CONFITURE[\"SILENCED\"] has 'nowhere.*', which matches no migration.")
