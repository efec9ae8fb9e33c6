"""What ``confiture_fix`` prints: of proofs that hold or fail, and where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from django_confiture.fix.outcomes import BreakLeft, Fix, FixedFile, OperationOutcome, Proof
from django_confiture.management.fix_output import document_of, lines_of, markdown_of, summary_of

PROOF = Proof(
    schema_equal=True,
    state_equal=True,
    rows_equal=True,
    dangers_before=1,
    dangers_after=0,
    dangers_left_to_expect=0,
    blocked_ms_before=848.2,
    blocked_ms_after=3.1,
    running_code_breaks_before=0,
    running_code_breaks_after=0,
    reversible=True,
)
REFUSED = OperationOutcome(0, "Alter field total", "type-change-rewrite", "refused", "it rewrites")
FIXED = Fix(
    "shop.0002_more",
    (OperationOutcome(1, "Create index i", "index-blocks-writes", "fixed", None),),
    (FixedFile("0002_more", "SOURCE\n"),),
    PROOF,
)
DIFFERENT = replace(
    FIXED,
    proof=replace(PROOF, schema_equal=False, differences=("index i of t: none originally",)),
)
NOT_FIXED = Fix("shop.0003_last", (REFUSED,))


def lines(fix: Fix) -> list[str]:
    return list(lines_of(fix, written=False, with_files=True))


def test_a_proof_that_holds_comes_with_the_files() -> None:
    assert lines(FIXED) == [
        "shop.0002_more",
        "  fixed    2. Create index i (index-blocks-writes)",
        "Schema equal, models equal, rows equal; reversible as before.",
        (
            "Dangers: 1 before, 0 after. The longest block: 848 ms before, 3 ms after. "
            "Breaks of running code: 0 before, 0 after."
        ),
        "\n# 0002_more.py",
        "SOURCE\n",
    ]


LEFT = BreakLeft(
    "shop.Order",
    "insert",
    "null value in column x",
    "0002_1_more_columns",
    (0,),
    "1. Add field x is refused, and stays as it is",
    next_release=False,
)


def test_what_running_code_still_loses_is_named_with_why() -> None:
    fix = replace(FIXED, proof=replace(PROOF, running_code_breaks_left=(LEFT,)))
    said = (
        "Left: the running release can no longer insert shop.Order once 0002_1_more_columns is "
        "applied: null value in column x. Why: 1. Add field x is refused, and stays as it is."
    )
    assert f"  {said}" in lines(fix)
    assert f"- {said}" in list(markdown_of(fix, "it.py"))
    query = replace(LEFT, model=None, action="query", next_release=True)
    fix = replace(FIXED, proof=replace(PROOF, running_code_breaks_left=(query,)))
    assert "Left: the next release's code can no longer run a query of production" in lines(fix)[4]
    proof = document_of(fix)["proof"]
    assert isinstance(proof, dict)
    assert proof["running_code_breaks_left"][0]["operations"] == (0,)


def test_commands_name_a_database_other_than_the_default() -> None:
    later = FixedFile("0002_more", "SOURCE\n", next_release=True)
    two = replace(FIXED, files=(FixedFile("0002_1_more_columns", ""), later), database="other")
    for said in ("\n".join(lines(two)), "\n".join(markdown_of(two, "it.py"))):
        assert "manage.py migrate shop 0002_1_more_columns --database other. The files" in said
        assert "next release: manage.py migrate shop --database other." in said
    assert (
        "confiture_fix shop 0002_more --database other --reduced-case prints"
        in lines(replace(DIFFERENT, database="other"))[-1]
    )


def test_a_reason_of_several_operations_is_said_once() -> None:
    other = OperationOutcome(1, "Create index i", None, "fixed", None)
    again = OperationOutcome(2, "Alter field sum", "type-change-rewrite", "refused", "it rewrites")
    fix = Fix("shop.0003_last", (REFUSED, other, again))
    assert lines(fix)[1:-1] == [
        "  refused  1. Alter field total (type-change-rewrite)",
        "  fixed    2. Create index i",
        "  refused  3. Alter field sum (type-change-rewrite)",
        "           1 and 3: it rewrites",
    ]
    assert "- `Alter field total` and `Alter field sum` stay as they are: it rewrites" in list(
        markdown_of(fix, "it.py")
    )


def test_two_releases_come_with_what_to_apply_with_each() -> None:
    later = FixedFile("0002_more", "SOURCE\n", next_release=True)
    now = (FixedFile("0002_1_more_columns", ""), FixedFile("0002_2_more_fill", ""))
    assert lines(replace(FIXED, files=(*now, later)))[-1] == (
        "\nApply with this release: manage.py migrate shop 0002_2_more_fill. The files after it "
        "wait for the next release: manage.py migrate shop."
    )
    assert "release" not in "".join(lines(replace(FIXED, files=(later,))))


def test_a_proof_that_fails_shows_the_differences_and_no_file() -> None:
    found = lines(DIFFERENT)
    assert found[2].startswith("Schema NOT EQUAL, models equal, ")
    assert found[4:] == [
        "  index i of t: none originally",
        (
            "The proof failed, so nothing is written. Please report it: manage.py confiture_fix "
            "shop 0002_more --reduced-case prints the case without names and values."
        ),
    ]


def test_what_varies_from_run_to_run_is_named() -> None:
    found = lines(replace(FIXED, proof=replace(PROOF, not_compared=("t.a", "t.b"))))
    assert found[4] == (
        "Not compared, since the original writes other values each time: t.a and t.b."
    )


def test_without_a_fix_each_operation_has_its_reason() -> None:
    assert lines(NOT_FIXED) == [
        "shop.0003_last",
        "  refused  1. Alter field total (type-change-rewrite)",
        "           it rewrites",
        "Nothing could be fixed.",
    ]


@pytest.mark.parametrize(
    ("fix", "said"),
    [
        (
            NOT_FIXED,
            ["- `Alter field total` stays as it is: it rewrites", "Nothing could be fixed."],
        ),
        (DIFFERENT, ["A fix was made, and its proof failed: index i of t: none originally"]),
    ],
)
def test_a_comment_of_what_is_not_fixed_suggests_no_code(fix: Fix, said: list[str]) -> None:
    assert list(markdown_of(fix, "shop/migrations/it.py")) == [
        f"### {fix.migration}",
        "",
        *said,
        "",
    ]


def test_the_summary_counts_only_what_is_proven() -> None:
    assert summary_of([FIXED, NOT_FIXED, DIFFERENT], written=False) == (
        "Can be fixed, with --write: shop.0002_more. 2 migrations stay as they are."
    )
    assert summary_of([FIXED, NOT_FIXED], written=True) == (
        "Fixed: shop.0002_more. 1 migration stays as it is."
    )
    assert summary_of([FIXED], written=True) == "Fixed: shop.0002_more."
    assert summary_of([NOT_FIXED, DIFFERENT], written=False) == (
        "None of 2 migrations could be fixed."
    )


@pytest.mark.parametrize(
    "against",
    [
        {"schema_equal": False},
        {"state_equal": False},
        {"rows_equal": False},
        {"reversible": False},
        {"differences": ("x",)},
        {"dangers_after": 1},
        {"running_code_breaks_after": 1},
    ],
)
def test_one_thing_is_enough_for_a_proof_to_fail(against: dict[str, object]) -> None:
    assert PROOF.holds
    assert not replace(PROOF, **against).holds  # type: ignore[arg-type]
