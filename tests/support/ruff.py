"""What ruff says of the order of imports in a source."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def unsorted_imports(source: str) -> str:
    """Return what ruff has to say; ``""`` where it agrees."""
    ruff = Path(sys.executable).with_name("ruff")
    if not ruff.exists():
        pytest.skip("without the linters")
    settings = "lint.isort.known-first-party=['tests']"
    checked = subprocess.run(
        [ruff, "check", "--isolated", "--select", "I", "--config", settings, "-"],
        input=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return checked.stdout + checked.stderr if checked.returncode else ""
