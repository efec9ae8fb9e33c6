"""Long calls, one argument a line, so that advice fits a terminal."""

from __future__ import annotations

WIDTH = 66
_OPENING, _CLOSING = "([{", ")]}"


def wrapped(code: str) -> str:
    """Return code whose lines are short where a call or a list can be broken."""
    return "\n".join(part for line in code.splitlines() for part in _lines(line))


def _lines(line: str) -> list[str]:
    spaces = line[: len(line) - len(line.lstrip())]
    opening = _outermost(line)
    if len(line) <= WIDTH or opening is None:
        return [line]
    start, end = opening
    arguments = _arguments(line[start + 1 : end])
    if not _may_end_with_comma(line, start, arguments):
        return [line]
    inner = [f"{spaces}    {argument}," for argument in arguments]
    broken = [part for argument in inner for part in _lines(argument)]
    return [line[: start + 1], *broken, spaces + line[end:]]


def _may_end_with_comma(line: str, start: int, arguments: list[str]) -> bool:
    """Return whether a trailing comma changes nothing; ``x["a",]`` is another key."""
    follows_name = start > 0 and (line[start - 1].isalnum() or line[start - 1] in "_)]")
    if line[start] == "[":
        return not follows_name
    return line[start] == "{" or follows_name or len(arguments) > 1


def _outermost(line: str) -> tuple[int, int] | None:
    """Return where the first bracket that holds something opens and closes."""
    depth, start = 0, -1
    for position, char in _outside_strings(line):
        if char in _OPENING:
            depth += 1
            if depth == 1:
                start = position
        elif char in _CLOSING:
            depth -= 1
            if depth == 0 and position > start + 1:
                return start, position
    return None


def _arguments(text: str) -> list[str]:
    parts, depth, begin = [], 0, 0
    for position, char in _outside_strings(text):
        depth += (char in _OPENING) - (char in _CLOSING)
        if char == "," and depth == 0:
            parts.append(text[begin:position].strip())
            begin = position + 1
    return [part for part in [*parts, text[begin:].strip()] if part]


def _outside_strings(text: str) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    quote, skip = "", False
    for position, char in enumerate(text):
        if skip:
            skip = False
        elif quote:
            skip = char == "\\"
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        else:
            found.append((position, char))
    return found
