"""The throttles of one backfill, made from settings, and asked between batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from time import monotonic
from typing import Any

from django.utils.module_loading import import_string

from django_confiture import conf
from django_confiture.backfills.declared.declaration import Backfill
from django_confiture.backfills.options import BackfillOptions
from django_confiture.backfills.throttles import Moment, Throttle


class Throttling:
    """Several throttles, with their answers of the last second."""

    def __init__(self, throttles: Iterable[Throttle] = ()) -> None:
        self._throttles = list(throttles)
        self._answers: dict[int, tuple[float, str]] = {}

    def reasons(self, moment: Moment) -> dict[str, str]:
        """Return the name of each throttle that holds the backfill now, and why."""
        found = {}
        for index, throttle in enumerate(self._throttles):
            asked, reason = self._answers.get(index, (-throttle.cached_for, ""))
            if not throttle.cached_for or monotonic() - asked >= throttle.cached_for:
                reason = throttle.reason(moment)
                self._answers[index] = (monotonic(), reason)
            if reason:
                found[throttle.name] = reason
        return found


def build_throttle(entry: object, where: str) -> Throttle:
    """Make a throttle of an entry: a dotted path, or a dictionary with ``THROTTLE``."""
    path, options = _parts(entry, where)
    try:
        made = import_string(path) if isinstance(path, str) else path
    except ImportError as error:
        problem = f"{where} names {path!r}: {error}"
        fix = "write a dotted path such as django_confiture.backfills.throttles.ReplicationLag"
        raise conf.SettingError(problem, fix) from error
    if not isinstance(made, type) or not issubclass(made, Throttle):
        raise conf.SettingError(f"{where} is {path!r}", "write the path of a Throttle")
    try:
        return made(**options)
    except TypeError as error:
        problem = f"{where}: the OPTIONS of {made.__name__} don't fit: {error}"
        raise conf.SettingError(problem, "write those that its docstring names") from error
    except conf.SettingError as error:
        raise conf.SettingError(f"{where}, {made.__name__}: {error.problem}", error.fix) from error


def _parts(entry: object, where: str) -> tuple[object, dict[str, Any]]:
    if not isinstance(entry, Mapping):
        return entry, {}
    if unknown := set(entry) - {"THROTTLE", "OPTIONS"}:
        problem = f"{where} has the unknown key {sorted(map(str, unknown))[0]!r}"
        raise conf.SettingError(problem, "known are THROTTLE and OPTIONS")
    if "THROTTLE" not in entry:
        raise conf.SettingError(f"{where} has no THROTTLE", "write its dotted path")
    return entry["THROTTLE"], dict(conf.mapping(entry.get("OPTIONS"), f"{where} OPTIONS"))


def throttling_of(backfill: Backfill, options: BackfillOptions) -> Throttling:
    """Return the throttles that a backfill declares, or else those of the settings."""
    if backfill.throttles is None:
        return throttles_of_settings(options)
    return _throttling(backfill.throttles, f"{backfill.path()}.throttles")


def throttles_of_settings(options: BackfillOptions) -> Throttling:
    """Return those of ``CONFITURE["BACKFILLS"]["THROTTLES"]``."""
    return _throttling(options.throttles, 'CONFITURE["BACKFILLS"]["THROTTLES"]')


def _throttling(entries: Iterable[object], where: str) -> Throttling:
    return Throttling(
        build_throttle(entry, f"{where}[{index}]") for index, entry in enumerate(entries)
    )
