"""Tables that come, go, and change their names; keys and constraints."""

from __future__ import annotations

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    AlterModelOptions,
    AlterModelTable,
    AlterOrderWithRespectTo,
    AlterUniqueTogether,
    CreateModel,
    DeleteModel,
    RemoveConstraint,
    RemoveField,
    RemoveIndex,
    RenameModel,
    RunPython,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.state import StateApps
from django.db.models import Q

from tests.support.release_cases.library import case, key, with_book


def number_titles(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    for book in apps.get_model("cases", "Book").objects.all():
        book.title = f"title {book.pk}"
        book.save()


LOAN = CreateModel(
    "Loan", [("id", key()), ("book", models.ForeignKey("cases.Book", models.CASCADE))]
)
LOANS = {"Loan": [lambda n, get: {"book_id": get("Book")}]}
REVIEW = CreateModel(
    "Review",
    [
        ("id", key()),
        ("book", models.ForeignKey("cases.Book", models.CASCADE)),
        ("stars", models.IntegerField(default=1, choices=[(1, "one"), (2, "two"), (3, "three")])),
        ("critic", models.CharField(max_length=10)),
    ],
)
REVIEWS = {
    "Review": [
        lambda n, get: {"book_id": get("Book"), "critic": f"c{n}"},
        lambda n, get: {"book_id": get("Book"), "critic": f"c{n}", "stars": 3},
        lambda n, get: {"book_id": get("Book"), "critic": f"c{n}", "stars": 1},
    ]
}
SPECIAL = CreateModel(
    "Special",
    [
        (
            "book_ptr",
            models.OneToOneField(
                "cases.Book",
                models.CASCADE,
                parent_link=True,
                primary_key=True,
                auto_created=True,
                serialize=False,
            ),
        ),
        ("cover", models.CharField(max_length=20)),
    ],
    bases=("cases.Book",),
)
SPECIALS = {
    "Special": [
        lambda n, get: {"title": "x", "isbn": f"s{n}", "author_id": get("Author"), "cover": "hard"}
    ]
}

SIGNED = CreateModel(
    "Signed",
    [
        (
            "special_ptr",
            models.OneToOneField(
                "cases.Special",
                models.CASCADE,
                parent_link=True,
                primary_key=True,
                auto_created=True,
                serialize=False,
            ),
        ),
        ("by", models.CharField(max_length=20)),
    ],
    bases=("cases.Special",),
)
SIGNEDS = {
    "Signed": [
        lambda n, get: {
            "title": "x",
            "isbn": f"y{n}",
            "author_id": get("Author"),
            "cover": "soft",
            "by": "me",
        }
    ]
}


CASES = [
    case(
        "new_table",
        CreateModel("Shelf", [("id", key()), ("name", models.TextField())]),
        rows={"Shelf": [lambda n, get: {"name": "s"}]},
    ),
    case("new_table_that_refers", LOAN, rows=LOANS),
    case(
        "new_table_that_is_filled",
        LOAN,
        RunSQL("INSERT INTO cases_loan (book_id) SELECT id FROM cases_book"),
        rows=LOANS,
    ),
    case("drop_leaf_table", DeleteModel("Loan"), first=[LOAN], rows=LOANS),
    case("drop_table_of_books", [RemoveField("Book", "tags"), DeleteModel("Book")]),
    case("drop_tags", [RemoveField("Book", "tags"), DeleteModel("Tag")]),
    case(
        "drop_from_the_state_alone",
        SeparateDatabaseAndState(state_operations=[DeleteModel("Loan")]),
        first=[LOAN],
        rows=LOANS,
    ),
    case(
        "drop_after_the_state",
        RunSQL("DROP TABLE cases_old"),
        setup="CREATE TABLE cases_old (id bigint PRIMARY KEY)",
    ),
    case(
        "rename_model",
        RenameModel("Tag", "Label"),
        new_rows={
            "Label": [lambda n, get: {"label": "l"}],
            "Book_tags": [lambda n, get: {"book_id": get("Book"), "label_id": get("Label")}],
        },
    ),
    case(
        "rename_owner",
        RenameModel("Book", "Volume"),
        new_rows={
            "Volume": [lambda n, get: {"title": "x", "isbn": f"v{n}", "author_id": get("Author")}],
            "Volume_tags": [lambda n, get: {"volume_id": get("Volume"), "tag_id": get("Tag")}],
        },
    ),
    case(
        "rename_keeping_the_table",
        [AlterModelTable("Tag", "cases_tag"), RenameModel("Tag", "Label")],
        new_rows={
            "Label": [lambda n, get: {"label": "l"}],
            "Book_tags": [lambda n, get: {"book_id": get("Book"), "label_id": get("Label")}],
        },
    ),
    case("table_name", AlterModelTable("Tag", "cases_labels")),
    case(
        "view_under_the_old_name",
        [
            AlterModelTable("Author", "cases_writer"),
            RunSQL("CREATE VIEW cases_author AS SELECT * FROM cases_writer"),
        ],
        cleanup="DROP VIEW IF EXISTS cases_author",
    ),
    case(
        "view_of_protected_rows",
        [
            AlterModelTable("Memo", "cases_memos"),
            RunSQL("CREATE VIEW cases_memo AS SELECT * FROM cases_memos"),
        ],
        first=[
            CreateModel(
                "Memo", [("id", key()), ("tag", models.ForeignKey("cases.Tag", models.PROTECT))]
            )
        ],
        rows={"Memo": [lambda n, get: {"tag_id": get("Tag")}]},
        setup="INSERT INTO cases_tag (label) VALUES ('free')",
        cleanup="DROP VIEW IF EXISTS cases_memo",
    ),
    case(
        "view_of_some_columns",
        [
            AlterModelTable("Tag", "cases_labels"),
            RunSQL("CREATE VIEW cases_tag AS SELECT id, label, 1 AS one FROM cases_labels"),
        ],
        cleanup="DROP VIEW IF EXISTS cases_tag",
    ),
    case(
        "view_that_is_not_updatable",
        [
            AlterModelTable("Tag", "cases_labels"),
            RunSQL("CREATE VIEW cases_tag AS SELECT DISTINCT id, label FROM cases_labels"),
        ],
        cleanup="DROP VIEW IF EXISTS cases_tag",
    ),
    case(
        "many_to_many",
        AddField("Author", "tags", models.ManyToManyField("cases.Tag")),
        rows={"Author_tags": [lambda n, get: {"author_id": get("Author"), "tag_id": get("Tag")}]},
    ),
    case(
        "add_foreign_key",
        AddField(
            "Book",
            "editor",
            models.ForeignKey("cases.Author", models.CASCADE, null=True, related_name="edited"),
        ),
    ),
    case(
        "add_required_foreign_key",
        AddField("Book", "shop", models.ForeignKey("cases.Publisher", models.CASCADE, default=2)),
    ),
    case(
        "integer_to_foreign_key",
        AlterField(
            "Memo", "book", models.ForeignKey("cases.Book", models.CASCADE, db_column="book")
        ),
        first=[CreateModel("Memo", [("id", key()), ("book", models.BigIntegerField())])],
        rows={
            "Tag": [lambda n, get: {"label": "x"}],
            "Memo": [lambda n, get: {"book": get("Book")}],
        },
        new_rows={"Memo": [lambda n, get: {"book_id": get("Book")}]},
    ),
    case(
        "set_null",
        AlterField("Book", "author", models.ForeignKey("cases.Author", models.SET_NULL, null=True)),
        new_rows=with_book(author_id=None),
    ),
    case("order_with_respect_to", AlterOrderWithRespectTo("Book", "author")),
    case("index", AddIndex("Book", models.Index(fields=["title"], name="cases_by_title"))),
    case(
        "drop_index",
        RemoveIndex("Book", "cases_by_title"),
        first=[AddIndex("Book", models.Index(fields=["title"], name="cases_by_title"))],
    ),
    case("options", AlterModelOptions("Book", {"ordering": ["title"]})),
    case(
        "unique_title",
        RunPython(number_titles),
        AlterField("Book", "title", models.CharField(max_length=100, unique=True)),
        new_rows={
            "Book": [lambda n, get: {"title": f"u{n}", "isbn": f"n{n}", "author_id": get("Author")}]
        },
    ),
    case(
        "no_longer_unique",
        AlterField("Book", "isbn", models.CharField(max_length=13)),
        new_rows=with_book(isbn="same"),
    ),
    case(
        "unique_together",
        RunPython(number_titles),
        AlterUniqueTogether("Book", {("title", "author")}),
        new_rows={
            "Book": [lambda n, get: {"title": f"u{n}", "isbn": f"n{n}", "author_id": get("Author")}]
        },
    ),
    case(
        "no_longer_unique_together",
        AlterUniqueTogether("Review", set()),
        first=[REVIEW, AlterUniqueTogether("Review", {("book", "critic")})],
        rows=REVIEWS,
        new_rows={"Review": [lambda n, get: {"book_id": get("Book"), "critic": "c"}]},
    ),
    case(
        "check_positive",
        RunSQL("UPDATE cases_book SET price = 1"),
        AddConstraint(
            "Book", models.CheckConstraint(condition=Q(price__gte=0), name="cases_positive")
        ),
        new_rows=with_book(price=0),
    ),
    case(
        "check_that_all_pass",
        AddConstraint(
            "Book", models.CheckConstraint(condition=Q(price__gte=-1_000_000), name="cases_any")
        ),
    ),
    case(
        "drop_check",
        RemoveConstraint("Book", "cases_positive"),
        first=[
            AddConstraint(
                "Book", models.CheckConstraint(condition=Q(price__gte=0), name="cases_positive")
            )
        ],
        rows=with_book(price=0),
        new_rows=with_book(price=-1),
    ),
    case(
        "check_of_two",
        RunSQL("UPDATE cases_tag SET low = 0, high = 1"),
        AddConstraint(
            "Tag",
            models.CheckConstraint(condition=Q(low__lt=models.F("high")), name="cases_low_high"),
        ),
        first=[
            AddField("Tag", "low", models.IntegerField(default=0)),
            AddField("Tag", "high", models.IntegerField(default=1)),
        ],
        rows={
            "Tag": [
                lambda n, get: {"label": "x"},
                lambda n, get: {"label": "x", "low": 5, "high": 5},
            ]
        },
        new_rows={"Tag": [lambda n, get: {"label": "x"}]},
    ),
    case(
        "existing_check_of_two",
        AddField("Tag", "note", models.TextField(default="")),
        first=[
            AddField("Tag", "low", models.IntegerField(default=3)),
            AddField("Tag", "high", models.IntegerField(default=4)),
            AddConstraint(
                "Tag",
                models.CheckConstraint(
                    condition=Q(low__lt=models.F("high")), name="cases_low_high"
                ),
            ),
        ],
        rows={"Tag": [lambda n, get: {"label": "x"}]},
    ),
    case(
        "fewer_choices",
        RunSQL("UPDATE cases_review SET stars = 1"),
        AddConstraint(
            "Review", models.CheckConstraint(condition=Q(stars__lt=3), name="cases_stars")
        ),
        first=[REVIEW],
        rows=REVIEWS,
        new_rows={"Review": [lambda n, get: {"book_id": get("Book"), "critic": "c"}]},
    ),
    case(
        "exclusion",
        RunSQL("DELETE FROM cases_review"),
        RunSQL(
            "ALTER TABLE cases_review ADD CONSTRAINT cases_once"
            " EXCLUDE USING btree (book_id WITH =)"
        ),
        first=[REVIEW],
        rows=REVIEWS,
    ),
    case(
        "trigger_that_keeps_rows",
        RunSQL(
            "CREATE FUNCTION dry_keeps() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'loans are kept'; END $$;"
            " CREATE TRIGGER keeps BEFORE DELETE ON cases_loan FOR EACH ROW"
            " EXECUTE FUNCTION dry_keeps()"
        ),
        first=[LOAN],
        rows=LOANS,
        cleanup="DROP FUNCTION IF EXISTS dry_keeps() CASCADE",
    ),
    case(
        "rule_that_keeps_rows",
        RunSQL("CREATE RULE keeps AS ON DELETE TO cases_loan DO INSTEAD NOTHING"),
        first=[LOAN],
        rows=LOANS,
    ),
    case(
        "trigger_that_raises",
        RunSQL(
            "CREATE FUNCTION dry_raises() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
            "CREATE TRIGGER dry_raises BEFORE UPDATE ON cases_tag"
            " FOR EACH ROW EXECUTE FUNCTION dry_raises()"
        ),
    ),
    case(
        "trigger_that_fills",
        [
            AddField("Tag", "note", models.TextField(default="")),
            RunSQL(
                "CREATE FUNCTION dry_fills() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN NEW.note = coalesce(NEW.note, ''); RETURN NEW; END $$;"
                "CREATE TRIGGER dry_fills BEFORE INSERT ON cases_tag"
                " FOR EACH ROW EXECUTE FUNCTION dry_fills()"
            ),
        ],
    ),
    case(
        "trigger_on_a_lost_table",
        RunSQL("DROP TABLE dry_log"),
        setup="CREATE TABLE dry_log (label text);"
        "CREATE FUNCTION dry_logs() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO dry_log VALUES (NEW.label); RETURN NEW; END $$;"
        "CREATE TRIGGER dry_logs BEFORE INSERT ON cases_tag"
        " FOR EACH ROW EXECUTE FUNCTION dry_logs()",
    ),
    case(
        "foreign_table_refers",
        RunSQL("DROP TABLE dry_refers"),
        setup="CREATE TABLE dry_refers (tag bigint REFERENCES cases_tag);"
        "INSERT INTO dry_refers SELECT id FROM cases_tag",
    ),
    case(
        "referring_table_in_sql",
        RunSQL(
            "CREATE TABLE dry_refers (tag bigint REFERENCES cases_tag);"
            "INSERT INTO dry_refers SELECT id FROM cases_tag"
        ),
    ),
    case(
        "referring_table_without_rows",
        RunSQL("CREATE TABLE dry_refers (tag bigint REFERENCES cases_tag)"),
    ),
    case("child_model", SPECIAL, rows=SPECIALS),
    case("drop_child_model", DeleteModel("Special"), first=[SPECIAL], rows=SPECIALS),
    case("parent_loses_a_column", RemoveField("Book", "summary"), first=[SPECIAL], rows=SPECIALS),
    case(
        "grandparent_gains_a_column",
        AddField("Book", "note", models.TextField(null=True)),
        first=[SPECIAL, SIGNED],
        rows={**SPECIALS, **SIGNEDS},
    ),
    case(
        "child_gains_a_column",
        AddField("Special", "foil", models.TextField(default="")),
        first=[SPECIAL],
        rows=SPECIALS,
    ),
    case("proxy", CreateModel("Novel", [], options={"proxy": True}, bases=("cases.Book",))),
    case(
        "custom_table_and_columns",
        RemoveField("Odd", "two"),
        first=[
            CreateModel(
                "Odd",
                [
                    ("id", key()),
                    ("one", models.TextField(db_column="First one")),
                    ("two", models.TextField(db_column="2nd", default="")),
                ],
                options={"db_table": "cases_Odd table"},
            )
        ],
        rows={"Odd": [lambda n, get: {"one": "1"}]},
        cleanup='DROP TABLE "cases_Odd table"',
    ),
    case(
        "unmanaged_model_on_a_view",
        [RunSQL("DROP VIEW cases_names; CREATE VIEW cases_names AS SELECT id FROM cases_tag")],
        first=[
            CreateModel(
                "Names",
                [("id", key()), ("label", models.TextField())],
                options={"db_table": "cases_names", "managed": False},
            )
        ],
        rows={"Names": [lambda n, get: {"label": "x"}]},
        setup="CREATE VIEW cases_names AS SELECT id, label FROM cases_tag",
        cleanup="DROP VIEW IF EXISTS cases_names",
    ),
    case("empty_tables", RemoveField("Author", "email"), empty=True),
    case(
        "empty_tables_and_a_check",
        RunSQL("UPDATE cases_book SET price = 1"),
        AddConstraint(
            "Book", models.CheckConstraint(condition=Q(price__gte=0), name="cases_positive")
        ),
        empty=True,
        new_rows=with_book(price=0),
    ),
    case(
        "empty_tables_and_not_null",
        AddField("Book", "note", models.TextField(default="")),
        empty=True,
    ),
    case(
        "two_migrations_break_one_table",
        RemoveField("Book", "summary"),
        RemoveField("Book", "price"),
    ),
    case(
        "text_key",
        CreateModel("Coupon", [("code", models.CharField(max_length=8, primary_key=True))]),
        AddField("Coupon", "note", models.TextField(default="")),
        rows={"Coupon": [lambda n, get: {"code": f"c{n}"}]},
    ),
    case(
        "text_key_narrowed",
        RunSQL("DELETE FROM cases_coupon"),
        AlterField("Coupon", "code", models.CharField(max_length=4, primary_key=True)),
        first=[CreateModel("Coupon", [("code", models.CharField(max_length=8, primary_key=True))])],
        rows={"Coupon": [lambda n, get: {"code": f"{n:08}"}]},
        new_rows={"Coupon": [lambda n, get: {"code": f"{n % 10_000:04}"}]},
    ),
    case("row_level_security", RunSQL("ALTER TABLE cases_tag ENABLE ROW LEVEL SECURITY")),
    case(
        "drop_the_primary_key's_sequence",
        RunSQL(
            "ALTER TABLE cases_tag ALTER id DROP IDENTITY;"
            "CREATE SEQUENCE cases_ids OWNED BY cases_tag.id START 500;"
            "ALTER TABLE cases_tag ALTER id SET DEFAULT nextval('cases_ids')"
        ),
    ),
    case(
        "protect", AlterField("Book", "author", models.ForeignKey("cases.Author", models.PROTECT))
    ),
]
