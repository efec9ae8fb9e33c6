"""The ``Hook`` subclass at a dotted path; errors say who asked for it."""

from __future__ import annotations

from django.utils.module_loading import import_string

from django_confiture import conf
from django_confiture.exceptions import HookLookupError
from django_confiture.hooks.base import Hook

_GIVE_THE_CLASS = "Give the class itself, not an instance."
WRITE_A_PATH = 'Write the dotted path of a Hook subclass, such as "shop.hooks.Backfill".'


def import_hook(path: object, where: str) -> type[Hook]:
    """Return the class at the dotted ``path``, which may be the class itself.

    Raises :class:`HookLookupError`, which names ``where``.
    """
    imported = path
    if isinstance(path, str):
        try:
            imported = import_string(path)
        except Exception as error:
            raise HookLookupError(
                f"{where}: {path!r} cannot be imported ({type(error).__name__}: {error})",
                WRITE_A_PATH,
            ) from error
        shown = f"{path!r} is {conf.shortened(imported)}, which"
        return as_hook_class(imported, where, shown=shown, fix=WRITE_A_PATH)
    fix = _GIVE_THE_CLASS if isinstance(path, type | Hook) else WRITE_A_PATH
    return as_hook_class(imported, where, fix=fix)


def as_hook_class(
    candidate: object, where: str, *, shown: str = "", fix: str = _GIVE_THE_CLASS
) -> type[Hook]:
    """Return ``candidate``, a ``Hook`` subclass; ``fix`` says what to write for anything else."""
    if isinstance(candidate, type) and issubclass(candidate, Hook):
        return candidate
    shown = shown or conf.shortened(candidate)
    raise HookLookupError(f"{where}: {shown} is not a subclass of django_confiture.Hook", fix)
