"""Settings with the migrations of reusable apps that have many."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "testproject"))

import local_postgres

SECRET_KEY = "benchmarks"
USE_TZ = True
SITE_ID = 1
LANGUAGES = [("en", "English")]
LANGUAGE_CODE = "en"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DATABASES = {"default": local_postgres.database("confiture_packages")}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.sites",
    "django.contrib.admin",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.usersessions",
    "cms",
    "django_celery_beat",
    "django_celery_results",
    "djstripe",
    "easy_thumbnails",
    "filer",
    "helpdesk",
    "menus",
    "oauth2_provider",
    "reversion",
    "sekizai",
    "treebeard",
    "django_confiture",
]
CMS_CONFIRM_VERSION4 = True
CMS_TEMPLATES = [("page.html", "Page")]
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"
HELPDESK_ACTIVATE_API_ENDPOINT = False
HELPDESK_TEAMS_MODE_ENABLED = False
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
ROOT_URLCONF = "packages_settings"
urlpatterns: list[object] = []
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "sekizai.context_processors.sekizai",
                "cms.context_processors.cms_settings",
            ],
        },
    }
]
