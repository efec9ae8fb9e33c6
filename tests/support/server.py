"""A PostgreSQL of a test's own, with settings that the common one must not have."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connections

import local_postgres


class OwnServer:
    """One cluster, started with other settings as often as a module of tests wants."""

    def __init__(self, home: Path) -> None:
        self._server = local_postgres._Server(local_postgres._find_programs(), home)
        home.mkdir(mode=0o711)
        with self._server._open("log") as log:
            self._server._make_cluster(log)

    @property
    def data(self) -> Path:
        return self._server.data

    @property
    def address(self) -> dict[str, Any]:
        return self._server.address

    def connect(self, **other: Any) -> psycopg.Connection[Any]:
        wanted = {**self.address, "dbname": "postgres", **other}
        return psycopg.connect(**wanted, autocommit=True)

    @contextmanager
    def started(self, **settings: int | str) -> Iterator[None]:
        """Start with these settings, as the database that "default" is."""
        options = " ".join(
            f"-c {name}={value}"
            for name, value in {
                "listen_addresses": "",
                "unix_socket_directories": self.data,
                "fsync": "off",
                **settings,
            }.items()
        )
        wrapper = connections["default"]
        before = wrapper.settings_dict
        with self._server._open("log") as log:
            self._server._run(log, "pg_ctl", "start", "-D", self.data, "-w", "-o", options)
            wrapper.close()
            address = {name.upper(): value for name, value in self.address.items()}
            wrapper.settings_dict = {**before, "NAME": "postgres", **address}
            try:
                yield
            finally:
                wrapper.close()
                wrapper.settings_dict = before
                self._server._run(log, "pg_ctl", "stop", "-D", self.data, "-m", "fast", "-w")

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(self.connect()) as connection:
            return connection.execute(sql).fetchall()

    def query_alone(self, sql: str) -> None:
        """Run what returns no rows."""
        with closing(self.connect()) as connection:
            connection.execute(sql)


@pytest.fixture(scope="module")
def own_server() -> Iterator[OwnServer]:
    """Give a cluster of the module's own, stopped; skip where there are no programs to start."""
    home = Path(tempfile.mkdtemp(prefix="confiture-own-", dir="/tmp"))
    home.chmod(0o711)
    try:
        yield OwnServer(home / "pg")
    except local_postgres.LocalPostgresError as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(home)
