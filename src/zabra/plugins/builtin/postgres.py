"""``postgres``: the tree as it is now, and every change that made it, in two tables of PostgreSQL.

Each batch is one transaction with the cursor in it, so that every txn is there exactly once, a multi is
whole for every reader, and ``nodes`` is at any moment the tree as of the cursor.  The cursor is moved by
compare-and-set: whoever else writes to the same schema (another observer, or a connection that was given up
and is not dead yet) loses, and begins anew after what is there.

Tables in ``schema``: ``publisher`` (one row: the cursor), ``nodes``, ``changes``, and ``snapshots``, with a
row for each time history did not reach back: changes after ``since`` and up to ``zxid`` are not in
``changes``.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from zabra.plugins.builtin.node_rows import NodeRow, NodeRows
from zabra.plugins.filters import Filter
from zabra.plugins.jsontext import acl_object, dump
from zabra.plugins.publisher import CommittedTxn, PublisherContext, Snap, SnapNode
from zabra.proto.records import ACL
from zabra.tree.datatree import DataTree

FORMAT: Final = 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# The year 9999: what a timestamp in Python can be.
_LAST_MS: Final = 253_402_300_799_000
# Locks the making of tables against others that make them at the same time.
_MAKING: Final = 0x7A61627261

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Connect = Callable[[str], Awaitable[Connection]]

_TABLES: Final = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE {schema}.publisher (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    name text NOT NULL,
    format integer NOT NULL,
    zxid bigint NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE {schema}.nodes (
    path text COLLATE "C" NOT NULL,
    parent text COLLATE "C",
    data bytea,
    version integer NOT NULL,
    acl json NOT NULL,
    owner bigint,
    czxid bigint NOT NULL,
    mzxid bigint NOT NULL,
    -- By hash: a path may be longer than a key of a B-tree.
    EXCLUDE USING hash (path WITH =)
);
CREATE INDEX nodes_parent ON {schema}.nodes USING hash (parent);
CREATE INDEX nodes_owner ON {schema}.nodes (owner) WHERE owner IS NOT NULL;
CREATE TABLE {schema}.changes (
    zxid bigint NOT NULL,
    index integer NOT NULL,
    time timestamptz,
    session bigint NOT NULL,
    cxid integer NOT NULL,
    txn_op text NOT NULL,
    op text NOT NULL,
    path text COLLATE "C",
    data bytea,
    version integer,
    acl json,
    owner bigint,
    PRIMARY KEY (zxid, index)
);
CREATE INDEX changes_path ON {schema}.changes USING hash (path);
CREATE TABLE {schema}.snapshots (
    zxid bigint NOT NULL,
    since bigint NOT NULL,
    nodes bigint NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO {schema}.publisher (name, format, zxid) VALUES ({name}, {format}, 0);
"""

_CHANGES: Final = """
COPY {schema}.changes (zxid, index, time, session, cxid, txn_op, op, path, data, version, acl, owner)
FROM STDIN (FORMAT BINARY)
"""
_CHANGE_TYPES: Final = (
    "int8", "int4", "timestamptz", "int8", "int4", "text", "text", "text", "bytea", "int4", "text", "int8",
)  # fmt: skip
_NODES: Final = """
COPY {schema}.nodes (path, parent, data, version, acl, owner, czxid, mzxid) FROM STDIN (FORMAT BINARY)
"""
# JSON is text here: its binary form is the same, and ours is made already.
_NODE_TYPES: Final = ("text", "text", "bytea", "int4", "text", "int8", "int8", "int8")
_MOVE: Final = "UPDATE {schema}.publisher SET zxid = %s, moved_at = now() WHERE zxid = %s"
_CLEAR: Final = "DELETE FROM {schema}.nodes"
_REMOVE: Final = "DELETE FROM {schema}.nodes WHERE path = ANY(%s)"
_END: Final = "DELETE FROM {schema}.nodes WHERE owner = ANY(%s)"
_SET_DATA: Final = "UPDATE {schema}.nodes SET data = %b, version = %s, mzxid = %s WHERE path = %s"
_SET_ACL: Final = "UPDATE {schema}.nodes SET acl = %s WHERE path = %s"
_NOTE_SNAPSHOT: Final = "INSERT INTO {schema}.snapshots (zxid, since, nodes) VALUES (%s, %s, %s)"
_FIND: Final = "SELECT to_regclass(%s) IS NOT NULL"
_READ: Final = "SELECT name, format, zxid FROM {schema}.publisher"


