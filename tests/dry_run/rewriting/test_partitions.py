"""Constraints of a partitioned table: each partition first, then the whole takes theirs over."""

from __future__ import annotations

import pytest
from django.db.migrations import AlterUniqueTogether

from django_confiture.dry_run.rewriting.facts import Facts, PartitionIndex
from tests.support.rewriting import rewritten, there_and_back

CHANGED = AlterUniqueTogether("t", {("a", "b")})


@pytest.mark.parametrize("deferrable", ["", " DEFERRABLE INITIALLY DEFERRED"])
def test_a_unique_constraint(deferrable: str) -> None:
    index = PartitionIndex(
        "public.t_1_u", "CREATE UNIQUE INDEX t_1_u ON public.t_1 USING btree (a)", nested=False
    )
    facts = Facts("shop", partitioned=frozenset({"t"}), partition_indexes={"u": [index]})
    sql = f"ALTER TABLE t ADD CONSTRAINT u UNIQUE (a){deferrable}"
    new = rewritten(CHANGED, sql, facts)
    assert [(each.what, each.atomic) for each in new.files] == [("index", False), ("switch", True)]
    assert there_and_back(new) == [
        (
            "CREATE UNIQUE INDEX CONCURRENTLY t_1_u ON public.t_1 USING btree (a)",
            "DROP INDEX CONCURRENTLY IF EXISTS public.t_1_u",
        ),
        (
            f"ALTER TABLE ONLY t ADD CONSTRAINT u UNIQUE (a){deferrable}",
            'ALTER TABLE "t" DROP CONSTRAINT "u"',
        ),
        (
            (
                'ALTER TABLE "public"."t_1" ADD CONSTRAINT "t_1_u" UNIQUE USING INDEX "t_1_u"'
                f"{deferrable}"
            ),
            "",
        ),
        ('ALTER INDEX "u" ATTACH PARTITION public.t_1_u', ""),
    ]


def test_a_foreign_key() -> None:
    facts = Facts(
        "shop",
        partitioned=frozenset({"t"}),
        partitions={"t": [("public", "t_1"), ("public", "t_2")]},
    )
    sql = "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES o (id)"
    new = rewritten(CHANGED, sql, facts)
    assert [each.what for each in new.files] == ["columns", "validate", "switch"]
    added, _second, validated, _other, whole = there_and_back(new)
    assert added == (
        'ALTER TABLE "public"."t_1" ADD CONSTRAINT "f" FOREIGN KEY (a) REFERENCES o (id) NOT VALID',
        'ALTER TABLE "public"."t_1" DROP CONSTRAINT IF EXISTS "f"',
    )
    assert validated == ('ALTER TABLE "public"."t_1" VALIDATE CONSTRAINT "f"', "")
    assert whole == (
        'ALTER TABLE "t" ADD CONSTRAINT "f" FOREIGN KEY (a) REFERENCES o (id)',
        'ALTER TABLE "t" DROP CONSTRAINT "f"',
    )
