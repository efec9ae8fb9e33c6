"""A PostgreSQL with the server's own defaults, durable ones, and databases to copy."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "testproject")]

import local_postgres  # noqa: E402


class Server:
    """Its own server with PostgreSQL's own defaults, and one database a size."""

    def __init__(self, options: list[str]) -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the files are removed
        self.home = Path(tempfile.mkdtemp(prefix="confiture-bench-", dir="/tmp"))
        self.home.chmod(0o711)
        local_postgres._SERVER_OPTIONS = (
            *("-c", "listen_addresses=", "-c", "port=5432"),
            *(part for option in options for part in ("-c", option)),
        )
        self._server = local_postgres._Server(local_postgres._find_programs(), self.home / "pg")
        self._server.use("bench")
        self.address: dict[str, Any] = dict(self._server.address)
        import django
        from django.conf import settings

        address = {name.upper(): value for name, value in self.address.items()}
        settings.configure(
            INSTALLED_APPS=["django.contrib.contenttypes", "django_confiture"],
            DATABASES={
                "default": {
                    "ENGINE": "django.db.backends.postgresql",
                    "NAME": "bench",
                    **address,
                }
            },
            USE_TZ=True,
        )
        django.setup()

    def close(self) -> None:
        from django.db import connections

        connections.close_all()
        self._server.remove()
        shutil.rmtree(self.home)

    def crash(self) -> None:
        """Stop the server at once, as if its machine had gone, and start it again."""
        server = self._server
        with server.starting(), server._open("log") as log:
            server._run(log, "pg_ctl", "stop", "-D", server.data, "-m", "immediate", "-w")
        server.use("bench")

    def sql(self, *statements: str, database: str = "postgres") -> None:
        import psycopg

        with psycopg.connect(**self.address, dbname=database, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def server_version(self) -> int:
        """Return the server's version as PostgreSQL counts: 180006."""
        import psycopg

        with psycopg.connect(**self.address, dbname="postgres") as connection:
            return connection.info.server_version

    def load(self, n: int, tables: str) -> None:
        """Make the database of ``n`` rows."""
        self.sql(f"CREATE DATABASE rows_{n}")
        self.sql(tables, "VACUUM (ANALYZE, FREEZE)", database=f"rows_{n}")
        self.sql("CHECKPOINT")

    @contextmanager
    def copy(self, n: int) -> Iterator[Any]:
        """Yield Django's connection to a copy of the tables with ``n`` rows, in cache."""
        from django.db import connections

        name = f"copy_{n}"
        connections["default"].close()
        self.sql(
            f"DROP DATABASE IF EXISTS {name}",
            f"CREATE DATABASE {name} TEMPLATE rows_{n} STRATEGY file_copy",
        )
        self.sql("SELECT sum(length(name)) FROM bench_row", database=name)
        wrapper = connections["default"]
        wrapper.settings_dict["NAME"] = name
        try:
            yield wrapper
        finally:
            wrapper.close()
            self.sql(f"DROP DATABASE {name}")
