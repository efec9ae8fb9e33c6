"""The library that parses SQL, imported here alone.

Type checkers see no types of it, in our code as in that of our users: its generated stub has
fields named ``def`` and ``None``, with which mypy stops at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    postgast: Any
    pg: Any
    DecodeError: type[Exception]
else:
    import postgast
    from google.protobuf.message import DecodeError
    from postgast import pg_query_pb2 as pg

__all__ = ["DecodeError", "pg", "postgast"]
