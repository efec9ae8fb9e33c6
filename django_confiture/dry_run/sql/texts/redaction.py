"""Keeps values of rows and parameters out of reports and logs, unless they were asked for.

PostgreSQL quotes values in DETAIL and in some messages; Python in those of ``int()`` and the like;
and a text that code has put together may have them in it. Whatever goes into a report or a log
passes here first.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import psycopg
from django.core.exceptions import ValidationError
from django.db import DatabaseError
from django.db.migrations import RunPython, RunSQL, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.sql.parsing.parser import Kind, Statement
from django_confiture.dry_run.sql.parsing.rewrite import without_constants
from django_confiture.exceptions import HookError, HookVeto
from django_confiture.operations import RunHook

Origin = Literal["file", "schema", "code"]
"""Where SQL comes from: a migration's text; Django's schema editor; Python."""

HIDDEN = "..."

_BETWEEN = ("django_confiture.", "django.", "psycopg", "contextlib", "functools", "importlib")
"""Modules between the code of a migration and the server."""

_LOGGERS = ("django_confiture.hooks", "django_confiture.dry_run")

# PostgreSQL's codes: data that doesn't fit, what a function raises, and syntax errors.
_QUOTING_CODES = ("22", "P0", "42601")
# Objects that depend on others, what is not supported, types that don't match.
_NAMING_CODES = ("2BP01", "0A000", "42804")
"""Codes whose DETAIL names objects of the schema, and never a value."""
_RAISE = "exec_stmt_raise"
"""The function in PostgreSQL that reports the words of a RAISE, whatever their SQLSTATE."""
_OF_OTHER_LANGUAGES = "38"
_DO = ("inline_code_block", "anonymous code block", "anonymous plperl block")
_QUOTING_ERRORS = (ValueError, TypeError, KeyError, ArithmeticError, ValidationError)
_NAMED = r"(?<!\btype )(?<!\bencoding )(?<!\bcolumn )(?<!\brelation )"
_QUOTED = re.compile(rf"""{_NAMED}(?:".*"|(?<!\w)'.*'|“.*”|<\w+: .*>)""", re.DOTALL)

_show: ContextVar[bool] = ContextVar("show_values", default=False)


@contextmanager
def shown(*, show: bool) -> Iterator[None]:
    """Print values while the context is open, where that was asked for; log none where not."""
    token = _show.set(show)
    loggers = [] if show else [logging.getLogger(name) for name in _LOGGERS]
    without = _WithoutValues()
    for logger in loggers:
        logger.addFilter(without)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(without)
        _show.reset(token)


def are_shown() -> bool:
    """Return whether values may be printed."""
    return _show.get()


# Errors.


def message(error: BaseException, *, of_code: bool = True) -> str:
    """Return an error's own message, without values unless they may be printed.

    ``of_code`` says that rows may have been at hand where a Python error was raised.
    """
    if isinstance(error, HookError):
        return f"Hook {error.hook_name} failed in phase {error.phase}: " + message(
            error.original_error
        )
    if isinstance(error, HookVeto) and error.__cause__ is not None and not are_shown():
        return message(error.__cause__)  # which its text repeats
    if isinstance(error, DatabaseError) and isinstance(error.__cause__, psycopg.Error):
        return message(error.__cause__)
    if isinstance(error, psycopg.Error):
        return _of_server(error)
    if isinstance(error, SystemExit):
        return _of_exit(error)
    text = str(error).strip()
    if are_shown() or not of_code or not isinstance(error, _QUOTING_ERRORS):
        return text
    if isinstance(error, KeyError):
        return HIDDEN  # its message is the key
    text = "; ".join(error.messages) if isinstance(error, ValidationError) else text
    return _without_quoted(text)


def _of_exit(error: SystemExit) -> str:
    """Return how ``migrate`` ends with it: Python exits with a number, and prints all else."""
    code = error.code
    if code is None or isinstance(code, int):
        number = (code or 0) & 0xFF
        taken = ", so that whatever called it takes it for done" if not number else ""
        return f"migrate would end here with exit code {number}{taken}"
    return f"migrate would end here with exit code 1: {code}"


def _of_server(error: psycopg.Error) -> str:
    text = error.diag.message_primary or str(error).strip()
    if are_shown():
        return f"{text} ({error.diag.message_detail})" if error.diag.message_detail else text
    if function := _raised_in(error):
        return f"{HIDDEN} ({error.sqlstate}, {function})"
    if (error.sqlstate or "").startswith(_QUOTING_CODES):
        return _without_quoted(text)
    named = error.sqlstate in _NAMING_CODES and error.diag.source_function != _RAISE
    return f"{text} ({error.diag.message_detail})" if named and error.diag.message_detail else text


def _raised_in(error: psycopg.Error) -> str:
    """Return the function of the database whose own words a message is; ``""`` for none.

    Its words may hold values. Those of a DO block are the migration's.
    """
    code = error.sqlstate or ""
    if error.diag.source_function != _RAISE and not code.startswith(_OF_OTHER_LANGUAGES):
        return ""
    where = (error.diag.context or "").partition("\n")[0]
    return "" if any(each in where for each in _DO) else where or "a function"


def _without_quoted(text: str) -> str:
    return _QUOTED.sub(f'"{HIDDEN}"', text)


class _WithoutValues(logging.Filter):
    """Takes values out of the tracebacks and errors that are logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
            error = record.exc_info[1]
            stand_in = _stand_in(error)
            record.exc_info = (type(stand_in), stand_in, error.__traceback__)
            if hasattr(record, "error"):
                record.error = message(error)
        return True


