"""Whether the turns of a loop over rows can be cut off and begin again: each row by itself.

A second time it has to write the values that it wrote the first time.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import FunctionType

from django_confiture.dry_run.rewriting.data.functions import names_in, source_of
from django_confiture.dry_run.rewriting.data.in_place import (
    part_of_call,
    part_of_target,
    parts_read,
    share_a_part,
    without_aliases,
)
from django_confiture.dry_run.rewriting.data.updates import is_update
from django_confiture.dry_run.rewriting.files import NoRecipe

_STRIPS, _CASES = {"lstrip", "rstrip", "strip"}, {"casefold", "lower", "upper"}
KEEPING = {
    "add", "append", "clear", "extend", "insert", "pop", "popitem", "remove", "setdefault",
    "update",
}  # fmt: skip
"""The methods by which one turn could leave something for the next."""
_KEYS = ("pk", "id")
_LAST = ("delete", "save")
"""The methods of a row that end its turn."""
_IN_PROGRESS, _KNOWN = "in progress", "known"
UNKNOWN = ast.Await | ast.Global | ast.Lambda | ast.NamedExpr | ast.Nonlocal | ast.Yield
"""What may do more than it shows."""
_WHOLE = (
    "its loop does more than give each row values of its own and save it: take what is more out "
    "of the loop"
)
_CARRIES = "its loop carries something from one row to the next"
_TWICE = (
    "its loop computes a value from one that it writes, so it must not run twice: write the new "
    "value to a new column, or choose the rows that have none yet"
)


@dataclass(frozen=True)
class TurnOfLoop:
    """What a loop does with one row."""

    row: str
    changed: str
    """The name of the list that it appends the row to, for ``bulk_update()``; or ``""``."""
    function: FunctionType

    def checked(self, body: Sequence[ast.stmt]) -> frozenset[str]:
        """Return the module's functions that it needs; raises :class:`NoRecipe`."""
        body = without_aliases(body, self.row)
        if not all(map(self._is_plain, _flat(body))):
            raise NoRecipe(_WHOLE)
        if self.changed and _reads_list(self.changed, body):
            raise NoRecipe(_CARRIES)
        own = {each.id for each in names_in(_targets(body)) if isinstance(each.ctx, ast.Store)}
        _set_before_read(body, own, set())
        by_key = [e for step in _flat(body) if (e := _update_by_key(step, self.row)) is not None]
        in_place = [*self._in_place(body)]
        calls = {ast.unparse(call.func) for call in (*by_key, *(call for call, _part in in_place))}
        _without_memory(body, allowed={f"{self.changed}.append", *calls})
        written = {part for each in _targets(body) if (part := _written(each, self.row))}
        written |= {each.arg for call in by_key for each in call.keywords if each.arg}
        written |= {part for _call, part in in_place}
        helpers: dict[str, str] = {}
        read = set(self._read_body(body, helpers))
        if share_a_part(written, read):
            raise NoRecipe(_TWICE)
        return frozenset(helpers)

    def _in_place(self, body: Sequence[ast.stmt]) -> Iterator[tuple[ast.Call, str]]:
        """Yield the calls that change a value of the row in place, and what they change."""
        for each in _flat(body):
            part = part_of_call(each, self.row)
            if part is not None and isinstance(each, ast.Expr) and isinstance(each.value, ast.Call):
                yield each.value, part

    def _is_plain(self, step: ast.stmt) -> bool:
        """Return whether it is an assignment, the saving, or the end of the turn."""
        if isinstance(step, ast.Assign):
            return all(
                (isinstance(each, ast.Name) and each.id not in (self.row, self.changed))
                or _written(each, self.row) is not None
                for each in _targets([step])
            )
        call = step.value if isinstance(step, ast.Expr) else None
        if not isinstance(call, ast.Call):
            return isinstance(step, ast.Continue | ast.If | ast.Pass)
        if part_of_call(step, self.row) is not None:
            return True
        if self.changed:
            return ast.unparse(call) == f"{self.changed}.append({self.row})"
        if is_deletion(step, self.row) or _update_by_key(step, self.row) is not None:
            return True
        options = {each.arg for each in call.keywords}
        plain = options <= {"update_fields", "using"} and not call.args
        return plain and ast.unparse(call.func) == f"{self.row}.save"

    def _read_body(self, body: Sequence[ast.stmt], helpers: dict[str, str]) -> Iterator[str]:
        """Yield the row's attributes that values depend on; note the functions that are called.

        The condition for doing anything at all may depend on any.
        """
        parts: Sequence[ast.AST] = body
        guard = body[0]
        if isinstance(guard, ast.If) and not guard.orelse:
            is_skipping = [type(each) for each in guard.body] == [ast.Continue]
            parts = body[1:] if is_skipping else guard.body if len(body) == 1 else body
            list(_uses(self.row, [guard.test], self.function, helpers, self.changed))
        for each in _flat(parts):
            if not (isinstance(each, ast.Assign) and _is_stable(each)):
                shallow = [each.test] if isinstance(each, ast.If) else [each]
                yield from _uses(self.row, shallow, self.function, helpers, self.changed)


