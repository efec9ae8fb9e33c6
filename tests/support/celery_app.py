"""A project's Celery app."""

import os

from celery import Celery

app = Celery("tests", broker=os.environ["CONFITURE_TEST_BROKER"])
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True
