"""Which settings a statement or a function changes, and whether until the end of its transaction.

``SET LOCAL`` and ``set_config(..., true)`` end with their transaction, ``SET`` and
``set_config(..., false)`` do not, and no catalog tells one from the other afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django_confiture.dry_run.sql.parsing.nodes import Node, strings
from django_confiture.dry_run.sql.parsing.parser import Statement, parse
from django_confiture.dry_run.sql.parsing.plpgsql import CodeBlock, code_block
from django_confiture.dry_run.sql.parsing.suspects import Suspects

EVERY_SETTING = "*"
"""The name that stands for all of them: RESET ALL."""

_MENTIONED = Suspects(
    r"(?:current_setting|set_config)\s*\(\s*'+([\w$.]+)'|"
    r"\b(?:SET|RESET|SHOW)\s+(?:LOCAL\s+|SESSION\s+)?([a-z_]\w*(?:\.\w+)+)",
    "set",
    "show",
)
_SETS = Suspects(
    r"\bset_config\b|\bSET\s+(?:LOCAL|SESSION|ROLE|TIME)\b|\bRESET\b"
    r"|(?:^|;|'|\b(?:BEGIN|THEN|ELSE|LOOP)\b)\s*SET\s+[\w.%]+\s*(?:=|TO\b)",
    "set",
)
_STRINGS_AS_SQL = re.compile(r"\s*(?:SET|RESET|SELECT|PERFORM)\b", re.IGNORECASE)


@dataclass(frozen=True)
class SettingWrites:
    """What is set, by how long it lasts."""

    local: frozenset[str] = frozenset()
    session: frozenset[str] = frozenset()
    unclear: bool = False
    """Whether something is set whose name, or duration, the text does not tell."""

    def __bool__(self) -> bool:
        """Return whether anything is set."""
        return bool(self.local or self.session or self.unclear)


def custom_settings(text: str) -> set[str]:
    """Return the names with a dot that code reads or sets as literals: ``app.tenant``."""
    names = {(match[1] or match[2]).lower() for match in _MENTIONED.finditer(text)}
    return {name for name in names if "." in name}


def may_set(statement: Statement) -> bool:
    """Return whether a statement can change a setting, as far as its words tell."""
    return statement.what == "variable_set_stmt" or _says_set(statement.sql)


def _says_set(text: str) -> bool:
    return _SETS.search(text) is not None


def setting_writes(statement: Statement) -> SettingWrites:
    """Return what a statement sets, in the code of a DO block too."""
    if not may_set(statement):
        return SettingWrites()
    if statement.what == "do_stmt":
        return _writes_of_block(code_block(statement.sql))
    if statement.node is None:
        return SettingWrites(unclear=True)
    return _joined(_writes_of(statement))


def function_writes(source: str, language: str) -> SettingWrites:
    """Return what a function sets: its code, or for PL/pgSQL its whole CREATE FUNCTION."""
    if not _says_set(source):
        return SettingWrites()
    if language == "plpgsql":
        return _writes_of_block(code_block(source))
    if language == "sql":
        statements = parse(source, placeholders=False)
        return _joined(each for one in statements for each in _writes_of(one))
    return SettingWrites(unclear=True)


def _writes_of_block(block: CodeBlock | None) -> SettingWrites:
    if block is None:
        return SettingWrites(unclear=True)
    dynamic = (text for text in block.literals if _STRINGS_AS_SQL.match(text) and _says_set(text))
    texts = [*block.sql, *dynamic]
    parsed = [one for text in texts for one in parse(text, placeholders=False)]
    return _joined(each for one in parsed for each in _writes_of(one))


def _writes_of(statement: Statement) -> Iterator[SettingWrites]:
    if statement.node is None:
        yield SettingWrites(unclear=_says_set(statement.sql))
    elif statement.what == "variable_set_stmt":
        yield _by_set(statement.node.variable_set_stmt)
    else:
        calls = statement.function_calls
        yield from (_by_call(each) for each in calls if strings(each.funcname)[-1] == "set_config")


def _by_set(statement: Node) -> SettingWrites:
    name = statement.name.lower()
    if name.startswith(("transaction", "session characteristics")):
        return SettingWrites()
    names = frozenset([name or EVERY_SETTING])
    return SettingWrites(local=names) if statement.is_local else SettingWrites(session=names)


def _by_call(call: Node) -> SettingWrites:
    name = _literal(call.args[0]) if call.args else None
    lasts = call.args[2].a_const if len(call.args) == 3 else None
    if name is None or lasts is None or lasts.WhichOneof("val") != "boolval":
        return SettingWrites(unclear=True)
    names = frozenset([name.lower()])
    return SettingWrites(local=names) if lasts.boolval.boolval else SettingWrites(session=names)


def _literal(node: Node) -> str | None:
    if node.WhichOneof("node") == "type_cast":
        return _literal(node.type_cast.arg)
    constant = node.a_const
    return str(constant.sval.sval) if constant.WhichOneof("val") == "sval" else None


def _joined(writes: Iterable[SettingWrites]) -> SettingWrites:
    writes = list(writes)
    return SettingWrites(
        frozenset(name for each in writes for name in each.local),
        frozenset(name for each in writes for name in each.session),
        unclear=any(each.unclear for each in writes),
    )
