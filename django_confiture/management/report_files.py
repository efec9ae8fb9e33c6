"""Writes the reports of ``migrate_dryrun`` to standard output and to files."""

from __future__ import annotations

import shutil
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from django.core.management.base import CommandError

from django_confiture.dry_run.results import Report
from django_confiture.management.exit_codes import USAGE
from django_confiture.reports import FORMATS, render
from django_confiture.reports.phrases.headline import headline
from django_confiture.reports.phrases.problems import own


class ReportFile(NamedTuple):
    """A report to write into a file."""

    format: str
    path: Path
    flag: str


def add_arguments(parser: ArgumentParser) -> None:
    """Add ``--format``, ``--output`` and ``--report``."""
    parser.add_argument(
        "--format", default="text", choices=tuple(FORMATS), help="The report's format."
    )
    parser.add_argument("--output", type=Path, help="Write the report to this file.")
    parser.add_argument(
        "--report",
        action="append",
        type=_report,
        default=[],
        metavar="FORMAT=FILE",
        help="Write one more report to a file, such as html=page.html; may be given again.",
    )


def _report(value: str) -> ReportFile:
    name, equals, path = value.partition("=")
    if not equals or not path:
        raise ArgumentTypeError(f"{value!r} is not FORMAT=FILE, such as json=report.json")
    if name not in FORMATS:
        raise ArgumentTypeError(f"{name!r} is not a format; choose from {', '.join(FORMATS)}")
    return ReportFile(name, Path(path), f"--report {name}={path}")


def files_of(options: Mapping[str, Any]) -> Iterator[ReportFile]:
    """Yield the files to write."""
    if options["output"] is not None:
        output = Path(options["output"])  # call_command doesn't parse keyword arguments
        yield ReportFile(options["format"], output, f"--output {output}")
    for given in options["report"]:
        yield given if isinstance(given, ReportFile) else _report(given)  # from call_command


def misplaced(files: Iterator[ReportFile]) -> str | None:
    """Return why a file can't be written; checked before the dry run."""
    for file in files:
        try:
            if file.path.is_dir():
                return f"{file.flag}: that is a directory."
            if not file.path.resolve().parent.is_dir():
                return f"{file.flag}: there is no directory {file.path.parent}."
        except OSError as error:
            return f"{file.flag}: {error.strerror}."
    return None


def write(report: Report, options: Mapping[str, Any]) -> Iterator[Path]:
    """Write the files, and yield the path of each."""
    for file in files_of(options):
        rendered = render(report, file.format, verbosity=options["verbosity"])
        try:
            file.path.write_text(rendered, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            message = f"Cannot write {file.path}: {error.strerror}"
            raise CommandError(message, returncode=USAGE) from error
        yield file.path


def printed(report: Report, options: Mapping[str, Any], stdout: Any, *, color: bool) -> str:
    """Return the text for standard output, in characters that its encoding has."""
    nothing = not report.migrations and not own(report) and report.error is None
    if nothing and options["format"] == "text":
        return f"{headline(report)}.\n"
    rendered = render(
        report,
        options["format"],
        color=color,
        width=min(shutil.get_terminal_size().columns, 100) if stdout.isatty() else 80,
        verbosity=options["verbosity"],
    )
    encoding = getattr(stdout, "encoding", None) or "utf-8"
    return rendered.encode(encoding, "backslashreplace").decode(encoding)
