"""Names in the text of SQL, and a statement's first word."""

from __future__ import annotations

import re

import pytest

from django_confiture.sql_text import (
    QUALIFIED_NAME,
    first_word,
    is_written_in,
    names_in,
    parts_of,
    stands_in,
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("SELECT Touch()", {"SELECT", "select", "Touch", "touch"}),
        ("a$b", {"a$b"}),
        ("größe", {"größe"}),
        ('"a b"', {"a", "b", "a b"}),
        ('"a""b"', {"a", "b", 'a"b'}),
        ("", set()),
    ],
)
def test_names_are_found_as_catalogs_have_them(text: str, names: set[str]) -> None:
    assert names_in(text) == names


def test_names_of_several_texts() -> None:
    assert names_in("a", "b") == {"a", "b"}


@pytest.mark.parametrize(
    ("name", "text", "stands"),
    [
        ("ix", "DROP INDEX ix;", True),
        ("ix", "DROP INDEX IX", True),
        ("ix", 'DROP INDEX "ix"', True),
        ("ix", "DROP INDEX shop.ix", True),
        ("ix", "DROP INDEX ix_2", False),
        ("ix", "DROP INDEX $ix", False),
        ("ix", "DROP INDEX ix$", False),
        ('i"x', 'DROP INDEX "i""x"', True),
        ('i"x', 'DROP INDEX "i"', False),
    ],
)
def test_a_name_stands_in_a_text_as_a_whole(name: str, text: str, stands: bool) -> None:
    assert stands_in(name, text) is stands


def test_the_beginning_of_a_name_that_is_cut() -> None:
    assert stands_in("long_na", "CREATE INDEX long_name", is_cut=True)
    assert not stands_in("ong_na", "CREATE INDEX long_name", is_cut=True)


def test_a_name_as_it_is_written() -> None:
    assert is_written_in('shop."a""b"', 'TABLE shop."a""b" ADD')
    assert not is_written_in("shop.a", "TABLE shop.ab ADD")


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("a", ["a"]),
        ("sales.a", ["sales", "a"]),
        ('sales."a.b"', ["sales", "a.b"]),
        ('"a""b"', ['a"b']),
    ],
)
def test_the_parts_of_a_name(written: str, parts: list[str]) -> None:
    assert parts_of(written) == parts


@pytest.mark.parametrize("name", ["a", "A$1", 'sales."a b"', 'sales . "a""b"', "größe"])
def test_a_qualified_name(name: str) -> None:
    assert re.fullmatch(QUALIFIED_NAME, name)


def test_no_qualified_name() -> None:
    assert not re.fullmatch(QUALIFIED_NAME, "a b")


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("  SELECT 1", "SELECT"),
        ("-- why\nselect 1", "select"),
        ("/* a /* b */ c */ DROP x", "DROP"),
        ("/* never ends", ""),
        ("", ""),
    ],
)
def test_the_first_word_of_a_statement(sql: str, word: str) -> None:
    assert first_word(sql) == word
