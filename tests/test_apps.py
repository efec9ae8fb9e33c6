"""What installing the app needs."""

from __future__ import annotations

import runpy
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_confiture import apps


def test_without_psycopg_3_the_app_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImproperlyConfigured) as caught:
        runpy.run_path(apps.__file__)
    assert str(caught.value) == (
        'django_confiture needs psycopg 3 and libpq: pip install "psycopg[binary]". A project on '
        "psycopg2 then runs on psycopg 3, without other edits."
    )