def is_deletion(step: ast.AST, row: str) -> bool:
    """Return whether a statement deletes the row."""
    return isinstance(step, ast.Expr) and ast.unparse(step) == f"{row}.delete()"


def _update_by_key(step: ast.stmt, row: str) -> ast.Call | None:
    """Return the ``queryset.filter(pk=row.pk).update(...)`` that a statement is."""
    call = step.value if isinstance(step, ast.Expr) else None
    if not isinstance(call, ast.Call) or not is_update(call):
        return None
    chosen = call.func.value if isinstance(call.func, ast.Attribute) else None
    if not isinstance(chosen, ast.Call) or not call.keywords or len(chosen.keywords) != 1:
        return None
    ((name, value),) = [(each.arg, ast.unparse(each.value)) for each in chosen.keywords]
    by_key = name in _KEYS and value in {f"{row}.{each}" for each in _KEYS}
    named = all(each.arg for each in call.keywords)
    return call if by_key and named and not chosen.args else None


def _written(target: ast.expr, row: str) -> str | None:
    """Return what an assignment changes of the row."""
    if isinstance(target, ast.Attribute) and ast.unparse(target.value) == row:
        return target.attr
    return part_of_target(target, row)


def _flat(body: Sequence[ast.AST]) -> Iterator[ast.stmt]:
    for each in body:
        assert isinstance(each, ast.stmt)
        yield each
        if isinstance(each, ast.If):
            yield from _flat([*each.body, *each.orelse])


def _targets(body: Sequence[ast.AST]) -> list[ast.expr]:
    return [
        each
        for step in _flat(body)
        if isinstance(step, ast.Assign)
        for target in step.targets
        for each in (target.elts if isinstance(target, ast.Tuple) else [target])
    ]


def _set_before_read(body: Sequence[ast.stmt], own: set[str], known: set[str]) -> set[str]:
    """Return the loop's own names that are set after some statements; refuse one read before."""
    for step in body:
        shallow = step.test if isinstance(step, ast.If) else step
        loads = {each.id for each in names_in([shallow]) if isinstance(each.ctx, ast.Load)}
        if loads & own - known:
            raise NoRecipe(_CARRIES)
        if isinstance(step, ast.If):
            then, otherwise = (_set_before_read(e, own, known) for e in (step.body, step.orelse))
            known = known | (then & otherwise)
        else:
            known = known | {each.id for each in names_in(_targets([step]))}
    return known


def _reads_list(changed: str, body: Sequence[ast.AST]) -> bool:
    """Return whether code does more with the list of rows than append to it."""
    used = sum(each.id == changed for each in names_in(body))
    nodes = [node for part in body for node in ast.walk(part)]
    appends = [each for each in nodes if isinstance(each, ast.Call)]
    return used > sum(ast.unparse(each.func) == f"{changed}.append" for each in appends)


