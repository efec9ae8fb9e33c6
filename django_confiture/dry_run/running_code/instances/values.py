"""Makes up values for a field: ordinary ones, and those at its limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.models import Field

from django_confiture.dry_run.running_code.catalog.numbers import Numbers, uuid_of
from django_confiture.dry_run.running_code.instances.level import Level
from django_confiture.dry_run.running_code.instances.texts import ordinary_text, unique_text

_FAR = 2**31 - 1
"""The last key that is made up instead of a sequence's: it fits what a wider key was before."""

_SMALL = 2**15 - 1
"""The last one where a release knows the key as a number of two bytes."""

_MANY = 100
"""How many elements stand for an array without a size."""


class NoValueError(Exception):
    """What a field of this type accepts is not known."""


class Values:
    """Makes values up, for one kind of database."""

    def __init__(
        self,
        ops: BaseDatabaseOperations,
        numbers: Numbers,
        small: Set[tuple[str, str]] = frozenset(),
    ) -> None:
        self._ops = ops
        self._numbers = numbers
        self._small = small
        """Columns, each with its table, that a release knows as numbers of two bytes."""

    def of(self, field: Field[Any, Any], level: Level) -> Any:
        """Return a value that is valid for a field; raises :class:`NoValueError`."""
        choices = list(_choices(field))
        if choices:
            at = {"modest": 0, "least": 0, "most": -1}[level]
            return choices[at]
        kind = field.get_internal_type()
        if kind in _INTEGERS:
            return self._integer(field, level)
        if kind in _TEXTS:
            return ordinary_text(field, level)
        if kind == "ArrayField":
            inner = self.of(field.base_field, level)  # type: ignore[attr-defined]
            many = _MANY if level == "most" else 1
            return [] if level == "least" else [inner] * (getattr(field, "size", None) or many)
        if kind in _OTHERS:
            return _OTHERS[kind](field, level)
        raise NoValueError(f"{type(field).__name__} {field.name}")

    def unique(self, field: Field[Any, Any], level: Level, *, digits: int | None = None) -> Any:
        """Return a value that no row is likely to have, a whole number with so many ``digits``.

        A number has the sign of an ordinary one: a CHECK of the sign takes it.
        """
        kind = field.get_internal_type()
        number = self.number(field)
        if kind in _INTEGERS:
            low, high = self._limits(field)
            if kind in _COUNTED:
                high = min(high, _SMALL if self._is_small(field) else _FAR)
            low = max(1, low) if high > 0 else low
            if digits is not None and high >= 10**digits > low:
                low, high = max(low, 10 ** (digits - 1)), 10**digits - 1
            return low + number % max(1, high - low)
        if kind in _TEXTS:
            return unique_text(field, level, number)
        if kind == "DecimalField":
            return _unique_decimal(field, self.of(field, "most"), number)
        if kind in _UNIQUE:
            return _UNIQUE[kind](number)
        if kind in _UNIQUE_TIMES:
            return _UNIQUE_TIMES[kind](_unique_day(number, level))
        return self.of(field, level)

    def _is_small(self, field: Field[Any, Any]) -> bool:
        return bool(self._small) and (field.model._meta.db_table, field.column) in self._small

    def number(self, field: Field[Any, Any]) -> int:
        """Return a large number for a field."""
        return self._numbers.next(str(field))

    def _integer(self, field: Field[Any, Any], level: Level) -> int:
        low, high = self._limits(field)
        return {"least": low, "most": high, "modest": min(max(1, low), high)}[level]

    def _limits(self, field: Field[Any, Any]) -> tuple[int, int]:
        low, high = self._ops.integer_field_range(field.get_internal_type())
        given_low, given_high = _given_limits(field)
        if given_low is not None:
            low = max(low, int(given_low))
        return low, high if given_high is None else min(high, int(given_high))


def is_text(field: Field[Any, Any]) -> bool:
    """Return whether a field takes any text, or one of its choices."""
    return field.get_internal_type() in _TEXTS


def _choices(field: Field[Any, Any]) -> Iterator[Any]:
    for value, _label in field.flatchoices:
        if value not in ("", None):
            yield value


def _given_limits(field: Field[Any, Any]) -> tuple[Any, Any]:
    """Return the limits that validators set; of those that are functions, none."""
    limits = [each for each in field.validators if not callable(getattr(each, "limit_value", len))]
    low = [each.limit_value for each in limits if isinstance(each, MinValueValidator)]
    high = [each.limit_value for each in limits if isinstance(each, MaxValueValidator)]
    return max(low, default=None), min(high, default=None)


def _decimal(field: Any, level: Level) -> Decimal:
    digits, places = field.max_digits or 18, field.decimal_places or 0
    top = Decimal(10) ** (digits - places) - Decimal(10) ** -places
    low, high = _given_limits(field)
    if level == "modest":
        return min(max(Decimal(1), Decimal(low or 0)), top)
    if level == "least":
        return -top if low is None else Decimal(low)
    return top if high is None else Decimal(high)


