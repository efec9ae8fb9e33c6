"""Tables whose rows a migration's code reads or writes, and row security hides from its role.

An UPDATE by a role that policies bind, as they bind a table's owner under FORCE ROW LEVEL SECURITY,
leaves out what they hide and succeeds: no error tells, and no count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from psycopg.pq import TransactionStatus

from django_confiture.dry_run.findings.subject import JudgedStatement
from django_confiture.dry_run.sql.parsing.parser import Kind
from django_confiture.formatting import listed

if TYPE_CHECKING:
    from django_confiture.dry_run.measuring.relations import Relation
    from django_confiture.dry_run.server.side_channel import Session

_HIDDEN = """
SELECT c.oid, current_user FROM pg_catalog.pg_class c
WHERE c.oid IN (SELECT t::oid FROM json_array_elements_text($1) t)
  AND c.relrowsecurity AND pg_catalog.row_security_active(c.oid)
ORDER BY c.relname
"""


def hidden_rows(
    session: Session, steps: Iterable[JudgedStatement], relations: Mapping[str, Relation]
) -> tuple[str, ...]:
    """Return what to say of tables whose rows are read or written, and not all seen."""
    used = {
        relations[name].oid: name
        for step in steps
        if step.statement.kind is not Kind.DDL
        for name in step.locks
    }
    if not used or session.status not in (TransactionStatus.INTRANS, TransactionStatus.IDLE):
        return ()
    found = session.query(_HIDDEN, [json.dumps([*map(str, used)])])
    if not found:
        return ()
    names = [used[int(oid or 0)] for oid, _role in found]
    warning = (
        f"Row security may hide rows of {listed(names)} from {found[0][1]}: what reads or writes"
        " rows leaves those out, without an error."
    )
    return (warning,)
