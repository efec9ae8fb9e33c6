"""The names and values of a project, which are not in what is reported."""

from __future__ import annotations

import pytest

from django_confiture.fix.reduced_case import Names


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (
            'ALTER TABLE "shop order" ADD COLUMN "Amount $" integer NOT NULL DEFAULT 5',
            "ALTER TABLE name1 ADD COLUMN name2 integer NOT NULL DEFAULT 5",
        ),
        ("UPDATE shop SET a = 'it''s', b = a", "UPDATE name1 SET name2 = '...', name3 = name2"),
        (
            "CREATE INDEX i ON public.shop USING gin (data jsonb_path_ops)",
            "CREATE INDEX name1 ON public.name2 USING gin (name3 jsonb_path_ops)",
        ),
        ('the rows of "public"."shop" differ', "the rows of public.name1 differ"),
        ("create table Order_ (data integer)", "create table name1 (name2 integer)"),
        ("the model shop.Order differs in the migrations' state",
         "the model name1.name2 differs in the migrations' state"),
        ("the model shop.Café differs in the migrations' state",
         "the model name1.name2 differs in the migrations' state"),
    ],
)  # fmt: skip
def test_names_and_values_are_hidden(text: str, hidden: str) -> None:
    assert Names().hidden(text) == hidden


def test_a_name_is_the_same_everywhere() -> None:
    names = Names()
    assert names.hidden("DROP TABLE shop") == "DROP TABLE name1"
    assert names.hidden('ALTER TABLE "shop" DROP COLUMN x') == "ALTER TABLE name1 DROP COLUMN name2"
