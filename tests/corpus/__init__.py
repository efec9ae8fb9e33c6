"""Migrations with what is to be found in them, written down before they were run.

The tables are those of ``migrations_base``: ``cases_order`` (20,000 rows), ``cases_line`` (30,000),
``cases_customer`` (2,000), ``cases_archive`` (5,000), ``cases_tag`` (40), and some that Django
knows nothing of. ``tests/dry_run/findings/test_corpus.py`` rehearses each case on them.
"""

from tests.corpus import constraints, fields, indexes, plans, python_code, sql_objects, sql_rows
from tests.corpus.case import Case

CASES: list[Case] = [
    *fields.CASES,
    *constraints.CASES,
    *indexes.CASES,
    *sql_rows.CASES,
    *sql_objects.CASES,
    *python_code.CASES,
    *plans.CASES,
]
