"""Every finding of the dry run and how bad it is; ``docs/findings.md`` says what each means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Severity = Literal["danger", "warning", "notice"]

SEVERITIES: Mapping[str, Severity] = {
    "backfill-in-one-transaction": "warning",
    "backfill-while-locked": "danger",
    "check-constraint-scan": "danger",
    "column-dropped": "warning",
    "column-renamed": "warning",
    "concurrently-in-transaction": "danger",
    "domain-constraint-scan": "danger",
    "enum-value-renamed": "warning",
    "enum-value-used-at-once": "danger",
    "exclusion-constraint-builds-index": "danger",
    "foreign-key-scan": "danger",
    "foreign-key-unchecked": "danger",
    "foreign-key-without-index": "notice",
    "generated-column-rewrite": "danger",
    "identity-column-rewrite": "danger",
    "if-not-exists-skips": "danger",
    "index-build-blocks-writes": "danger",
    "index-drop-blocks-reads": "notice",
    "invalid-index-left": "danger",
    "json-column": "notice",
    "locks-referenced-table": "notice",
    "no-lock-timeout": "notice",
    "not-null-scan": "danger",
    "not-null-without-default": "danger",
    "partition-attach-scan": "danger",
    "partition-detach-blocks-reads": "notice",
    "primary-key-scan": "danger",
    "query-plan-regressed": "warning",
    "refresh-blocks-reads": "danger",
    "reindex-blocks-writes": "danger",
    "repeated-rewrites": "warning",
    "rows-locked-while-working": "warning",
    "running-code-breaks": "danger",
    "same-value-for-all-rows": "warning",
    "scan-blocks-writes": "danger",
    "schema-changed": "warning",
    "schema-differs-from-models": "danger",
    "table-dropped": "warning",
    "table-renamed": "warning",
    "table-rewrite": "danger",
    "trigger-blocks-writes": "notice",
    "truncate-loses-rows": "warning",
    "type-change-rebuilds-indexes": "danger",
    "type-change-rewrite": "danger",
    "unique-constraint-builds-index": "danger",
    "validate-while-locked": "danger",
    "volatile-default-rewrite": "danger",
    "work-while-locked": "danger",
}
