"""The operation of a migration after which a release can no longer do something."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set

from django_confiture.dry_run.running_code.failure import Failure
from django_confiture.dry_run.running_code.models.touched import OperationStep
from django_confiture.sql_text import names_in

_GONE = r"\b(DROP\s+(TABLE|(MATERIALIZED\s+)?VIEW|FOREIGN\s+TABLE)|RENAME\s+TO|SET\s+SCHEMA)\b"
_OF_COLUMN = "CONSTRAINT|DEFAULT|EXPRESSION|IDENTITY|NOT"
_CAUSES = {
    "22001": r"\bTYPE\b",
    "22003": r"\bTYPE\b",
    "22P02": r"\bTYPE\b",
    "23502": r"\b(NOT NULL|DROP\s+(DEFAULT|IDENTITY))\b",
    "23503": r"\bREFERENCES\b",
    "23505": r"\b(UNIQUE|PRIMARY)\b",
    "23514": r"\bCHECK\b",
    "23P01": r"\bEXCLUDE\b",
    "428C9": r"\bGENERATED\b",
    "42501": r"\b(REVOKE|POLICY|SECURITY|OWNER)\b",
    "42703": rf"\b(DROP(?!\s+({_OF_COLUMN})\b)|RENAME(?!\s+CONSTRAINT\b))\b",
    "42804": r"\bTYPE\b",
    "42883": r"\bTYPE\b",
    "42P01": _GONE,
    "42P10": r"\bDROP\s+(CONSTRAINT|INDEX)\b",
    "55000": r"\b(DEFERRABLE|PUBLICATION|REPLICA)\b",
    "P0001": r"\bTRIGGER\b",
}
"""SQLSTATE → what stands in the statement that brings it about."""
_UNQUOTED = {"relation", "column", "table", "does", "not", "exist"}
"""The words of ``column shop_order.note does not exist``, which has no quotes."""
_BOTH = 2
"""A refused deletion names both tables: "on table" the one, and "on table" that refers to it."""


def operation_of(
    failure: Failure, steps: Sequence[OperationStep], relations: Set[str], common: Set[str]
) -> int | None:
    """Return the operation after which it fails, None where more than one could be it.

    ``common`` are the names that every statement about the ``relations`` has.
    """
    filling = _filling(failure, steps)
    if filling is not None:
        return filling
    changing = [step for step in steps if step.altered & relations]
    changing = changing or [
        step for step in steps if step.texts or step.sets_sequence or step.filled & relations
    ]
    if len(changing) > 1 and (cause := _CAUSES.get(failure.sqlstate or "")):
        changing = [step for step in changing if _says(step, cause)] or changing
    if len(changing) > 1:
        names = _names_in_error(failure.error) - common - relations
        changing = [step for step in changing if names & step.words] or changing
    return changing[0].operation if len(changing) == 1 else None


def _names_in_error(error: str) -> Set[str]:
    """Return what an error names: in quotes, as nearly always, since other words may be SQL's."""
    return frozenset(re.findall(r'"([^"]+)"', error)) or names_in(error) - _UNQUOTED


def _filling(failure: Failure, steps: Sequence[OperationStep]) -> int | None:
    """Return the operation after which rows refer to one that is to be deleted."""
    tables = re.findall(r'on table "([^"]+)"', failure.error)
    if failure.sqlstate != "23503" or len(tables) < _BOTH:
        return None
    filling = (step.operation for step in steps if tables[-1] in step.filled)
    first = next((each for each in filling if each is not None), None)
    if first is None:
        return None
    adding = (step.operation for step in steps if failure.constraint in step.words)
    return max(first, next((each for each in adding if each is not None), first))


def _says(step: OperationStep, cause: str) -> bool:
    return any(re.search(cause, text, re.IGNORECASE) for text in step.texts)
