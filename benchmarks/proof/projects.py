"""The projects that the proof takes from the package index, and their settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Project:
    """A published project, in its own environment."""

    name: str
    requirements: tuple[str, ...]
    settings: str
    """A settings module in benchmarks/, on the database that ``DATABASE_URL`` names."""
    django: str = "5.2"
    start: float = 0.5
    """How much of its history is applied beforehand."""
    package: str = ""
    """Its package, where that has another name."""
    environment: tuple[tuple[str, str], ...] = ()
    explained: tuple[tuple[str, str], ...] = ()
    """The start of a line that names a difference → why there is one."""

    def reason(self, difference: str) -> str | None:
        """Return why there is a difference, None if it is not known."""
        known = (why for start, why in self.explained if difference.startswith(start))
        return next(known, None)


_GENERIC = (
    "the models have GenericRelations, so a deletion reads rows; the check's models have none"
)
_RANDOM = "its receiver of post_migrate writes a random secret and path, others in each run"
_WITH_RANDOM_TEXTS = ("contentguard", "contentredirectcontentguard", "distribution")

PROJECTS = {
    each.name: each
    for each in (
        Project(
            "wagtail",
            ("wagtail==8.0.*",),
            "wagtail_settings",
            explained=(
                (
                    "old release, not so: delete of auth_permission",
                    "rows of a new table can refer to a permission; none refers to the one tried",
                ),
            ),
        ),
        Project(
            "oscar",
            ("django-oscar[sorl-thumbnail]==4.2.*",),
            "oscar_settings",
            explained=(
                (
                    "old release, not so: insert of voucher_voucher",
                    "a name can no longer be used twice; the check takes a duplicate for its own",
                ),
                *(
                    (
                        f"new release, not so: insert of offer_{table}",
                        "a class can be used twice later; the check repeats a class",
                    )
                    for table in ("benefit", "condition")
                ),
            ),
        ),
        Project(
            "pulpcore",
            ("pulpcore==3.123.*",),
            "pulpcore_settings",
            explained=(
                *((f"rows of core_{table}:", _RANDOM) for table in _WITH_RANDOM_TEXTS),
                (
                    "new release, not so: update of core_artifact",
                    "the field's pre_save reads the domain; the check saves with raw=True",
                ),
                ("old release, not so: delete of core_upstreampulp", _GENERIC),
                ("new release, not so: delete of core_contentartifact", _GENERIC),
            ),
        ),
        Project("pretix", ("pretix==2026.8.*",), "pretix_settings"),
        Project("evennia", ("evennia==5.0.*",), "evennia_settings"),
        Project(
            "pretalx",
            ("pretalx==2025.2.*",),
            "pretalx_settings",
            explained=(
                ("rows of person_user:", "person.0008 gives each user a random code"),
                (
                    "old release, delete of mail_mailtemplate",
                    "an event that uses the template is deleted with it; made-up events use none",
                ),
            ),
        ),
        Project(
            "labelstudio",
            ("label-studio==1.23.*",),
            "labelstudio_settings",
            package="label_studio",
        ),
        Project(
            "pulprpm",
            ("pulp-rpm==3.39.*", "pulpcore==3.123.*"),
            "pulpcore_settings",
            package="pulp_rpm",
            explained=(
                *((f"rows of core_{table}:", _RANDOM) for table in _WITH_RANDOM_TEXTS),
                (
                    "old release, not so: delete of core_domain",
                    "exports get the default domain, which has to stay; the check deletes others",
                ),
            ),
        ),
        Project(
            "packages",
            (
                "dj-stripe==2.11.*",
                "django-allauth==65.22.*",
                "django-celery-beat==2.9.*",
                "django-celery-results==2.6.*",
                "django-cms==5.1.*",
                "django-filer==3.6.*",
                "django-helpdesk==2.6.*",
                "django-oauth-toolkit==3.4.*",
                "django-reversion==6.4.*",
                "packaging",
            ),
            "packages_settings",
        ),
        Project("djangoca", ("django-ca==3.2.*",), "djangoca_settings", package="django_ca"),
    )
}
