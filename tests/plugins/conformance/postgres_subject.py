"""postgres, and a modelled database: it knows the statements of the publisher, and transactions."""

import json
from collections.abc import Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace

from psycopg import sql

from zabra.plugins.builtin import postgres
from zabra.plugins.builtin.postgres import PostgresPublisher
from zabra.plugins.conformance import Faults, Published, Told, ToldSnapshot

SCHEMA = "zabra"


class State:
    """What the tables hold."""

    def __init__(self, other: "State | None" = None) -> None:
        self.publisher = None if other is None else other.publisher
        self.nodes = {} if other is None else {path: list(row) for path, row in other.nodes.items()}
        self.changes = {} if other is None else dict(other.changes)
        self.snapshots = [] if other is None else list(other.snapshots)


def statement(text: str) -> str:
    """One of the publisher's, as it is sent."""
    return sql.SQL(text).format(schema=sql.Identifier(SCHEMA)).as_string(None)


class Rows(list):
    """The result of a statement."""

    def __init__(self, rows: Sequence[tuple] = (), rowcount: int = 0) -> None:
        super().__init__(rows)
        self.rowcount = rowcount

    async def fetchone(self):
        return self[0] if self else None


class ModelConnection:
    """One connection; ``connection`` is what psycopg quotes names with, none here."""

    connection = None
    info = SimpleNamespace(parameter_status=lambda name: "UTF8")

    def __init__(self, database: "PostgresSubject", faults: Faults) -> None:
        self._database = database
        self._faults = faults
        self._state: State | None = None
        self._known = {
            statement(getattr(postgres, name)): getattr(self, name.lower())
            for name in (
                "_READ", "_MOVE", "_CLEAR", "_REMOVE", "_END", "_NOTE_SNAPSHOT", "_SET_DATA", "_SET_ACL",
                "_CHANGES", "_NODES",
            )
        }  # fmt: skip

    @property
    def state(self) -> State:
        assert self._state is not None, "outside of a transaction"
        return self._state

    @asynccontextmanager
    async def transaction(self):
        self._state = State(self._database.state)
        try:
            yield
            async with self._faults.call("COMMIT"):
                self._database.commit(self.state)
        finally:
            self._state = None

    async def execute(self, query, values=()):
        text = query if isinstance(query, str) else query.as_string(None)
        name = text.split("\n")[0] or text.split("\n")[1]
        async with self._faults.call(name[:30]):
            if text == postgres._FIND:
                return Rows([(self.state.publisher is not None,)])
            if text.startswith(("SELECT pg_advisory", "SELECT set_config")):
                return Rows()
            if "CREATE SCHEMA" in text:
                self.state.publisher = ["checked", postgres.FORMAT, 0]
                return Rows()
            return self._known[text](*values)

    def _read(self):
        return Rows([tuple(self.state.publisher)])

    def _move(self, zxid, expected):
        name, version, at = self.state.publisher
        if at != expected:
            return Rows(rowcount=0)
        self.state.publisher = [name, version, zxid]
        return Rows(rowcount=1)

    def _clear(self):
        self.state.nodes = {}
        return Rows()

    def _remove(self, paths):
        for path in paths:
            self.state.nodes.pop(path, None)
        return Rows()

    def _end(self, owners):
        self.state.nodes = {path: row for path, row in self.state.nodes.items() if row[5] not in owners}
        return Rows()

    def _note_snapshot(self, zxid, since, nodes):
        assert len(self.state.nodes) == nodes
        self.state.snapshots.append((zxid, {path: row[2] for path, row in self.state.nodes.items()}))
        return Rows()

    def _set_data(self, data, version, zxid, path):
        row = self.state.nodes.get(path)
        if row is not None:
            row[2], row[3], row[7] = data, version, zxid

    def _set_acl(self, acl, path):
        row = self.state.nodes.get(path)
        if row is not None:
            row[4] = acl

    def _changes(self, row):
        zxid, index = row[:2]
        assert (zxid, index) not in self.state.changes, "the primary key is there"
        self.state.changes[zxid, index] = row

    def _nodes(self, row):
        assert row[0] not in self.state.nodes, "the path is there"
        json.loads(row[4])
        self.state.nodes[row[0]] = list(row)

    @asynccontextmanager
    async def cursor(self):
        yield self

    @asynccontextmanager
    async def copy(self, query):
        text = query.as_string(None)
        rows: list[tuple] = []

        async def write_row(row):
            rows.append(row)

        yield SimpleNamespace(set_types=lambda types: None, write_row=write_row)
        async with self._faults.call("COPY"):
            for row in rows:
                self._known[text](row)

    async def executemany(self, query, values):
        async with self._faults.call("UPDATE"):
            for row in values:
                self._known[query.as_string(None)](*row)

    async def close(self):
        """What is not committed is undone: nobody has seen it."""


class PostgresSubject:
    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.state = State()

    def commit(self, state: State) -> None:
        """A transaction has ended well."""
        self.state = state

    def publisher(self) -> PostgresPublisher:
        async def connect(dsn):
            async with self._faults.call("connect"):
                return ModelConnection(self, self._faults)

        return PostgresPublisher(PostgresPublisher.Options(schema=SCHEMA), connect)

    def crash(self) -> None:
        """What is committed is in its log."""

    def published(self) -> Published:
        """Both tables: what happened, and what it made."""
        state = self.state
        zxid = -1 if state.publisher is None else state.publisher[2]
        changes: dict[int, list] = {}
        for (at, index), row in sorted(state.changes.items()):
            changes.setdefault(at, []).append((index, row[6], row[7] or "", row[8]))
        log = [(at, 0, Told(at, tuple(told))) for at, told in changes.items()]
        log += [(at, 1, ToldSnapshot(at, nodes)) for at, nodes in state.snapshots]
        log.sort(key=lambda one: one[:2])
        return Published(
            [told for *_, told in log],
            {path: row[2] for path, row in state.nodes.items()},
            zxid if zxid else -1,
        )
