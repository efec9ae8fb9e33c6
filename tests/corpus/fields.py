"""Operations on models and fields, as ``makemigrations`` writes them."""

import uuid
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.migrations import (
    AddField,
    AlterField,
    AlterModelManagers,
    AlterModelOptions,
    AlterModelTable,
    AlterModelTableComment,
    AlterOrderWithRespectTo,
    AlterUniqueTogether,
    CreateModel,
    DeleteModel,
    RemoveField,
    RenameField,
    RenameModel,
    SeparateDatabaseAndState,
)
from django.db.models.functions import Now, Random, Upper

from tests.corpus.case import ARCHIVE, CUSTOMER, LINE, ORDER, TAG, case

_SHARED = "same-value-for-all-rows"
_ID = ("id", models.BigAutoField(primary_key=True))


def _to(model: str, **options: Any) -> Any:
    return models.ForeignKey(f"cases.{model}", models.CASCADE, **options)


def add(field: Any, model: str = "order", **options: bool) -> AddField:
    return AddField(model, "extra", field, **options)


def alter(name: str, field: Any, model: str = "order", **options: bool) -> AlterField:
    return AlterField(model, name, field, **options)


_AE, _SRE = "AccessExclusiveLock", "ShareRowExclusiveLock"

MODELS = [
    case("create_model", CreateModel("New", [_ID])),
    # The foreign key locks its target, for as long as nothing takes: a new table has no rows.
    case(
        "create_model_with_fk",
        CreateModel("New", [_ID, ("customer", _to("Customer"))]),
        locks={CUSTOMER: _SRE},
    ),
    case(
        "create_model_with_m2m",
        CreateModel("New", [_ID, ("orders", models.ManyToManyField("cases.Order"))]),
        locks={ORDER: _SRE},
    ),
    case("delete_model", DeleteModel("Archive"), ("table-dropped", ARCHIVE)),
    case(
        "delete_model_with_fk",
        DeleteModel("Line"),
        ("table-dropped", LINE),
        ("locks-referenced-table", ORDER),
        locks={ORDER: _AE},
    ),
    case("rename_model", RenameModel("Tag", "Label"), ("table-renamed", TAG),
         # The many-to-many table gets the new name for its column, and its foreign key again.
         ("column-renamed", "cases_order_tags"), ("foreign-key-scan", "cases_order_tags")),
    case("alter_model_table", AlterModelTable("archive", "cases_attic"),
         ("table-renamed", ARCHIVE)),
    case("alter_model_table_comment", AlterModelTableComment("order", "what was bought")),
    case("alter_model_options", AlterModelOptions("order", {"ordering": ["id"]})),
    case("alter_model_managers", AlterModelManagers("order", [])),
    case("alter_order_with_respect_to", AlterOrderWithRespectTo("line", "order")),
    case("alter_unique_together", AlterUniqueTogether("line", {("order", "id", "quantity")}),
         ("unique-constraint-builds-index", LINE)),
]  # fmt: skip

ADD_FIELD = [
    case("add_nullable", add(models.TextField(null=True)), locks={ORDER: _AE}),
    case("add_constant_default", add(models.IntegerField(default=5))),
    case("add_one_off_default", add(models.CharField(max_length=5, default="x"),
                                    preserve_default=False)),
    case("add_db_default", add(models.IntegerField(db_default=5))),
    # now() is the same for all rows, so one value is stored beside the table.
    case("add_db_default_now", add(models.DateTimeField(db_default=Now()))),
    # Python computes one value; PostgreSQL sees a constant.
    case("add_default_uuid4", add(models.UUIDField(default=uuid.uuid4)), (_SHARED, ORDER)),
    case("add_default_uuid4_unique", add(models.UUIDField(default=uuid.uuid4, unique=True)),
         (_SHARED, ORDER), fails="UniqueViolation"),
    case("add_db_default_uuid", add(models.UUIDField(db_default=RandomUUID())),
         ("volatile-default-rewrite", ORDER), locks={ORDER: _AE}),
    case("add_db_default_random", add(models.FloatField(db_default=Random())),
         ("volatile-default-rewrite", ORDER)),
    case("add_unique_null", add(models.IntegerField(null=True, unique=True)),
         ("unique-constraint-builds-index", ORDER)),
    # One pass writes the table, and its indexes with it: one finding.
    case("add_unique_uuid", add(models.UUIDField(db_default=RandomUUID(), unique=True)),
         ("volatile-default-rewrite", ORDER)),
    # The CHECK (extra >= 0) is verified for every row, even where all are NULL.
    case("add_positive_default", add(models.PositiveIntegerField(default=1)),
         ("check-constraint-scan", ORDER)),
    case("add_positive_null", add(models.PositiveIntegerField(null=True)),
         ("check-constraint-scan", ORDER)),
    # All are NULL, so nothing is checked; but its index is built in the same transaction.
    case("add_fk_null", add(_to("Customer", null=True)), ("index-build-blocks-writes", ORDER),
         locks={ORDER: _AE, CUSTOMER: _SRE}),
    case("add_fk_null_no_index", add(_to("Customer", null=True, db_index=False)),
         ("foreign-key-without-index", ORDER)),
    case("add_fk_default", add(_to("Customer", default=1), "line"),
         ("foreign-key-scan", LINE), ("index-build-blocks-writes", LINE)),
    case("add_generated_stored",
         add(models.GeneratedField(expression=Upper("number"), db_persist=True,
                                   output_field=models.CharField(max_length=20))),
         ("generated-column-rewrite", ORDER)),
    case("add_without_default", add(models.IntegerField()),
         ("not-null-without-default", ORDER), fails="NotNullViolation"),
    case("add_json", add(models.JSONField(default=dict))),
    case("add_array", add(ArrayField(models.IntegerField(), default=list))),
    case("add_m2m", add(models.ManyToManyField("cases.Customer", related_name="+"))),
    case("add_indexed_null", add(models.CharField(max_length=5, null=True, db_index=True)),
         ("index-build-blocks-writes", ORDER)),
    case("remove_field", RemoveField("order", "note"), ("column-dropped", ORDER)),
    case("remove_fk", RemoveField("line", "order"), ("column-dropped", LINE),
         ("locks-referenced-table", ORDER), locks={ORDER: _AE, LINE: _AE}),
    case("remove_m2m", RemoveField("order", "tags"), ("table-dropped", "cases_order_tags"),
         ("locks-referenced-table", ORDER), ("locks-referenced-table", TAG)),
    case("rename_field", RenameField("order", "note", "remark"), ("column-renamed", ORDER)),
    case("remove_field_state_only",
         SeparateDatabaseAndState(state_operations=[RemoveField("order", "note")])),
]  # fmt: skip

