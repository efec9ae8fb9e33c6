"""What ``confiture_fix`` makes of published projects: each pending migration of half a history.

Half of a project's migrations are applied to a database that is then filled with made-up rows. The
others are fixed one by one, in one release and in two, each against the database that the ones
before it left. The project's package is copied, so that its files count as the project's own.
Prints a table in Markdown, and each operation that is refused; exits with 1 where a proof fails.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from environments import inside, install  # noqa: E402
from projects import PROJECTS, Project  # noqa: E402
from server import Server  # noqa: E402


def main() -> None:
    """Fix what is asked for, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("projects", nargs="+", choices=PROJECTS, metavar="project")
    parser.add_argument("--rows", type=int, default=2000, help="in each table (2000)")
    parser.add_argument("--keep", type=Path, help="keep what was found as JSON in this directory")
    args = parser.parse_args()
    if args.keep:
        args.keep.mkdir(exist_ok=True)
    server = Server(["fsync=off", "synchronous_commit=off", "max_locks_per_transaction=1024"])
    found = {}
    print("\n".join(HEAD), flush=True)
    try:
        for name in args.projects:
            found[name] = fixes_of(server, PROJECTS[name], args.rows)
            print(line(name, found[name]), flush=True)
            if args.keep:
                (args.keep / f"{name}.json").write_text(json.dumps(found[name], indent=1))
    finally:
        server.close()
    for name, fixes in found.items():
        print("\n".join(["", f"Refused in {name}:", "", *refused(fixes)]))
    sys.exit(not all(all(each["proofs"]) for fixes in found.values() for each in fixes))


def fixes_of(server: Server, project: Project, rows: int) -> list[dict[str, Any]]:
    """Return what becomes of each pending migration of a project."""
    python = install(project)
    package = project.package or project.name
    server.sql(f"CREATE DATABASE {project.name} TEMPLATE template0")
    with tempfile.TemporaryDirectory(prefix="confiture-fixes-") as home:
        shutil.copytree(_package(python, package), Path(home) / package)
        for step in (("prepare", str(project.start), str(rows)), ("fixes", package)):
            print(f"{project.name}: {step[0]}", file=sys.stderr, flush=True)
            done = inside(server, python, project, project.name, *step, home=Path(home))
    fixes: list[dict[str, Any]] = done["fixes"]
    return fixes


def _package(python: Path, name: str) -> Path:
    """Return the directory of an installed package."""
    code = "import importlib.util, sys; print(importlib.util.find_spec(sys.argv[1]).origin)"
    said = subprocess.run([python, "-c", code, name], check=True, capture_output=True, text=True)
    return Path(said.stdout.strip()).parent


HEAD = (
    (
        "| project | migrations | with something to fix | operations fixed "
        "| with `--releases 2` | refused | proofs | that failed |"
    ),
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
)


def line(name: str, fixes: list[dict[str, Any]]) -> str:
    """Return a project's line of the table."""
    operations = [each for fix in fixes for each in fix["operations"]]
    one, two = (Counter(each["outcomes"][n] for each in operations) for n in (0, 1))
    busy = sum(any({*e["outcomes"]} - {"kept"} for e in fix["operations"]) for fix in fixes)
    proofs = [held for fix in fixes for held in fix["proofs"]]
    cells = (len(fixes), busy, one["fixed"], two["fixed"], two["refused"], len(proofs))
    return f"| {name} | {' | '.join(map(str, cells))} | {proofs.count(False)} |"


def refused(fixes: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the operations that are refused in two releases, too."""
    for fix in fixes:
        for each in fix["operations"]:
            if each["outcomes"][1] == "refused":
                what = f"`{fix['migration']}`, {each['description']}"
                yield f"- {what}: {each['reasons'][1]}"


if __name__ == "__main__":
    main()
