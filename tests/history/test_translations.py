"""Texts of the admin go through gettext: a project's own locale files translate them."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import translation
from pytest_django import Settings

import django_confiture

TEMPLATES = sorted(Path(django_confiture.__file__).parent.rglob("templates/admin/**/*.html"))
TEXTS = {
    "": "Content-Type: text/plain; charset=UTF-8\n",
    "Forecasts against reality": "Vorhersagen und Wirklichkeit",
    "All forecasts": "Alle Vorhersagen",
    "expected": "erwartet",
    "Migration history": "Migrationsgeschichte",
}


def write_mo(path: Path, texts: Mapping[str, str]) -> None:
    """Write what ``compilemessages`` makes; it needs programs that are not everywhere."""
    pairs = [(key.encode(), text.encode()) for key, text in sorted(texts.items())]
    tables: list[bytes] = []
    at = 28 + 16 * len(pairs)
    for column in zip(*pairs, strict=True):
        for text in column:
            tables.append(struct.pack("<II", len(text), at))
            at += len(text) + 1
    head = struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    ends = [text + b"\0" for column in zip(*pairs, strict=True) for text in column]
    path.parent.mkdir(parents=True)
    path.write_bytes(head + b"".join(tables) + b"".join(ends))


def test_a_project_can_translate_the_admin(
    history: None, settings: Settings, tmp_path: Path
) -> None:
    write_mo(tmp_path / "de" / "LC_MESSAGES" / "django.mo", TEXTS)
    settings.LOCALE_PATHS = [str(tmp_path)]
    settings.LANGUAGE_CODE = "de"
    browser = Client()
    browser.force_login(User.objects.create_superuser("alice"))

    forecasts = browser.get("/admin/confiture_history/forecast/").content.decode()
    assert "Vorhersagen und Wirklichkeit</a>" in forecasts  # of a template
    assert "Migrationsgeschichte" in forecasts  # of the app
    from django_confiture.history.admin import ForecastAdmin

    with translation.override("de"):
        column: Any = ForecastAdmin.expected
        assert str(column.short_description) == "erwartet"
    chart = browser.get("/admin/confiture_history/forecast/accuracy/").content.decode()
    assert "Alle Vorhersagen</a>" in chart
    assert "<h1>Vorhersagen und Wirklichkeit</h1>" in chart


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_headings_of_templates_are_marked(path: Path) -> None:
    assert not re.findall(r"<(?:th|h2)\b[^>]*>[^<{]*[A-Za-z]{2}", path.read_text())


def test_all_templates_are_looked_at() -> None:
    assert len(TEMPLATES) == 3
