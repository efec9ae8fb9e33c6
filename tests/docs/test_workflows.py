"""The repository's own workflows: their shape by the vendor's schema, and the targets they run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.docs.test_ci_recipes import check
from tests.support.paths import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_vendor_takes_it(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    check(
        {"on" if key is True else key: each for key, each in document.items()}, "github-workflows"
    )


def test_each_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    ran = {each for path in WORKFLOWS for each in re.findall(r"make ([a-z]+)", path.read_text())}
    proof = re.search(r"target: \[(.*)\]", (ROOT / ".github/workflows/proof.yml").read_text())
    assert proof
    assert ran | set(proof[1].split(", ")) <= targets
    assert ran >= {"lint", "pytest", "older", "docs", "wheel"}


def test_only_the_publishing_job_gets_a_token_and_stores_none() -> None:
    text = "".join(path.read_text() for path in WORKFLOWS)
    assert text.count("id-token: write") == 1
    assert "secrets." not in text
    assert all("permissions:\n  contents: read" in path.read_text() for path in WORKFLOWS)


def test_the_matrix_has_each_supported_python_and_django() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    ci = (ROOT / ".github/workflows/ci.yml").read_text()
    for python in re.findall(r"Python :: (3\.\d+)", project):
        assert f'python: "{python}"' in ci
    for django in re.findall(r"Django :: (\d\.\d)", project):
        assert f'django: "{django}"' in ci
