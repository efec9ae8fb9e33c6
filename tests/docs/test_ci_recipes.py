"""The CI recipes: their shape by the vendors' own schemas, and their shell steps, run."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema
import psycopg
import pytest
import yaml
from psycopg import sql

from tests.support.dry_run import parameters
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "ci.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
WORKFLOW, GITLAB, PRE_COMMIT = (yaml.safe_load(text) for kind, text in BLOCKS if kind == "yaml")
(SHELL,) = (text for kind, text in BLOCKS if kind == "sh")
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
INCLUDE = yaml.safe_load((ROOT / "ci" / "gitlab.yml").read_text())
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
MARKER = "<!-- django-confiture migrate_dryrun -->"


def check(document: Any, name: str) -> None:
    """Raise what a vendor's schema has against a document."""
    folder = resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((folder / f"{name}.json").read_text())
    jsonschema.validators.validator_for(schema)(schema).validate(document)


def test_the_vendors_take_them() -> None:
    check(ACTION, "github-actions")
    workflow = {"on" if key is True else key: value for key, value in WORKFLOW.items()}
    check(workflow, "github-workflows")
    check(INCLUDE, "gitlab-ci")
    check({key: value for key, value in GITLAB.items() if key != "include"}, "gitlab-ci")


def test_the_action_and_its_page_name_the_same() -> None:
    listed = re.findall(r"^\| `([\w-]+)` \|", PAGE, re.MULTILINE)
    (uses,) = (step for step in WORKFLOW["jobs"]["dry-run"]["steps"] if "confiture" in str(step))

    assert listed == list(ACTION["inputs"])
    assert all(f"`{name}`" in PAGE for name in ACTION["outputs"])
    assert set(uses["with"]) <= set(ACTION["inputs"])


def test_no_step_puts_foreign_text_into_its_script() -> None:
    """``${{ … }}`` inside ``run`` would be run: a branch's name can be anything."""
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step["run"]


def test_the_hook_of_pre_commit() -> None:
    (hook,) = HOOKS
    (used,) = PRE_COMMIT["repos"][0]["hooks"]

    assert used["id"] == hook["id"]
    assert {"id", "name", "entry", "language", "files"} <= hook.keys()
    assert re.search(hook["files"], "shop/migrations/0002_note.py")
    assert not re.search(hook["files"], "shop/models.py")


def test_the_job_of_the_page_extends_that_of_the_file() -> None:
    assert GITLAB["migrate-dryrun"]["extends"] in INCLUDE


# A project, and its own database.


