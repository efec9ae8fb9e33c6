"""Whether dry runs tell the truth: published projects, from the middle of their history to its end.

Half of a project's migrations are applied to a database that is then filled with made-up rows. On
one copy the rest is run dry, on another it is migrated for good, and the two are compared: outcome,
schema, rows, the strongest lock on each table, what the old release's models can still do, and how
long each migration took. The dry run's database must be the same before and after.

Each project gets an environment under ``.venv/``. Exits with 1 where anything differs.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from comparison import Comparison, compare  # noqa: E402
from environments import inside, install  # noqa: E402
from page import write_page  # noqa: E402
from projects import PROJECTS, Project  # noqa: E402
from server import Server  # noqa: E402

SERVER = ("fsync=off", "synchronous_commit=off", "max_locks_per_transaction=1024")


def main() -> None:
    """Prove what is asked for, and write the page if it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("projects", nargs="*", default=list(PROJECTS), metavar="project",
                        help=", ".join(PROJECTS))  # fmt: skip
    parser.add_argument("--rows", type=int, default=2000, help="in each table (2000)")
    parser.add_argument("--django", help="the version of Django, such as 6.0")
    parser.add_argument("--start", type=float, help="the share that is applied before (0.5)")
    parser.add_argument("--keep", type=Path, help="keep what was found as JSON in this directory")
    parser.add_argument("--page", type=Path, help="write the results into this Markdown file")
    args = parser.parse_args()
    if unknown := {*args.projects} - PROJECTS.keys():
        parser.error(f"unknown project {', '.join(sorted(unknown))}; known: {', '.join(PROJECTS)}")
    server = Server(list(SERVER))
    try:
        asked = {"django": args.django, "start": args.start}
        changes = {name: value for name, value in asked.items() if value is not None}
        chosen = [replace(PROJECTS[name], **changes) for name in args.projects]
        found = []
        for each in chosen:
            found.append(proven(server, each, args.rows, args.keep))
            print(found[-1].text(), flush=True)
    finally:
        server.close()
    if args.page:
        write_page(args.page, found, rows=args.rows, machine=machine())
    sys.exit(any(each.unexplained for each in found))


def machine() -> str:
    """Return the date, and what the proof was run on."""
    today = datetime.now(tz=UTC).date()
    return f"{today}, Python {platform.python_version()}, {os.cpu_count()} cores"


def proven(server: Server, project: Project, rows: int, keep: Path | None) -> Comparison:
    """Run a project dry and for good."""
    from tests.support.dumps import dump

    print(f"{project.name}: installing", file=sys.stderr, flush=True)
    python = install(project)
    base, dry, real = (f"{project.name}_{each}" for each in ("base", "dry", "real"))
    server.sql(f"CREATE DATABASE {base} TEMPLATE template0")
    with tempfile.TemporaryDirectory(prefix="confiture-proof-") as home:

        def run(step: str, database: str, *arguments: str) -> dict[str, Any]:
            print(f"{project.name}: {step}", file=sys.stderr, flush=True)
            return inside(server, python, project, database, step, *arguments, home=Path(home))

        prepared = run("prepare", base, str(project.start), str(rows))
        for copy in (dry, real):
            server.sql(f"CREATE DATABASE {copy} TEMPLATE {base} STRATEGY file_copy")
        before = dump(server.address, dry)
        rehearsed = run("dry", dry)
        untouched = before.texts == dump(server.address, dry).texts
        migrated = run("real", real)
        if keep:
            shutil.copytree(home, keep / project.name, dirs_exist_ok=True)
    server.sql(*(f"DROP DATABASE {each} WITH (FORCE)" for each in (base, dry, real)))
    return compare(project, prepared, rehearsed, migrated, untouched=untouched)


if __name__ == "__main__":
    main()
