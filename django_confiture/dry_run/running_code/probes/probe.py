"""One thing that a release does with one model, and what its failure says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django_confiture.dry_run.results.deploy import Action
from django_confiture.dry_run.running_code.instances.instances import Variant

OF_ROWS: frozenset[Action] = frozenset(("select", "insert", "update"))
WRITES: frozenset[Action] = frozenset(("insert", "update"))
DELETES: frozenset[Action] = frozenset(("delete",))
EVERY_ACTION = OF_ROWS | DELETES
_DUPLICATE = ("23505", "23P01")


@dataclass(frozen=True)
class Probe:
    """One SELECT, INSERT, UPDATE or DELETE to try."""

    action: Action
    name: str
    run: Callable[[], object]
    variant: Variant | None = None
    confirmed_by: Callable[[], object] | None = None
    """What has to fail as well; it is nearer to what the release sends, or moves a sequence."""
    preceded_by: Callable[[], object] | None = None
    """What makes the row that it works on, alone."""
    constraint: str | None = None
    """The constraint that its values are for: what another one says of them is not known."""
    is_optional: bool = False
    """Whether a release may do without it: it counts where one of the schemas takes it."""
    is_untold: bool = False
    """Whether no model tells if a release does so: it is told of, and counts as no break."""

    @property
    def empties_all(self) -> bool:
        """Whether an UPDATE sets to NULL what an INSERT would leave so."""
        return self.action == "update" and bool(self.variant and self.variant.level is None)

    def is_beside(self, constraint: str | None) -> bool:
        """Return whether its values are for one constraint and another one refuses them."""
        return self.constraint is not None and self.constraint != constraint

    def meets_another_row(self, sqlstate: str | None) -> bool:
        """Return whether an UPDATE fails for a made-up value of another row: INSERTs try those."""
        is_made_up = self.variant is not None and not self.variant.captured
        return is_made_up and self.action == "update" and sqlstate in _DUPLICATE
