"""Where the project, its documents and its test packages are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The root of the repository."""

DOCS = ROOT / "docs"

PACKAGES = ROOT / "tests" / "packages"
"""Installable packages that tests build."""
