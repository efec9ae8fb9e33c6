"""Refusals: reasons not to begin a dry run, each in one line with the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from django.db.migrations.recorder import MigrationRecorder
from psycopg.errors import OutOfMemory
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.results.error_classes import original_error
from django_confiture.dry_run.server.second_connection import refuse_shared_sessions
from django_confiture.dry_run.server.side_channel import Session
from django_confiture.exceptions import DryRunRefused, HookLookupError
from django_confiture.formatting import count, size

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_confiture.dry_run.results import LockCapacity, Preflight

SETTINGS_ERRORS = (ImproperlyConfigured, HookLookupError)
"""Raised before the first migration, they are about the project's settings, not the plan."""

_MORE_LOCKS = (
    "raise max_locks_per_transaction (now {}), run the plan in parts (migrate_dryrun app_label "
    "migration), or pass --clone"
)

OUT_OF_LOCKS = (
    "out of shared memory: the server's lock table is full, as one transaction holds the locks of "
    "the whole plan. That is not the migration's fault; "
    f"{_MORE_LOCKS.replace(' (now {})', '')}."
)


def refuse_unusable(wrapper: BaseDatabaseWrapper, session: Session) -> None:
    """Refuse a server or a session that can't be rehearsed on; call it before BEGIN."""
    alias, table = wrapper.alias, MigrationRecorder.Migration._meta.db_table
    standby, read_only, role, recordable = session.query(
        "SELECT pg_catalog.pg_is_in_recovery(),"
        " pg_catalog.current_setting('transaction_read_only'),"
        " quote_ident(current_user), pg_catalog.has_table_privilege(recorder, 'SELECT')"
        " AND pg_catalog.has_table_privilege(recorder, 'INSERT')"
        " FROM pg_catalog.to_regclass(pg_catalog.quote_ident($1)) AS recorder",
        [table],
    )[0]
    if standby == "t":
        raise DryRunRefused(
            f"The database {alias!r} is a replica, which takes no writes; "
            "run against its primary or a copy."
        )
    if read_only == "on":
        raise DryRunRefused(
            f"The session on {alias!r} is read-only (default_transaction_read_only), so migrate "
            "itself would fail; connect as a role, or with OPTIONS, that may write."
        )
    if recordable == "f":  # NULL where the table is not there yet
        raise DryRunRefused(
            f"The role {role} may not read and write {table}, so migrate itself would fail; "
            f"connect as the role that migrates, or GRANT SELECT, INSERT ON {table} TO {role}."
        )
    refuse_shared_sessions(wrapper, session)


def refuse_open_transaction(wrapper: BaseDatabaseWrapper) -> None:
    """Refuse a transaction that was already open: its locks and rows are not the plan's."""
    if wrapper.in_atomic_block or Session(wrapper.connection).status != TransactionStatus.IDLE:
        raise DryRunRefused(
            f"The connection to {wrapper.alias!r} is in a transaction already; run the command "
            "outside of atomic(), or end what was begun."
        )


def refuse_planned(preflight: Preflight, session: Session) -> None:
    """Refuse a plan that can't be rehearsed here, before its first migration runs."""
    _refuse_without_right_to_record(session)
    _refuse_too_many_locks(preflight.locks, session)
    _refuse_dead_space(preflight)


def _refuse_without_right_to_record(session: Session) -> None:
    """Refuse where ``migrate`` could not even make the table that it records in."""
    table = MigrationRecorder.Migration._meta.db_table
    schema, role, allowed, recorded = session.query(
        "SELECT quote_ident(current_schema()), quote_ident(current_user),"
        " pg_catalog.has_schema_privilege(current_schema(), 'CREATE'),"
        " pg_catalog.to_regclass(pg_catalog.quote_ident($1)) IS NOT NULL",
        [table],
    )[0]
    if recorded == "t" or allowed == "t":
        return
    if schema is None:
        raise DryRunRefused(
            f"There is no schema to create tables in, which {table} needs; no schema of the "
            "search_path exists."
        )
    raise DryRunRefused(
        f"The role {role} lacks the CREATE right on the schema {schema}, which {table} needs; "
        f"GRANT CREATE ON SCHEMA {schema} TO {role}."
    )


def _refuse_too_many_locks(locks: LockCapacity, session: Session) -> None:
    free = locks.capacity - locks.taken
    if locks.needed <= free:
        return
    setting = session.value("SHOW max_locks_per_transaction")
    raise DryRunRefused(
        f"The plan needs about {locks.needed:,} locks in one transaction, and the server has room "
        f"for {free:,}; {_MORE_LOCKS.format(setting)}."
    )


def is_out_of_locks(error: BaseException) -> bool:
    """Return whether the server's lock table was full; lack of other memory has a DETAIL."""
    cause = original_error(error)
    return isinstance(cause, OutOfMemory) and not cause.diag.message_detail


def _refuse_dead_space(preflight: Preflight) -> None:
    limit = preflight.max_dead_bytes
    total = sum(each.size_bytes for each in preflight.dead_space)
    if limit is None or total <= limit:
        return
    worst = preflight.dead_space[0]
    raise DryRunRefused(
        f"The plan would leave about {size(total)} of dead space, {size(worst.size_bytes)} of it "
        f"in {worst.relation} ({count(worst.rows, 'row')}), and MAX_DEAD_SPACE is {size(limit)}; "
        "pass --allow-dead-space where VACUUM may clear that, or rehearse on a copy."
    )
