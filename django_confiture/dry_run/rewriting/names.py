"""The names that PostgreSQL generates for constraints that a statement does not name."""

from __future__ import annotations

NAME_BYTES = 63


def suffixed(name: str, suffix: str) -> str:
    """Return a name with a suffix, cut where it would be too long."""
    room = NAME_BYTES - len(suffix)
    return name.encode()[:room].decode(errors="ignore") + suffix


def object_name(table: str, column: str, label: str) -> str:
    """Return the name that PostgreSQL makes for a column's constraint: ``table_column_label``.

    Where it would be too long, the longer of the two names is cut. The column may be empty.
    """
    if not column:
        return suffixed(table, f"_{label}")
    room = NAME_BYTES - len(label) - 2
    parts = [table.encode(), column.encode()]
    while len(parts[0]) + len(parts[1]) > room:
        longer = 0 if len(parts[0]) > len(parts[1]) else 1
        parts[longer] = parts[longer][:-1]
    cut = [part.decode(errors="ignore") for part in parts]
    return f"{cut[0]}_{cut[1]}_{label}"
