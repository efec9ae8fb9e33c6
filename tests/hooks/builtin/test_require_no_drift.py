"""``require_no_drift``: the history replayed in a real, empty database, and compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection, connections, migrations, models
from pytest_django import Settings

from django_confiture import Hook, HookContext, HookPhase, HookResult, RunHook
from django_confiture.testing import capture_hooks
from shop.hooks import BackfillCustomerLifetimeValue
from tests.cases.migrations_on_disk import Cases, query
from tests.support.clone import alone, clones
from tests.support.dry_run import plain_connection
from tests.support.shipped_hooks import execute, in_phases, option_messages, rehearse, veto_of

HOOK = "require_no_drift"
BEFORE = {"HOOKS": {"backfill_customer_lifetime_value": BackfillCustomerLifetimeValue}}
"""The history has the shop's migrations, too."""

TABLE = migrations.CreateModel(
    "Fruit",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=20, db_index=True)),
    ],
)


@pytest.fixture(autouse=True)
def _nothing_left(transactional_db: None) -> Iterator[None]:
    """Whatever a test did, the alias leads where it did, and no database is left."""
    before = connection.settings_dict["NAME"]
    with alone():
        yield
        assert connection.settings_dict["NAME"] == before
        assert clones() == []


@pytest.fixture
def applied(cases: Cases, settings: Settings) -> Cases:
    """Return an applied migration, and one that is pending."""
    settings.CONFITURE = BEFORE
    cases.add("0001_fruit", TABLE)
    cases.migrate()
    cases.add("0002_pending", migrations.RunSQL("SELECT 1", "SELECT 1"))
    configure(settings)
    return cases


def configure(settings: Settings, **options: Any) -> None:
    settings.CONFITURE = {**BEFORE, **in_phases(BEFORE_VALIDATION=(HOOK, options))}


def test_a_schema_as_its_migrations_make_it_passes_and_is_compared_once(applied: Cases) -> None:
    applied.add("0003_pending", migrations.RunSQL("SELECT 1"))
    with capture_hooks() as hooks:
        applied.migrate()
    runs = hooks.assert_ran("RequireNoDrift", times=2)
    assert [run.result.stats for run in runs if run.result] == [
        {"compared": True},
        {"compared": False},
    ]
    assert applied.applied() == {"0001_fruit", "0002_pending", "0003_pending"}


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        ("CREATE TABLE cases_own (id int)", "table cases_own is in the database alone; column"),
        (
            "ALTER TABLE cases_fruit ADD ripe boolean",
            "1 difference: column ripe of cases_fruit is in the database alone.",
        ),
        (
            "ALTER TABLE cases_fruit ALTER name TYPE text",
            (
                "column name of cases_fruit is text NOT NULL, and they make "
                "character varying(20) NOT NULL."
            ),
        ),
        (
            "ALTER TABLE cases_fruit ADD CONSTRAINT cases_ripe CHECK (id > 0)",
            "1 difference: constraint cases_ripe of cases_fruit is in the database alone.",
        ),
        ("DROP TABLE cases_fruit", "table cases_fruit is missing"),
    ],
)
def test_a_difference_is_a_veto(applied: Cases, statement: str, difference: str) -> None:
    execute(statement)
    veto = veto_of(applied)
    assert veto.startswith("The schema of 'default' is not the one that its migrations make, by ")
    assert difference in veto
    assert veto.endswith("or name what is meant to differ in the option 'ignore'.")
    assert applied.applied() == {"0001_fruit"}


def test_an_index_that_is_missing_and_many_differences(applied: Cases) -> None:
    execute(*(f"ALTER TABLE cases_fruit ADD own{i} int" for i in range(11)))
    veto = veto_of(applied)
    assert "by 11 differences: column own0 of cases_fruit is in the database alone; " in veto
    assert "; and 1 more. Undo it" in veto


@pytest.mark.parametrize("pattern", ["cases_own", "cases_o*", "*_own"])
def test_a_table_that_is_meant_to_differ_is_ignored_with_all_that_belongs_to_it(
    applied: Cases, settings: Settings, pattern: str
) -> None:
    execute("CREATE TABLE cases_own (id serial PRIMARY KEY)")
    configure(settings, ignore=[pattern])
    applied.migrate()


def test_one_column_and_a_function_that_are_meant_to_differ(
    applied: Cases, settings: Settings
) -> None:
    execute(
        "ALTER TABLE cases_fruit ADD ripe boolean",
        "CREATE FUNCTION cases_one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    )
    try:
        configure(settings, ignore=["cases_fruit.ripe", "cases_one*"])
        applied.migrate()
        configure(settings, ignore=["cases_fruit.name"])
        assert "by 2 differences" in veto_of(applied, "0001")
    finally:
        execute("DROP FUNCTION cases_one()")


def test_the_trigger_of_a_backfill_is_no_drift(applied: Cases) -> None:
    name = "confiture_backfill_12"
    execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        f"CREATE TRIGGER {name} BEFORE UPDATE ON cases_fruit"
        f" FOR EACH ROW EXECUTE FUNCTION {name}()",
    )
    try:
        applied.migrate()
    finally:
        execute(f"DROP FUNCTION {name} CASCADE")


