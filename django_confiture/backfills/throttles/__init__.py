"""Conditions that hold a backfill between two batches, such as replication lag."""

from django_confiture.backfills.throttles.shipped import (
    ActiveSessions,
    Autovacuum,
    HoursOfDay,
    Moment,
    OldestTransaction,
    ReplicationLag,
    ShareOfTime,
    Throttle,
    WalArchiving,
)

__all__ = [
    "ActiveSessions",
    "Autovacuum",
    "HoursOfDay",
    "Moment",
    "OldestTransaction",
    "ReplicationLag",
    "ShareOfTime",
    "Throttle",
    "WalArchiving",
]
