"""How long a browser takes to open the HTML report of a vast plan: load event and first paint.

Needs a Chromium and ``pip install playwright``; ``CONFITURE_CHROMIUM`` says where the browser is.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

ROOT = Path(__file__).parent.parent
ROUNDS = 5
TIMES = """() => ({
  load: performance.getEntriesByType("navigation")[0].loadEventEnd,
  paint: performance.getEntriesByName("first-contentful-paint")[0].startTime,
})"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--migrations", type=int, default=1_000, metavar="N")
    parser.add_argument("--statements", type=int, default=10, metavar="N", help="of each migration")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from django_confiture.reports import render
    from tests.support.report_cases import vast

    report = vast(options.migrations, options.statements)
    started = perf_counter()
    html = render(report, "html")
    rendered = perf_counter() - started
    with TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        path.write_text(html, encoding="utf-8")
        loads, paints = opened(path)
    print(
        f"{options.migrations:,} migrations, {options.migrations * options.statements:,} "
        f"statements: {len(html.encode()) / 1e6:.1f} MB, rendered in {rendered:.1f} s"
    )
    for name, times in (("first paint", paints), ("load event", loads)):
        print(f"{name}: median {median(times):.0f} ms, worst {max(times):.0f} ms of {ROUNDS}")


def opened(path: Path) -> tuple[list[float], list[float]]:
    """Return the milliseconds to the load event and to the first paint of each fresh page."""
    from playwright.sync_api import sync_playwright

    chromium = (
        os.environ.get("CONFITURE_CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    )
    loads, paints = [], []
    with sync_playwright() as playwright:
        for _ in range(ROUNDS):
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox"] if os.geteuid() == 0 else []
            )
            page = browser.new_page()
            page.goto(path.as_uri())
            page.wait_for_function(
                "performance.getEntriesByName('first-contentful-paint').length > 0"
            )
            times = page.evaluate(TIMES)
            loads.append(times["load"])
            paints.append(times["paint"])
            browser.close()
    return loads, paints


if __name__ == "__main__":
    main()
