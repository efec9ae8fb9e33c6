"""Plans whose outcome depends on which settings end with a transaction, and which stay."""

from __future__ import annotations

from tests.support.artifact_cases import Case, first, second
from tests.support.dry_run import executes, runs

# One that is read here, in the view, and in nothing else that passes.
FAILS_IF_ON = "SELECT 1 / CASE WHEN current_setting('dry.mode', true) = 'on' THEN 0 ELSE 1 END"
ITS_VIEW = f"CREATE VIEW dry_view AS {FAILS_IF_ON} AS number FROM dry_row LIMIT 1"
READS_THE_VIEW = "SELECT number FROM dry_view"

LOCALLY = "PERFORM set_config('dry.mode', 'on', true)"
FOR_SESSION = "PERFORM set_config('dry.mode', 'on', false)"
UNTOLD = "PERFORM set_config('dry.' || lower('MODE'), 'on', true)"
EXECUTED = "EXECUTE 'SET LOCAL dry.mode = ''on'''"

DIVISION = "DataError: division by zero"
TIMEOUT = "OperationalError: canceling statement due to statement timeout"
SLEEPS = "SELECT pg_sleep(0.4)"
WITHOUT_ROLE = "SELECT 1 / CASE WHEN current_user = 'pg_monitor' THEN 0 ELSE 1 END"


def block(code: str) -> str:
    return f"DO $$ BEGIN {code}; END $$"


def function(code: str) -> str:
    return f"""
        CREATE FUNCTION dry_sets() RETURNS void LANGUAGE plpgsql AS $$ BEGIN {code}; END $$
    """


def trigger(code: str) -> str:
    return f"""
        CREATE FUNCTION dry_sets() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN {code}; RETURN new; END $$;
        CREATE TRIGGER dry_sets BEFORE UPDATE ON dry_row FOR EACH ROW EXECUTE FUNCTION dry_sets()
    """


IN_SQL = "CREATE FUNCTION dry_sets() RETURNS text LANGUAGE sql AS $$ {} $$"
CALLS = "SELECT dry_sets()"
UPDATES = "UPDATE dry_row SET number = 1 WHERE id = 1"


def then(
    set_by: str,
    read_by: str = FAILS_IF_ON,
    *,
    real: str = "",
    naive: str = DIVISION,
    before: str = "",
) -> dict[str, Case]:
    """Return the case that a setting is read in the next migration, or the next transaction."""
    return {
        ", then a migration": Case(
            lambda: [first(runs(set_by)), second(runs(read_by))], real, naive, before=before
        ),
        ", then a statement": Case(
            lambda: [first(runs(set_by), runs(read_by), atomic=False)], real, naive, before=before
        ),
    }


SETTINGS_CASES: dict[str, Case] = {
    f"s: {what}{when}": case
    for what, cases in {
        "SET LOCAL": then("SELECT 1; SET LOCAL dry.mode = 'on'"),
        "set_config": then("SELECT set_config('dry.mode', 'on', true)"),
        "set_config in a DO block": then(block(LOCALLY)),
        "SET LOCAL in a DO block": then(block("SET LOCAL dry.mode = 'on'")),
        "SET LOCAL in EXECUTE": then(block(EXECUTED)),
        "a function": then(CALLS, before=function(LOCALLY)),
        "a function in SQL": then(
            CALLS, before=IN_SQL.format("SELECT set_config('dry.mode', 'on', true)")
        ),
        "a trigger": then(UPDATES, before=trigger(LOCALLY)),
        "a name that only a view has": then(block(UNTOLD), READS_THE_VIEW, before=ITS_VIEW),
        "a timeout in a DO block": then(
            block("PERFORM set_config('statement_timeout', '200ms', true)"), SLEEPS, naive=TIMEOUT
        ),
        "a timeout in a trigger": then(
            UPDATES,
            SLEEPS,
            before=trigger("PERFORM set_config('statement_timeout', '200ms', true)"),
            naive=TIMEOUT,
        ),
        "SET": then("SET dry.mode = 'on'", real=DIVISION),
        "set_config for the session": then(
            "SELECT set_config('dry.mode', 'on', false)", real=DIVISION
        ),
        "SET in a DO block": then(block(FOR_SESSION), real=DIVISION),
        "SET in a function": then(CALLS, before=function(FOR_SESSION), real=DIVISION),
        "SET in a trigger": then(UPDATES, before=trigger(FOR_SESSION), real=DIVISION),
        "SET, then SET LOCAL": then("SET dry.mode = 'off'; SET LOCAL dry.mode = 'on'"),
        "SET, then another SET LOCAL": then(
            "SET dry.mode = 'on'; SET LOCAL dry.mode = 'off'", real=DIVISION, naive=""
        ),
        "SET LOCAL, then SET": then(
            "SELECT 1; SET LOCAL dry.mode = 'off'; SET dry.mode = 'on'", real=DIVISION
        ),
        "RESET ALL": then("SET dry.mode = 'on'; RESET ALL", naive=""),
    }.items()
    for when, case in cases.items()
} | {
    "s: a role": Case(
        lambda: [first(runs(block("SET LOCAL ROLE pg_monitor")), runs(WITHOUT_ROLE), atomic=False)],
        naive=DIVISION,
    ),
    "s: SET that a savepoint takes back": Case(
        lambda: [
            first(runs("SAVEPOINT dry_s; SET dry.mode = 'on'; ROLLBACK TO dry_s")),
            second(runs(FAILS_IF_ON)),
        ]
    ),
    "s: SET LOCAL after a SET that a savepoint takes back": Case(
        lambda: [
            first(
                runs("SAVEPOINT dry_s; SET dry.mode = 'on'; ROLLBACK TO dry_s"),
                runs(block(LOCALLY)),
            ),
            second(runs(FAILS_IF_ON)),
        ],
        naive=DIVISION,
    ),
    "s: set_config with parameters": Case(
        lambda: [
            first(executes("SELECT set_config(%s, %s, true)", ["dry.mode", "on"])),
            second(runs(FAILS_IF_ON)),
        ],
        naive=DIVISION,
    ),
    "s: set_config with parameters, for the session": Case(
        lambda: [
            first(executes("SELECT set_config(%s, %s, %s)", ["dry.mode", "on", False])),
            second(runs(FAILS_IF_ON)),
        ],
        DIVISION,
    ),
}
