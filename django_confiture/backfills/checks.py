"""System checks of the optional app.

=======  =======================================================================================
id       problem
=======  =======================================================================================
E030     a class of ``<app>/backfills.py`` that is declared in a way that can't run
E031     settings of ``BACKFILLS`` that can't be used, or contradict each other
E032     an entry of ``THROTTLES`` that leads to no throttle
=======  =======================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error

from django_confiture import conf
from django_confiture.backfills.declared.declaration import declared_backfills, problems
from django_confiture.backfills.options import UnusableOption, backfill_options
from django_confiture.backfills.throttles.configured import throttles_of_settings, throttling_of


def check_backfills(**_: Any) -> list[CheckMessage]:
    """Check every declared backfill, and the settings of all.

    Settings of the wrong type are reported by the package's other checks.
    """
    if not apps.is_installed("django_confiture.backfills"):
        return []  # a test has taken the app away again
    return [*_declarations(), *_settings()]


def _declarations() -> Iterator[CheckMessage]:
    for path, declared in declared_backfills().items():
        backfill = declared()
        for problem in problems(backfill):
            what, _, fix = problem.partition("; ")
            yield Error(f"{path}: {what}.", hint=_sentence(fix), obj=path, id="confiture.E030")


def _settings() -> Iterator[CheckMessage]:
    try:
        options = backfill_options()
    except UnusableOption as error:
        yield _error("E031", error)
        return
    except conf.SettingError:
        return
    try:
        throttles_of_settings(options)
    except conf.SettingError as error:
        yield _error("E032", error)
    for path, declared in declared_backfills().items():
        try:
            if declared.throttles is not None:
                throttling_of(declared(), options)
        except conf.SettingError as error:
            yield _error("E032", error, path)


def _error(number: str, error: conf.SettingError, obj: str = "settings") -> Error:
    return Error(f"{error.problem}.", hint=_sentence(error.fix), obj=obj, id=f"confiture.{number}")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."
