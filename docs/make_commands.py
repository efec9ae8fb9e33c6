"""Prints docs/commands.md from the commands' own parsers: ``make reference`` writes it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import django
from django.conf import settings
from django.core.management import get_commands, load_command_class

OURS = ("django_confiture", "django_confiture.history", "django_confiture.backfills")
HEAD = """\
# Commands

<!-- Written by `make reference` from the commands themselves. -->

Every command of the package with every flag. Those of Django's own commands, such as `--settings`
and `--traceback`, are left out. `manage.py COMMAND --help` prints the same.
[What the exit codes mean](exceptions.md#exit-codes).
"""


def page() -> str:
    """Return the page."""
    names = sorted(name for name, app in get_commands().items() if app in OURS)
    return "\n".join([HEAD, *(_section(name, str(get_commands()[name])) for name in names)])


def _section(name: str, app: str) -> str:
    command = load_command_class(app, name)
    parser = command.create_parser("manage.py", name)
    return "\n".join([f"## {name}", "", _sentence(command.help), "", *_parser(parser)])


def _parser(parser: argparse.ArgumentParser) -> Iterator[str]:
    subparsers = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    actions = [
        action
        for action in parser._actions
        if action not in subparsers and action.help != argparse.SUPPRESS and not _is_djangos(action)
    ]
    if actions:
        yield "| argument | meaning |"
        yield "| --- | --- |"
        yield from (f"| {_names(action)} | {_cell(_meaning(action))} |" for action in actions)
        yield ""
    for action in subparsers:
        about = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, sub in action.choices.items():
            yield f"### {name}"
            yield ""
            yield _sentence(about.get(name) or sub.description or "")
            yield ""
            yield from _parser(sub)


DJANGOS = {
    "help", "version", "settings", "pythonpath", "traceback", "no_color", "force_color",
    "verbosity", "skip_checks",
}  # fmt: skip


def _is_djangos(action: argparse.Action) -> bool:
    return action.dest in DJANGOS


def _names(action: argparse.Action) -> str:
    if not action.option_strings:
        name = str(action.metavar or action.dest)
        return f"`{name}`" if action.nargs not in ("?", "*") else f"`[{name}]`"
    value = ""
    if action.nargs != 0:
        value = f" {action.metavar or action.dest.upper()}"
    return ", ".join(f"`{each}{value}`" for each in action.option_strings)


def _meaning(action: argparse.Action) -> str:
    text = _sentence((action.help or "") % {**vars(action), "prog": "manage.py"})
    choices = ""
    if action.choices and action.dest != "database":
        choices = "One of " + ", ".join(f"`{each}`" for each in action.choices) + "."
    return " ".join(filter(None, [text, choices]))


def _sentence(text: str) -> str:
    joined = " ".join(text.split())
    return joined if not joined or joined.endswith((".", ")", ":")) else f"{joined}."


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<").replace("*", "\\*")


def main() -> None:
    """Print the page."""
    settings.configure(
        INSTALLED_APPS=[*OURS],
        DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "none"}},
        SECRET_KEY="docs",  # noqa: S106 - signs nothing
    )
    django.setup()
    sys.stdout.write(page())


if __name__ == "__main__":
    main()
