"""Settings with all of pulpcore's migrations."""

import base64
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "testproject"))

import local_postgres

_key = Path(tempfile.gettempdir()) / f"confiture-pulpcore-{os.getuid()}.key"
if not _key.exists():
    _key.write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
os.environ |= {
    "PULP_DB_ENCRYPTION_KEY": str(_key),
    "PULP_SECRET_KEY": "benchmarks",
    "PULP_CONTENT_ORIGIN": "http://localhost",
    "PULP_CACHE_ENABLED": "false",
}

from pulpcore.app.settings import *  # noqa: F403, E402
from pulpcore.app.settings import INSTALLED_APPS as _APPS  # noqa: E402

DATABASES = {"default": local_postgres.database("confiture_pulpcore")}
INSTALLED_APPS = [*_APPS, "django_confiture"]
