"""The JSON Schema of the JSON report, made from the dataclasses of ``dry_run.results``.

``python -m django_confiture.reports.json.schema`` prints it; ``report.schema.json`` next to this
module is the published copy.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from django_confiture.dataclass_trees import field_types
from django_confiture.dry_run import results
from django_confiture.formatting import one_line
from django_confiture.reports.json.render import SCHEMA_VERSION

_SIMPLE: dict[object, str] = {
    str: "string", bool: "boolean", int: "integer", float: "number", NoneType: "null",
}  # fmt: skip


def schema() -> dict[str, Any]:
    """Return the schema; objects may not have other keys than it names."""
    definitions: dict[str, Any] = {}
    report = _object(results.Report, definitions)
    own = {
        "schema_version": {"const": SCHEMA_VERSION},
        "tool": _closed({"name": {"const": "django-confiture"}, "version": {"type": "string"}}),
    }
    coverage = {"coverage": _reference(results.Coverage, definitions)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:django-confiture:report:{SCHEMA_VERSION}",
        "title": "The report of manage.py migrate_dryrun",
        "description": "Times are milliseconds, sizes bytes, lock modes PostgreSQL's names.",
        **_closed({**own, **report["properties"], **coverage}),
        "$defs": dict(sorted(definitions.items())),
    }


def render() -> str:
    """Return the schema as it is published."""
    return json.dumps(schema(), indent=2) + "\n"


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _object(dataclass: type, definitions: dict[str, Any]) -> dict[str, Any]:
    said = dict(_docstrings(dataclass))
    properties = {}
    for name, hint in field_types(dataclass).items():
        found = _type(hint, definitions)
        if name in said:
            found = {**found, "description": said[name]}
        properties[name] = found
    description = one_line(dataclass.__doc__ or "")
    return {"description": description, **_closed(properties)}


def _reference(dataclass: type, definitions: dict[str, Any]) -> dict[str, Any]:
    name = dataclass.__name__
    if name not in definitions:
        definitions[name] = {}  # before its fields, since one may refer to it
        definitions[name] = _object(dataclass, definitions)
    return {"$ref": f"#/$defs/{name}"}


def _type(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if hint in _SIMPLE:
        return {"type": _SIMPLE[hint]}
    if is_dataclass(hint) and isinstance(hint, type):
        return _reference(hint, definitions)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, UnionType):
        return _one_of([_type(each, definitions) for each in arguments])
    if origin is tuple and arguments[1:] == (...,):
        return {"type": "array", "items": _type(arguments[0], definitions)}
    if origin is tuple:
        each = [_type(argument, definitions) for argument in arguments]
        return {"type": "array", "prefixItems": each, "minItems": len(each), "items": False}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _type(arguments[1], definitions)}
    raise TypeError(f"no JSON Schema for {hint!r}")


def _one_of(choices: list[dict[str, Any]]) -> dict[str, Any]:
    if all(list(each) == ["type"] and each["type"] != "array" for each in choices):
        return {"type": [each["type"] for each in choices]}
    return {"anyOf": choices}


def _docstrings(dataclass: type) -> Iterator[tuple[str, str]]:
    """Yield each field with the string below it, those of base classes included."""
    for each in reversed(dataclass.__mro__[:-1]):
        (written,) = ast.parse(inspect.getsource(each)).body
        assert isinstance(written, ast.ClassDef)
        for field, below in zip(written.body, written.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(said))):
                    yield name, one_line(said)


if __name__ == "__main__":
    sys.stdout.write(render())
