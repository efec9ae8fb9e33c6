"""Reads a file that ``confiture_stats`` wrote; each mistake is one line with file and key."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from django_confiture.exceptions import StatsError
from django_confiture.production.stats import (
    VERSION,
    IndexStats,
    ProductionStats,
    QueryStats,
    TableStats,
)

_TOO_LARGE = 2**63
"""PostgreSQL's counters are smaller."""

Check = Callable[[object], Any]


def load(path: str | os.PathLike[str]) -> ProductionStats:
    """Return the statistics in a file.

    Raises :class:`~django_confiture.exceptions.StatsError` if the file can't be used."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise StatsError(f"Cannot read {file}: {error.strerror}.") from error
    except ValueError as error:
        raise StatsError(f"{file} is not JSON: {error}.") from error
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise StatsError(f"{file} is not JSON: {error}.") from error
    return _Reader(str(file)).stats(document)


class _UnusableError(Exception):
    """A value can't be used; the text says what it is, after the words "which is"."""


class _Reader:
    def __init__(self, file: str) -> None:
        self._file = file

    def stats(self, document: object) -> ProductionStats:
        if not isinstance(document, Mapping) or "confiture_stats" not in document:
            raise StatsError(
                f"{self._file} has no key confiture_stats;"
                " make one with: manage.py confiture_stats --output FILE"
            )
        version = document["confiture_stats"]
        if version != VERSION or isinstance(version, bool):
            raise StatsError(
                f"{self._file}: confiture_stats is {_shown(version)}, and this release reads"
                f" {VERSION}; make the file again with the same release."
            )
        facts = self._checked({"queries": [], **document}, _STATS, "")
        facts["collected_at"] = datetime.fromisoformat(facts["collected_at"])
        facts["tables"] = {
            name: self._table(name, table) for name, table in facts["tables"].items()
        }
        facts["queries"] = tuple(
            QueryStats(**self._checked(query, _QUERY, f"queries[{position}]"))
            for position, query in enumerate(facts["queries"])
        )
        return ProductionStats(**facts)

    def _table(self, name: str, table: object) -> TableStats:
        where = f"tables[{_shown(name)}]"
        facts = self._checked(table, _TABLE, where)
        facts["indexes"] = tuple(
            IndexStats(**self._checked(index, _INDEX, f"{where}.indexes[{position}]"))
            for position, index in enumerate(facts["indexes"])
        )
        return TableStats(relation=name, **facts)

    def _checked(self, given: object, checks: Mapping[str, Check], where: str) -> dict[str, Any]:
        """Return the known keys of one object; others are comments, or later keys."""
        if not isinstance(given, Mapping):
            raise StatsError(f"{self._file}: {where} is {_shown(given)}, which is not an object.")
        found = {}
        for key, check in checks.items():
            place = f"{where}.{key}" if where else key
            if key not in given:
                raise StatsError(f"{self._file}: {place} is missing.")
            try:
                found[key] = check(given[key])
            except _UnusableError as error:
                raise StatsError(
                    f"{self._file}: {place} is {_shown(given[key])}, which is {error}."
                ) from error
        return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _checked_text(value: object) -> str:
    if not isinstance(value, str):
        raise _UnusableError("not a string")
    return value


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise _UnusableError("neither true nor false")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _UnusableError("not a number")
    if value < 0:
        raise _UnusableError("negative")
    if value >= _TOO_LARGE:
        raise _UnusableError("too large")
    return value


def _count(value: object) -> int:
    number = _number(value)
    if not isinstance(number, int):
        raise _UnusableError("not a whole number")
    return number


def _moment(value: object) -> str:
    text = _checked_text(value)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _UnusableError("not a date and time") from None
    if moment.tzinfo is None:
        raise _UnusableError("a time without a time zone")
    return text


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_checked_text(each) for each in _list(value))


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise _UnusableError("not a list")
    return value


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _UnusableError("not an object")
    return value


def _settings(value: object) -> dict[str, Any]:
    for name, setting in _object(value).items():
        if not isinstance(setting, str | int | float):
            raise _UnusableError(f"not an object of numbers, strings and booleans: {name}")
    return _object(value)


def _optional(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


_STATS: dict[str, Check] = {
    "database": _checked_text,
    "server_version": _count,
    "standby": _boolean,
    "size_bytes": _count,
    "collected_at": _moment,
    "window_seconds": _optional(_number),
    "oldest_transaction_seconds": _optional(_number),
    "settings": _settings,
    "tables": _object,
    "free_disk_bytes": _optional(_count),
    "queries": _list,
}

_QUERY: dict[str, Check] = {
    "id": _checked_text,
    "text": _checked_text,
    "calls_per_second": _optional(_number),
    "mean_ms": _number,
}

_TABLE: dict[str, Check] = {
    "schema": _checked_text,
    "kind": _checked_text,
    "rows": _optional(_count),
    "analyzed": _boolean,
    "live_rows": _optional(_count),
    "dead_rows": _optional(_count),
    "changed_rows": _optional(_count),
    "heap_bytes": _count,
    "toast_bytes": _count,
    "index_bytes": _count,
    "total_bytes": _count,
    "row_bytes": _optional(_number),
    "analyzed_seconds_ago": _optional(_number),
    "vacuumed_seconds_ago": _optional(_number),
    "reads_per_second": _optional(_number),
    "writes_per_second": _optional(_number),
    "partitions": _texts,
    "indexes": _list,
}

_INDEX: dict[str, Check] = {
    "name": _checked_text,
    "method": _checked_text,
    "bytes": _count,
    "unique": _boolean,
    "partial": _boolean,
    "columns": _texts,
    "expression": _boolean,
    "valid": _boolean,
}
