"""Optional app: backfills of big tables in small batches, while the application runs."""

from django_confiture.backfills.declared.declaration import Backfill

__all__ = ["Backfill"]
