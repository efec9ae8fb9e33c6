"""How large a value is to be, within what a field takes."""

from __future__ import annotations

from typing import Literal

Level = Literal["modest", "least", "most"]
