"""The files that take a migration's place: a pure function of its operations and recipes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from django.db.migrations.migration import Migration

from django_confiture.dry_run.rewriting.files import Rewriting, RewrittenFile
from django_confiture.dry_run.rewriting.source import file_source
from django_confiture.fix.outcomes import FixedFile

_NAME_LENGTH = 200
"""Of the 255 characters that Django's table has for a migration's name."""


def proposed_files(
    migration: Migration, rewritings: Mapping[int, Rewriting]
) -> tuple[FixedFile, ...]:
    """Return the files in their order; the last has the migration's own name.

    ``rewritings`` are those of the operations to fix, by index; the others stay as they are.
    """
    contents = list(_contents(migration, rewritings))
    names = [
        *(_name(migration.name, number, each) for number, each in enumerate(contents[:-1], 1)),
        migration.name,
    ]
    return tuple(_files(migration, contents, names))


def _files(
    migration: Migration, contents: Sequence[RewrittenFile], names: Sequence[str]
) -> Iterator[FixedFile]:
    dependencies: Sequence[tuple[str, str]] = migration.dependencies
    for name, content in zip(names, contents, strict=True):
        last = name == migration.name
        source = file_source(
            content,
            dependencies,
            run_before=migration.run_before if last else (),
        )
        yield FixedFile(name, source)
        dependencies = [(migration.app_label, name)]


def _contents(migration: Migration, rewritings: Mapping[int, Rewriting]) -> Iterator[RewrittenFile]:
    """Yield the contents of the files; operations that stay, and stand together, share one."""
    kept: list[int] = []
    for index in range(len(migration.operations)):
        if index in rewritings:
            yield from _as_it_was(migration, kept)
            kept = []
            yield from rewritings[index].files
        else:
            kept.append(index)
    yield from _as_it_was(migration, kept)


def _as_it_was(migration: Migration, indexes: Sequence[int]) -> Iterator[RewrittenFile]:
    if indexes:
        operations = [migration.operations[index] for index in indexes]
        yield RewrittenFile("unchanged", "Unchanged", operations, atomic=migration.atomic)


def _name(name: str, number: int, content: RewrittenFile) -> str:
    return f"{name[:_NAME_LENGTH]}_{number}_{content.what}"
