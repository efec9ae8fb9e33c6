"""``--since``: the branch's migrations are reported and gated, the others only run first."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cases.migrations_on_disk import Cases
from tests.management.test_migrate_dryrun import dry_run, in_json
from tests.support.dry_run import runs

Git = Callable[..., str]


@pytest.fixture
def git(cases: Cases, monkeypatch: pytest.MonkeyPatch) -> Git:
    """Make a repository of the migrations' directory, with "main" as its branch."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    who = ("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false")

    def run(*arguments: str) -> str:
        command = ["git", *who, *arguments]
        ran = subprocess.run(
            command, cwd=cases.package.parent, capture_output=True, text=True, check=True
        )
        return ran.stdout

    monkeypatch.chdir(cases.package.parent)
    run("init", "-q", "-b", "main")
    (cases.package.parent / ".gitignore").write_text("__pycache__\n")
    return run


@pytest.fixture
def branch(cases: Cases, git: Git) -> Cases:
    """Two pending migrations on main, two that a branch adds, one of them not yet committed."""
    cases.add("0001_old", runs("CREATE TABLE cases_a (id int, gone int)"))
    cases.add("0002_old", runs("CREATE TABLE cases_b (id int, gone int)"))
    git("add", ".")
    git("commit", "-q", "-m", "old")
    git("switch", "-q", "-c", "topic")
    cases.add("0003_new", runs("CREATE TABLE cases_c (id int)"))
    git("add", ".")
    git("commit", "-q", "-m", "new")
    cases.add("0004_untracked", runs("CREATE TABLE cases_d (id int)"))
    return cases


def plan(document: dict[str, Any]) -> dict[str, bool]:
    """Return migration → whether it only ran first."""
    return {each["name"]: each["rehearsed_first"] for each in document["migrations"]}


def test_what_the_branch_adds_is_told_from_what_was_pending(branch: Cases) -> None:
    document = in_json("--since", "main")

    assert plan(document) == {
        "0001_old": True,
        "0002_old": True,
        "0003_new": False,
        "0004_untracked": False,
    }
    assert document["since"] == "main"


def test_what_came_to_main_since_is_not_the_branchs(branch: Cases, git: Git) -> None:
    """REV...HEAD: the commit at which the branch began counts, not the newest of main."""
    git("switch", "-q", "main")
    (branch.package / "other.py").write_text("")
    git("add", str(branch.package / "other.py"))
    git("commit", "-q", "-m", "meanwhile")
    git("switch", "-q", "topic")

    assert list(plan(in_json("--since", "main")).values()) == [True, True, False, False]


def test_a_migration_that_the_branch_changes_is_its_own(branch: Cases) -> None:
    path = branch.package / "0002_old.py"
    path.write_text(path.read_text() + "\n# changed\n")

    assert plan(in_json("--since", "main"))["0002_old"] is False


def test_a_migration_that_git_does_not_know_is_the_branchs(branch: Cases, git: Git) -> None:
    git("rm", "-q", "--cached", "-r", branch.package.name)
    git("commit", "-q", "-m", "elsewhere")

    assert not any(plan(in_json("--since", "HEAD")).values())


def test_what_comes_after_the_branchs_last_is_not_run(branch: Cases, git: Git) -> None:
    git("add", ".")
    git("commit", "-q", "-m", "all")
    path = branch.package / "0003_new.py"
    path.write_text(path.read_text() + "\n# changed\n")

    assert plan(in_json("--since", "HEAD")) == {
        "0001_old": True,
        "0002_old": True,
        "0003_new": False,
    }


def test_a_branch_without_migrations(branch: Cases, git: Git) -> None:
    git("add", ".")
    git("commit", "-q", "-m", "all")

    ran = dry_run("--since", "HEAD")

    assert (ran.code, ran.out) == (0, "No migration since HEAD: nothing to rehearse.\n")
    assert in_json("--since", "HEAD")["migrations"] == []


def test_the_reports_fold_what_ran_first(branch: Cases) -> None:
    text = " ".join(dry_run("--since", "main").out.split())
    markdown = dry_run("--since", "main", "--format", "markdown").out

    assert text.startswith("Dry run of 2 migrations since main: all would apply")
    first = "Ran first, since they are pending but not new: cases.0001_old, cases.0002_old."
    assert first in text
    assert "## Dry run of 2 migrations since main: all would apply" in markdown
    assert "not new: `cases.0001_old`, `cases.0002_old`." in markdown
    assert "- ✅ `cases.0001_old`" not in markdown


def test_only_the_branchs_migrations_are_gated(cases: Cases, git: Git) -> None:
    cases.add("0001_row", runs("CREATE TABLE cases_row (id int, gone int, too int)"))
    cases.migrate()
    cases.add("0002_old", runs("ALTER TABLE cases_row DROP gone"))
    git("add", ".")
    git("commit", "-q", "-m", "old")
    cases.add("0003_new", runs("ALTER TABLE cases_row ADD x int"))

    assert dry_run("--fail-on", "warning").code == 3
    assert dry_run("--fail-on", "warning", "--since", "HEAD").code == 0
    cases.add("0004_new", runs("ALTER TABLE cases_row DROP too"))
    document = in_json("--fail-on", "warning", "--since", "HEAD", code=3)
    assert [each["migration"] for each in document["exceeded"]] == ["cases.0004_new"]


def test_an_old_migration_that_fails_is_reported(cases: Cases, git: Git) -> None:
    cases.add("0001_fails", runs("SELECT 1 / 0"))
    git("add", ".")
    git("commit", "-q", "-m", "old")
    cases.add("0002_new", runs("SELECT 1"))

    ran = dry_run("--since", "HEAD")

    assert ran.code == 1
    assert "cases.0001_fails would fail" in ran.out


def test_from_a_directory_below_the_root(branch: Cases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(branch.package)

    assert list(plan(in_json("--since", "main")).values()) == [True, True, False, False]


# Errors.


def error(*arguments: str) -> str:
    ran = dry_run(*arguments)
    assert (ran.code, ran.out) == (2, ""), ran
    return ran.err.removeprefix("CommandError: ")


@pytest.mark.parametrize("revision", ["nope", "--all", "main^{tree}", "HEAD~99"])
def test_a_revision_that_git_does_not_know(branch: Cases, revision: str) -> None:
    assert error(f"--since={revision}") == (
        f"--since {revision}: git knows no such commit; fetch it first, as with `git fetch origin "
        "main` or, on GitHub, `fetch-depth: 0` of actions/checkout."
    )


def test_a_revision_that_has_nothing_in_common(branch: Cases, git: Git) -> None:
    git("stash", "-q", "--include-untracked")
    git("switch", "-q", "--orphan", "other")
    git("commit", "-q", "--allow-empty", "-m", "other")
    git("switch", "-q", "topic")

    assert "--since other: it has no commit in common with HEAD" in error("--since", "other")


def test_outside_any_repository(cases: Cases) -> None:
    cases.add("0001_old", runs("SELECT 1"))
    before = Path.cwd()
    os.chdir("/")
    try:
        found = error("--since", "main")
    finally:
        os.chdir(before)

    assert found.startswith("--since main: fatal: not a git repository")


def test_without_git(branch: Cases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("git") is None

    assert error("--since", "main") == "--since main needs git, which is not on the PATH."


def test_backwards(branch: Cases) -> None:
    branch.migrate()

    assert error("cases", "0001", "--since", "main") == (
        "--since is for plans that apply migrations; this one undoes some."
    )