class CursorMovedError(Exception):
    """Somebody else has published to the same schema."""


class PostgresPublisher:
    """See the module."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """Where to.

        Attributes:
            dsn: a connection string or URI of libpq; what it leaves out comes from the environment (PGHOST,
                PGPASSFILE, PGSERVICE, ...).
            schema: the schema with the tables, made where it is missing; each publisher has its own.
            timeout_ms: how long connecting, or publishing one batch, may take.
        """

        dsn: str = ""
        schema: str = "zabra"
        timeout_ms: int = 30_000

        def __post_init__(self) -> None:
            try:
                conninfo_to_dict(self.dsn)
            except psycopg.ProgrammingError as error:
                raise ValueError(f"dsn is no connection string: {str(error).strip()}") from None
            if not self.schema or len(self.schema.encode()) > 63:
                raise ValueError("schema is empty or longer than 63 bytes")
            if self.timeout_ms < 1000:
                raise ValueError(f"timeoutMs is {self.timeout_ms}, must be at least 1000")

    def __init__(self, options: "PostgresPublisher.Options", connect: Connect | None = None) -> None:
        self._options = options
        self._connect: Connect = connect or psycopg.AsyncConnection.connect
        self._connection: Connection | None = None
        self._cursor = 0

    # --- opening ------------------------------------------------------------------------------------------

    async def open(self, context: PublisherContext) -> int | None:
        """Connects, makes the tables where there are none, and reads the cursor."""
        async with asyncio.timeout(self._options.timeout_ms / 1000):
            connection = await self._connect(
                connection_string(self._options.dsn, context.name, self._options.timeout_ms)
            )
            self._connection = connection
            encoding = connection.info.parameter_status("server_encoding")
            if encoding != "UTF8":
                raise ValueError(f"the database is in {encoding}: paths need one in UTF8")
            async with connection.transaction():
                if not await self._has_tables(connection):
                    await self._make_tables(connection, context)
                self._cursor = await self._read(connection, context.name)
        return self._cursor

    async def _has_tables(self, connection: Connection) -> bool:
        name = sql.Identifier(self._options.schema, "publisher").as_string(connection)
        found = await (await connection.execute(_FIND, [name])).fetchone()
        return found is not None and bool(found[0])

    async def _make_tables(self, connection: Connection, context: PublisherContext) -> None:
        """The tables, with the nodes that every tree begins with and no txn has made."""
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_MAKING])
        if await self._has_tables(connection):
            # Somebody else was making them.
            return
        values = {"name": sql.Literal(context.name), "format": sql.Literal(FORMAT)}
        await connection.execute(sql.SQL(_TABLES).format(schema=self._schema, **values))
        rows = [_node_values(row) for row in first_nodes(Filter(context.path))]
        await self._copy(connection, _NODES, _NODE_TYPES, rows)

    async def _read(self, connection: Connection, name: str) -> int:
        row = await (await connection.execute(self._sql(_READ))).fetchone()
        schema = self._options.schema
        if row is None:
            raise ValueError(f"{schema}.publisher has lost its row: drop the schema to begin anew")
        if row[0] != name:
            raise ValueError(f"schema {schema} is of the publisher {row[0]!r}: give each its own")
        if row[1] != FORMAT:
            raise ValueError(f"schema {schema} has format {row[1]}, and this version knows {FORMAT} only")
        return int(row[2])

    # --- publishing ---------------------------------------------------------------------------------------

    async def inform(self, txns: Sequence[CommittedTxn]) -> int:
        """One transaction: the changes, what they make of the nodes, and the cursor."""
        zxid = txns[-1].zxid
        rows = NodeRows()
        for txn in txns:
            rows.apply(txn)
        async with asyncio.timeout(self._options.timeout_ms / 1000):
            async with self._move(zxid, self._options.timeout_ms) as connection:
                await self._copy(connection, _CHANGES, _CHANGE_TYPES, _change_values(txns))
                await self._apply(connection, rows)
        self._cursor = zxid
        return zxid

    async def _apply(self, connection: Connection, rows: NodeRows) -> None:
        removed = rows.removed()
        if removed:
            await connection.execute(self._sql(_REMOVE), [removed])
        if rows.ended():
            await connection.execute(self._sql(_END), [rows.ended()])
        made = rows.made()
        if made:
            await self._copy(connection, _NODES, _NODE_TYPES, map(_node_values, made))
        data = rows.data_changes()
        acls = rows.acl_changes()
        async with connection.cursor() as cursor:
            if data:
                values = [(data, version, zxid, path) for path, data, version, zxid in data]
                await cursor.executemany(self._sql(_SET_DATA), values)
            if acls:
                await cursor.executemany(self._sql(_SET_ACL), [(_acl(acl), path) for path, acl in acls])

    async def snap(self, snap: Snap) -> None:
        """One transaction too: readers see the old nodes until it ends, and the new ones from then on."""
        count = 0
        async with self._move(snap.zxid, 0) as connection:
            await connection.execute(self._sql(_CLEAR))
            async with connection.cursor() as cursor, cursor.copy(self._sql(_NODES)) as copy:
                copy.set_types(_NODE_TYPES)
                async for node in snap.nodes:
                    await copy.write_row(_node_values(node))
                    count += 1
            await connection.execute(self._sql(_NOTE_SNAPSHOT), [snap.zxid, self._cursor, count])
        self._cursor = snap.zxid

    @asynccontextmanager
    async def _move(self, zxid: int, statement_timeout_ms: int) -> AsyncIterator[Connection]:
        """A transaction that moves the cursor; its row is locked by it until the end."""
        connection = self._connection
        assert connection is not None
        async with connection.transaction():
            # The second is for ours that hangs, as seen by whoever waits for the row that it has locked.
            await connection.execute(
                "SELECT set_config('statement_timeout', %s, true),"
                " set_config('idle_in_transaction_session_timeout', %s, true)",
                [str(statement_timeout_ms), str(self._options.timeout_ms)],
            )
            moved = await connection.execute(self._sql(_MOVE), [zxid, self._cursor])
            if moved.rowcount != 1:
                raise CursorMovedError(
                    f"somebody else has published to schema {self._options.schema} since 0x{self._cursor:x}"
                )
            yield connection

    async def _copy(self, connection: Connection, statement: str, types: Sequence[str], rows: Any) -> None:
        async with connection.cursor() as cursor, cursor.copy(self._sql(statement)) as copy:
            copy.set_types(types)
            for row in rows:
                await copy.write_row(row)

    async def close(self) -> None:
        """Closes the connection: what is not committed is undone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    @property
    def _schema(self) -> sql.Identifier:
        return sql.Identifier(self._options.schema)

    def _sql(self, text: str) -> sql.Composed:
        return sql.SQL(text).format(schema=self._schema)


