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
    server = Server(["fsync=off", "synchronous_commit=off", "max_locks_per_transaction=1024"])
    try:
        found = {name: fixes_of(server, PROJECTS[name], args.rows) for name in args.projects}
    finally:
        server.close()
    if args.keep:
        args.keep.mkdir(exist_ok=True)
        for name, fixes in found.items():
            (args.keep / f"{name}.json").write_text(json.dumps(fixes, indent=1))
    print("\n".join(table(found)))
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


def table(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the table, and the operations that are refused in two releases, too."""
    lines = [
        (
            "| project | migrations | with something to fix | operations fixed "
            "| with `--releases 2` | refused | proofs | that failed |"
        ),
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, fixes in found.items():
        operations = [each for fix in fixes for each in fix["operations"]]
        one, two = (Counter(each["outcomes"][n] for each in operations) for n in (0, 1))
        busy = sum(any({*e["outcomes"]} - {"kept"} for e in fix["operations"]) for fix in fixes)
        proofs = [held for fix in fixes for held in fix["proofs"]]
        cells = (len(fixes), busy, one["fixed"], two["fixed"], two["refused"], len(proofs))
        lines.append(f"| {name} | {' | '.join(map(str, cells))} | {proofs.count(False)} |")
    for name, fixes in found.items():
        lines += ["", f"Refused in {name}:", ""]
        for fix in fixes:
            for each in fix["operations"]:
                if each["outcomes"][1] == "refused":
                    what = f"`{fix['migration']}`, {each['description']}"
                    lines.append(f"- {what}: {each['reasons'][1]}")
    return lines


if __name__ == "__main__":
    main()
