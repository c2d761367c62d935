"""redis, and a modelled server: the scripts do what their comments say, all of it or nothing."""

import json

from redis.exceptions import ResponseError
from tests.plugins.conformance.rows import judged_rows

from zabra.plugins.builtin.redis import _PUBLISH, _SNAPSHOT, RedisPublisher
from zabra.plugins.conformance import Faults, Published

STREAM = "zabra"


def place(text: str) -> tuple[int, int]:
    """An entry's id, to compare."""
    zxid, _, number = text.partition("-")
    return int(zxid), int(number)


def decoded(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


class ModelRedis:
    """The server, and every client of it."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.last = "0-0"
        self.exists = False
        self.entries: list[tuple[str, dict[str, str]]] = []
        # As of the moment of each snapshot's entry: later ones unlink its hash.
        self.snapshots: dict[str, dict[str, str]] = {}
        self.hashes: dict[str, dict[str, str]] = {}
        self.strings: dict[str, str] = {}

    async def xinfo_stream(self, stream):
        async with self._faults.call("xinfo"):
            found = self.entries[-1] if self.entries else None
            exists, last = self.exists, self.last
        if not exists:
            raise ResponseError("no such key")
        entry = None if found is None else (found[0], {key.encode(): found[1][key] for key in found[1]})
        return {"last-entry": entry, "last-generated-id": last.encode()}

    async def get(self, key):
        async with self._faults.call("get"):
            found = self.strings.get(key)
        return None if found is None else found.encode()

    async def unlink(self, key):
        async with self._faults.call("unlink"):
            self.hashes.pop(key, None)

    async def hset(self, key, mapping):
        async with self._faults.call("hset"):
            self.hashes.setdefault(key, {}).update(mapping)

    async def eval(self, script, count, *words):
        keys, arguments = [decoded(one) for one in words[:count]], [decoded(one) for one in words[count:]]
        async with self._faults.call("eval"):
            is_there = arguments[0] == self.last
            if is_there:
                {_PUBLISH: self._publish, _SNAPSHOT: self._snapshot}[script](keys, arguments)
            last = self.last
        if not is_there:
            raise ResponseError(f"MOVED_ON the stream is at {last}")

    def _add(self, entry_id: str, fields: dict[str, str]) -> None:
        assert place(entry_id) > place(self.last)
        self.exists = True
        self.last = entry_id
        self.entries.append((entry_id, fields))

    def _publish(self, keys: list[str], arguments: list[str]) -> None:
        for start in range(2, len(arguments), 3):
            entry_id, op, txn = arguments[start : start + 3]
            self._add(entry_id, {"op": op, "txn": txn})

    def _snapshot(self, keys: list[str], arguments: list[str]) -> None:
        _, making, done, before, pointer = keys
        self._add(arguments[1], {"op": "snapshot", "snapshot": arguments[2]})
        if before != making:
            self.hashes.pop(before, None)
        self.hashes.pop(done, None)
        if making in self.hashes:
            self.hashes[done] = self.hashes.pop(making)
        self.strings[pointer] = done
        self.snapshots[arguments[1]] = dict(self.hashes.get(done, {}))

    async def aclose(self):
        """It has no connections."""


class RedisSubject:
    def __init__(self, faults: Faults) -> None:
        self._server = ModelRedis(faults)

    def publisher(self) -> RedisPublisher:
        return RedisPublisher(RedisPublisher.Options(stream=STREAM), lambda url, **more: self._server)

    def crash(self) -> None:
        """With appendfsync=always it loses nothing that it has answered."""

    def published(self) -> Published:
        return Published(judged_rows(self._rows()))

    def _rows(self):
        for entry_id, fields in self._server.entries:
            if fields["op"] != "snapshot":
                yield json.loads(fields["txn"])
                continue
            head = json.loads(fields["snapshot"])
            nodes = self._server.snapshots[entry_id]
            assert len(nodes) == head["nodes"]
            yield {"snapshot": head["snapshot"]}
            for node in nodes.values():
                yield {"node": json.loads(node)}
            yield {"snapshotEnd": head["snapshot"], "nodes": len(nodes)}
