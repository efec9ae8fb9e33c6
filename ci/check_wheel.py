"""Checks the installed package, run by ``make wheel`` far from the sources."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path
from pkgutil import walk_packages

import django
from django.conf import settings
from django.core.management import call_command

OPTIONAL = ("django_tasks", "pytest")
"""Packages that a module needs and that are no dependencies."""


def main() -> None:
    """Import every module, and check what only the wheel can lack."""
    settings.configure(
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.admin",
            "django.contrib.messages",
            "django_confiture",
            "django_confiture.history",
            "django_confiture.backfills",
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "none"}},
        SECRET_KEY="wheel",  # noqa: S106 - signs nothing
    )
    django.setup()
    package = import_module("django_confiture")
    root = Path(str(package.__file__)).parent
    if "site-packages" not in root.parts:
        sys.exit(f"{root} is not the installed package")
    names = [each.name for each in walk_packages(package.__path__, "django_confiture.")]
    for name in names:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in OPTIONAL:
                raise
    files = {str(each) for each in distribution("django-confiture").files or ()}
    for needed in (
        "django_confiture/py.typed",
        "django_confiture/reports/json/report.schema.json",
        "django_confiture/reports/html/templates/report.html",
    ):
        if needed not in files:
            sys.exit(f"the wheel lacks {needed}")
    if strays := {name for name in files if name.startswith(("tests/", "testproject/", "docs/"))}:
        sys.exit(f"the wheel has {sorted(strays)[:3]}")
    call_command("check", "--tag", "confiture")
    sys.stdout.write(f"{len(names)} modules of {distribution('django-confiture').version}\n")


if __name__ == "__main__":
    main()
