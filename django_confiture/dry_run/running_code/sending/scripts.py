"""What passed, as SQL that can be run again in one round trip."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Set

from django_confiture.dry_run.results.deploy import Action
from django_confiture.dry_run.running_code.sending.connection import ProbeConnection
from django_confiture.dry_run.running_code.sending.statements import Script

Actions = frozenset[Action]


class PassedScripts:
    """One script for some actions together, or for each of them."""

    def __init__(self, connection: ProbeConnection) -> None:
        self._connection = connection
        self._scripts: dict[Actions, Script] = {}

    def keep(self, actions: Actions, script: Script) -> None:
        """Keep what does all that some actions do."""
        self._forget(actions)
        self._scripts[actions] = script

    def keep_each(self, recorded: Recorded) -> None:
        """Keep a script for each action of which every probe left one."""
        for action, script in recorded.scripts(self._connection):
            self.keep(frozenset((action,)), script)

    def _forget(self, actions: Set[Action]) -> None:
        for known in [known for known in self._scripts if not known.isdisjoint(actions)]:
            del self._scripts[known]

    def passed(self, wanted: Set[Action]) -> frozenset[Action]:
        """Return those of the actions that still do what they did."""
        found: set[Action] = set()
        for actions, script in self._scripts.items():
            if actions <= wanted and self._connection.passes(script):
                found |= actions
        return frozenset(found)


class Recorded:
    """The scripts of probes, while they are tried one by one."""

    def __init__(self) -> None:
        self._scripts: defaultdict[Action, list[Script]] = defaultdict(list)
        self._incomplete: set[Action] = set()

    def note(self, action: Action, script: Script | None) -> None:
        """Note what a probe did; None where it can't be run again as it is."""
        if script is None:
            self._incomplete.add(action)
        else:
            self._scripts[action].append(script)

    def scripts(self, connection: ProbeConnection) -> Iterator[tuple[Action, Script]]:
        """Yield the actions of which every probe can be run again, with one script for all."""
        for action, scripts in self._scripts.items():
            if action not in self._incomplete:
                yield action, connection.one_script(scripts)
