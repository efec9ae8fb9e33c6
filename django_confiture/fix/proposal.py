"""The files that take a migration's place: a pure function of its operations and recipes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation

from django_confiture.dry_run.rewriting.files import Rewriting, RewrittenFile
from django_confiture.dry_run.rewriting.parts.parts import WHAT, Phase
from django_confiture.fix.files.sources import Content, Place, source_of
from django_confiture.fix.files.written_files import WrittenFile
from django_confiture.fix.outcomes import FixedFile

_NAME_LENGTH = 200
"""Of the 255 characters that Django's table has for a migration's name."""
_BEFORE = ("before", "step", "part")
"""What names begin with where a number won't do."""
_ALONE = "By itself: what it does in its own transaction, it does under no other's locks"
_PIECE = "Short locks only"


@dataclass(frozen=True)
class RewriteStep:
    """One operation of the migration, or a piece of it, on its way into the files."""

    origin: int
    """The operation's index."""
    operation: Operation
    rewriting: Rewriting | None = None
    alone: bool = False
    piece: bool = False
    """Whether it is another operation than the one that its authors wrote."""
    made: frozenset[str] = frozenset()
    """The names of the indexes and constraints that it makes, where it does no more."""
    dropped: frozenset[str] = frozenset()
    """The names of those that it drops, where it does no more."""
    rows_alone: bool = False
    """Whether it writes rows, and changes no table."""
    state_alone: bool = False
    """Whether it does nothing in the database."""


@dataclass(frozen=True)
class Proposal:
    """The files, and which operations each comes from."""

    files: tuple[FixedFile, ...]
    origins: dict[str, frozenset[int]]
    """By the file's name."""
    kept: dict[str, tuple[int, ...]]
    """The operations that stay as they are, in their order, by the file's name."""

    @property
    def next_release(self) -> tuple[FixedFile, ...]:
        """Those of the files that have to wait for the next release."""
        return tuple(each for each in self.files if each.next_release)


def proposed(
    migration: Migration, steps: Sequence[RewriteStep], written: WrittenFile | None
) -> Proposal:
    """Return the files in their order; the last has the migration's own name."""
    contents = sorted(_references_last([*_contents(migration, steps)]), key=_turn)
    beside = written.beside if written is not None else frozenset()
    names = [*_names_before(migration.name, contents[:-1], beside), migration.name]
    files = []
    dependencies: Sequence[tuple[str, str]] = migration.dependencies
    differs = False
    for name, content in zip(names, contents, strict=True):
        differs = (differs or content.file.differs) and not content.file.next_release
        completed_by = migration.name if differs else ""
        place = Place(dependencies, name == migration.name, completed_by)
        source = source_of(content, place, migration, written)
        files.append(FixedFile(name, source, content.file.next_release))
        dependencies = [(migration.app_label, name)]
    origins = {name: each.origins for name, each in zip(names, contents, strict=True)}
    kept = {name: each.kept for name, each in zip(names, contents, strict=True)}
    return Proposal(tuple(files), origins, kept)


def _references_last(contents: Sequence[Content]) -> Sequence[Content]:
    """Return the files with the foreign keys between the new columns of several operations last.

    Else those of one would be checked for each row that the next one fills: in a rehearsal, which
    is one transaction, without the index that they need.
    """
    references = _origins(each for each in contents if each.file.what == WHAT[Phase.REFERENCE])
    waiting = _origins(each for each in contents if each.file.next_release)
    first = next((i for i, each in enumerate(contents) if each.origins & references), 0)
    if not references or not all(each.origins <= waiting for each in contents[first:]):
        return contents
    early: list[Content] = []
    late: list[Content] = []
    begun: frozenset[int] = frozenset()
    for each in contents:
        if each.file.what == WHAT[Phase.REFERENCE]:
            begun |= each.origins
        if not each.file.next_release:
            (late if each.origins & begun else early).append(each)
    return [*early, *late, *(each for each in contents if each.file.next_release)]


def _origins(contents: Iterable[Content]) -> frozenset[int]:
    return frozenset(origin for each in contents for origin in each.origins)


def _turn(content: Content) -> int:
    """Return when a file's turn is: in this release, or first or later in the next one."""
    return content.file.next_release + (content.file.next_release and not content.file.ends_views)


def _contents(migration: Migration, steps: Sequence[RewriteStep]) -> Iterator[Content]:
    """Yield the contents of the files; operations that stay, and stand together, share one.

    Django makes foreign keys at the end of a migration. Once a file before has made them, rows
    leave checks to the end of their transaction, and PostgreSQL alters no such table until then.
    """
    kept: list[int] = []
    after_another = after_rows = False
    for step in steps:
        if step.rewriting is None and not step.alone and not step.piece:
            if after_another and after_rows and not (step.rows_alone or step.state_alone):
                yield from _as_it_was(migration, kept, "unchanged", "Unchanged")
                kept, after_rows = [], False
            kept.append(step.origin)
            after_rows |= step.rows_alone
            continue
        yield from _as_it_was(migration, kept, "unchanged", "Unchanged")
        kept, after_another, after_rows = [], True, False
        if step.rewriting is not None:
            yield from (Content(frozenset({step.origin}), file) for file in step.rewriting.files)
        elif step.piece:
            file = RewrittenFile("columns", _PIECE, [step.operation], migration.atomic)
            yield Content(frozenset({step.origin}), file)
        else:
            yield from _as_it_was(migration, [step.origin], "alone", _ALONE)
    yield from _as_it_was(migration, kept, "unchanged", "Unchanged")


def _as_it_was(
    migration: Migration, indexes: Sequence[int], what: str, why: str
) -> Iterator[Content]:
    if indexes:
        operations = [migration.operations[index] for index in indexes]
        file = RewrittenFile(what, why, operations, atomic=migration.atomic)
        yield Content(frozenset(indexes), file, tuple(indexes))


def _names_before(name: str, contents: Sequence[Content], beside: Collection[str]) -> list[str]:
    """Return the names of the files before the one that keeps its name, in a listing's order.

    None begins with that name, or with another migration's (``beside``), nor the other way round:
    ``migrate`` takes what it is told for the beginning of a name, and would find several.
    """
    width = len(str(len(contents)))
    parts = [(f"{count:0{width}}", each.file.what) for count, each in enumerate(contents, 1)]
    short = name[:_NAME_LENGTH]
    number, _, rest = short.partition("_")
    forms = [[f"{word}_{count}_{short}_{what}" for count, what in parts] for word in _BEFORE]
    if number.isdigit():
        forms.insert(0, [f"{number}_{count}_{rest}_{what}" for count, what in parts])
    others = {*beside, short}
    return next((each for each in forms if not _is_ambiguous(each, others)), forms[-1])


def _is_ambiguous(names: Collection[str], others: Collection[str]) -> bool:
    """Return whether a name begins with another one, or is the beginning of it."""
    return any(
        one != other and (one.startswith(other) or other.startswith(one))
        for one in names
        for other in others
    )
