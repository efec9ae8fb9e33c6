"""What identifies a plan: the sources of its migrations, and the settings that decide what runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Set
from functools import partial
from typing import Any

import django
from django.conf import settings

from django_confiture.migration_files import source_hash

_SETTINGS = ("CONFITURE", "INSTALLED_APPS", "MIGRATION_MODULES", "DATABASE_ROUTERS")


def fingerprint_of(plan: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return what identifies a plan of ``(app_label.name, direction)``.

    ``migrations`` has a label, a direction and a hash of the source for each. Code that a migration
    imports from elsewhere is not in it. Empty where a source can't be read.
    """
    migrations = [[label, direction, source_hash(label)] for label, direction in plan]
    if not all(digest for _label, _direction, digest in migrations):
        return {}
    return {"settings": settings_hash(), "migrations": migrations}


def settings_hash() -> str:
    """Return the hash of the settings that decide what a plan does, and of Django's version."""
    given = {name: getattr(settings, name, None) for name in _SETTINGS}
    document = {**given, "django": django.get_version()}
    text = json.dumps(document, sort_keys=True, default=_as_text)
    return hashlib.sha256(text.encode()).hexdigest()


def _as_text(value: object) -> object:
    """Return the same for the same value in every process."""
    if isinstance(value, Set):
        return sorted(map(str, value))
    if isinstance(value, partial):
        return [_as_text(value.func), repr(value.args), repr(value.keywords)]
    named = getattr(value, "__qualname__", None)
    return f"{value.__module__}.{named}" if named else str(value)
