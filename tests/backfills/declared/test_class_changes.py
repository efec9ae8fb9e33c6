"""A class that has changed since its backfill began does no row unless someone says so."""

from __future__ import annotations

from typing import Any

import pytest

from django_confiture.exceptions import BackfillError
from tests.support.backfills import PATH, books, counters, execute, shelf

__all__ = ["shelf"]  # a fixture

NAME = PATH + "Changes"
ROWS = 3000


def run() -> str:
    from django_confiture.backfills.in_process import run_here

    return run_here(NAME, using="default", actor="the test", workers=1).value


def act(action: str) -> str:
    from django_confiture.backfills.control import perform

    return perform(action, NAME, using="default", actor="the test")


def known() -> Any:
    from django_confiture.backfills.models import BackfillRun

    return BackfillRun.objects.get(name=NAME)


def work_once() -> None:
    """Do one batch, as a task does whose time is up."""
    from django_confiture.backfills.declared.declaration import load_backfill
    from django_confiture.backfills.options import backfill_options
    from django_confiture.backfills.ranges.range_worker import Job
    from django_confiture.backfills.runner import Runner

    backfill, options = load_backfill(NAME), backfill_options()
    Runner(Job(known(), backfill, "default", options)).work(stop=lambda: True)


@pytest.fixture
def half_done(shelf: None, settings: Any) -> None:
    """Let a backfill begin."""
    settings.CONFITURE = {"BACKFILLS": {"MAX": 1000}}
    books(ROWS)
    act("start")
    work_once()
    assert counters() == {0: 2000, 1: 1000}


@pytest.fixture
def deployed(half_done: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a later release declare it otherwise."""
    from tests.backfills.shelf import backfills

    monkeypatch.setattr(backfills, "Changes", backfills.changed.Changes)


@pytest.mark.usefixtures("deployed")
def test_a_process_with_another_class_refuses_to_go_on_and_says_what_to_do() -> None:
    for begins in (run, work_once, lambda: act("start")):
        with pytest.raises(BackfillError, match=r"since it began.*cancel it, and retry"):
            begins()
    assert counters() == {0: 2000, 1: 1000}
    assert known().state == "running"


def test_a_process_with_the_class_as_it_was_goes_on(
    half_done: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.backfills.shelf import backfills

    with monkeypatch.context() as later:
        later.setattr(backfills, "Changes", backfills.changed.Changes)
        with pytest.raises(BackfillError):
            work_once()
    assert run() == "completed"
    assert counters() == {1: ROWS}


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("again", ["retry", "start"])
def test_canceled_and_begun_again_it_does_what_matches_now(again: str) -> None:
    act("cancel")
    act(again)
    assert run() == "completed"
    assert counters() == {2: 2000, 3: 1000}
    (detail,) = execute(
        "SELECT detail FROM confiture_backfills_backfillevent WHERE action = %s"
        " ORDER BY id DESC LIMIT 1",
        again,
    )
    assert detail == ("Its class has changed, so it begins again at the first key.",)


@pytest.mark.usefixtures("deployed")
def test_a_task_leaves_it_to_others_and_says_so_and_in_the_end_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from django_confiture.backfills import tasks
    from django_confiture.backfills.chains import begin_chains

    handed_on: list[Any] = []
    monkeypatch.setattr(tasks, "_hand_on", lambda *facts: handed_on.append(facts))
    (link,) = begin_chains(known(), using="default", wanted=1)
    ended = tasks.work_on_backfill.func(NAME, "default", link.number, link.generation)
    assert (ended, len(handed_on)) == ("left to others", 1)
    assert (known().state, counters()) == ("running", {0: 2000, 1: 1000})
    assert "has changed since it began" in known().last_error
    (_name, _using, link, _tries) = handed_on[0]
    last = tasks.TRIES_IF_CHANGED
    ended = tasks.work_on_backfill.func(NAME, "default", link.number, link.generation, last)
    assert (ended, len(handed_on)) == ("failed", 1)
    assert (known().state, counters()) == ("failed", {0: 2000, 1: 1000})


@pytest.mark.usefixtures("deployed")
def test_a_trigger_of_the_old_class_goes_when_it_begins_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from django_confiture.backfills.safeguards import mirror
    from tests.backfills.shelf import backfills

    monkeypatch.setattr(backfills.changed.Changes, "mirror", True)
    mirror.install(known(), backfills.changed.Changes(), using="default")
    execute("UPDATE confiture_backfills_backfillrun SET state = 'failed'")
    act("retry")
    assert execute("SELECT tgname FROM pg_trigger WHERE tgname ~ '^confiture_backfill_'") == []
    assert not known().mirrored
    assert run() == "completed"


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (("    where = 1", "    where = 2"), True),
        (("return 1", "return 2"), True),
        (("class B(Base)", "class B(Other)"), True),
        (('"""Fill it."""', '"""Fill it in."""'), False),
        (('"""Do it."""', '"""Do it all."""'), False),
        (("# said", "# heard"), False),
        (("throttles = ()", "throttles = (1,)"), False),
        (("RATE = 3", "RATE = 4"), True),
        (("BELOW: int = 5", "BELOW: int = 6"), True),
        (("return deeper(n)", "return deeper(n) + 1"), True),
        (("return n", "return -n"), True),
        (('"""Twice."""', '"""Two times."""'), False),
        (("OTHER = 1", "OTHER = 2"), False),
        (("import ROWS", "import NAME as ROWS"), True),
        (("import test_control", "import test_tasks as test_control"), True),
    ],
)
def test_what_counts_as_a_change(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], counts: bool
) -> None:
    import importlib

    text = (
        "from django_confiture.backfills import Backfill\n"
        "from tests.backfills import test_control\n"
        "from tests.backfills.declared.test_class_changes import ROWS\n"
        "RATE = 3\nOTHER = 1\n"
        "class Base(Backfill):\n    fields = ()\n"
        "class Other(Backfill):\n    fields = (1,)\n"
        'class B(Base):\n    """Fill it."""\n    where = 1  # said\n    throttles = ()\n'
        '    def process(self, rows):\n        """Do it."""\n        return 1\n'
        "    def more(self):\n        return half(RATE) + BELOW + ROWS, test_control.__name__\n"
        'def half(n):\n    """Twice."""\n    return deeper(n)\n'
        "def deeper(n):\n    return n\nBELOW: int = 5\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for number, each in enumerate((text, text.replace(*change))):
        name = f"text_{tmp_path.name}_{number}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(each)
        importlib.invalidate_caches()
        found.append(importlib.import_module(name).B.class_hash)
    assert all(found)
    assert (found[0] != found[1]) is counts


def test_a_class_without_a_text_is_not_compared(half_done: None) -> None:
    from django_confiture.backfills import Backfill
    from django_confiture.backfills.declared.class_changes import has_changed

    namespace: dict[str, Any] = {"Backfill": Backfill, "__name__": "made"}
    exec("class Made(Backfill): pass", namespace)
    assert namespace["Made"].class_hash == ""
    assert not has_changed(known(), namespace["Made"]())
