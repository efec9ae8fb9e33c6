"""``notify``: tells people how a migration ended, by mail, a webhook, or a function."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from django.conf import settings
from django.core.mail import EmailMessage

from django_confiture import conf
from django_confiture.hooks.base import HookContext, HookPhase, HookResult
from django_confiture.hooks.builtin import options
from django_confiture.hooks.builtin.base import ShippedHook
from django_confiture.hooks.builtin.options import Option, optional

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger("django_confiture.hooks")

SUCCESS, FAILURE = "success", "failure"

_CHANNELS = ("mail", "webhook", "function")
_TOLD = "notify"
"""The context's key of the outcomes that were told, so that none is told twice."""


@dataclass(frozen=True)
class Notification:
    """How a migration ended."""

    outcome: str
    """``"success"`` or ``"failure"``."""
    migration: str
    """``app_label.name``."""
    direction: str
    database: str
    """The alias."""
    error: str
    """The type of the error and the first line of its text; empty after a success."""

    @property
    def text(self) -> str:
        """One line for people."""
        did = "failed" if self.outcome == FAILURE else "was applied"
        if self.direction == "backward" and self.outcome == SUCCESS:
            did = "was unapplied"
        reason = f": {self.error}" if self.error else ""
        return f"Migration {self.migration} {did} on {self.database}{reason}"


def outcomes(value: object, name: str) -> tuple[str, ...]:
    """Read a list of ``"success"`` and ``"failure"``."""
    parsed = options.texts(value, name)
    if not parsed or not {*parsed} <= {SUCCESS, FAILURE}:
        raise conf.SettingError(f"{name} is {value!r}", 'write ["failure"], ["success"] or both')
    return parsed


def web_address(value: object, name: str) -> str:
    """Read an address of http or https; it may have a secret in it, so errors don't repeat it."""
    if isinstance(value, str) and urlsplit(value).scheme in ("http", "https"):
        return value
    raise conf.SettingError(
        f"{name} is not an address of http or https", "write one that begins with https://"
    )


class Notify(ShippedHook):
    """Sends a message when a migration has failed, or succeeded.

    In ``ON_ERROR`` it tells of a failure, in ``CLEANUP`` of what the outcome is: of a success once
    the transaction is committed. Listed in both phases it tells of each outcome once. A message
    that can't be sent is logged as ``notify_failed`` and changes nothing for the migration.

    Options, of which at least one of ``mail``, ``webhook`` and ``function`` is needed:

    ``mail``
        A list of addresses, to which Django sends mail from ``DEFAULT_FROM_EMAIL``.
    ``webhook``
        An address of http or https that gets a JSON object by POST: ``text`` (one line, which chat
        systems show), ``outcome``, ``migration``, ``direction``, ``database``, ``error``.
    ``function``
        A function, or the dotted path of one, that gets a ``Notification`` with the same fields.
    ``on``
        A list of ``"failure"`` and ``"success"``.
    ``give_up_after``
        A duration: how long the webhook may take. For mail, set Django's ``EMAIL_TIMEOUT``, or
        ``timeout`` in the ``OPTIONS`` of ``MAILERS``.

    ``error`` is the error's type and the first line of its text; PostgreSQL's details, which quote
    rows, are left out. It is skipped in a dry run. Backwards it does the same as forwards.
    """

    registered_name = "notify"
    phase = HookPhase.ON_ERROR
    directions: ClassVar[tuple[str, ...]] = ("forward", "backward")
    on_failure = "continue"
    runs_in_dry_run = False

    mail = Option(options.texts, default=())
    webhook = Option(optional(web_address), default=None)
    function = Option(optional(options.function), default=None)
    on = Option(outcomes, default=("failure",))
    give_up_after = Option(options.duration, default="10s")

    def contradictions(self) -> Iterator[conf.SettingError]:
        """Without a channel nothing can be told."""
        if not any(getattr(self, name) for name in _CHANNELS):
            yield conf.SettingError(
                "notify has none of 'mail', 'webhook', 'function'",
                'say who is told, such as {"mail": ["ops@example.com"]}',
            )

    def run(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:  # noqa: ARG002
        """Tell now of a failure; of a success when it is committed."""
        outcome = SUCCESS if context.error is None else FAILURE
        told: set[tuple[str, str]] = context.get_stat(_TOLD) or set()
        mine = (outcome, repr(sorted(self.options.items(), key=repr)))
        if outcome not in self.on or mine in told:
            return self.result(told=None)
        context.set_stat(_TOLD, told | {mine})
        notification = Notification(
            outcome, context.label, context.direction, context.using or "", _error(context.error)
        )
        if outcome == SUCCESS:
            context.on_commit(lambda: self._tell(notification))
        else:
            self._tell(notification)
        return self.result(told=outcome)

    def _tell(self, notification: Notification) -> None:
        """Use each channel; what goes wrong in one is logged, and the others are used."""
        channels: Mapping[str, Callable[[Notification], object]] = {
            "mail": self._send_mail,
            "webhook": self._post,
            "function": lambda each: self.function and self.function(each),
        }
        for channel, tell in channels.items():
            if getattr(self, channel):
                try:
                    tell(notification)
                except Exception as error:  # noqa: BLE001 - whatever mail and networks raise
                    self._log(channel, error, notification)

    def _send_mail(self, notification: Notification) -> None:
        prefix = settings.EMAIL_SUBJECT_PREFIX
        subject = f"{prefix}{notification.text}".partition("\n")[0]
        body = "\n".join(f"{key}: {value}" for key, value in asdict(notification).items())
        EmailMessage(subject, body, to=list(self.mail)).send()

    def _post(self, notification: Notification) -> None:
        assert self.webhook is not None
        body = json.dumps({"text": notification.text, **asdict(notification)}).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(self.webhook, body, headers)  # noqa: S310 - the option's parser checks it
        with urlopen(request, timeout=self.give_up_after.total_seconds()):  # noqa: S310
            pass

    def _log(self, channel: str, error: Exception, notification: Notification) -> None:
        app_label, _, name = notification.migration.rpartition(".")
        reason = f"{type(error).__name__}: {error}"
        if self.webhook is not None:  # which may have a token in it
            reason = reason.replace(self.webhook, "the webhook")
        facts = {"channel": channel, "error": reason, "migration": name, "app_label": app_label}
        logger.error("notify_failed", extra=facts)


def _error(error: BaseException | None) -> str:
    if error is None:
        return ""
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
