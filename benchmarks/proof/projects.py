"""The projects that the proof takes from the package index, and their settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Project:
    """A published project, in an environment of its own."""

    name: str
    requirements: tuple[str, ...]
    settings: str
    """A settings module in benchmarks/, on the database that ``DATABASE_URL`` names."""
    django: str = "5.2"
    start: float = 0.5
    """How much of its history is applied beforehand."""
    environment: tuple[tuple[str, str], ...] = ()


PROJECTS = {
    each.name: each
    for each in (
        Project("wagtail", ("wagtail==8.0.*",), "wagtail_settings"),
        Project("oscar", ("django-oscar[sorl-thumbnail]==4.2.*",), "oscar_settings"),
        Project("pulpcore", ("pulpcore==3.123.*",), "pulpcore_settings"),
        Project("pretix", ("pretix==2026.8.*",), "pretix_settings"),
    )
}
