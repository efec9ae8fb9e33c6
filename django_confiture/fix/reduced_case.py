"""What a report of a failed proof needs: statements and differences, without names and values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from django_confiture.dry_run.results import MigrationResult, OperationResult, Report
from django_confiture.dry_run.sql.parsing.rewrite import is_keyword
from django_confiture.fix.outcomes import OperationOutcome, ReducedCase, ReducedStep

_STRING, _QUOTED, _WORD = r"'(?:[^']|'')*'", r'"(?:[^"]|"")*"', r"[^\W\d]\w*"
_TOKEN = re.compile(f"{_STRING}|{_QUOTED}|{_WORD}")
_KEPT = """
bool bpchar bytea cidr citext date daterange float4 float8 hstore inet int2 int4 int4range int8
int8range json jsonb macaddr money numrange oid regclass serial bigserial smallserial text
timestamptz timetz tsquery tsrange tstzrange tsvector uuid xml
brin btree gin gist hash spgist
abs concat count gen_random_uuid length lower max md5 min nextval now random round setval sum
to_tsvector trim upper statement_timestamp
array_ops int4_ops int8_ops jsonb_ops jsonb_path_ops text_ops text_pattern_ops uuid_ops
varchar_pattern_ops gin_trgm_ops gist_trgm_ops
c plpgsql posix public
differ differs fail files function index migrations model of originally rows sequence state the
trigger type view
"""
"""Words that tell nothing of a project: types, methods, functions of PostgreSQL, and our own."""


def reduced_case(
    original: Report,
    new: Report,
    outcomes: Sequence[OperationOutcome],
    differences: Sequence[str],
) -> ReducedCase:
    """Return the statements of the fixed operations, those of the files, and what differs."""
    names = Names()
    fixed = {each.index: each for each in outcomes if each.outcome == "fixed"}
    results = original.migrations[-1].operations
    return ReducedCase(
        tuple(
            _step(each, f"{each.name}: {fixed[each.index].finding}", names)
            for each in results
            if each.index in fixed
        ),
        tuple(
            _step(each, f"file {number}, {each.name}", names)
            for number, migration in enumerate(_forward(new), 1)
            for each in migration.operations
        ),
        tuple(map(names.hidden, differences)),
    )


def _forward(report: Report) -> Iterator[MigrationResult]:
    yield from (each for each in report.migrations if each.direction == "forward")


def _step(operation: OperationResult, words: str, names: Names) -> ReducedStep:
    statements = (each.text for each in operation.statements)
    return ReducedStep(words, tuple(names.hidden(each) for each in statements))


class Names:
    """Gives every name the same other one wherever it stands."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def hidden(self, text: str) -> str:
        """Return a text with other names, and without its strings."""
        return _TOKEN.sub(lambda found: self._other(found[0]), text)

    def _other(self, token: str) -> str:
        if token.startswith("'"):
            return "'...'"
        name = token.strip('"')
        if name == "public" or _says_nothing(token):
            return name
        return self._known.setdefault(name, f"name{len(self._known) + 1}")


@cache
def _says_nothing(word: str) -> bool:
    lower = word.lower()
    return lower in _KEPT.split() or lower.startswith("pg_") or is_keyword(word)
