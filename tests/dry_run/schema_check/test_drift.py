"""``confiture_drift``: what it finds, and what it must leave alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, DateTimeRangeField, RangeOperators
from django.contrib.postgres.indexes import GinIndex
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations import operations as ops
from django.db.models import (
    CASCADE,
    BigAutoField,
    BooleanField,
    CharField,
    CheckConstraint,
    DateTimeField,
    DecimalField,
    Field,
    ForeignKey,
    GeneratedField,
    Index,
    IntegerField,
    ManyToManyField,
    OneToOneField,
    PositiveIntegerField,
    Q,
    TextField,
    UniqueConstraint,
    UUIDField,
)
from django.db.models.functions import Lower, Now, Upper
from pytest_django import Settings

from tests.cases.migrations_on_disk import Cases, query
from tests.support.dry_run import plain_connection

DISK = f"cases_disk_{os.getpid()}"
"""A tablespace is the whole server's, which other test processes share."""
LONG = "a_name_of_so_many_letters_that_postgresql_has_to_cut_it_short_at_63"
GROUP = ("cases.Group", "cases_group")


class OfNoType(IntegerField):  # type: ignore[type-arg]
    """A field whose type an extension would have to bring."""

    def db_type(self, connection: Any) -> str:
        return "no_such_type"


def _key() -> tuple[str, Field[Any, Any]]:
    return "id", BigAutoField(primary_key=True)


def rich_models() -> list[ops.base.Operation]:
    """Return operations that make use of everything that a model can say of its table."""
    return [
        ops.CreateModel(
            "Group",
            [_key(), ("code", CharField(max_length=10, unique=True)),
             ("parent", ForeignKey("cases.Group", CASCADE, null=True))],
        ),
        ops.CreateModel("Text", [("key", CharField(max_length=20, primary_key=True))]),
        ops.CreateModel(
            "Order",
            [
                _key(),
                ("name", CharField(max_length=20, db_index=True)),
                ("note", TextField(db_comment="free text", default="")),
                ("quantity", PositiveIntegerField(default=1)),
                ("total", DecimalField(max_digits=10, decimal_places=2, db_default=0)),
                ("made", DateTimeRangeField(null=True)),
                ("tags", ArrayField(TextField(), default=list)),
                ("public", UUIDField(unique=True, null=True, db_column="Public Id")),
                ("shout", GeneratedField(
                    expression=Upper("name"), output_field=CharField(max_length=20),
                    db_persist=True)),
                ("seen", BooleanField(db_default=False)),
                ("group", ForeignKey("cases.Group", CASCADE)),
                ("text", ForeignKey("cases.Text", CASCADE, null=True)),
                ("free", ForeignKey("cases.Group", CASCADE, null=True, db_constraint=False,
                                    related_name="+")),
                ("groups", ManyToManyField("cases.Group", related_name="+")),
                (LONG, IntegerField(null=True, db_index=True)),
            ],
            options={
                "db_table_comment": "what people buy",
                "unique_together": {("name", "group")},
                "indexes": [
                    Index(fields=["quantity", "-total"], name="order_quantity"),
                    Index(Lower("note"), name="order_note", condition=Q(quantity__gt=3)),
                    Index(fields=["name"], include=["quantity"], name="order_covering"),
                    GinIndex(fields=["tags"], name="order_tags"),
                ],
                "constraints": [
                    CheckConstraint(condition=Q(total__gte=0), name="order_total"),
                    UniqueConstraint(fields=["note"], nulls_distinct=False, name="order_unique"),
                    UniqueConstraint(Lower("name"), name="order_lower"),
                    ExclusionConstraint(
                        name="order_made", expressions=[("made", RangeOperators.OVERLAPS)]),
                ],
            },
        ),
        ops.CreateModel("Child", [
            ("order_ptr", OneToOneField("cases.Order", CASCADE, parent_link=True,
                                        primary_key=True)),
            ("extra", DateTimeField(db_default=Now())),
        ], bases=("cases.order",)),
        ops.CreateModel("Seen", [_key()], options={"managed": False, "db_table": "cases_none"}),
    ]  # fmt: skip


