"""Constraints, in their blocking and in their patient form."""

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeOperators
from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
from django.db.migrations import AddConstraint, RemoveConstraint
from django.db.models import CheckConstraint, Deferrable, Q, UniqueConstraint

from tests.corpus.case import ARCHIVE, LINE, ORDER, Case, Step, case, plan, sql

_CHECK = CheckConstraint(condition=Q(total__gte=0), name="cases_order_total")
_FK = "FOREIGN KEY (product_id) REFERENCES cases_archive (id)"

CASES: list[Case] = [
    case("check", AddConstraint("order", _CHECK), ("check-constraint-scan", ORDER),
         locks={ORDER: "AccessExclusiveLock"}),
    case("check_not_valid", AddConstraintNotValid("order", _CHECK)),
    case("validate", ValidateConstraint("line", "cases_line_positive"),
         locks={LINE: "ShareUpdateExclusiveLock"}),
    case("validate_in_same_transaction",
         [AddConstraintNotValid("order", _CHECK), ValidateConstraint("order", "cases_order_total")],
         ("validate-while-locked", ORDER)),
    case("validate_not_atomic",
         [AddConstraintNotValid("order", _CHECK), ValidateConstraint("order", "cases_order_total")],
         atomic=False),
    case("validate_in_same_statement",
         sql("ALTER TABLE cases_order ADD CONSTRAINT c CHECK (total >= 0) NOT VALID,"
             " VALIDATE CONSTRAINT c"),
         ("validate-while-locked", ORDER)),
    case("validate_valid", sql("ALTER TABLE cases_customer"
                               " VALIDATE CONSTRAINT cases_customer_country_known")),
    plan("validate_later",
         Step([AddConstraintNotValid("order", _CHECK)]),
         Step([ValidateConstraint("order", "cases_order_total")]),
         locks={ORDER: "ShareUpdateExclusiveLock"}),
    case("unique", AddConstraint("order", UniqueConstraint(fields=["number"], name="cases_n")),
         ("unique-constraint-builds-index", ORDER), locks={ORDER: "AccessExclusiveLock"}),
    # PostgreSQL knows no conditional UNIQUE, so Django makes an index.
    case("unique_where",
         AddConstraint("order", UniqueConstraint(fields=["number"], name="cases_n",
                                                 condition=Q(status="new"))),
         ("index-build-blocks-writes", ORDER), locks={ORDER: "ShareLock"}),
    case("unique_deferrable",
         AddConstraint("order", UniqueConstraint(fields=["number"], name="cases_n",
                                                 deferrable=Deferrable.DEFERRED)),
         ("unique-constraint-builds-index", ORDER)),
    case("exclusion",
         AddConstraint("line", ExclusionConstraint(
             name="cases_x", expressions=[("during", RangeOperators.OVERLAPS)])),
         ("exclusion-constraint-builds-index", LINE)),
    case("remove_constraint", RemoveConstraint("line", "cases_line_id_order")),
    case("fk", sql(f"ALTER TABLE cases_line ADD CONSTRAINT cases_fk {_FK}"),
         ("foreign-key-scan", LINE), ("foreign-key-without-index", LINE),
         locks={LINE: "ShareRowExclusiveLock", ARCHIVE: "ShareRowExclusiveLock"}),
    # The column is indexed, so the check reads the index: no scan is counted.
    case("fk_of_indexed_column",
         sql("ALTER TABLE cases_line ADD CONSTRAINT cases_fk "
             "FOREIGN KEY (order_id) REFERENCES cases_order (id)"),
         ("foreign-key-scan", LINE)),
    plan("fk_in_two_steps",
         Step(sql(f"ALTER TABLE cases_line ADD CONSTRAINT cases_fk {_FK} NOT VALID"),
              {("foreign-key-without-index", LINE)}),
         Step(sql("ALTER TABLE cases_line VALIDATE CONSTRAINT cases_fk")),
         locks={LINE: "ShareUpdateExclusiveLock", ARCHIVE: "RowShareLock"}),
    plan("unique_in_two_steps",
         Step(sql("CREATE UNIQUE INDEX CONCURRENTLY cases_n ON cases_order (number)"),
              atomic=False),
         Step(sql("ALTER TABLE cases_order ADD CONSTRAINT cases_n UNIQUE USING INDEX cases_n"))),
    plan("not_null_in_three_steps",
         Step(sql("ALTER TABLE cases_order ADD CONSTRAINT cases_nn "
                  "CHECK (currency IS NOT NULL) NOT VALID")),
         Step(sql("ALTER TABLE cases_order VALIDATE CONSTRAINT cases_nn")),
         Step(sql("ALTER TABLE cases_order ALTER currency SET NOT NULL",
                  "ALTER TABLE cases_order DROP CONSTRAINT cases_nn"))),
    case("drop_fk", sql("ALTER TABLE cases_priced DROP CONSTRAINT cases_priced_feeling"),
         ("locks-referenced-table", "cases_feeling")),
    case("primary_key_using_index",
         sql("CREATE UNIQUE INDEX cases_pk ON cases_feeling (id, mood)",
             "ALTER TABLE cases_feeling DROP CONSTRAINT cases_feeling_pkey CASCADE",
             "ALTER TABLE cases_feeling ADD PRIMARY KEY USING INDEX cases_pk"),
         ("index-build-blocks-writes", "cases_feeling"), ("primary-key-scan", "cases_feeling"),
         ("locks-referenced-table", "cases_priced")),
    case("unique_using_index",
         sql("ALTER TABLE cases_feeling ADD CONSTRAINT cases_feeling_id UNIQUE"
             " USING INDEX cases_feeling_ready")),
    case("fk_in_do",
         sql(f"DO $$ BEGIN ALTER TABLE cases_line ADD CONSTRAINT f {_FK}; END $$"),
         ("scan-blocks-writes", LINE), ("scan-blocks-writes", ARCHIVE),
         ("foreign-key-without-index", LINE)),
    case("primary_key", sql("ALTER TABLE cases_event_b ADD PRIMARY KEY (id)"),
         ("primary-key-scan", "cases_event_b")),
    case("check_of_partitions",
         sql("ALTER TABLE cases_event ADD CONSTRAINT cases_e CHECK (id > 0)"),
         ("check-constraint-scan", "cases_event")),
    case("domain", sql("ALTER DOMAIN cases_amount ADD CONSTRAINT cases_d CHECK (value > 0)"),
         ("domain-constraint-scan", "cases_priced")),
    # Other than for a table, validating takes the very lock that NOT VALID was to avoid.
    plan("domain_validated",
         Step(sql("ALTER DOMAIN cases_amount ADD CONSTRAINT cases_d CHECK (value > 0) NOT VALID")),
         Step(sql("ALTER DOMAIN cases_amount VALIDATE CONSTRAINT cases_d"),
              {("domain-constraint-scan", "cases_priced")}),
         locks={"cases_priced": "ShareLock"}),
    case("domain_not_valid",
         sql("ALTER DOMAIN cases_amount ADD CONSTRAINT cases_d CHECK (value > 0) NOT VALID")),
    case("not_enforced", sql(f"ALTER TABLE cases_line ADD CONSTRAINT cases_fk {_FK} NOT ENFORCED"),
         since=18),
    case("not_null_not_valid",
         sql("ALTER TABLE cases_order ADD CONSTRAINT cases_nn NOT NULL currency NOT VALID"),
         since=18),
    case("not_null_constraint",
         sql("ALTER TABLE cases_order ADD CONSTRAINT cases_nn NOT NULL currency"),
         ("not-null-scan", ORDER), since=18),
]  # fmt: skip
