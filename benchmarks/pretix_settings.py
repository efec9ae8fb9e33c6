"""Settings with all of pretix's migrations."""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "testproject"))

import local_postgres

os.environ["DATA_DIR"] = str(Path(tempfile.gettempdir()) / f"confiture-pretix-{os.getuid()}")

from pretix.settings import *  # noqa: F403
from pretix.settings import INSTALLED_APPS as _APPS

DATABASES = {"default": local_postgres.database("confiture_pretix")}
INSTALLED_APPS = [*_APPS, "django_confiture"]
