"""PostgreSQL from the Debian package ``postgresql``: a cluster in a folder, trusting all on loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from glob import glob
from typing import Any, Final

import psycopg
from tests.interop.processes import poll
from tests.plugins.targets.target import Row, Target, children, is_alive, require

from zabra.plugins.jsontext import hex_of, put_data

_PAGE: Final = 5000
WITHIN_S: Final = 30


class Postgres(Target):
    """A place is a schema."""

    kind = "postgres"
    has_refusals = False

    def __init__(self) -> None:
        folders = sorted(glob("/usr/lib/postgresql/*/bin"), reverse=True)
        self._postgres = require("postgres", "postgresql", folders)
        self._initdb = require("initdb", "postgresql", folders)
        super().__init__()

    def user(self) -> str | None:
        """It refuses to run as root."""
        return "postgres" if os.geteuid() == 0 else None

    def prepare(self) -> None:
        """Makes the cluster."""
        user = self.user()
        if user is not None:
            account = pwd.getpwnam(user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        command = [
            self._initdb,
            "-D",
            str(self.folder / "data"),
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
        ]
        command += ["--no-locale", "--no-sync"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, user=user)

    def command(self) -> list[str]:
        """Without fsync: what it wrote outlives its own death, and nobody cuts the power."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "16MB",
            "autovacuum": "off",
        }
        words = [self._postgres, "-D", str(self.folder / "data")]
        for key, value in settings.items():
            words += ["-c", f"{key}={value}"]
        return words

    def start(self) -> None:
        """A postmaster that was killed leaves its pid behind, which may be somebody else's by now."""
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        super().start()

    def kill(self) -> None:
        """SIGKILL to its children too, which are not of its group: while one is left, no other can begin."""
        started = [] if self._process is None else children(self._process.pid)
        super().kill()
        for pid in started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        poll("its children are gone", WITHIN_S, lambda: not any(map(is_alive, started)) or None)

    @property
    def dsn(self) -> str:
        """How it is reached."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def is_ready(self) -> bool:
        """Whether it lets us in."""
        try:
            psycopg.connect(self.dsn, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def options(self, place: str) -> dict[str, str]:
        """A schema of its own."""
        return {"class": "postgres", "dsn": self.dsn, "schema": place, "timeoutMs": "10000"}

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(query, values or None).fetchall()

    def each(self, place: str) -> Iterator[Row]:
        """Changes by txn; a snapshot where one was taken, with the number of its nodes."""
        query = (
            "SELECT zxid, (extract(epoch FROM time) * 1000)::bigint, session, cxid, txn_op,"
            f" index, op, path, data, version, acl, owner FROM {place}.changes ORDER BY zxid, index"
        )
        snapshots = self.ask(f"SELECT zxid, nodes FROM {place}.snapshots ORDER BY zxid DESC, since DESC")
        row: Row = {}
        at = -1
        for zxid, time, session, cxid, txn_op, *change in self._each(query):
            if zxid != at:
                if row:
                    yield row
                while snapshots and snapshots[-1][0] < zxid:
                    yield from _snapshot(*snapshots.pop())
                head = {"zxid": hex_of(zxid), "time": time, "session": hex_of(session), "cxid": cxid}
                at, row = zxid, {**head, "op": txn_op, "changes": []}
            row["changes"].append(_change(change))
        if row:
            yield row
        while snapshots:
            yield from _snapshot(*snapshots.pop())

    def _each(self, query: str) -> Iterator[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as connection, connection.cursor("reading") as cursor:
            cursor.itersize = _PAGE
            cursor.execute(query)
            while rows := cursor.fetchmany(_PAGE):
                yield from rows

    def nodes(self, place: str) -> dict[str, tuple[Any, ...]]:
        """The current state: path to (data, version, acl, owner, czxid, mzxid)."""
        query = f"SELECT path, data, version, acl, coalesce(owner, 0), czxid, mzxid FROM {place}.nodes"
        return {path: tuple(rest) for path, *rest in self.ask(query)}

    def close(self) -> None:
        """The folder belongs to somebody else, which root does not mind."""
        super().close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _snapshot(zxid: int, nodes: int) -> list[Row]:
    return [{"snapshot": hex_of(zxid)}, {"snapshotEnd": hex_of(zxid), "nodes": nodes}]


def _change(values: list[Any]) -> Row:
    index, op, path, data, version, acl, owner = values
    row: Row = {"index": index, "op": op}
    if path is not None:
        row["path"] = path
    if op in ("create", "setData", "reconfig"):
        put_data(row, data)
    if version is not None:
        row["version"] = version
    if acl is not None:
        row["acl"] = acl
    if owner is not None:
        row["owner"] = hex_of(owner)
    return row
