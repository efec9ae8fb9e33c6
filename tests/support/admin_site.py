"""The admin as a process has it that began with the apps that are installed now.

Django discovers each app's admin once a process, and builds the addresses once. The suite installs
and uninstalls apps, so both are done again here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import reload
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.urls import clear_url_caches

_ever_registered: dict[Any, Any] = {}


@contextmanager
def admin_of_installed_apps() -> Iterator[None]:
    """Register the models of the apps that are installed, of no others, and their addresses."""
    admin.autodiscover()
    registry = admin.site._registry  # after it: it puts another in its place
    _ever_registered.update(registry)
    registry.clear()
    registry.update(
        (model, shown)
        for model, shown in _ever_registered.items()
        if model._meta.app_label in apps.app_configs
    )
    _build_addresses()
    try:
        yield
    finally:
        clear_url_caches()


def _build_addresses() -> None:
    from tests import history_urls

    reload(history_urls)
    clear_url_caches()