def _unique_decimal(field: Any, most: Decimal, number: int) -> Decimal:
    """Return a positive one that fits: whole, unless the column has room for fractions alone."""
    step = Decimal(1) if most >= 1 else Decimal(10) ** -(field.decimal_places or 0)
    return step * (1 + number % max(1, int(most / step)))


def _float(field: Field[Any, Any], level: Level) -> float:
    low, high = _given_limits(field)
    least = -1e15 if low is None else float(low)
    most = 1e15 if high is None else float(high)
    return {"least": least, "most": most, "modest": min(max(1.0, least), most)}[level]


def _datetime(_field: Field[Any, Any], level: Level) -> datetime:
    year = {"modest": 2001, "least": 1901, "most": 2999}[level]
    return datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC if settings.USE_TZ else None)


def _date(_field: Field[Any, Any], level: Level) -> date:
    return date({"modest": 2001, "least": 1901, "most": 2999}[level], 2, 3)


def _json(field: Field[Any, Any], level: Level) -> Any:
    """Return JSON of the kind of the default: code that has a list there looks for no object."""
    default = field.get_default() if field.has_default() else {}
    if isinstance(default, dict):
        return {**default, "x": [1]} if level == "most" else default
    if isinstance(default, list):
        return [*default, *(default[:1] or ["x"])] if level == "most" else default
    return default


def _range_of_numbers(field: Field[Any, Any], level: Level) -> tuple[int, int]:
    limit = 2**31 if field.get_internal_type() == "IntegerRangeField" else 2**63
    return {"modest": (1, 2), "least": (-limit, 1 - limit), "most": (1, limit - 1)}[level]


def _range_of_times(field: Field[Any, Any], level: Level) -> tuple[date, date]:
    is_date = field.get_internal_type() == "DateRangeField"
    return _days((_date if is_date else _datetime)(field, level))


def _unique_day(number: int, level: Level) -> datetime:
    """Return a day centuries from now, as few rows have one: before, or for the most after."""
    first = datetime(2200 if level == "most" else 1000, 1, 1)  # noqa: DTZ001 - see _UNIQUE_TIMES
    return first + timedelta(days=number % 290_000, seconds=number % 86_400)


def _in_zone(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC if settings.USE_TZ else None)


def _days(low: date) -> tuple[date, date]:
    return low, low + timedelta(days=1)


_INTEGERS = {
    "AutoField",
    "BigAutoField",
    "BigIntegerField",
    "IntegerField",
    "PositiveBigIntegerField",
    "PositiveIntegerField",
    "PositiveSmallIntegerField",
    "SmallAutoField",
    "SmallIntegerField",
}
_COUNTED = {"AutoField", "BigAutoField", "SmallAutoField"}
_TEXTS = {
    "CICharField",
    "CIEmailField",
    "CITextField",
    "CharField",
    "EmailField",
    "FileField",
    "FilePathField",
    "ImageField",
    "SlugField",
    "TextField",
    "URLField",
}
_OTHERS: Mapping[str, Callable[[Any, Level], Any]] = {
    "BinaryField": lambda _field, level: b"x" * (100 if level == "most" else 1),
    "BooleanField": lambda _field, level: level == "most",
    "BigIntegerRangeField": _range_of_numbers,
    "DateField": _date,
    "DateRangeField": _range_of_times,
    "DateTimeField": _datetime,
    "DateTimeRangeField": _range_of_times,
    "DecimalField": _decimal,
    "DecimalRangeField": _range_of_numbers,
    "DurationField": lambda _field, level: timedelta(days=1 if level == "modest" else 10_000),
    "FloatField": _float,
    "GenericIPAddressField": lambda _field, level: (
        "127.0.0.1" if level != "most" else "2001:db8::1"
    ),
    "HStoreField": lambda _field, _level: {},
    "IPAddressField": lambda _field, _level: "127.0.0.1",
    "IntegerRangeField": _range_of_numbers,
    "JSONField": _json,
    "NullBooleanField": lambda _field, level: level == "most",
    "TimeField": lambda _field, level: time(23, 59, 59) if level == "most" else time(0, 0),
    "UUIDField": lambda _field, _level: uuid_of(1),
}
_UNIQUE: Mapping[str, Callable[[int], Any]] = {
    "BigIntegerRangeField": lambda number: (number % 2**30, number % 2**30 + 1),
    "DecimalRangeField": lambda number: (number % 2**30, number % 2**30 + 1),
    "FloatField": lambda number: float(number % 10**12),
    "IntegerRangeField": lambda number: (number % 2**30, number % 2**30 + 1),
    "GenericIPAddressField": lambda number: "2001:db8::" + format(number % 0xFFFF, "x"),
    "UUIDField": uuid_of,
}
_UNIQUE_TIMES: Mapping[str, Callable[[datetime], Any]] = {
    "DateField": datetime.date,
    "DateRangeField": lambda moment: _days(moment.date()),
    "DateTimeField": _in_zone,
    "DateTimeRangeField": lambda moment: _days(_in_zone(moment)),
}
