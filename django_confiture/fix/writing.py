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
    if (ruff := shutil.which("ruff")) is not None:
        subprocess.run([ruff, "format", "--quiet", *map(str, paths)], check=False)  # noqa: S603
    else:
        run_formatters([str(path) for path in paths])
