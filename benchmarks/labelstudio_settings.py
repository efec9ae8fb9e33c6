"""Settings with all of label-studio's migrations."""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "testproject"))

import local_postgres

os.environ["BASE_DATA_DIR"] = str(
    Path(tempfile.gettempdir()) / f"confiture-labelstudio-{os.getuid()}"
)
os.environ["SENTRY_DSN"] = os.environ["FRONTEND_SENTRY_DSN"] = ""
os.environ["COLLECT_ANALYTICS"] = "0"
# Its apps are named as if its own directory were on the path.
_package = importlib.util.find_spec("label_studio")
sys.path[:0] = _package.submodule_search_locations if _package else []

from core.settings.base import *  # noqa: F403, E402
from core.settings.base import INSTALLED_APPS as _APPS  # noqa: E402

SECRET_KEY = "benchmarks"
FEATURE_FLAGS_DEFAULT_VALUE = FEATURE_FLAGS_OFFLINE = True
FEATURE_FLAGS_FROM_FILE = False
VERSION_EDITION = "Community"
DATABASES = {"default": local_postgres.database("confiture_labelstudio")}
INSTALLED_APPS = [*_APPS, "django_confiture"]
