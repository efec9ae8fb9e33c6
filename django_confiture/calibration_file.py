"""A machine's constants for forecasts, as ``benchmarks/forecast.py --calibrate`` writes them.

::

    {"confiture_calibration": 1, "made_at": "2026-11-28T12:00:00+00:00", "server_version": 180006,
     "kinds": {"index": {"exponent": 0.95, "spread": 0.03, "noise": 0.2}, …}}
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django_confiture import conf

NAME = 'CONFITURE["DRY_RUN"]["CALIBRATION"]'
VERSION = 1

_MAKE = "make one with: python benchmarks/forecast.py --calibrate {}"
_LARGEST = {"exponent": 4.0, "spread": 2.0, "noise": 4.0}
"""No measurement comes near them; larger values would overflow."""


@dataclass(frozen=True)
class KindConstants:
    """How the time of one kind of work grows on a machine."""

    exponent: float
    """Time grows with the number of rows to the power of this."""
    spread: float
    """Standard error of the exponent."""
    noise: float
    """Standard error of one measurement, as the logarithm of a ratio."""


@dataclass(frozen=True)
class CalibrationFile:
    """What a calibration file says."""

    path: str
    made_at: str
    server_version: int
    """As PostgreSQL counts: 180006."""
    kinds: Mapping[str, KindConstants]


def read_calibration(path: str) -> CalibrationFile:
    """Return the calibration in a file.

    A :class:`~django_confiture.conf.SettingError` says what is wrong with the file.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _unusable(path, f"is not JSON: {error}") from error
    version = document.get("confiture_calibration") if isinstance(document, dict) else None
    if version != VERSION:
        raise _unusable(path, f"is not a calibration of this release: version {version!r}")
    try:
        kinds = {str(kind): _constants(each) for kind, each in document["kinds"].items()}
        made_at, server_version = str(document["made_at"]), int(document["server_version"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unusable(path, f"is damaged: {type(error).__name__}: {error}") from error
    return CalibrationFile(os.fspath(path), made_at, server_version, kinds)


def _constants(given: Mapping[str, Any]) -> KindConstants:
    found = {name: float(given[name]) for name in _LARGEST}
    for name, value in found.items():
        if not (math.isfinite(value) and 0 <= value <= _LARGEST[name]):
            raise ValueError(f"{name} is {given[name]!r}")
    if not found["spread"]:
        raise ValueError("spread is 0")
    return KindConstants(**found)


def _unusable(path: str, problem: str) -> conf.SettingError:
    return conf.SettingError(f"{NAME}: {path} {problem}", _MAKE.format(path))
