"""Redis from the Debian package ``redis-server``, with an append-only file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, cast

import redis
from tests.plugins.targets.target import Row, Target, require

from zabra.plugins.jsontext import hex_of

_PAGE: Final = 5000


class RedisServer(Target):
    """A place is a stream."""

    kind = "redis"

    def __init__(self) -> None:
        self._program = require("redis-server", "redis-server")
        super().__init__()

    def command(self) -> list[str]:
        """What it has answered it has written, though not synced: nobody cuts the power."""
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "no",
            "save": "",
            "daemonize": "no",
        }
        return [self._program, *[word for key, value in settings.items() for word in (f"--{key}", value)]]

    def client(self) -> redis.Redis:
        """A connection for looking."""
        return redis.Redis(port=self.port, decode_responses=True)

    def is_ready(self) -> bool:
        """Whether it has read its file."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.exceptions.ConnectionError:
            return False

    def options(self, place: str) -> dict[str, str]:
        """A stream of its own."""
        return {"class": "redis", "url": f"redis://127.0.0.1:{self.port}/0", "stream": place}

    def each(self, place: str) -> Iterator[Row]:
        """Entries; the nodes of a snapshot come from its hash, where that is still the last one."""
        with self.client() as client:
            for entry_id, fields in _entries(client, place):
                zxid = hex_of(int(entry_id.split("-")[0]))
                if fields["op"] != "snapshot":
                    row: Row = json.loads(fields["txn"])
                    assert row["zxid"] == zxid
                    assert row["op"] == fields["op"]
                    yield row
                    continue
                snapshot = json.loads(fields["snapshot"])
                assert snapshot["snapshot"] == zxid
                nodes: Any = client.hgetall(snapshot["key"])
                yield {"snapshot": zxid}
                for path in sorted(nodes):
                    yield {"node": json.loads(nodes[path])}
                yield {"snapshotEnd": zxid, "nodes": snapshot["nodes"]}


def _entries(client: redis.Redis, stream: str) -> Iterator[tuple[str, dict[str, str]]]:
    begin = "-"
    while entries := cast("list[tuple[str, dict[str, str]]]", client.xrange(stream, begin, count=_PAGE)):
        yield from entries
        begin = f"({entries[-1][0]}"
