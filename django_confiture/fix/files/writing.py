"""Write the files of a fix, all of them or none."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from django.core.management.utils import run_formatters

from django_confiture.fix.outcomes import FixedFile


class WouldOverwrite(Exception):  # noqa: N818 - it says what it would do
    """Raised where a file of the fix is there already; the message names it."""


def write_files(directory: Path, files: Sequence[FixedFile]) -> list[Path]:
    """Write the files, the migration's own last; format them as the project is formatted."""
    paths = [directory / f"{each.name}.py" for each in files]
    for path in paths[:-1]:
        if path.exists():
            raise WouldOverwrite(f"{path} is there already; remove or rename it first.")
    drafts = [path.with_name(f".{path.name}.new") for path in paths]
    try:
        for draft, each in zip(drafts, files, strict=True):
            draft.write_text(each.source, encoding="utf-8")
        for draft, path in zip(drafts, paths, strict=True):
            draft.replace(path)
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)
    _format(paths)
    return paths


def _format(paths: Sequence[Path]) -> None:
    ruff = shutil.which("ruff")
    if ruff is None or (shutil.which("black") and _has_black(paths[0].resolve())):
        run_formatters([str(path) for path in paths])
    else:
        subprocess.run([ruff, "format", "--quiet", *map(str, paths)], check=False)  # noqa: S603


def _has_black(file: Path) -> bool:
    """Return whether the project of a file is formatted by black; ruff may check it then."""
    settings = [each / "pyproject.toml" for each in file.parents]
    nearest = next((each for each in settings if each.is_file()), None)
    return nearest is not None and "\n[tool.black]" in "\n" + nearest.read_text("utf-8")
