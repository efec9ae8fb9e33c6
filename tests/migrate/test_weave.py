"""Each cell of phases x {atomic, non-atomic} x {forward, backward} x what can fail."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from django.db import IntegrityError
from pytest_django import Settings

from django_confiture import HookError
from tests.cases.migrations_on_disk import Cases
from tests.support import recording
from tests.support.logs import events

SHORT = {
    "BV": "BEFORE_VALIDATION",
    "BD": "BEFORE_DDL",
    "op": "operation",
    "AD": "AFTER_DDL",
    "AV": "AFTER_VALIDATION",
    "CL": "CLEANUP",
    "OE": "ON_ERROR",
}

# what fails and how: what ran, what of it persisted.
# "raise" fails there and then; "commit" violates a deferred constraint, which shows at the next
# check of it: before AFTER_VALIDATION, or when the transaction is committed.
ATOMIC = {
    "nothing": ("BV BD op AD AV CL", "BV BD op AD AV CL"),
    "op raise": ("BV BD op OE CL", "OE CL"),
    "op commit": ("BV BD op AD OE CL", "OE CL"),
    "BV raise": ("BV OE CL", "OE CL"),
    "BV commit": ("BV BD op AD OE CL", "OE CL"),
    "BD raise": ("BV BD OE CL", "OE CL"),
    "BD commit": ("BV BD op AD OE CL", "OE CL"),
    "AD raise": ("BV BD op AD OE CL", "OE CL"),
    "AD commit": ("BV BD op AD OE CL", "OE CL"),
    "AV raise": ("BV BD op AD AV OE CL", "OE CL"),
    "AV commit": ("BV BD op AD AV CL OE", "OE"),
    "CL raise": ("BV BD op AD AV CL OE", "OE"),
    "CL commit": ("BV BD op AD AV CL OE", "OE"),
    "op interrupt": ("BV BD op OE CL", "OE CL"),
    "BV interrupt": ("BV OE CL", "OE CL"),
    "CL interrupt": ("BV BD op AD AV CL OE", "OE"),
}
NON_ATOMIC = {
    "nothing": ("BV BD op AD AV CL", "BV BD op AD AV CL"),
    "op raise": ("BV BD op OE CL", "BV BD OE CL"),
    "op commit": ("BV BD op OE CL", "BV BD OE CL"),
    "BV raise": ("BV OE CL", "OE CL"),
    "BV commit": ("BV OE CL", "OE CL"),
    "BD raise": ("BV BD OE CL", "BV OE CL"),
    "BD commit": ("BV BD OE CL", "BV OE CL"),
    "AD raise": ("BV BD op AD OE CL", "BV BD op OE CL"),
    "AD commit": ("BV BD op AD OE CL", "BV BD op OE CL"),
    "AV raise": ("BV BD op AD AV OE CL", "BV BD op AD OE CL"),
    "AV commit": ("BV BD op AD AV OE CL", "BV BD op AD OE CL"),
    "CL raise": ("BV BD op AD AV CL OE", "BV BD op AD AV OE"),
    "CL commit": ("BV BD op AD AV CL OE", "BV BD op AD AV OE"),
    "op interrupt": ("BV BD op OE CL", "BV BD OE CL"),
    "BV interrupt": ("BV OE CL", "OE CL"),
    "CL interrupt": ("BV BD op AD AV CL OE", "BV BD op AD AV OE"),
}
# After a failure, a hook that fails as well changes nothing for the others.
AFTER_FAILURE = {
    "OE raise": ("BV BD op OE CL", "CL"),
    "CL raise": ("BV BD op OE CL", "OE"),
    "OE interrupt": ("BV BD op OE CL", "CL"),
    "CL interrupt": ("BV BD op OE CL", "OE"),
}


@pytest.fixture
def tables(cases: Cases) -> Iterator[None]:
    with recording.recording():
        yield


def names(short: str) -> list[str]:
    return [SHORT[each] for each in short.split()]


def prepare(cases: Cases, settings: Settings, *, atomic: bool, direction: str) -> str:
    """Make the migration; where it is to be unapplied, apply it first. Return its target."""
    cases.add("0001_subject", recording.operation(atomic=True), atomic=atomic)
    if direction == "backward":
        settings.CONFITURE = {"ENABLED": False}
        cases.migrate()
        recording.forget()
    settings.CONFITURE = {"PHASES": recording.in_every_phase(MIGRATIONS=["cases.*"])}
    return "zero" if direction == "backward" else "0001"


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize(
    ("atomic", "failure", "ran", "persisted"),
    [
        pytest.param(atomic, failure, *expected, id=f"{word}: {failure}")
        for atomic, word, cells in ((True, "atomic", ATOMIC), (False, "non-atomic", NON_ATOMIC))
        for failure, expected in cells.items()
    ],
)
@pytest.mark.usefixtures("tables")
def test_cell(
    cases: Cases,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    atomic: bool,
    failure: str,
    ran: str,
    persisted: str,
    direction: str,
) -> None:
    target = prepare(cases, settings, atomic=atomic, direction=direction)
    before = cases.applied()
    where, _, how = failure.partition(" ")
    expected_error: type[BaseException] | None = None
    if how:
        recording.fails[SHORT[where]] = how
        expected_error = _error(where, how, atomic=atomic)
    caplog.set_level(logging.INFO, "django_confiture.hooks")

    if expected_error is None:
        cases.migrate(target)
    else:
        with pytest.raises(expected_error):
            cases.migrate(target)

    assert recording.ran == names(ran)
    assert recording.persisted() == names(persisted)
    assert (cases.applied() == before) is bool(how)
    assert {context.direction for context in recording.contexts} == {direction}
    assert len(set(map(id, recording.contexts))) == 1
    _check_log(caplog, names(ran), failed=SHORT.get(where), how=how, atomic=atomic)


def _error(where: str, how: str, *, atomic: bool) -> type[BaseException]:
    if how == "interrupt":
        return KeyboardInterrupt
    if where == "op":
        return ValueError if how == "raise" else IntegrityError
    if how == "commit" and atomic:
        return IntegrityError
    return HookError


def _check_log(
    caplog: pytest.LogCaptureFixture, ran: list[str], *, failed: str | None, how: str, atomic: bool
) -> None:
    """Each hook that ran started its phase, and completed unless it was the one that failed."""
    hooks = [each for each in ran if each != "operation"]
    shows_in_hook = how == "raise" or (how == "commit" and not atomic)
    started = [facts["phase"] for _, facts in events(caplog, "executing_hooks")]
    completed = [facts["phase"] for _, facts in events(caplog, "hook_completed")]
    errors = [facts["phase"] for _, facts in events(caplog, "hook_failed")]
    assert started == hooks
    assert errors == ([failed] if shows_in_hook and failed in hooks else [])
    unfinished = {failed} if shows_in_hook or how == "interrupt" else set()
    assert completed == [each for each in hooks if each not in unfinished]
    for _, facts in events(caplog):
        assert (facts["migration"], facts["app_label"]) == ("0001_subject", "cases")


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "non-atomic"])
@pytest.mark.parametrize("failure", AFTER_FAILURE)
@pytest.mark.usefixtures("tables")
def test_failure_after_the_failure(
    cases: Cases, settings: Settings, atomic: bool, direction: str, failure: str
) -> None:
    target = prepare(cases, settings, atomic=atomic, direction=direction)
    ran, persisted = AFTER_FAILURE[failure]
    where, _, how = failure.partition(" ")
    recording.fails["operation"] = "raise"
    recording.fails[SHORT[where]] = how

    with pytest.raises(KeyboardInterrupt if how == "interrupt" else ValueError) as caught:
        cases.migrate(target)

    if how == "raise":
        assert str(caught.value) == "operation was told to fail"
    else:
        assert str(caught.value.__context__) == "operation was told to fail"
    assert recording.ran == names(ran)
    assert recording.persisted() == ([] if atomic else names("BV BD")) + names(persisted)