ALTER_FIELD = [
    case("int_to_bigint", alter("total", models.BigIntegerField()),
         ("type-change-rewrite", ORDER), locks={ORDER: _AE}),
    case("widen_varchar", alter("number", models.CharField(max_length=40))),
    case("varchar_to_text", alter("number", models.TextField())),
    case("shrink_varchar", alter("number", models.CharField(max_length=10)),
         ("type-change-rewrite", ORDER)),
    # PostgreSQL would keep both indexes, but Django drops the one for LIKE and builds it again.
    case("indexed_varchar_to_text", alter("code", models.TextField(db_index=True)),
         ("index-drop-blocks-reads", ORDER), ("index-build-blocks-writes", ORDER)),
    case("widen_numeric", alter("price", models.DecimalField(max_digits=12, decimal_places=2))),
    case("numeric_scale", alter("price", models.DecimalField(max_digits=12, decimal_places=3)),
         ("type-change-rewrite", ORDER)),
    case("add_db_index", alter("number", models.CharField(max_length=20, db_index=True)),
         ("index-build-blocks-writes", ORDER), locks={ORDER: "ShareLock"}),
    case("remove_db_index", alter("code", models.CharField(max_length=20)),
         ("index-drop-blocks-reads", ORDER)),
    # Django builds an index for LIKE beside that of the constraint.
    case("make_unique", alter("number", models.CharField(max_length=20, unique=True)),
         ("unique-constraint-builds-index", ORDER), ("index-build-blocks-writes", ORDER)),
    case("not_null", alter("currency", models.CharField(max_length=3)),
         ("not-null-scan", ORDER), locks={ORDER: _AE}),
    case("not_null_with_default",
         alter("currency", models.CharField(max_length=3, default="EUR"), preserve_default=False),
         ("not-null-scan", ORDER)),
    # Django fills the 20,000 NULLs in the same transaction, after ALTER COLUMN SET DEFAULT.
    case("not_null_fills", alter("note", models.TextField(default="")),
         ("not-null-scan", ORDER), ("backfill-while-locked", ORDER)),
    case("not_null_proven", alter("country", models.CharField(max_length=2), "customer"),
         locks={CUSTOMER: _AE}),
    case("two_types", [alter("total", models.BigIntegerField()),
                       alter("price", models.DecimalField(max_digits=12, decimal_places=3))],
         ("type-change-rewrite", ORDER), ("repeated-rewrites", ORDER)),
    case("drop_not_null", alter("status", models.CharField(max_length=10, null=True))),
    case("set_db_default", alter("total", models.IntegerField(db_default=0))),
    case("db_comment", alter("total", models.IntegerField(db_comment="in cents"))),
    case("choices", alter("status", models.CharField(max_length=10, choices=[("new", "New")]))),
    case("fk_constraint",
         alter("product", _to("Archive", db_index=False), "line"),
         ("foreign-key-scan", LINE), ("foreign-key-without-index", LINE),
         locks={LINE: _SRE, ARCHIVE: _SRE}),
    # Both tables are rewritten, and the foreign key between them is dropped and added again.
    case("primary_key_type", alter("id", models.AutoField(primary_key=True), "customer"),
         ("type-change-rewrite", CUSTOMER), ("type-change-rewrite", ORDER),
         ("foreign-key-scan", ORDER)),
]  # fmt: skip

CASES = [*MODELS, *ADD_FIELD, *ALTER_FIELD]
