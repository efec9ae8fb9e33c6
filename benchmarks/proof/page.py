"""The results as tables in a page of the documentation, between two markers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comparison import Comparison

_BEGIN, _END = "<!-- proof: begin -->", "<!-- proof: end -->"
_HEAD = (
    "project",
    "Django, PostgreSQL",
    "migrations applied + rehearsed",
    "tables filled",
    "verdict",
    "schema and rows",
    "locks equal",
    "breaks confirmed",
    "durations in range, median error",
    "dry run, `migrate`",
    "differences, unexplained",
)


def write_page(path: Path, found: list[Comparison], *, rows: int, machine: str) -> None:
    """Replace what stands between the markers."""
    text = path.read_text()
    before, rest = text.split(_BEGIN)
    after = rest.split(_END)[1]
    names = " ".join(each.project.name for each in found)
    lines = [
        f"`python benchmarks/proof {names} --rows {rows}`, {machine}:",
        "",
        _row(_HEAD),
        _row(["---"] * len(_HEAD)),
        *(_row(_cells(each)) for each in found),
        "",
        *(_difference(each, line) for each in found for line in each.differences),
    ]
    path.write_text(f"{before}{_BEGIN}\n{chr(10).join(lines).rstrip()}\n{_END}{after}")


def _difference(each: Comparison, line: str) -> str:
    reason = each.project.reason(line)
    return f"- {each.project.name}: `{line}`: {reason or '**unexplained**'}"


def _cells(each: Comparison) -> list[Any]:
    prepared = each.prepared
    server = prepared["server"] // 10000, prepared["server"] % 10000
    error = each.median_error_percent
    other = [line for line in each.differences if line.startswith(("schema", "rows", "outcome"))]
    return [
        " ".join(each.project.requirements),
        f"{prepared['django']}, {server[0]}.{server[1]}",
        f"{prepared['applied']} + {prepared['pending']}",
        f"{prepared['filled']} of {prepared['tables']}",
        each.verdict,
        f"{each.tables} tables equal" if not other else "differ",
        each.locks,
        each.breaks,
        f"{each.in_range} of {each.forecasts}, {'' if error is None else f'{error:.0f} %'}",
        f"{each.dry_seconds:.0f} s, {each.real_seconds:.0f} s",
        f"{len(each.differences)}, {len(each.unexplained)}",
    ]


def _row(cells: Any) -> str:
    return f"| {' | '.join(map(str, cells))} |"