def drift(*args: str) -> tuple[int, str]:
    """Run the command; return its exit code and what it printed."""
    out = StringIO()
    try:
        call_command("confiture_drift", *args, stdout=out)
    except SystemExit as error:
        return int(error.code or 0), out.getvalue()
    return 0, out.getvalue()


def differences() -> list[dict[str, Any]]:
    code, out = drift("--format", "json")
    document = json.loads(out)
    assert document["database"] == "default"
    assert code == bool(document["differences"])
    found: list[dict[str, Any]] = document["differences"]
    return found


@pytest.fixture
def rich(cases: Cases) -> Cases:
    cases.add("0001_rich", *rich_models())
    cases.migrate()
    return cases


@pytest.fixture(scope="module", autouse=True)
def disk(django_db_setup: None) -> Iterator[None]:
    """Have a second tablespace, in the data directory itself."""
    with plain_connection() as observer:
        observer.execute("SET allow_in_place_tablespaces = on")
        observer.execute(f"CREATE TABLESPACE {DISK} LOCATION ''")
        yield
        observer.execute(f"DROP TABLESPACE {DISK}")


def test_what_django_makes_is_as_the_models_say(rich: Cases) -> None:
    assert differences() == []
    assert drift() == (0, "'default' matches the models of its applied migrations.\n")