class Project:
    """A repository with the shop: its first migrations on main, the others on a branch."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory / "project"
        self.runner = directory / "runner"
        self.runner.mkdir()
        tools = directory / "bin"
        tools.mkdir()
        python = tools / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
        kept = {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}
        self.tools = tools
        self.environment = {
            **kept,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": url,
            "GIT_CONFIG_GLOBAL": str(directory / "gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "RUNNER_TEMP": str(self.runner),
            "GITHUB_OUTPUT": str(self.runner / "output"),
            "GITHUB_STEP_SUMMARY": str(self.runner / "summary"),
            "GITHUB_REPOSITORY": "me/shop",
        }
        (directory / "gitconfig").write_text("[user]\n name = x\n email = x@example.com\n")
        self._make()

    def _make(self) -> None:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "testproject", self.directory, ignore=ignored)
        migrations = self.directory / "shop" / "migrations"
        later = sorted(migrations.glob("00*.py"))[2:]
        kept = {path: path.read_text() for path in later}
        for path in later:
            path.unlink()
        self.run("git init -q -b main && git add . && git commit -q -m base")
        self.run("git switch -q -c topic")
        for path, text in kept.items():
            path.write_text(text)
        self.run("git add . && git commit -q -m topic")
        self.base = self.run("git rev-parse main").stdout.strip()

    def run(
        self,
        script: str,
        environment: Mapping[str, str] | None = None,
        *,
        code: int = 0,
        shell: str = "bash -e",
    ) -> subprocess.CompletedProcess[str]:
        ran = subprocess.run(
            [*shell.split(), "-c", script],
            cwd=self.directory,
            env={**self.environment, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran

    def tool(self, name: str, script: str) -> Path:
        """Put a program on the PATH that notes its arguments, and return that file."""
        calls = self.runner / f"{name}.calls"
        path = self.tools / name
        path.write_text(f'#!/bin/bash\nprintf "%s\\n" "$*" >>"{calls}"\n{script}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return calls


@pytest.fixture
def project(both_databases: None, tmp_path: Path, worker_id: str) -> Iterator[Project]:
    server = parameters()
    name = f"confiture_ci_{worker_id}"
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with psycopg.connect(**{**server, "dbname": "postgres"}, autocommit=True) as connection:
        connection.execute(drop)
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        options = "&".join(
            f"{key}={quote(str(server[key]), safe='')}"
            for key in ("host", "port", "user", "password")
            if server.get(key)
        )
        try:
            yield Project(tmp_path, f"postgresql:///{name}?{options}")
        finally:
            connection.execute(drop)


FILL = """
git switch -q main
python manage.py migrate --verbosity 0
python manage.py load_shop --orders 2000
git switch -q topic
"""


def outputs(project: Project) -> dict[str, str]:
    lines = (project.runner / "output").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def step(name: str) -> str:
    (found,) = (each["run"] for each in ACTION["runs"]["steps"] if each["name"] == name)
    assert isinstance(found, str)
    return found


# The shell, as it stands on the page.


def test_the_plain_recipe(project: Project) -> None:
    script = SHELL.replace("load_shop", "load_shop --orders 2000")

    ran = project.run(script, {"BASE": "main"}, shell="sh -e", code=3)

    assert "Dry run of 8 migrations since " in ran.stdout
    assert ", over the budget" in " ".join(ran.stdout.split())
    document = json.loads((project.directory / "migrate-dryrun.json").read_text())
    assert document["since"] == project.base
    assert len(document["migrations"]) == 8
    assert (project.directory / "migrate-dryrun.md").read_text().startswith(MARKER)
    assert project.run("git worktree list").stdout.count("\n") == 1


def test_the_steps_of_the_workflow_make_the_base(project: Project) -> None:
    (fill,) = (
        each["run"]
        for each in WORKFLOW["jobs"]["dry-run"]["steps"]
        if str(each.get("name", "")).startswith("The database")
    )

    project.run(fill.replace("load_shop #", "load_shop --orders 2000 #"), {"BASE": project.base})

    ran = project.run("python manage.py showmigrations shop --plan")
    assert ran.stdout.count("[X]") >= 2
    assert "[ ]  shop.0003_customer_lifetime_value" in ran.stdout


# The action.


def dry_run_of_action(project: Project, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {"MANAGE": "manage.py", "PYTHON": "python", "SINCE": project.base, "ARGUMENTS": ""}
    return project.run(step("Dry-run"), {**given, **environment})


def test_the_actions_dry_run(project: Project) -> None:
    project.run(FILL)

    ran = dry_run_of_action(project, ARGUMENTS="--fail-on danger --max-blocking 10min")

    assert ran.stdout.startswith("::notice title=migrate_dryrun::Dry run of 8 migrations since ")
    assert ",file=shop/migrations/0008_order_public_id.py,line=11,endLine=19::" in ran.stdout
    found = outputs(project)
    assert found["exit-code"] == "3"
    assert json.loads(Path(found["json"]).read_text())["outcome"] == "exceeded"
    summary = (project.runner / "summary").read_text()
    assert summary == Path(found["markdown"]).read_text()
    project.run(step("Verdict"), {"CODE": found["exit-code"]}, code=3)


def test_the_action_where_nothing_can_be_run(project: Project) -> None:
    dry_run_of_action(project, SINCE="nope")

    assert outputs(project)["exit-code"] == "2"
    assert not (project.runner / "summary").exists()
    project.run(step("Comment"), {"MARKDOWN": outputs(project)["markdown"], "NUMBER": "7"})


def comment(project: Project) -> subprocess.CompletedProcess[str]:
    markdown = project.runner / "report.md"
    markdown.write_text(f"{MARKER}\n## Dry run\n")
    return project.run(step("Comment"), {"MARKDOWN": str(markdown), "NUMBER": "7"})


def test_the_action_writes_one_comment(project: Project) -> None:
    calls = project.tool("gh", "")

    comment(project)

    listed, written = calls.read_text().splitlines()
    assert listed.startswith("api --paginate repos/me/shop/issues/7/comments --jq .[] | select(")
    assert written == (
        f"api --method POST repos/me/shop/issues/7/comments -F body=@{project.runner}/report.md "
        "--silent"
    )


def test_the_action_changes_its_comment(project: Project) -> None:
    calls = project.tool("gh", 'case "$*" in *paginate*) echo 41; echo 42;; esac')

    comment(project)

    assert (
        calls.read_text()
        .splitlines()[1]
        .startswith("api --method PATCH repos/me/shop/issues/comments/42 -F body=@")
    )


def test_a_token_that_may_not_comment_is_no_failure(project: Project) -> None:
    project.tool("gh", "exit 1")
    assert comment(project).stdout.startswith("::notice::The comment could not be written")

    project.tool("gh", 'case "$*" in *paginate*) exit 0;; esac; exit 1')
    assert comment(project).stdout.startswith("::notice::The comment could not be written")


# GitLab's job.


def job(project: Project, code: int, **environment: str) -> subprocess.CompletedProcess[str]:
    (template,) = INCLUDE.values()
    given = {
        **template["variables"],
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": project.base,
        "CI_API_V4_URL": "http://gitlab.invalid/api",
        "CI_PROJECT_ID": "1",
        "CI_MERGE_REQUEST_IID": "7",
        **environment,
    }
    return project.run("\n".join(template["script"]), given, code=code)


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ("[]", "--request POST http://gitlab.invalid/api/projects/1/merge_requests/7/notes "),
        (
            json.dumps([{"id": 5, "body": "hello"}, {"id": 6, "body": f"{MARKER} old"}]),
            "--request PUT http://gitlab.invalid/api/projects/1/merge_requests/7/notes/6 ",
        ),
    ],
)
def test_the_job_of_gitlab(project: Project, notes: str, expected: str) -> None:
    project.run(FILL)
    (project.runner / "notes").write_text(notes)
    reply = f'case "$*" in *--request*) ;; *) cat "{project.runner}/notes";; esac'
    calls = project.tool("curl", reply)

    job(project, 3, CONFITURE_ARGUMENTS="--fail-on danger", CONFITURE_TOKEN="secret")

    found = json.loads((project.directory / "gl-code-quality-report.json").read_text())
    # The order of the deploy is about no file: it is shown at manage.py.
    assert {each["location"]["path"].split("/")[0] for each in found} == {"shop", "manage.py"}
    assert expected in calls.read_text().splitlines()[-1]
    assert "--data-urlencode body@migrate-dryrun.md" in calls.read_text()


def test_the_job_of_gitlab_without_a_token(project: Project) -> None:
    project.run(FILL)
    calls = project.tool("curl", "exit 1")

    job(project, 0)

    assert not calls.exists()


def test_a_comment_that_gitlab_refuses_is_no_failure(project: Project) -> None:
    project.run(FILL)
    project.tool("curl", "exit 22")

    assert "The comment could not be written." in job(project, 0, CONFITURE_TOKEN="x").stdout


# pre-commit's hook.


def test_the_hook_runs(project: Project) -> None:
    project.run(FILL)
    (hook,) = HOOKS
    command = " ".join([hook["entry"], *hook["args"]]).replace("origin/main", "main")

    assert "Dry run of 8 migrations" in project.run(command).stdout
