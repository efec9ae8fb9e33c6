"""A PostgreSQL of a test's own, with settings that the common one must not have."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import sleep
from typing import Any

import psycopg
import pytest
from django.db import connections

import local_postgres

_BASEBACKUP = {"host": "host", "port": "port", "username": "user"}
"""Options of pg_basebackup → keys of the address."""


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

    @contextmanager
    def standby(self) -> Iterator[psycopg.Connection[Any]]:
        """Start a replica that streams from the server; yield a connection to it."""
        data = self.data.parent / "standby"
        data.mkdir(mode=0o700)
        shutil.chown(data, self.data.owner(), self.data.group())
        source = [f"--{name}={self.address[key]}" for name, key in _BASEBACKUP.items()]
        options = f"-c listen_addresses= -c unix_socket_directories={data} -c fsync=off"
        with self._server._open("log") as log:
            self._server._run(log, "pg_basebackup", "-D", data, "-R", "-c", "fast", *source)
            # The server's socket is in the directory that was copied, and so is its lock.
            (data / f".s.PGSQL.{self.address['port']}.lock").unlink()
            self._server._run(log, "pg_ctl", "start", "-D", data, "-w", "-o", options)
            try:
                with closing(self.connect(host=str(data))) as connection:
                    self._wait_for_streaming()
                    yield connection
            finally:
                self._server._run(log, "pg_ctl", "stop", "-D", data, "-m", "immediate", "-w")
                shutil.rmtree(data)

    def _wait_for_streaming(self) -> None:
        query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        for _ in range(400):
            if self.query(query) == [(1,)]:
                return
            sleep(0.02)
        raise AssertionError("the standby does not stream")

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
