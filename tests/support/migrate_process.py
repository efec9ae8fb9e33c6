"""``manage.py migrate cases`` in its own process: ``python -m tests.support.migrate_process``.

Its argument is JSON: the database, the directory and package of the migrations, settings, a target.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def start(package: Path, *, settings: dict[str, Any], target: str = "", **more: Any) -> Any:
    """Start ``migrate`` against the test database with the migrations in ``package``."""
    from tests.support.dry_run import parameters

    wanted = {
        "address": {name: str(value) for name, value in parameters().items()},
        "directory": str(package.parent),
        "package": package.name,
        "settings": settings,
        "target": target,
        **more,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.migrate_process", json.dumps(wanted)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def main() -> None:
    wanted = json.loads(sys.argv[1])
    sys.path[:0] = [str(ROOT), str(ROOT / "testproject"), wanted["directory"]]
    address = wanted["address"]
    import django
    from django.conf import settings
    from django.core.management import call_command

    settings.configure(
        SECRET_KEY="tests",
        USE_TZ=True,
        INSTALLED_APPS=[
            *("django.contrib.contenttypes", "django.contrib.auth", "django.contrib.postgres"),
            *("django_confiture", "tests.cases", *wanted.get("apps", [])),
        ],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": address["dbname"],
                "HOST": address.get("host", ""),
                "PORT": address.get("port", ""),
                "USER": address.get("user", ""),
                "PASSWORD": address.get("password", ""),
                "OPTIONS": wanted.get("options", {}),
            }
        },
        MIGRATION_MODULES={"cases": wanted["package"]},
        CONFITURE=wanted["settings"],
    )
    django.setup()
    call_command("migrate", "cases", *filter(None, [wanted["target"]]), verbosity=1)


if __name__ == "__main__":
    main()
