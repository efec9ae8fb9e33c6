"""The configurations of logs in the docs work, and print the lines that the docs show."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from opentelemetry import trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.instrumentation.logging import LoggingInstrumentor
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider

from django_confiture import Hook, HookContext, HookPhase, HookResult, RunHook
from tests.cases.migrations_on_disk import Cases
from tests.support.paths import DOCS

OPERATION = (DOCS / "OPERATION.md").read_text().partition("\n## Logs\n")[2]
TROUBLESHOOTING = (DOCS / "TROUBLESHOOTING.md").read_text()
FAILED = TROUBLESHOOTING.partition("\n## `Hook BackfillReadModel failed")[2].partition("\n## ")[0]


class BackfillReadModel(Hook):
    """It misspells a table."""

    phase = HookPhase.AFTER_DDL

    def execute(self, conn: psycopg.Connection[Any], context: HookContext) -> HookResult:
        conn.execute("SELECT count(*) FROM shop_ordr")
        raise AssertionError


def blocks(text: str, heading: str, language: str) -> list[str]:
    """Return the blocks of code below a heading of the third level, or before the first."""
    parts = re.split(r"^### (.*)$", text, flags=re.MULTILINE)
    found = dict(zip(["", *parts[1::2]], parts[::2], strict=True))
    return re.findall(rf"^```{language}\n(.*?)^```$", found[heading], re.MULTILINE | re.DOTALL)


def lines(text: str) -> list[dict[str, Any]]:
    return [steady(json.loads(line)) for line in text.splitlines()]


def steady(line: dict[str, Any]) -> dict[str, Any]:
    """Take away what differs from run to run."""
    for name in ("asctime", "timestamp"):
        if name in line:
            assert re.match(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d", line[name])
            line[name] = "now"
    for name in ("duration_ms", "execution_time_ms"):
        if name in line:
            assert line[name] >= 0
            line[name] = 0
    for name in ("exc_info", "exception"):
        if name in line:
            line[name] = re.sub(r'\n  File "(?:.|\n)*\n(?=psycopg)', "\n  …\n", line[name])
    return line


@contextmanager
def configured(block: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Configure logs as a block of the docs does; give what goes to standard error."""
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stderr", stderr)
    scope: dict[str, Any] = {}
    exec(block, scope)
    logger = logging.getLogger("django_confiture")
    handlers, level = logger.handlers[:], logger.level
    logging.config.dictConfig(scope["LOGGING"])
    try:
        yield stderr
    finally:
        for handler in logger.handlers:
            handler.close()
        logger.handlers[:] = handlers
        logger.setLevel(level)  # which forgets what its children have found out of the level
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})


@pytest.fixture
def shop(transactional_db: None) -> Iterator[Callable[[], None]]:
    """Give what migrates a small shop to 0003_customer_lifetime_value, with its hook."""
    call_command("migrate", "shop", "0002", verbosity=0)
    call_command("load_shop", orders=20_000, verbosity=0)

    def migrate() -> None:
        call_command("migrate", "shop", "0003", verbosity=0)

    try:
        yield migrate
    finally:
        with connection.cursor() as cursor:
            cursor.execute(
                "TRUNCATE shop_customer, shop_product, shop_order, shop_orderline CASCADE"
            )
        call_command("migrate", "shop", verbosity=0)


@pytest.mark.parametrize("library", ["python-json-logger", "structlog"])
def test_a_migration_with_a_hook(
    shop: Callable[[], None], monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    (block,) = blocks(OPERATION, library, "python")
    (sample,) = blocks(OPERATION, library, "json")
    with configured(block, monkeypatch) as stderr:
        shop()
    assert lines(stderr.getvalue()) == lines(sample)


def test_a_dry_run(shop: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks(OPERATION, "python-json-logger", "python")
    (sample,) = blocks(OPERATION, "A dry run", "json")
    with configured(block, monkeypatch) as stderr:
        call_command(
            "migrate_dryrun", "shop", "0003", verbosity=0, format="json", stdout=io.StringIO()
        )
    assert lines(stderr.getvalue()) == lines(sample)


def test_a_hook_that_fails(cases: Cases, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks(OPERATION, "python-json-logger", "python")
    (sample,) = re.findall(r"^```json\n(.*?)^```$", FAILED, re.MULTILINE | re.DOTALL)
    cases.add("0003_customer_lifetime_value", RunHook("tests.docs.test_logs.BackfillReadModel"))
    with configured(block, monkeypatch) as stderr, pytest.raises(Exception, match="shop_ordr"):
        cases.migrate()
    failed = [line for line in lines(stderr.getvalue()) if line["message"] == "hook_failed"]
    (shown,) = lines(sample)
    assert failed == [{**shown, "app_label": "cases"}]


# OpenTelemetry.


@cache
def _exporter() -> InMemoryLogRecordExporter:
    """Set the provider, which can be done once in a process."""
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    set_logger_provider(provider)
    return exporter


@pytest.fixture
def traced() -> Iterator[InMemoryLogRecordExporter]:
    """Give what a handler sends, and a span around it."""
    _exporter().clear()
    with TracerProvider().get_tracer("tests").start_as_current_span("deploy"):
        yield _exporter()


def test_opentelemetry(
    cases: Cases, monkeypatch: pytest.MonkeyPatch, traced: InMemoryLogRecordExporter
) -> None:
    (block,) = blocks(OPERATION, "OpenTelemetry", "python")
    cases.add("0001_fails", RunHook("tests.docs.test_logs.BackfillReadModel"))
    with configured(block, monkeypatch), pytest.raises(Exception, match="shop_ordr"):
        cases.migrate()
    sent = {each.log_record.body: each.log_record for each in traced.get_finished_logs()}
    failed = sent["hook_failed"]
    assert failed.trace_id == trace.get_current_span().get_span_context().trace_id
    assert failed.severity_text == "ERROR"
    assert failed.attributes is not None
    assert failed.attributes["hook"] == "BackfillReadModel"
    assert failed.attributes["migration"] == "0001_fails"
    assert failed.attributes["exception.type"] == "UndefinedTable"


def test_trace_ids_in_json_lines(
    cases: Cases, monkeypatch: pytest.MonkeyPatch, traced: InMemoryLogRecordExporter
) -> None:
    (block,) = blocks(OPERATION, "python-json-logger", "python")
    assert "LoggingInstrumentor().instrument(inject_trace_context=True)" in OPERATION
    instrumentor = LoggingInstrumentor()
    instrumentor.instrument(inject_trace_context=True)
    try:
        cases.add("0001_fails", RunHook("tests.docs.test_logs.BackfillReadModel"))
        with configured(block, monkeypatch) as stderr, pytest.raises(Exception, match="shop_ordr"):
            cases.migrate()
    finally:
        instrumentor.uninstrument()
    context = trace.get_current_span().get_span_context()
    for line in lines(stderr.getvalue()):
        assert line["otelTraceID"] == f"{context.trace_id:032x}"
