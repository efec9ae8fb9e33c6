"""The receivers of ``pre_migrate`` and ``post_migrate``.

They are connected in every process of a project; what they need is imported with the first plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.db.migrations.migration import Migration

_begun: set[str] = set()
"""The aliases that have had a plan."""


def weave_plan(
    *, using: str, plan: list[tuple[Migration, bool]] | None = None, **kwargs: object
) -> None:
    """Weave each planned migration once; a receiver of ``pre_migrate``."""
    if not plan:
        return
    from django_confiture.migrate import weave  # with a plan alone, as others need none of it

    _begun.add(using)
    weave.weave_plan(using=using, plan=plan, **kwargs)


def end_plan(*, sender: object, using: str, **_: object) -> None:
    """Close the session of a plan that has run; a receiver of ``post_migrate``."""
    if using in _begun:
        from django_confiture.migrate import weave

        weave.end_plan(sender=sender, using=using)