def _stand_in(error: BaseException) -> BaseException:
    """Return an error that prints as this one does, but for values; those behind it as well."""
    own = type(error)
    names = {"__module__": own.__module__, "__qualname__": own.__qualname__}
    made: BaseException = type(own.__name__, (Exception,), names)(message(error))
    made.__traceback__ = error.__traceback__
    made.__suppress_context__ = error.__suppress_context__
    if error.__cause__ is not None:
        made.__cause__ = _stand_in(error.__cause__)
    elif error.__context__ is not None and not error.__suppress_context__:
        made.__context__ = _stand_in(error.__context__)
    return made


# Statements.


def origin_of(operation: Operation) -> Origin:
    """Return where the SQL of an operation comes from."""
    if isinstance(operation, SeparateDatabaseAndState):
        inner = {origin_of(each) for each in operation.database_operations}
        return inner.pop() if len(inner) == 1 else "code"
    if isinstance(operation, RunSQL):
        given: Any = (operation.sql, operation.reverse_sql)
        listed = [each for script in given if isinstance(script, list | tuple) for each in script]
        return "file" if all(isinstance(each, str) for each in listed) else "code"
    of_django = type(operation).database_forwards.__module__.startswith("django.")
    return "code" if isinstance(operation, RunPython | RunHook) or not of_django else "schema"


def shown_sql(statement: Statement, origin: Origin) -> str:
    """Return a statement as it may be printed.

    The text of a migration is, and a text that stands in code as a whole. What was put together at
    run time loses its constants: they may come from rows.
    """
    written = origin == "file" or (origin == "schema" and statement.kind is Kind.DDL)
    if written or are_shown() or _stands_in_code(statement.sql):
        return statement.sql
    return without_constants(statement.sql, HIDDEN)


def _stands_in_code(sql: str) -> bool:
    """Return whether one of the callers has the text as a constant or a global."""
    frame = sys._getframe()  # the only way to one's callers
    caller = frame.f_back
    searched: set[int] = set()
    while caller is not None:
        module = caller.f_globals
        if not module.get("__name__", "").startswith(_BETWEEN):
            known = [*caller.f_code.co_consts]
            if id(module) not in searched:
                searched.add(id(module))
                known += module.values()
            if any(isinstance(each, str) and sql in each for each in known):
                return True
        caller = caller.f_back
    return False
