"""The environments of the projects, and the steps that run in them."""

from __future__ import annotations

import json
import os
import shutil
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
        subprocess.run([_interpreter(project), "-m", "venv", "--clear", home], check=True)
        pip = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--upgrade", "pip>=25.1"], check=True)
        packages = [*project.requirements, f"django=={project.django}.*", "psycopg[binary]==3.3.*"]
        subprocess.run([*pip, *packages, "--editable", ROOT], check=True)
        done.touch()
    return python


def _interpreter(project: Project) -> str:
    """Return a Python that the project takes: this one, or one of the same machine."""
    if not project.python or f"{sys.version_info[0]}.{sys.version_info[1]}" >= project.python:
        return sys.executable
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    known = (
        shutil.which(f"python{project.python}"),
        *versions.glob(f"{project.python}.*/bin/python"),
    )
    found = next((str(each) for each in known if each), None)
    return found or sys.exit(
        f"{project.name} needs Python {project.python} or newer, not found here"
    )


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