def _without_memory(
    body: Sequence[ast.AST],
    *,
    allowed: AbstractSet[str] = frozenset(),
    own: AbstractSet[str] = frozenset(),
) -> None:
    """Refuse what could change something that is there for the next row, too."""
    for each in (node for part in body for node in ast.walk(part)):
        if isinstance(each, ast.Attribute) and each.attr in KEEPING:
            is_own = isinstance(each.value, ast.Name) and each.value.id in own
            if ast.unparse(each) not in allowed and not is_own:
                raise NoRecipe(_CARRIES)
        elif isinstance(each, UNKNOWN):
            raise NoRecipe(_WHOLE)


def _uses(
    row: str,
    parts: Sequence[ast.AST],
    function: FunctionType,
    helpers: dict[str, str],
    changed: str = "",
) -> Iterator[str]:
    """Yield the attributes of a row that are read; raises :class:`NoRecipe` for other uses."""
    parents = {id(c): p for each in parts for p in ast.walk(each) for c in ast.iter_child_nodes(p)}
    for name in names_in(parts):
        parent = parents.get(id(name))
        helper = _own(parent, function)
        if helper is not None:
            assert isinstance(parent, ast.Call)
            yield from _read_by(helper, parent, row, helpers)
        if name.id != row:
            continue
        appended = parent is not None and changed and ast.unparse(parent)
        if isinstance(parent, ast.Attribute):
            yield from _read_as(parent, parents)
        elif helper is None and appended != f"{changed}.append({row})":
            raise NoRecipe(_WHOLE)


def _read_as(attribute: ast.Attribute, parents: Mapping[int, ast.AST]) -> Iterator[str]:
    """Yield the attribute that is read; a method but ``get_..._display()`` may read any."""
    name, around = attribute.attr, parents.get(id(attribute))
    if isinstance(around, ast.Call) and around.func is attribute and name not in _LAST:
        if not (name.startswith("get_") and name.endswith("_display")):
            raise NoRecipe(_WHOLE)
        yield name.removeprefix("get_").removesuffix("_display")
    elif isinstance(attribute.ctx, ast.Load) and name not in _LAST:
        yield from parts_read(attribute, parents)


def _own(node: ast.AST | None, function: FunctionType) -> FunctionType | None:
    """Return the function of the same module that is called, if one is."""
    name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
    value = function.__globals__.get(name)
    own = isinstance(value, FunctionType) and value.__module__ == function.__module__
    return value if own else None


def _read_by(
    helper: FunctionType, call: ast.Call, row: str, helpers: dict[str, str]
) -> Iterator[str]:
    """Yield the attributes of the row that a function reads of its argument."""
    node = source_of(helper, helper.__code__.co_argcount)
    plain = helper.__name__ == node.name and not (node.args.defaults or node.args.kwonlyargs)
    again = helpers.get(helper.__name__) == _IN_PROGRESS
    if not plain or again or node.args.vararg or node.args.kwarg or call.keywords:
        raise NoRecipe(_WHOLE)
    if helper.__name__ not in helpers:
        own = {each.id for each in names_in(node.body) if isinstance(each.ctx, ast.Store)}
        _without_memory(node.body, own=own)
        stores = [
            each for each in ast.walk(node) if isinstance(each, ast.Attribute | ast.Subscript)
        ]
        if any(not isinstance(each.ctx, ast.Load) for each in stores):
            raise NoRecipe(_CARRIES)
    helpers[helper.__name__] = _IN_PROGRESS
    for argument, given in zip(node.args.args, call.args, strict=False):
        whole = isinstance(given, ast.Name) and given.id == row
        yield from _uses(argument.arg if whole else "", node.body, helper, helpers)
    helpers[helper.__name__] = _KNOWN


def _is_stable(step: ast.Assign) -> bool:
    """Return whether it trims a text, or puts it into one case."""
    cases: set[str] = set()
    node = step.value
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        cases |= {node.func.attr} & _CASES
        if node.args or node.keywords or node.func.attr not in _STRIPS | _CASES:
            return False
        node = node.func.value
    return len(cases) < 2 and [ast.unparse(node)] == [ast.unparse(e) for e in step.targets]
