"""All that was begun is ended, though the end of something fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from django_confiture.endings import end_all


def test_each_is_ended_and_the_first_error_is_told() -> None:
    ended: list[str] = []

    def fails(error: BaseException) -> Callable[[], None]:
        def end() -> None:
            ended.append(str(error))
            raise error

        return end

    with pytest.raises(KeyboardInterrupt, match="two"):
        end_all(
            [
                lambda: ended.append("one"),
                fails(KeyboardInterrupt("two")),
                fails(ValueError("three")),
                lambda: ended.append("four"),
            ]
        )
    assert ended == ["one", "two", "three", "four"]


def test_where_all_ends_well_nothing_is_raised() -> None:
    end_all([])
    end_all(iter([lambda: None]))
