"""The page on the architecture names what exists, in the order that is enforced."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
PACKAGE = ROOT / "django_confiture"
ELSEWHERE = (
    "docs/",
    "tests/",
    "testproject/",
    "benchmarks/",
    "pyproject.toml",
    "django_confiture/",
)


def in_code() -> set[str]:
    """Return the paths in the text, the drawings left out."""
    text = re.sub(r"```mermaid.*?```", "", PAGE, flags=re.DOTALL)
    return {each for each in re.findall(r"`([\w./-]+)`", text) if re.search(r"/|\.py$", each)}


def in_drawing(number: int) -> set[str]:
    drawing = re.findall(r"```mermaid(.*?)```", PAGE, flags=re.DOTALL)[number]
    return set(re.findall(r"[\w/]+\.py|\b[a-z_]+(?:/[a-z_]+)*/(?![a-z])", drawing))


def exists(path: str, *roots: str) -> bool:
    if path.startswith(ELSEWHERE):
        return (ROOT / path).exists()
    return any((PACKAGE / root / path).exists() for root in roots)


@pytest.mark.parametrize("path", sorted(in_code()))
def test_each_path_exists(path: str) -> None:
    # Modules are named again where their room is clear.
    assert exists(path, "", "dry_run"), path


@pytest.mark.parametrize(("number", "room"), [(0, "dry_run"), (1, "")])
def test_each_path_of_a_drawing_exists(number: int, room: str) -> None:
    found = in_drawing(number)
    assert len(found) > 8
    missing = [
        each
        for each in found
        if not exists(each, room, "dry_run/interception", "dry_run/recording", "")
    ]
    assert missing == []


def floors(container: str) -> list[set[str]]:
    """Return the modules of each floor, as import-linter enforces them."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (layers,) = [
        contract["layers"]
        for contract in document["tool"]["importlinter"]["contracts"]
        if contract.get("containers") == [container]
    ]
    return [set(layer.split(" | ")) for layer in layers]


def table(heading: str) -> list[set[str]]:
    """Return the modules in the first column of a section's table."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    return [
        {each.removesuffix(".py").strip("/") for each in re.findall("`(.*?)`", r)} for r in rows
    ]


def test_the_floors_of_the_package_are_those_that_are_enforced() -> None:
    named = [floor for floor in table("The floors of the package") if floor != {"hooks"}]
    enforced = [
        {each.replace(".", "/") for each in floor}
        for floor in floors("django_confiture")
        if not any(each.startswith("hooks.") and each != "hooks.builtin" for each in floor)
    ]
    assert named == enforced


def test_the_rooms_of_the_dry_run_are_those_that_are_enforced() -> None:
    named = [
        {each.removeprefix("dry_run/") for each in r} for r in table("The rooms of the dry run")
    ]
    assert named == floors("django_confiture.dry_run")


@pytest.mark.parametrize(
    ("heading", "room"),
    [("The rooms of the real run", "migrate"), ("The rooms of the backfills", "backfills")],
)
def test_rooms_are_those_that_are_enforced(heading: str, room: str) -> None:
    assert [{each.removeprefix(f"{room}/") for each in r} for r in table(heading)] == floors(
        f"django_confiture.{room}"
    )
