"""The environments of the projects, and the steps that run in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from projects import Project
from server import ROOT, Server

HERE = Path(__file__).resolve().parent


def install(project: Project) -> Path:
    """Make a project's environment unless it is there; return its Python."""
    home = ROOT / ".venv" / f"proof-{project.name}-django{project.django}"
    python = home / "bin" / "python"
    done = home / ".done"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        pip = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--upgrade", "pip>=25.1"], check=True)
        packages = [*project.requirements, f"django=={project.django}.*", "psycopg[binary]==3.3.*"]
        subprocess.run([*pip, *packages, "--editable", ROOT], check=True)
        done.touch()
    return python


def inside(
    server: Server, python: Path, project: Project, database: str, *arguments: str, home: Path
) -> dict[str, Any]:
    """Run a step in a process of the project's own; return what it found.

    Packages in ``home`` are taken before those that are installed.
    """
    address = server.address
    found = home / f"{arguments[0]}.json"
    url = f"postgresql:///{database}?" + "&".join(f"{k}={v}" for k, v in address.items())
    done = subprocess.run(
        [python, HERE / "inside.py", found, *arguments],
        cwd=home,
        env={
            **os.environ,
            **dict(project.environment),
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": project.settings,
            "PYTHONHASHSEED": "0",  # migrations that go through a set do so in one order
            "PYTHONPATH": os.pathsep.join(
                map(str, (home, HERE.parent, ROOT, ROOT / "testproject"))
            ),
        },
        capture_output=True,
        text=True,
        timeout=1800,
    )
    if done.returncode:
        said = done.stdout[-2000:] + done.stderr[-4000:]
        sys.exit(f"{project.name}: {arguments[0]} failed:\n{said}")
    result: dict[str, Any] = json.loads(found.read_text())
    return result