def connection_string(dsn: str, name: str, timeout_ms: int) -> str:
    """``dsn`` with what makes a connection that is dead fail, where it does not say otherwise."""
    wanted = {
        "application_name": f"zabra-{name}",
        "connect_timeout": str(max(2, timeout_ms // 1000)),
        "keepalives_idle": "30",
        "tcp_user_timeout": str(timeout_ms),
    }
    given = conninfo_to_dict(dsn)
    return make_conninfo(dsn, **{key: value for key, value in wanted.items() if key not in given})


def first_nodes(wanted: Filter) -> Iterator[NodeRow]:
    """The nodes that a tree has before its first txn, parents first."""
    tree = DataTree()
    stack = ["/"]
    while stack:
        path = stack.pop()
        node = tree.find(path)
        if node is None:
            continue
        stack.extend(sorted(node.child_paths or (), reverse=True))
        if wanted.wants_path(path):
            acl = tuple(tree.acl_of(node))
            yield NodeRow(path, node.data, int(node.version), acl, 0, int(node.czxid), int(node.mzxid))


def _acl(acl: tuple[ACL, ...]) -> str:
    return dump(acl_object(acl))


def _node_values(node: NodeRow | SnapNode) -> tuple[Any, ...]:
    path = node.path
    parent = None if path == "/" else path[: path.rindex("/")] or "/"
    return (
        path,
        parent,
        node.data,
        node.version,
        _acl(node.acl),
        node.owner or None,
        node.czxid,
        node.mzxid,
    )


def _change_values(txns: Sequence[CommittedTxn]) -> Iterator[tuple[Any, ...]]:
    for txn in txns:
        time = _EPOCH + timedelta(milliseconds=txn.time_ms) if 0 <= txn.time_ms <= _LAST_MS else None
        for change in txn.changes:
            yield (
                txn.zxid,
                change.index,
                time,
                txn.session_id,
                txn.cxid,
                txn.op,
                change.op,
                change.path or None,
                change.data,
                None if change.version < 0 else change.version,
                None if change.acl is None else _acl(change.acl),
                change.owner or None,
            )
