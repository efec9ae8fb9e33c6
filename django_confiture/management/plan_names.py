"""App labels and names of migrations that lead nowhere, and what was probably meant."""

from __future__ import annotations

from difflib import get_close_matches

from django.apps import apps
from django.core.management.base import CommandError
from django.db.migrations.loader import MigrationLoader

from django_confiture.formatting import listed
from django_confiture.management.exit_codes import USAGE

_SHOWN = 4


def refuse_unknown(app_label: str | None, name: str | None) -> None:
    """Refuse what ``migrate`` would not find either, and say what was probably meant."""
    if app_label is None:
        return
    labels = sorted(each.label for each in apps.get_app_configs())
    if app_label not in labels:
        raise _refusal(f"No installed app with label {app_label!r}", _like(app_label, labels))
    if name is None or name == "zero":
        return
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    names = sorted(each for label, each in loader.disk_migrations if label == app_label)
    meant = [each for each in names if each.startswith(name)]
    if name in names or len(meant) == 1 or not names:
        return
    if meant:
        what = f"More than one migration matches {name!r} in app {app_label!r}"
        raise _refusal(what, f"Please be more specific. They are {_few(meant)}.")
    what = f"Cannot find a migration matching {name!r} from app {app_label!r}"
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    raise _refusal(what, _meant(close[0]) if close else f"The last one is {names[-1]!r}.")


def _like(app_label: str, labels: list[str]) -> str:
    label, dot, name = app_label.partition(".")
    if dot and label in labels:  # as reports write it
        return f"Put a space in place of the dot: {label} {name}"
    close = get_close_matches(app_label, labels, n=1)
    return _meant(close[0]) if close else ""


def _meant(name: str) -> str:
    return f"Did you mean {name!r}?"


def _few(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return listed([*names[:_SHOWN], f"{more} more"] if more > 0 else names)


def _refusal(what: str, hint: str) -> CommandError:
    """Return what ``migrate`` says, word for word, and the hint behind it."""
    return CommandError(f"{what}. {hint}".rstrip(), returncode=USAGE)
