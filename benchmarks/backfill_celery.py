"""The Celery app of benchmarks/backfill.py."""

import os

from celery import Celery

app = Celery("bench", broker=os.environ["CONFITURE_BENCH_BROKER"])
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True