PLANTED = {
    "column missing": (
        "ALTER TABLE cases_order DROP COLUMN made",
        {("column", "made"), ("constraint", "order_made")},
    ),
    "column added": ("ALTER TABLE cases_order ADD extra int NOT NULL", {("column", "extra")}),
    "type": ("ALTER TABLE cases_order ALTER quantity TYPE bigint", {("column", "quantity")}),
    "length": ("ALTER TABLE cases_group ALTER code TYPE varchar(30)", {("column", "code")}),
    "null": ("ALTER TABLE cases_order ALTER name DROP NOT NULL", {("column", "name")}),
    "not null": ("ALTER TABLE cases_order ALTER text_id SET NOT NULL", {("column", "text_id")}),
    "default gone": ("ALTER TABLE cases_order ALTER total DROP DEFAULT", {("column", "total")}),
    "default added": ("ALTER TABLE cases_order ALTER note SET DEFAULT 'x'", {("column", "note")}),
    "default changed": ("ALTER TABLE cases_order ALTER total SET DEFAULT 1", {("column", "total")}),
    "identity gone": ("ALTER TABLE cases_group ALTER id DROP IDENTITY", {("column", "id")}),
    "collation": ('ALTER TABLE cases_order ALTER note TYPE text COLLATE "C"', {("column", "note")}),
    "comment": ("COMMENT ON COLUMN cases_order.note IS 'other'", {("column", "note")}),
    "table comment": ("COMMENT ON TABLE cases_order IS NULL", {("table", "cases_order")}),
    "index missing": ("DROP INDEX order_quantity", {("index", "order_quantity")}),
    "index added": ("CREATE INDEX by_hand ON cases_order (total)", {("index", "by_hand")}),
    "index renamed": ("ALTER INDEX order_tags RENAME TO tags", {("index", "order_tags")}),
    "index invalid": (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'order_note'::regclass",
        {("index", "order_note")},
    ),
    "index predicate": (
        "DROP INDEX order_note; CREATE INDEX order_note ON cases_order (lower(note))",
        {("index", "order_note")},
    ),
    "include": (
        "DROP INDEX order_covering; CREATE INDEX order_covering ON cases_order (name)",
        {("index", "order_covering")},
    ),
    "check missing": (
        "ALTER TABLE cases_order DROP CONSTRAINT order_total", {("constraint", "order_total")}
    ),
    "check changed": (
        ("ALTER TABLE cases_order DROP CONSTRAINT order_total,"
        " ADD CONSTRAINT order_total CHECK (total >= -1)"),
        {("constraint", "order_total")},
    ),
    "check not valid": (
        ("ALTER TABLE cases_order DROP CONSTRAINT order_total;"
        " ALTER TABLE cases_order ADD CONSTRAINT order_total CHECK (total >= 0) NOT VALID"),
        {("constraint", "order_total")},
    ),
    "nulls distinct": (
        ("ALTER TABLE cases_order DROP CONSTRAINT order_unique, "
        " ADD CONSTRAINT order_unique UNIQUE (note)"),
        {("constraint", "order_unique")},
    ),
    "unique added": (
        "ALTER TABLE cases_order ADD CONSTRAINT one UNIQUE (total)", {("constraint", "one")}
    ),
    "primary key": (
        "ALTER TABLE cases_child DROP CONSTRAINT cases_child_pkey",
        {("constraint", "cases_child_pkey")},
    ),
    "digits": (
        "ALTER TABLE cases_order ALTER total TYPE numeric(12, 2)", {("column", "total")}
    ),
    "time zone": (
        "ALTER TABLE cases_child ALTER extra TYPE timestamp", {("column", "extra")}
    ),
    "an array's elements": (
        ("DROP INDEX order_tags; ALTER TABLE cases_order ALTER tags TYPE varchar(9)[];"
        " CREATE INDEX order_tags ON cases_order USING gin (tags)"),
        {("column", "tags")},
    ),
    "identity always": (
        "ALTER TABLE cases_group ALTER id SET GENERATED ALWAYS", {("column", "id")}
    ),
    "the sequence of another table": (
        ("CREATE SEQUENCE cases_shared OWNED BY cases_order.quantity; ALTER TABLE cases_group"
        " ALTER id DROP IDENTITY, ALTER id SET DEFAULT nextval('cases_shared')"),
        {("column", "id")},
    ),
    "a sequence that belongs to no column": (
        ("CREATE SEQUENCE cases_lost; ALTER TABLE cases_group ALTER id DROP IDENTITY;"
        " ALTER TABLE cases_group ALTER id SET DEFAULT nextval('cases_lost')"),
        {("column", "id")},
    ),
    "generated by another expression": (
        ("ALTER TABLE cases_order DROP shout, ADD shout varchar(20)"
        " GENERATED ALWAYS AS (lower(name)) STORED"),
        {("column", "shout")},
    ),
    "no longer generated": (
        "ALTER TABLE cases_order ALTER shout DROP EXPRESSION", {("column", "shout")}
    ),
    "index of another column": (
        "DROP INDEX order_quantity; CREATE INDEX order_quantity ON cases_order (total, quantity)",
        {("index", "order_quantity")},
    ),
    "index in another order": (
        "DROP INDEX order_quantity; CREATE INDEX order_quantity ON cases_order (quantity, total)",
        {("index", "order_quantity")},
    ),
    "operator class": (
        ("DROP INDEX order_covering; CREATE INDEX order_covering ON cases_order"
        " (name varchar_pattern_ops) INCLUDE (quantity)"),
        {("index", "order_covering")},
    ),
    "index method": (
        "DROP INDEX order_covering; CREATE INDEX order_covering ON cases_order USING hash (name)",
        {("index", "order_covering")},
    ),
    "index collation": (
        ("DROP INDEX order_covering; CREATE INDEX order_covering ON cases_order"
        ' (name COLLATE "C") INCLUDE (quantity)'),
        {("index", "order_covering")},
    ),
    "unique index is not unique": (
        "DROP INDEX order_lower; CREATE INDEX order_lower ON cases_order (lower(name))",
        {("index", "order_lower")},
    ),
    "unique of some rows": (
        ("DROP INDEX order_lower; CREATE UNIQUE INDEX order_lower ON cases_order (lower(name))"
        " WHERE quantity > 1"),
        {("index", "order_lower")},
    ),
    "unique, checked at the commit": (
        ("ALTER TABLE cases_order DROP CONSTRAINT order_unique, ADD CONSTRAINT order_unique"
        " UNIQUE NULLS NOT DISTINCT (note) DEFERRABLE INITIALLY DEFERRED"),
        {("constraint", "order_unique")},
    ),
    "excluded by another operator": (
        ("ALTER TABLE cases_order DROP CONSTRAINT order_made, ADD CONSTRAINT order_made"
        " EXCLUDE USING gist (made WITH =)"),
        {("constraint", "order_made")},
    ),
    "pairs of a many-to-many twice": (
        ("DO $$ BEGIN EXECUTE (SELECT format('ALTER TABLE cases_order_groups DROP CONSTRAINT %I',"
        " conname) FROM pg_constraint WHERE conrelid = 'cases_order_groups'::regclass"
        " AND contype = 'u'); END $$"),
        {("constraint", "cases_order_groups_order_id_group_id_fc7bbfef_uniq")},
    ),
    "many-to-many table missing": (
        "DROP TABLE cases_order_groups", {("table", "cases_order_groups")}
    ),
    "a sequence that ends before its column": (
        ("CREATE SEQUENCE cases_short AS integer OWNED BY cases_group.id; ALTER TABLE cases_group"
        " ALTER id DROP IDENTITY, ALTER id SET DEFAULT nextval('cases_short')"),
        {("column", "id")},
    ),
    "an identity that ends before its column": (
        ("DO $$ BEGIN EXECUTE 'ALTER SEQUENCE ' || pg_get_serial_sequence('cases_group', 'id')"
        " || ' MAXVALUE 2147483647'; END $$"),
        {("column", "id")},
    ),
    "unique by an index, not a constraint": (
        ("ALTER TABLE cases_order DROP CONSTRAINT order_unique;"
        " CREATE UNIQUE INDEX order_unique ON cases_order (note) NULLS NOT DISTINCT"),
        {("index", "order_unique"), ("constraint", "order_unique")},
    ),
    "index fillfactor": (
        "ALTER INDEX order_quantity SET (fillfactor = 50)", {("index", "order_quantity")}
    ),
    "index storage parameter": (
        "ALTER INDEX order_tags SET (fastupdate = off)", {("index", "order_tags")}
    ),
    "index tablespace": (
        f"ALTER INDEX order_quantity SET TABLESPACE {DISK}", {("index", "order_quantity")}
    ),
    "where NULLs are in an index": (
        ("DROP INDEX order_quantity;"
        " CREATE INDEX order_quantity ON cases_order (quantity, total DESC NULLS LAST)"),
        {("index", "order_quantity")},
    ),
    "a domain for a type": (
        ("CREATE DOMAIN cases_key AS varchar(20); ALTER TABLE cases_text ALTER key TYPE cases_key"),
        {("column", "key")},
    ),
    "a default by another clock": (
        "ALTER TABLE cases_child ALTER extra SET DEFAULT clock_timestamp()", {("column", "extra")}
    ),
    "check without inheritance": (
        ("ALTER TABLE cases_order DROP CONSTRAINT order_total;"
        " ALTER TABLE cases_order ADD CONSTRAINT order_total CHECK (total >= 0) NO INHERIT"),
        {("constraint", "order_total")},
    ),
    "primary key with more in its index": (
        ("ALTER TABLE cases_child DROP CONSTRAINT cases_child_pkey,"
        " ADD PRIMARY KEY (order_ptr_id) INCLUDE (extra)"),
        {("constraint", "cases_child_pkey")},
    ),
    "primary key, checked at the commit": (
        ("ALTER TABLE cases_child DROP CONSTRAINT cases_child_pkey,"
        " ADD PRIMARY KEY (order_ptr_id) DEFERRABLE"),
        {("constraint", "cases_child_pkey")},
    ),
    "excluded among some rows": (
        ("ALTER TABLE cases_order DROP CONSTRAINT order_made, ADD CONSTRAINT order_made"
        " EXCLUDE USING gist (made WITH &&) WHERE (quantity > 3)"),
        {("constraint", "order_made")},
    ),
    "a many-to-many that may be NULL": (
        "ALTER TABLE cases_order_groups ALTER order_id DROP NOT NULL", {("column", "order_id")}
    ),
    "a foreign key to the wrong table": (
        ("ALTER TABLE cases_order ADD CONSTRAINT wrong FOREIGN KEY (free_id)"
        " REFERENCES cases_order (id)"),
        {("constraint", "wrong")},
    ),
    "a second foreign key that deletes": (
        ("ALTER TABLE cases_order ADD CONSTRAINT second FOREIGN KEY (group_id)"
        " REFERENCES cases_group (id) ON DELETE CASCADE"),
        {("constraint", "second")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_each_planted_difference_is_found_alone(rich: Cases, name: str) -> None:
    sql, wanted = PLANTED[name]
    with connection.cursor() as cursor:
        cursor.execute(sql)
    found = differences()
    assert {(each["object"], each["name"]) for each in found} == wanted, found
    for each in found:
        assert set(each) == {"object", "table", "name", "database", "models"}
        assert each["database"] != each["models"]


def _foreign_key(table: str) -> str:
    [(name,)] = query(
        "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f'"
        " AND confrelid = 'cases_group'::regclass",
        table,
    )
    return str(name)


SINCE_18 = {
    "a computed column that is not kept": (
        ("ALTER TABLE cases_order DROP shout, ADD shout varchar(20)"
        " GENERATED ALWAYS AS (upper(name)) VIRTUAL"),
        {("column", "shout")},
    ),
    "check not enforced": (
        ("ALTER TABLE cases_order DROP CONSTRAINT order_total;"
        " ALTER TABLE cases_order ADD CONSTRAINT order_total CHECK (total >= 0) NOT ENFORCED"),
        {("constraint", "order_total")},
    ),
    "NOT NULL that old rows need not obey": (
        ("ALTER TABLE cases_group ALTER code DROP NOT NULL;"
        " ALTER TABLE cases_group ADD CONSTRAINT code_set NOT NULL code NOT VALID"),
        {("constraint", "code_set")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SINCE_18)
def test_each_difference_that_postgresql_18_brought_is_found_alone(rich: Cases, name: str) -> None:
    if int(query("SHOW server_version_num")[0][0]) < 18_0000:
        pytest.skip("needs PostgreSQL 18")
    sql, wanted = SINCE_18[name]
    with connection.cursor() as cursor:
        cursor.execute(sql)
    assert {(each["object"], each["name"]) for each in differences()} == wanted


NOT_COMPARED = {
    "storage": "ALTER TABLE cases_order ALTER note SET STORAGE EXTERNAL",
    "compression": "ALTER TABLE cases_order ALTER note SET COMPRESSION pglz",
    "statistics target": "ALTER TABLE cases_order ALTER note SET STATISTICS 500",
    "column options": "ALTER TABLE cases_order ALTER note SET (n_distinct = 5)",
    "table storage parameters": "ALTER TABLE cases_order SET (fillfactor = 50)",
    "table tablespace": f"ALTER TABLE cases_order SET TABLESPACE {DISK}",
    "unlogged": "ALTER TABLE cases_child SET UNLOGGED",
    "row-level security": "ALTER TABLE cases_order ENABLE ROW LEVEL SECURITY",
    "replica identity": "ALTER TABLE cases_order REPLICA IDENTITY FULL",
    "inheritance": "CREATE TABLE cases_heir () INHERITS (cases_child)",
    "rules": "CREATE RULE kept AS ON DELETE TO cases_child DO INSTEAD NOTHING",
    "privileges": "GRANT SELECT (note) ON cases_order TO PUBLIC",
    "comments of indexes": "COMMENT ON INDEX order_quantity IS 'for reports'",
    "the order of columns": (
        "ALTER TABLE cases_order DROP seen; ALTER TABLE cases_order ADD seen boolean DEFAULT false"
        " NOT NULL"
    ),
    "how a sequence counts": (
        "DO $$ BEGIN EXECUTE 'ALTER SEQUENCE ' || pg_get_serial_sequence('cases_group', 'id')"
        " || ' INCREMENT 10 CACHE 20'; END $$"
    ),
    "a view's columns": (
        "CREATE VIEW cases_seen AS SELECT id FROM cases_order; DROP VIEW cases_seen;"
        " CREATE VIEW cases_seen AS SELECT id::text FROM cases_order"
    ),
}


def test_what_the_page_says_is_not_compared_is_no_difference(rich: Cases) -> None:
    with connection.cursor() as cursor:
        for each in NOT_COMPARED.values():
            cursor.execute(each)
    assert differences() == []


@pytest.mark.parametrize("setting", ["temp_tablespaces", "default_tablespace"])
def test_tablespaces_of_the_session_make_no_difference(cases: Cases, setting: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET {setting} = {DISK}")
        try:
            cases.add("0001_rich", *rich_models())
            cases.migrate()
            assert [each for each in differences() if each["table"].startswith("cases_")] == []
        finally:
            cursor.execute(f"RESET {setting}")


def test_foreign_keys_that_are_switched_off(rich: Cases) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE cases_order DISABLE TRIGGER ALL")
    found = differences()
    assert {each["object"] for each in found} == {"constraint"}
    assert {each["database"] for each in found} == {f"{each['models']} DISABLED" for each in found}


@pytest.mark.parametrize(
    ("again", "part"),
    [
        ("", None),
        ("FOREIGN KEY (group_id) REFERENCES cases_group (id)", "FOREIGN KEY (group_id)"),
        (
            (
                "FOREIGN KEY (group_id) REFERENCES cases_group (id) ON DELETE CASCADE"
                " DEFERRABLE INITIALLY DEFERRED"
            ),
            "ON DELETE CASCADE",
        ),
        (
            (
                "FOREIGN KEY (group_id) REFERENCES cases_group (id)"
                " DEFERRABLE INITIALLY DEFERRED NOT VALID"
            ),
            "NOT VALID",
        ),
        (
            (
                "FOREIGN KEY (group_id) REFERENCES cases_group (id) MATCH FULL"
                " DEFERRABLE INITIALLY DEFERRED"
            ),
            "MATCH FULL",
        ),
        (
            (
                "FOREIGN KEY (group_id) REFERENCES cases_group (id) ON UPDATE CASCADE"
                " DEFERRABLE INITIALLY DEFERRED"
            ),
            "ON UPDATE CASCADE",
        ),
    ],
)
def test_foreign_keys(rich: Cases, again: str, part: str | None) -> None:
    name = _foreign_key("cases_order")
    add = f", ADD CONSTRAINT {name} {again}" if again else ""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE cases_order DROP CONSTRAINT {name}{add}")
    (found,) = differences()
    assert found["object"] == "constraint"
    assert found["models"] == (
        "FOREIGN KEY (group_id) REFERENCES cases_group(id) DEFERRABLE INITIALLY DEFERRED"
    )
    assert part is None if found["database"] is None else part in found["database"]


def test_a_table_that_is_missing(rich: Cases) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE cases_child")
    assert differences() == [
        {"object": "table", "table": "cases_child", "name": "cases_child", "database": None,
         "models": "a table"}
    ]  # fmt: skip
    assert drift() == (
        1,
        (
            "1 difference between 'default' and the models of its applied migrations.\n"
            "  table cases_child is missing; the models have a table\n"
        ),
    )


def test_a_second_foreign_key_that_only_empties_a_column_is_told_but_does_no_harm(
    rich: Cases,
) -> None:
    """The fix over two releases makes one for the time between them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE cases_order ADD CONSTRAINT meanwhile FOREIGN KEY (text_id) REFERENCES"
            " cases_text (key) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED NOT VALID"
        )
    (found,) = differences()
    assert (found["name"], found["models"]) == ("meanwhile", None)


def test_generated_names_and_serial_columns_of_older_times_are_no_difference(rich: Cases) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE SEQUENCE cases_old OWNED BY cases_group.id;"
            "ALTER TABLE cases_group ALTER id DROP IDENTITY;"
            "ALTER TABLE cases_group ALTER id SET DEFAULT nextval('cases_old');"
            f"ALTER TABLE cases_order RENAME CONSTRAINT {_foreign_key('cases_order')} TO fk_old;"
            "ALTER TABLE cases_order RENAME CONSTRAINT cases_order_quantity_check TO old_check;"
            "ALTER TABLE cases_group RENAME CONSTRAINT cases_group_code_key TO old_unique;"
        )
    assert differences() == []


def test_renames_leave_no_difference(rich: Cases) -> None:
    rich.add(
        "0002_rename",
        ops.RenameField("order", "text", "prose"),
        ops.RenameModel("Group", "Team"),
        ops.AlterField("team", "code", CharField(max_length=40, db_index=True)),
        ops.AlterField("order", "total", IntegerField(null=True)),
    )
    rich.migrate()
    assert differences() == []


def test_an_index_that_the_state_lists_twice(rich: Cases) -> None:
    twice = Index(fields=["code"], name="group_code")
    rich.add(
        "0002_twice",
        ops.AddIndex("group", twice),
        ops.SeparateDatabaseAndState([], [ops.AddIndex("group", twice)]),
    )
    rich.migrate()
    assert drift()[1] == "'default' matches the models of its applied migrations.\n"


def test_only_what_is_applied_counts(rich: Cases) -> None:
    rich.add("0002_more", ops.AddField("group", "size", IntegerField(default=0)))
    assert differences() == []


def test_it_leaves_nothing_and_waits_for_no_table(rich: Cases) -> None:
    before = query("SELECT count(*) FROM pg_class")
    with plain_connection() as locker, locker.transaction():
        locker.execute("LOCK TABLE cases_order, cases_group IN EXCLUSIVE MODE")
        assert differences() == []
    assert query("SELECT count(*) FROM pg_class") == before


def test_a_table_that_is_locked_exclusively_ends_it_in_one_line(
    rich: Cases, settings: Settings
) -> None:
    settings.CONFITURE = {"DRY_RUN": {"LOCK_TIMEOUT": "50ms"}}
    with plain_connection() as locker, locker.transaction():
        locker.execute("LOCK TABLE cases_order")
        with pytest.raises(CommandError) as caught:
            drift()
    assert caught.value.returncode == 2
    assert str(caught.value) == (
        "Cannot read the schema of 'default': canceling statement due to lock timeout"
    )


@pytest.mark.django_db
def test_a_wrong_lock_timeout_is_named(settings: Settings) -> None:
    settings.CONFITURE = {"DRY_RUN": {"LOCK_TIMEOUT": "soon"}}
    with pytest.raises(CommandError, match=r"LOCK_TIMEOUT.*'soon'") as caught:
        drift()
    assert caught.value.returncode == 2


def test_an_alias_that_does_not_exist() -> None:
    with pytest.raises(CommandError, match="invalid choice: 'nowhere'"):
        call_command("confiture_drift", "--database", "nowhere")


LOST = """
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("cases", "0009_nowhere")]
"""


def test_migrations_that_do_not_load_are_one_line(cases: Cases) -> None:
    cases.add("0001_first")
    cases.write("0002_lost", LOST)
    with pytest.raises(CommandError, match="nonexistent parent node") as caught:
        drift()
    assert caught.value.returncode == 2
    assert "\n" not in str(caught.value)


def test_a_table_that_no_migration_makes_may_be_missing(settings: Settings, cases: Cases) -> None:
    settings.MIGRATION_MODULES = {**settings.MIGRATION_MODULES, "shop": None}
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE shop_order RENAME TO shop_order_2")
    try:
        _code, out = drift()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE shop_order_2 RENAME TO shop_order")
    assert "shop_order is missing" not in out
    reason = "its app has no migrations; migrate --run-syncdb makes it"
    assert f"Not compared: shop_order, as {reason}." in out


def test_an_expression_of_the_model_that_fails_is_not_compared(cases: Cases) -> None:
    broken = ops.CreateModel("Broken", [_key(), ("x", OfNoType())])
    cases.add("0001_broken", ops.SeparateDatabaseAndState(
        [ops.RunSQL("CREATE TABLE cases_broken (id bigint)", "DROP TABLE cases_broken")], [broken],
    ))  # fmt: skip
    cases.migrate()
    code, out = drift()
    assert code == 0
    assert 'Not compared: cases_broken, as type "no_such_type" does not exist' in out


def test_what_belongs_to_a_table_that_is_not_made_is_not_tried_on_the_real_one(
    cases: Cases,
) -> None:
    index = Index(fields=["own"], name="cases_broken_own")
    broken = ops.CreateModel(
        "Broken",
        [
            _key(),
            ("x", OfNoType()),
            ("own", ForeignKey("self", CASCADE)),
            ("others", ManyToManyField("self")),
        ],
        {"indexes": [index]},
    )
    sql = """
        CREATE TABLE cases_broken (id bigint PRIMARY KEY);
        CREATE TABLE cases_broken_others (id bigint)"""
    cases.add("0001_broken", ops.SeparateDatabaseAndState([ops.RunSQL(sql)], [broken]))
    cases.migrate()
    code, out = drift()
    assert code == 0
    reason = 'type "no_such_type" does not exist'
    assert f"Not compared: cases_broken, as {reason}" in out
    assert f"Not compared: cases_broken_others, as {reason}" in out
