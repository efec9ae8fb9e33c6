"""Text from outside made safe to print, and figures rounded so that two runs say the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 5.0, 10.0)
_MS = {"ms": 1.0, "s": 1e3, "min": 60e3}
_BYTES = {"kB": 1024.0, "MB": 1024.0**2, "GB": 1024.0**3, "TB": 1024.0**4}
_FIGURE = re.compile(r"(?:about )?(?<![\w.,])(\d[\d,]*(?:\.\d+)?) (ms|s|min|kB|MB|GB|TB)\b|<1 ms")


@dataclass(frozen=True)
class Words:
    """How a format writes names, text from outside, durations and sizes."""

    code: Callable[[str], str]
    text: Callable[[str], str]
    duration: Callable[[float], str]
    size: Callable[[int], str]

    def expected(self, ms: float) -> str:
        """Return a duration that is a forecast, not a measurement."""
        text = self.duration(ms)
        return text if text.startswith(("about", "under")) else f"about {text}"


def visible(text: str) -> str:
    """Return text in one line, without characters that control a terminal, a page or a log."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def visible_lines(text: str) -> str:
    """Return the same, but keep line breaks."""
    return "\n".join(visible(line.expandtabs(4)) for line in text.splitlines())


def first_line(message: str) -> str:
    """Return the first line of a PostgreSQL message: the lines after it may quote rows."""
    return message.strip().partition("\n")[0]


def clipped(text: str, width: int) -> str:
    """Return text cut to ``width`` characters."""
    return text if len(text) <= width else f"{text[: width - 1].rstrip()}…"


def about(ms: float) -> str:
    """Return a duration rounded to 1, 2 or 5 of a unit, so that two runs say the same."""
    if ms < 7.5:
        return "under 10 ms"
    if ms < 750:
        return f"about {_rounded(ms):.0f} ms"
    if ms < 45_000:
        return f"about {_rounded(ms / 1e3):.0f} s"
    return f"about {_rounded(ms / 60e3):,.0f} min"


def about_size(count: float) -> str:
    """Return a size, rounded the same way."""
    value = float(count)
    for unit in ("bytes", *_BYTES):
        if value < 750 or unit == "TB":
            break
        value /= 1024
    return f"about {_rounded(value):.0f} {unit}"


def _rounded(value: float) -> float:
    """Return the nearest of 1, 2, 5, 10, 20, 50, …, at least 1."""
    power = 1.0
    while value / power >= 7.5:
        power *= 10
    nearest = min(_STEPS, key=lambda step: abs(step - value / power))
    return nearest * power


def steady(text: str) -> str:
    """Return a sentence of the results with its durations and sizes rounded."""
    return _FIGURE.sub(_steady, text)


def _steady(match: re.Match[str]) -> str:
    if match[1] is None:
        return about(0)
    value = float(match[1].replace(",", ""))
    if match[2] in _MS:
        return about(value * _MS[match[2]])
    return about_size(value * _BYTES[match[2]])
