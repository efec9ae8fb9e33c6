"""Advice in words, for findings that no recipe has tested code for.

Each line is a comment, so that a report may show sentences where it shows code.
"""

from __future__ import annotations

from collections.abc import Mapping


def in_words(finding_id: str) -> str:
    """Return what to do about a finding; ``""`` if its message says so already."""
    return as_comment(SENTENCES.get(finding_id, ""))


def as_comment(text: str) -> str:
    """Return a text as lines of comment."""
    return "\n".join(f"# {line}" for line in text.splitlines())


_TWO_RELEASES_OF_A_COLUMN = """\
This release: take the field out of the model and out of the migrations' state
(SeparateDatabaseAndState with state_operations alone), and let the database accept
INSERTs without it. The next release: drop the column."""

ASKS_FOR_TWO = " It takes two releases: confiture_fix --releases 2"
"""How the sentence begins that names the fix over two releases, on one line."""

NO_VALUE = """\
Give the field a db_default, in the model as well: then the database fills in what the
running release leaves out. Without one: let the column be NULL in this release, and make
it NOT NULL in the next, once no code runs that leaves it out: confiture_fix --releases 2
writes the files."""

REFERRED_TO = """\
The running release does not know the rows that refer to those it deletes. Let their column
be NULL in this release: then confiture_fix --releases 2 adds a foreign key that empties it
meanwhile (ON DELETE SET NULL). Or fill the column in the next release."""

NARROWER_TYPE = """\
This release: code that writes no value which is too large for the new type.
The next release: this migration, once no code runs that can."""

STRICTER_RULE = """\
This release: code that keeps to the new rule, and mends the rows that don't.
The next release: this migration, once no code runs that can break it."""

TWO_RELEASES = """\
This release: code that works on the schema before and after this migration.
The next release: this migration, once no other code runs."""

_ALONE = """\
It takes no time by itself. Give it a separate migration, so that nothing else runs
under its lock, and a lock_timeout:
CONFITURE = {"MIGRATE": {"LOCK_TIMEOUT": "2s", "LOCK_RETRIES": 10}}"""

