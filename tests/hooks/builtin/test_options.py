"""How options of shipped hooks are read, and the line that a value gets that is none."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from django_confiture.conf import SettingError
from django_confiture.hooks.builtin import options


@pytest.mark.parametrize(
    ("parse", "given", "expected"),
    [
        (options.optional(options.text), None, None),
        (options.optional(options.text), "a", "a"),
        (options.duration, "500ms", timedelta(milliseconds=500)),
        (options.duration, timedelta(hours=1), timedelta(hours=1)),
        (options.byte_size, "1GB", 1024**3),
        (options.flag, False, False),
        (options.number, 0.5, 0.5),
        (options.whole_number, 3, 3),
        (options.one_of("warn", "veto"), "veto", "veto"),
        (options.texts, ["a", "b"], ("a", "b")),
        (options.mapping_of(options.whole_number), {"a": 1}, {"a": 1}),
        (options.function, "os.path.exists", __import__("os").path.exists),
    ],
)
def test_what_is_read(parse: options.Parser[Any], given: Any, expected: Any) -> None:
    assert parse(given, "X") == expected


@pytest.mark.parametrize(
    ("parse", "given", "problem", "fix"),
    [
        (options.duration, None, "X is None", 'write a duration, such as "30s" or "5min"'),
        (options.duration, timedelta(-1), "X is datetime.timedelta", "write a number and a unit"),
        (options.byte_size, None, "X is None", 'write a size, such as "512MB" or "1GB"'),
        (options.flag, "yes", "X is 'yes'", "write True or False"),
        (options.text, "", "X is ''", "write a string"),
        (options.number, True, "X is True", "write a number, 0 or more"),
        (options.number, -1, "X is -1", "write a number, 0 or more"),
        (options.whole_number, 1.5, "X is 1.5", "write a whole number, 0 or more"),
        (options.one_of("warn", "veto"), "no", "X is 'no'", 'write one of "warn", "veto"'),
        (options.texts, "a", "X is 'a'", "write a list of strings"),
        (options.texts, ["a", ""], "X is ['a', '']", "write a list of strings"),
        (options.mapping_of(options.text), ["a"], "X is ['a']", "write a dictionary"),
        (options.mapping_of(options.text), {1: "a"}, "X is {1: 'a'}", "write a dictionary"),
        (options.mapping_of(options.text), {"a": 1}, "X['a'] is 1", "write a string"),
        (options.function, "os.nothing", "X is 'os.nothing', which cannot be imported", "dotted"),
        (options.function, "os.sep", "X is 'os.sep', which cannot be called", "dotted path"),
        (options.function, 7, "X is 7, which cannot be called", "write a function"),
    ],
)
def test_what_is_not(parse: options.Parser[Any], given: Any, problem: str, fix: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse(given, "X")
    assert caught.value.problem.startswith(problem)
    assert fix in caught.value.fix
