"""A virtual environment per package, and a small project that runs in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.support.dry_run import fingerprint

ROOT = Path(__file__).parents[2]
PROJECT = Path(__file__).parent / "project"

MIGRATING = {
    "django-linear-migrations": "2.19.0",
    "django-safemigrate": "6.0",
    "django-syzygy": "1.2.3",
    "django-pgmigrate": "1.6.0",
    "django-pg-migration-tools": "0.1.26",
    "django-pg-zero-downtime-migrations": "0.20",
    "django-test-migrations": "1.7.0",
}
"""Packages that touch migrations."""

WRAPPING = {
    "ddtrace": "4.16.0",
    "elastic-apm": "6.26.2",
    "newrelic": "14.1.0",
    "django-db-connection-pool": "1.2.6",
}
"""Packages that put a proxy around psycopg's connection."""

OTHERS = {
    "django-pgtrigger": "4.17.0",
    "django-tenants": "4.0.1",
}
"""Packages that change what a migration does, or where."""

VERSIONS = {**MIGRATING, **WRAPPING, **OTHERS}
PHASES = ("BEFORE_VALIDATION", "BEFORE_DDL", "AFTER_DDL", "AFTER_VALIDATION", "CLEANUP")

Note = tuple[str, str]
"""A migration's label, and the phase or "RunHook"."""


def python_with(packages: Sequence[str]) -> Path:
    """Return the Python of an environment with ``packages`` and this repository, and keep it.

    CONFITURE_COMPAT_DIR says where. Django is the newest that this Python can use.
    """
    wanted = [f"{package}=={VERSIONS[package]}" for package in packages]
    home = Path(
        os.environ.get("CONFITURE_COMPAT_DIR") or Path(tempfile.gettempdir(), "confiture-compat"),
        f"py{sys.version_info[0]}.{sys.version_info[1]}",
        packages[0] if len(packages) == 1 else "together",
    )
    python = home / "bin" / "python"
    ready = home / "ready"
    made_of = f"{ROOT}: {' '.join(wanted)}"  # another checkout's may be gone
    if not ready.exists() or ready.read_text() != made_of:
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
        pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python]
        options: list[str | Path] = [
            "--disable-pip-version-check",
            "--quiet",
            "--no-compile",
            "--editable",
            ROOT,
        ]
        more = ["psycopg[binary]", "pytest", "pytest-django"]
        subprocess.run([*pip, "install", *options, *wanted, *more], check=True)
        ready.write_text(made_of)
    return python


@dataclass
class Project:
    """A copy of the small project, with its own database."""

    python: Path
    packages: Sequence[str]
    order: str
    home: Path
    database: dict[str, Any]
    observer: psycopg.Connection[Any]

    def django(self, *arguments: str, code: int = 0) -> str:
        """Run a management command, expect its exit code, and return what it prints."""
        return self.run("-m", "django", *arguments, code=code)

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run Python in the project."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, out + err
        return out

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Python in the project."""
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV", "DJANGO"))
        }
        environment = {
            **kept,
            "COMPAT_DATABASE": json.dumps(self.database),
            "COMPAT_LOG": str(self.log),
            "COMPAT_ORDER": self.order,
            "COMPAT_PACKAGES": ",".join(self.packages),
            "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
            "DD_TRACE_ENABLED": "true",
            "DD_TRACE_AGENT_URL": "http://127.0.0.1:9",  # where nothing listens
            "ELASTIC_APM_DISABLE_SEND": "true",
            "NEW_RELIC_DEVELOPER_MODE": "true",  # which sends nothing
            "DJANGO_SETTINGS_MODULE": "compat_settings",
            "PYTHONPATH": str(self.home),
        }
        return subprocess.Popen(
            [self.python, *arguments],
            cwd=self.home,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def log(self) -> Path:
        return self.home / "notes.jsonl"

    def notes(self, *, direction: str = "forward", dry_run: bool = False) -> list[Note]:
        """Return the runs of hooks since the last call, all of which were such."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        found = [json.loads(line) for line in lines]
        assert all(note[2:] == [direction, dry_run] for note in found), found
        return [(note[0], note[1]) for note in found]

    def applied(self) -> list[str]:
        """Return the labels of the applied migrations, in the order in which they were."""
        rows = self.observer.execute("SELECT app || '.' || name FROM django_migrations ORDER BY id")
        return [label for (label,) in rows]

    def rehearse(self, *arguments: str) -> list[str]:
        """Dry-run, check that it passes, runs the hooks and leaves nothing; return the labels."""
        before = fingerprint(self.observer)
        report = json.loads(self.django("migrate_dryrun", "--format", "json", *arguments))
        assert fingerprint(self.observer) == before
        assert report["outcome"] == "passed"
        labels = [f"{each['app_label']}.{each['name']}" for each in report["migrations"]]
        assert self.notes(dry_run=True) == around(labels)
        return labels


def around(labels: Sequence[str]) -> list[Note]:
    """Return the runs of hooks that successful migrations, in this order, come with."""
    return [
        (label, phase)
        for label in labels
        for phase in (
            *PHASES[:2],
            *(("RunHook",) if label == "stock.0001_initial" else ()),
            *PHASES[2:],
        )
    ]