SENTENCES: Mapping[str, str] = {
    "backfill-in-one-transaction": """\
Write the rows in batches by primary key, each in its own transaction: in a migration
with atomic = False, or as a declared Backfill.""",
    "backfill-while-locked": """\
Put what changes the schema into a separate migration, which commits at once; write the
rows in the next one, in batches that commit one by one.""",
    "cascade-drops-columns": """\
Without CASCADE the statement fails while anything depends on what it drops. Give the columns
another type first, or drop them by name once no code uses them.""",
    "check-constraint-scan": """\
Add the CHECK as NOT VALID: only new rows have to obey it. VALIDATE CONSTRAINT in the next
migration reads the table and lets others write.""",
    "column-dropped": _TWO_RELEASES_OF_A_COLUMN,
    "column-renamed": """\
Keep the column's name: rename the field in the model with db_column set to the old name.
Then makemigrations writes an AlterField and a RenameField, which change no column. An index or
a constraint of Meta that names the field is removed and added again, as it was: put both
operations into state_operations of a SeparateDatabaseAndState.""",
    "concurrently-in-transaction": """\
Set atomic = False in the migration's class, and put nothing else into it.""",
    "domain-constraint-scan": """\
Add the constraint as NOT VALID: only new values have to obey it. VALIDATE CONSTRAINT of a
domain blocks writes as well: give it a quiet hour, or put the CHECK on the tables.""",
    "enum-value-renamed": """\
Add the new value; have the code accept both; then change the rows in batches. The old
value stays: PostgreSQL can't drop one.""",
    "enum-value-used-at-once": """\
Add the value in a migration that does nothing else; what uses it comes in the next one.""",
    "exclusion-constraint-builds-index": """\
PostgreSQL can neither add an exclusion constraint NOT VALID nor build its index
CONCURRENTLY. Create it with a new table that takes the place of this one, or plan a
maintenance window.""",
    "foreign-key-scan": """\
Add the foreign key as NOT VALID: only new rows have to obey it. VALIDATE CONSTRAINT in the
next migration reads the table and lets others write. A new table: create it in one
migration with its foreign key, and fill it in the next, in batches.""",
    "foreign-key-unchecked": """\
Write the rows while the foreign keys are on. Else look for rows that refer to nothing before
the commit: PostgreSQL won't, as VALIDATE CONSTRAINT reads nothing of a valid constraint.""",
    "foreign-key-without-index": """\
Build one in the next migration, CONCURRENTLY; or leave db_index=True, Django's default
for a foreign key.""",
    "generated-column-rewrite": """\
PostgreSQL 18 computes it when it is read, which costs nothing now: db_persist=False.
Before 18: a plain nullable column that the code fills, and the old rows in batches.""",
    "identity-column-rewrite": """\
A sequence, a nullable column whose default is its nextval, the old rows in batches, then
NOT NULL.""",
    "if-not-exists-skips": """\
Leave IF NOT EXISTS out: then the migration fails where it would make nothing. What is there
under that name has to go first, an INVALID index by DROP INDEX CONCURRENTLY.""",
    "index-build-blocks-writes": """\
CREATE INDEX CONCURRENTLY lets others write meanwhile. It needs a migration with
atomic = False, and stands alone in it. A partitioned table takes it for each partition:
CREATE INDEX ... ON ONLY the whole, then one by one, then ALTER INDEX ... ATTACH PARTITION.""",
    "index-drop-blocks-reads": """\
DROP INDEX CONCURRENTLY, in a migration with atomic = False, waits for others without
making them wait. PostgreSQL drops no index of a partitioned table so: there, give it a
migration of its own and a lock_timeout.""",
    "invalid-index-left": """\
A CONCURRENTLY that was cut off, as by a timeout, has left it: it serves no query, and its name
is taken. DROP INDEX CONCURRENTLY it before you migrate; the hook remove_invalid_indexes does.""",
    "json-column": """\
Use jsonb, which models.JSONField() makes.""",
    "locks-referenced-table": """\
Drop the foreign key in a separate migration first, so that nothing else runs under that
lock, and give it a lock_timeout:
CONFITURE = {"MIGRATE": {"LOCK_TIMEOUT": "2s", "LOCK_RETRIES": 10}}""",
    "no-lock-timeout": """\
CONFITURE = {"MIGRATE": {"LOCK_TIMEOUT": "2s", "LOCK_RETRIES": 10}}""",
    "not-null-scan": """\
Fill the NULLs in batches. Then a CHECK (... IS NOT NULL) as NOT VALID, VALIDATE CONSTRAINT
in the next migration, and SET NOT NULL in the one after it: the CHECK proves it, so nothing
is read, and the CHECK can be dropped.""",
    "not-null-without-default": """\
Give the field a db_default: a constant costs nothing, whatever the table's size. Or add it
as NULL, fill the rows in batches, and make it NOT NULL afterwards.""",
    "partition-attach-scan": """\
First add a CHECK to the partition that says what the bound says, NOT VALID, and VALIDATE it
in the next migration: then ATTACH PARTITION reads nothing, and the CHECK can be dropped.""",
    "partition-detach-blocks-reads": """\
DETACH PARTITION ... CONCURRENTLY, in a migration with atomic = False. PostgreSQL refuses it
where there is a default partition.""",
    "pending-trigger-events": """\
Change rows in a migration of their own, before or after the one that alters the table. Or
let SET CONSTRAINTS ALL IMMEDIATE stand between the two.""",
    "primary-key-scan": """\
Make the columns NOT NULL first (see not-null-scan), build a unique index CONCURRENTLY, and
then ADD CONSTRAINT ... PRIMARY KEY USING INDEX. A partitioned table takes neither.""",
    "rows-locked-while-working": """\
Lock fewer rows, and for less time: select_for_update() on a batch of keys, inside an
atomic() of its own that ends with the batch, in a migration with atomic = False. Do the
slow work before the rows are locked.""",
    "query-plan-regressed": """\
Give the query an index that serves it on the new schema before the old one goes, with
AddIndexConcurrently in a separate migration; or change the query first.""",
    "refresh-blocks-reads": """\
REFRESH MATERIALIZED VIEW CONCURRENTLY, in a migration with atomic = False. It needs a unique
index on the view, on columns and without WHERE.""",
    "reindex-blocks-writes": """\
REINDEX ... CONCURRENTLY, in a migration with atomic = False.""",
    "repeated-rewrites": """\
Do it in one ALTER TABLE: each of them writes the whole table again.""",
    "same-value-for-all-rows": """\
Django calls a default once for all rows that are there. Add the field with null=True, give
each row its own value in the next migration, in batches, and make it unique or NOT NULL after
that.""",
    "scan-blocks-writes": """\
Write the statement as a separate operation, so that its online form can be used:
constraints NOT VALID first, VALIDATE CONSTRAINT in a later migration.""",
    "schema-changed": """\
Have both schemas in the search_path until all code uses the new one.""",
    "schema-differs-from-models": """\
Make both sides agree: give RunSQL its state_operations, SeparateDatabaseAndState the same
change on either side, or the migration the operation that is missing. Once it is applied,
manage.py confiture_drift compares all tables.""",
    "table-dropped": """\
This release: take the model out of the code and out of the migrations' state
(SeparateDatabaseAndState with state_operations alone). The next release: drop the table.""",
    "table-renamed": """\
Keep the table's name, with db_table in the model's Meta: then the models change and the
database does not. Or leave a view under the old name until no running code uses it.""",
    "table-rewrite": """\
It has no form that lets others work meanwhile. Use pg_repack, or fill a new table in
batches and swap the names, or plan a maintenance window and give it a lock_timeout.""",
    "trigger-blocks-writes": _ALONE,
    "truncate-loses-rows": """\
Delete in batches, if code that still runs must not find it locked.""",
    "type-change-rebuilds-indexes": """\
Build the new indexes CONCURRENTLY under another name, in a migration with atomic = False,
and drop the old ones, before the type changes; or plan a maintenance window.""",
    "type-change-rewrite": """\
A new column next to the old one: written by both releases' code or by a trigger, filled in
batches, and swapped in a later release. It takes two releases: confiture_fix
--releases 2 writes the migrations of both, where it can.""",
    "unique-constraint-builds-index": """\
Build a unique index CONCURRENTLY, in a migration with atomic = False. In the next one,
ADD CONSTRAINT ... UNIQUE USING INDEX takes no time. A partitioned table takes it for each
partition, and ALTER TABLE ONLY for the whole.""",
    "validate-while-locked": """\
VALIDATE CONSTRAINT in a separate migration, so that no lock of before is held.""",
    "volatile-default-rewrite": """\
Add the column as NULL and without the default; set the default in the next statement, which
is for new rows alone; fill the others in batches.""",
    "work-while-locked": """\
Put what locks into a separate migration, which commits at once; the work comes in the
next one. A hook that works is better in a separate migration, too.""",
}
