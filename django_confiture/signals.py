"""The app's own signals. Receivers observe and cannot veto: all are sent with ``send_robust``.

``sender`` is the app config of the migration's app (``None`` for an app that is not installed).

=====================  =======================================================================
signal                 arguments
=====================  =======================================================================
``migration_started``  ``migration``, ``using``, ``direction``, ``context``
``migration_retried``  the same, and ``attempt`` (the one that failed), ``error``, ``blocked_by``
``migration_finished`` as at the start, and ``duration_ms``
``migration_failed``   as at the start, and ``error``
``migration_waits``    as at the start, and ``relation``, ``mode``, ``waited_ms``, ``blocked_by``
``migration_blocks``   as at the start, and ``waiting``, ``longest_ms``, ``relations``, ``waiters``
``migration_resumed``  as at the start, and ``operation``, ``skipped``
``migration_gave_way`` as at the start, and ``waited_ms``, ``attempt``, ``waiters``
``hook_started``       ``hook``, ``phase``, ``context``; not sent for one that is skipped
``hook_progress``      the same, and ``done``, ``total`` (``None`` where it is not known): what
                       the hook said with ``context.progress()``
``hook_finished``      ``hook``, ``phase``, ``outcome`` (``"completed"``, ``"failed"``,
                       ``"skipped"``), ``duration_ms``, ``result``, ``error``, ``reason`` (why it
                       was skipped), ``context``
``dry_run_finished``   ``using``, ``report`` (:class:`django_confiture.dry_run.results.Report`),
                       ``report_json`` (the same as ``--format json`` prints it), ``headline``
                       (its first line of text), ``verdict``, ``shows_values`` (whether the
                       report has values of rows in it)
=====================  =======================================================================
"""

from __future__ import annotations

from django.apps import apps
from django.dispatch import Signal

migration_started = Signal()
migration_retried = Signal()
migration_finished = Signal()
migration_failed = Signal()
migration_waits = Signal()
migration_blocks = Signal()
migration_gave_way = Signal()
migration_resumed = Signal()
hook_started = Signal()
hook_progress = Signal()
hook_finished = Signal()
dry_run_finished = Signal()


def sender_for(app_label: str) -> object:
    """Return the app config that sends for ``app_label``, ``None`` if there is none."""
    return apps.app_configs.get(app_label)
