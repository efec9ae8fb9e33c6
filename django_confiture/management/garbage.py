"""Garbage collection while a dry run migrates: less often, and not of what was there before.

Django makes and drops whole sets of models for each migration. With Python's own thresholds the
collector looks at them, and at every module, thousands of times.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLDS = 5_000, 10, 10
"""Higher ones save little more, and let memory grow by more than a fifth."""


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Collect garbage less often inside the block; then as before.

    Where someone has frozen objects already, those stay frozen.
    """
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    if not frozen:
        gc.freeze()
    gc.set_threshold(*(max(pair) for pair in zip(before, _THRESHOLDS, strict=True)))
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if not frozen:
            gc.unfreeze()
