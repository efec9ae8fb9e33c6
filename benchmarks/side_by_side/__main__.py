"""What other tools find in the migrations that our tests are made of, in one table.

Makes an environment with all of them, ``.venv/side-by-side``, and runs ``inside.py`` there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VENV = ROOT / ".venv" / "side-by-side"
INSTALLED = (
    "django-migration-linter==6.0.*",
    "django-safe-migrations==0.7.*",
    "squawk-cli==2.70.*",
    "django-pg-zero-downtime-migrations==0.20",
    "django==5.2.*",
)
_BEGIN, _END = "<!-- side by side: begin -->", "<!-- side by side: end -->"


def main() -> None:
    """Run the comparison; print the tables, or write them into a page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--page", type=Path, help="write the tables into this Markdown file")
    parser.add_argument("--raw", type=Path, help="keep what each tool said of each case as JSON")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    args = parser.parse_args()
    install()
    with tempfile.TemporaryDirectory() as home:
        raw = args.raw or Path(home) / "raw.json"
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'testproject'}",
        }
        subprocess.run(
            [VENV / "bin" / "python", HERE / "inside.py", raw.absolute(), args.only],
            cwd=ROOT,
            env={**os.environ, **environment},
            check=True,
        )
        text = tables(json.loads(raw.read_text()))
    if args.page is None:
        sys.stdout.write(text)
        return
    page = args.page.read_text()
    before, rest = page.split(_BEGIN)
    args.page.write_text(f"{before}{_BEGIN}\n{text}{_END}{rest.split(_END)[1]}")


def install() -> None:
    """Make the environment unless it is there."""
    done = VENV / ".done"
    if done.exists():
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
    pip = [VENV / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--upgrade", "pip>=25.1"], check=True)
    subprocess.run([*pip, *INSTALLED, "--editable", ".", "--group", "test"], check=True, cwd=ROOT)
    done.touch()


def tables(raw: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    today = datetime.now(tz=UTC).date()
    cases = raw["cases"]
    hazards = [each for each in cases if each["kind"] == "hazard"]
    harmful = [each for each in hazards if each["harmful"]]
    harmless = [each for each in hazards if not each["harmful"]]
    breaking = [each for each in cases if each["kind"] == "release" and each["harmful"]]
    living = [each for each in cases if each["kind"] == "release" and not each["harmful"]]
    head = (
        "tool",
        f"harmful found, of {len(harmful)}",
        f"false alarms, of {len(harmless)} harmless",
        f"breaks of running code found, of {len(breaking)}",
        f"false alarms, of {len(living)} without a break",
        "time",
    )
    lines = [
        f"`make side-by-side`, {today}, PostgreSQL {raw['server']}, Django {raw['django']}:",
        "",
        f"| {' | '.join(head)} |",
        f"| --- |{' ---: |' * 5}",
    ]
    for tool, version in raw["tools"].items():
        counts = [
            sum(bool(each["found"].get(tool)) for each in group)
            for group in (harmful, harmless, breaking, living)
        ]
        seconds = sum(each["seconds"].get(tool, 0) for each in cases)
        shown = [f"{tool} {version}", *counts, f"{seconds:.1f} s"]
        lines.append(f"| {' | '.join(map(str, shown))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
