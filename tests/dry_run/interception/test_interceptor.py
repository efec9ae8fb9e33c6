"""Which connection a call of psycopg's belongs to, while other threads open theirs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg.pq import TransactionStatus

from django_confiture.dry_run.interception.interceptor import Interceptor
from django_confiture.dry_run.isolation.unrecorded import Overheard
from tests.support.dry_run import plain_connection

pytestmark = pytest.mark.django_db(transaction=True)


class LookedAt(psycopg.Connection[Any]):
    """A connection at which another thread gets its turn whenever someone looks at it."""

    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    @property
    def pgconn(self) -> Any:
        self.meanwhile()
        return vars(self)["libpq"]

    @pgconn.setter
    def pgconn(self, value: Any) -> None:
        vars(self)["libpq"] = value


def test_a_status_is_read_while_another_thread_connects() -> None:
    interceptor = Interceptor()
    params = {**connection.get_connection_params(), "autocommit": True}
    with ExitStack() as stack:
        read, other = (stack.enter_context(plain_connection()) for _ in range(2))
        caught = stack.enter_context(LookedAt.connect(**params))
        stack.enter_context(interceptor.installed())
        for raw in (caught, read):
            stack.enter_context(
                interceptor.catching(raw, Overheard(raw, lambda: None, lambda: None))
            )
        sink = Overheard(other, lambda: None, lambda: None)

        def connects() -> None:
            caught.meanwhile = lambda: None
            stack.enter_context(interceptor.catching(other, sink))

        caught.meanwhile = connects

        status = read.info.transaction_status

    assert status == TransactionStatus.IDLE
