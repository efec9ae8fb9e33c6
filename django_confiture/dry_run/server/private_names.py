"""Names of libraries that may change without notice: whether they are there, and what owns them."""

from __future__ import annotations

import dis
import inspect
import pkgutil
import platform
from dataclasses import dataclass
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

import django
import psycopg

_OWNERS = (type, FunctionType, ModuleType)


@dataclass(frozen=True)
class PrivateName:
    """A name that its library may change without notice, or a method that is patched."""

    owner: str
    """A class, a module or a function, as ``pkgutil.resolve_name`` takes it."""
    name: str
    """An attribute; of a function, a parameter or a local variable."""

    def __str__(self) -> str:
        return f"{self.owner.rpartition(':')[2]}.{self.name}"

    @property
    def library(self) -> str:
        """The library and its version."""
        match self.owner.partition(".")[0].partition(":")[0]:
            case "psycopg":
                return f"psycopg {psycopg.__version__}"
            case "django":
                return f"Django {django.get_version()}"
            case "psycopg2":
                return f"psycopg2 {pkgutil.resolve_name('psycopg2').__version__.split()[0]}"
        return f"Python {platform.python_version()}"

    def resolved_owner(self) -> Any:
        """Return the class, module or function, past what a tracer has put in its place."""
        owner = pkgutil.resolve_name(self.owner)
        while not issubclass(type(owner), _OWNERS) and hasattr(owner, "__wrapped__"):
            owner = owner.__wrapped__
        return owner

    def exists(self) -> bool:
        """Return whether the library has it: on the class, or set by its ``__init__``."""
        try:
            owner = self.resolved_owner()
        except (ImportError, AttributeError):
            return False
        if inspect.isfunction(owner):
            return self.name in owner.__code__.co_varnames
        if inspect.getattr_static(owner, self.name, None) is not None:
            return True
        inits = [vars(each).get("__init__") for each in getattr(owner, "__mro__", ())]
        return any(
            self.name in _set_by(each.__code__) for each in inits if inspect.isfunction(each)
        )


@cache
def _set_by(code: CodeType) -> frozenset[str]:
    read = dis.get_instructions(code)
    return frozenset(each.argval for each in read if each.opname == "STORE_ATTR")


def names(owner: str, *attributes: str) -> tuple[PrivateName, ...]:
    """Return several names of one owner."""
    return tuple(PrivateName(owner, name) for name in attributes)
