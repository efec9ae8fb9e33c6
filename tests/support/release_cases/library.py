"""Three models that most of the cases begin with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import models
from django.db.migrations import CreateModel
from django.db.migrations.operations.base import Operation

from tests.support.releases import Case, Rows


def key() -> Any:
    return models.BigAutoField(primary_key=True)


def library() -> list[Operation]:
    """Return authors, their books, tags of books, and a publisher above the authors."""
    return [
        CreateModel("Publisher", [("id", key()), ("name", models.CharField(max_length=40))]),
        CreateModel(
            "Author",
            [
                ("id", key()),
                ("name", models.CharField(max_length=50)),
                ("email", models.CharField(max_length=60, default="", blank=True)),
                ("publisher", models.ForeignKey("cases.Publisher", models.CASCADE)),
            ],
        ),
        CreateModel("Tag", [("id", key()), ("label", models.CharField(max_length=20))]),
        CreateModel(
            "Book",
            [
                ("id", key()),
                ("title", models.CharField(max_length=100)),
                ("isbn", models.CharField(max_length=13, unique=True)),
                ("pages", models.IntegerField(null=True, blank=True)),
                ("price", models.DecimalField(max_digits=8, decimal_places=2, default=0)),
                ("summary", models.TextField(blank=True, default="")),
                ("author", models.ForeignKey("cases.Author", models.CASCADE)),
                ("tags", models.ManyToManyField("cases.Tag")),
            ],
        ),
    ]


ROWS: Rows = {
    "Publisher": [lambda n, get: {"name": f"p{n}"}, lambda n, get: {"name": f"q{n}"}],
    "Author": [
        lambda n, get: {"name": f"a{n}", "publisher_id": get("Publisher")},
        lambda n, get: {"name": "a" * 50, "email": "e" * 60, "publisher_id": get("Publisher")},
    ],
    "Tag": [lambda n, get: {"label": f"t{n}"}],
    "Book": [
        lambda n, get: {"title": f"b{n}", "isbn": f"i{n}", "author_id": get("Author")},
        lambda n, get: {
            "title": "t" * 100,
            "isbn": f"{n:013}",
            "pages": 2147483647,
            "price": "999999.99",
            "summary": "s" * 1000,
            "author_id": get("Author"),
        },
        lambda n, get: {
            "title": "t",
            "isbn": f"m{n}",
            "pages": -2147483648,
            "price": "-999999.99",
            "author_id": get("Author"),
        },
    ],
    "Book_tags": [lambda n, get: {"book_id": get("Book"), "tag_id": get("Tag")}],
}


def case(name: str, *plan: Operation | Sequence[Operation], **options: Any) -> Case:
    """Return a case on the library; each argument is a migration."""
    steps = [[each] if isinstance(each, Operation) else list(each) for each in plan]
    first = [*library(), *options.pop("first", ())]
    rows = {**ROWS, **options.pop("rows", {})}
    return Case(name, first, steps, rows, **options)


def with_book(**values: Any) -> Rows:
    """Return rows of books with some values more."""
    return {
        "Book": [
            lambda n, get: {"title": "n", "isbn": f"n{n}", "author_id": get("Author"), **values}
        ]
    }
