"""Durations as arguments of commands."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import timedelta

from django_confiture import conf


def duration_like(example: str) -> Callable[[str], timedelta]:
    """Return the type of an argument for argparse, whose errors name the argument by themselves."""

    def parsed(value: str) -> timedelta:
        try:
            duration = conf.parse_duration("0s" if value == "0" else value, name="it")
        except conf.SettingError as error:
            fix = f"write a number and a unit, such as {example}"
            raise ArgumentTypeError(f"{error.problem}; {fix}") from error
        assert duration is not None
        return duration

    return parsed
