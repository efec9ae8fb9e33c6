"""Commands that take an app label and a migration's name say what was probably meant."""

from __future__ import annotations

import re

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.cases.migrations_on_disk import Cases
from tests.management.test_migrate_dryrun import NUMBER, THING, dry_run

COMMANDS = ("migrate_dryrun", "confiture_hooks", "confiture_fix")


@pytest.fixture
def three(cases: Cases) -> Cases:
    cases.add("0001_initial", THING)
    cases.add("0002_number", NUMBER)
    cases.add("0003_others")
    return cases


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["case"], "No installed app with label 'case'. Did you mean 'cases'?"),
        (["confiture_nowhere_near"], "No installed app with label 'confiture_nowhere_near'."),
        (
            ["cases.0002_number"],
            (
                "No installed app with label 'cases.0002_number'. "
                "Put a space in place of the dot: cases 0002_number"
            ),
        ),
        (
            ["cases", "0002_numbre"],
            (
                "Cannot find a migration matching '0002_numbre' from app 'cases'. "
                "Did you mean '0002_number'?"
            ),
        ),
        (
            ["cases", "9"],
            "Cannot find a migration matching '9' from app 'cases'. The last one is '0003_others'.",
        ),
        (
            ["cases", "00"],
            (
                "More than one migration matches '00' in app 'cases'. Please be more "
                "specific. They are 0001_initial, 0002_number and 0003_others."
            ),
        ),
    ],
)
def test_what_was_probably_meant(
    three: Cases, command: str, arguments: list[str], said: str
) -> None:
    with pytest.raises(CommandError, match=f"^{re.escape(said)}$") as caught:
        call_command(command, *arguments)

    assert caught.value.returncode == 2


def test_of_many_names_a_few_are_shown(cases: Cases) -> None:
    for number in range(10, 17):
        cases.add(f"00{number}_more")
    with pytest.raises(CommandError, match=r"0012_more, 0013_more and 3 more\.$"):
        call_command("migrate_dryrun", "cases", "001")


def test_what_migrate_finds_is_found(three: Cases) -> None:
    for arguments in (["cases"], ["cases", "0002"], ["cases", "zero"], ["auth"]):
        assert dry_run(*arguments).code == 0


@pytest.mark.parametrize("clone", [["--clone"], ["--clone-of", "default"]])
@pytest.mark.parametrize("flag", ["--no-watchdog", "--allow-dead-space", "--samples"])
def test_a_flag_that_says_nothing_about_a_clone_is_refused(
    three: Cases, clone: list[str], flag: str
) -> None:
    ran = dry_run("cases", *clone, flag)

    assert ran.code == 2
    assert f"{flag} " in ran.err
    assert f"; leave out one of it and {clone[0]}." in ran.err