def test_data_migrations_and_hooks_of_the_history_write_to_the_empty_database(
    cases: Cases, settings: Settings
) -> None:
    settings.CONFITURE = BEFORE

    def fill(apps: Any, schema_editor: Any) -> None:
        fruit = apps.get_model("cases", "Fruit")
        fruit.objects.create(name="apple")

    NotesWhere.seen.clear()
    cases.add("0001_fruit", TABLE, migrations.RunPython(fill), RunHook(NotesWhere))
    cases.migrate()
    cases.add("0002_pending")
    configure(settings)
    cases.migrate()
    assert query("SELECT count(*) FROM cases_fruit") == [(1,)]
    (first, first_dry), (second, second_dry) = NotesWhere.seen
    assert first == connection.settings_dict["NAME"]
    assert second.startswith("confiture_clone_")
    assert (first_dry, second_dry) == (False, True)


class NotesWhere(Hook):
    phase = HookPhase.AFTER_DDL
    seen: list[tuple[str, bool]] = []  # noqa: RUF012

    def execute(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        self.seen.append((conn.info.dbname, context.dry_run))
        return HookResult("AFTER_DDL", "NotesWhere")


def test_a_history_that_can_no_longer_be_replayed_is_a_veto(
    cases: Cases, settings: Settings
) -> None:
    settings.CONFITURE = BEFORE
    execute("CREATE TABLE cases_by_hand (id int)")
    cases.add("0001_alters", migrations.RunSQL("ALTER TABLE cases_by_hand ADD name text"))
    cases.migrate()
    cases.add("0002_pending")
    configure(settings)
    assert veto_of(cases) == (
        "The history can't be replayed: cases.0001_alters fails on an empty database: relation "
        '"cases_by_hand" does not exist'
    )


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_other_databases_can_not_be_used_by_the_history(cases: Cases, settings: Settings) -> None:
    settings.CONFITURE = BEFORE

    def elsewhere(apps: Any, schema_editor: Any) -> None:
        with connections["other"].cursor() as cursor:
            cursor.execute("SELECT 1")

    cases.add("0001_elsewhere", migrations.RunPython(elsewhere))
    cases.migrate()
    cases.add("0002_pending")
    configure(settings)
    assert veto_of(cases).endswith(
        "cases.0001_elsewhere fails on an empty database: it uses the database 'other', which "
        "can't be used while the history is replayed"
    )
    elsewhere(None, None)


def test_extensions_and_schemas_of_the_search_path_are_there_for_the_history(
    cases: Cases, settings: Settings
) -> None:
    settings.CONFITURE = BEFORE
    execute(
        "CREATE SCHEMA cases_own",
        "CREATE EXTENSION IF NOT EXISTS citext SCHEMA cases_own",
    )
    try:
        cases.add("0001_text", migrations.RunSQL("CREATE TABLE cases_a (name cases_own.citext)"))
        cases.migrate()
        cases.add("0002_pending")
        configure(settings)
        cases.migrate()
    finally:
        execute("DROP SCHEMA cases_own CASCADE")


def test_a_role_that_may_not_create_databases_is_told(applied: Cases) -> None:
    with plain_connection() as admin:
        admin.execute("DROP ROLE IF EXISTS confiture_bound; CREATE ROLE confiture_bound")
        admin.execute("GRANT confiture_bound TO CURRENT_USER")
        for what in ("ALL TABLES IN SCHEMA", "ALL SEQUENCES IN SCHEMA", "SCHEMA"):
            admin.execute(f"GRANT ALL ON {what} public TO confiture_bound")
        connection.settings_dict["OPTIONS"]["assume_role"] = "confiture_bound"
        connection.close()
        try:
            assert "may not create databases, which this needs; ALTER ROLE" in veto_of(applied)
        finally:
            del connection.settings_dict["OPTIONS"]["assume_role"]
            connection.close()
            admin.execute("DROP OWNED BY confiture_bound; DROP ROLE confiture_bound")


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_on_the_server_of_another_alias(applied: Cases, settings: Settings) -> None:
    configure(settings, server="other")
    applied.migrate()
    assert applied.applied() == {"0001_fruit", "0002_pending"}


def test_a_dry_run_skips_it(applied: Cases) -> None:
    execute("CREATE TABLE cases_own (id int)")
    with capture_hooks() as hooks:
        assert rehearse(applied, "0002_pending").success
    assert [run.outcome for run in hooks.find("RequireNoDrift")] == ["skipped"]


def test_backwards_it_vetoes_too(applied: Cases) -> None:
    applied.migrate()
    execute("CREATE TABLE cases_own (id int)")
    assert "table cases_own is in the database alone" in veto_of(applied, "0001")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"server": "staging"},
            (
                "confiture.E012",
                "require_no_drift: OPTIONS[\"server\"] is 'staging', which is not in DATABASES.",
                "Write one of default, other.",
            ),
        ),
        (
            {"ignored": ["a"]},
            (
                "confiture.E011",
                "require_no_drift has the unknown option 'ignored'.",
                "Did you mean 'ignore'?",
            ),
        ),
        (
            {"ignore": "a"},
            (
                "confiture.E012",
                "require_no_drift: OPTIONS[\"ignore\"] is 'a'.",
                "Write a list of strings.",
            ),
        ),
    ],
)
def test_wrong_options_are_system_checks(options: Any, expected: Any) -> None:
    assert option_messages(HOOK, options) == [expected]


def test_the_empty_database_is_dropped_though_its_connection_is_lost(applied: Cases) -> None:
    """The session that made it is ended while the history runs."""

    def end_maintenance(_apps: Any, _editor: Any) -> None:
        with plain_connection() as plain:
            plain.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name = 'django-confiture clone'"
            )

    applied.add("0003_ends", migrations.RunPython(end_maintenance))
    applied.migrate("0003")
    applied.add("0004_pending", migrations.RunSQL("SELECT 1"))

    applied.migrate()

    assert "0004_pending" in applied.applied()
