"""Settings with all of pretalx's migrations."""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "testproject"))

import local_postgres

os.environ["PRETALX_DATA_DIR"] = str(
    Path(tempfile.gettempdir()) / f"confiture-pretalx-{os.getuid()}"
)

from pretalx.settings import *  # noqa: F403
from pretalx.settings import INSTALLED_APPS as _APPS

DATABASES = {"default": local_postgres.database("confiture_pretalx")}
INSTALLED_APPS = [*_APPS, "django_confiture"]
