"""``redis``: an entry of a Redis stream for each txn; its id is the zxid.

A batch is one script on the server, which first compares the id the stream was left at with the one this
publisher knows, so that each txn is there exactly once, in order and without gaps, whoever else tries to
publish to the same stream.  The cursor is that id: the server keeps it even when entries are trimmed.

A snapshot is a hash (path: node as JSON) that is made beside the stream, and one entry that names it; the
entry and the hash's name appear together.  The hash of the snapshot before is removed then.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from zabra.plugins.jsontext import dump, hex_of, node_object, txn_text
from zabra.plugins.publisher import CommittedTxn, PublisherContext, Snap

_SCHEMES: Final = ("redis://", "rediss://", "unix://")
# Nodes of a snapshot that are sent at once.
_SNAP_NODES: Final = 500
FIRST_ID: Final = "0-0"

# The id that the stream was left at: KEYS[1]; how it differs from what is expected is an error.
_CHECK: Final = """
local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1] end
  end
end
if last ~= ARGV[1] then
  return redis.error_reply('MOVED_ON the stream is at ' .. last .. ', not at ' .. ARGV[1])
end
"""
# ARGV: the expected id, how many entries to keep (0: all), then id, op and txn of each.
_PUBLISH: Final = (
    _CHECK
    + """
for i = 3, #ARGV, 3 do
  if ARGV[2] == '0' then
    redis.call('XADD', KEYS[1], ARGV[i], 'op', ARGV[i + 1], 'txn', ARGV[i + 2])
  else
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], ARGV[i], 'op', ARGV[i + 1], 'txn', ARGV[i + 2])
  end
end
return #ARGV
"""
)
# KEYS: the stream, the hash as it was made, its name, the name of the one before, where that is noted.
# ARGV: the expected id, the id, the entry.
_SNAPSHOT: Final = (
    _CHECK
    + """
redis.call('XADD', KEYS[1], ARGV[2], 'op', 'snapshot', 'snapshot', ARGV[3])
if KEYS[4] ~= KEYS[2] then redis.call("UNLINK", KEYS[4]) end
redis.call("UNLINK", KEYS[3])
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('RENAME', KEYS[2], KEYS[3]) end
redis.call('SET', KEYS[5], KEYS[3])
return 1
"""
)


class MovedOnError(Exception):
    """Somebody else has published to the same stream, or it has gone back."""


class RedisPublisher:
    """See the module."""

    @dataclass(frozen=True, slots=True)
    class Options:
        """Where to.

        Attributes:
            url: redis://, rediss:// (TLS) or unix://, with user, password and database where needed.
            stream: the stream's key; each publisher has its own.
            password_file: a file with the password, which the URL then need not have.
            max_len: about how many entries are kept; 0 keeps all.
            replicas: how many replicas must have a batch before it counts as durable.
            timeout_ms: how long connecting, or one batch, may take.
        """

        url: str = "redis://127.0.0.1:6379/0"
        stream: str = "zabra"
        password_file: str = ""
        max_len: int = 0
        replicas: int = 0
        timeout_ms: int = 10_000

        def __post_init__(self) -> None:
            if not self.url.startswith(_SCHEMES):
                raise ValueError(f"url begins with none of {', '.join(_SCHEMES)}")
            if not self.stream:
                raise ValueError("stream is empty")
            if self.max_len < 0 or self.replicas < 0:
                raise ValueError("maxLen and replicas cannot be negative")
            if self.timeout_ms < 100:
                raise ValueError(f"timeoutMs is {self.timeout_ms}, must be at least 100")

    def __init__(
        self, options: "RedisPublisher.Options", connect: Callable[..., Any] = Redis.from_url
    ) -> None:
        self._options = options
        self._connect = connect
        self._client: Redis | None = None
        self._last_id = FIRST_ID

    async def open(self, context: PublisherContext) -> int | None:
        """Connects, and reads the id that the stream was left at."""
        options = self._options
        arguments: dict[str, Any] = {
            "socket_timeout": options.timeout_ms / 1000,
            "socket_connect_timeout": options.timeout_ms / 1000,
            "client_name": f"zabra-{context.name}",
            # What was sent may have been done: the host begins anew instead, and finds out.
            "retry": Retry(NoBackoff(), 0),
        }
        if options.password_file:
            arguments["password"] = await asyncio.to_thread(read_secret, options.password_file)
        self._client = client = self._connect(options.url, **arguments)
        self._last_id = await self._find_last_id(client)
        return int(self._last_id.split("-")[0])

    async def _find_last_id(self, client: Redis) -> str:
        try:
            info = await client.xinfo_stream(self._options.stream)
        except ResponseError as error:
            if "no such key" in str(error):
                return FIRST_ID
            raise
        last = info["last-entry"]
        if last is not None and not (b"op" in last[1] and (b"txn" in last[1] or b"snapshot" in last[1])):
            raise ValueError(f"the stream {self._options.stream} has other things in it than txns")
        return str(info["last-generated-id"].decode("ascii"))

    async def inform(self, txns: Sequence[CommittedTxn]) -> int:
        """An entry for each, all at once."""
        arguments: list[str | bytes] = [self._last_id, str(self._options.max_len)]
        for txn in txns:
            arguments += [f"{txn.zxid}-0", txn.op, txn_text(txn).encode("utf-8")]
        await self._run(_PUBLISH, [self._options.stream], arguments)
        self._last_id = f"{txns[-1].zxid}-0"
        return txns[-1].zxid

    async def snap(self, snap: Snap) -> None:
        """The hash, then the entry."""
        client = self._client
        assert client is not None
        names = snapshot_names(self._options.stream, snap.zxid)
        before = await client.get(names.pointer)
        await client.unlink(names.making)
        count = 0
        nodes: dict[Any, Any] = {}
        async for node in snap.nodes:
            nodes[node.path] = dump(node_object(node))
            count += 1
            if len(nodes) >= _SNAP_NODES:
                await client.hset(names.making, mapping=nodes)
                nodes = {}
        if nodes:
            await client.hset(names.making, mapping=nodes)
        entry = {"snapshot": hex_of(snap.zxid), "key": names.done, "nodes": count}
        at, place = (int(part) for part in self._last_id.split("-"))
        snap_id = f"{snap.zxid}-{place + 1 if at == snap.zxid else 1}"
        keys = [self._options.stream, names.making, names.done, before or names.making, names.pointer]
        await self._run(_SNAPSHOT, keys, [self._last_id, snap_id, dump(entry)])
        self._last_id = snap_id

    async def _run(self, script: str, keys: Sequence[str | bytes], arguments: Sequence[str | bytes]) -> None:
        """A script, and where wanted the replicas' word for it."""
        client = self._client
        assert client is not None
        try:
            await client.eval(script, len(keys), *keys, *arguments)
        except ResponseError as error:
            if "MOVED_ON" in str(error):
                raise MovedOnError(str(error)) from None
            raise
        wanted = self._options.replicas
        if wanted:
            have = await client.wait(wanted, self._options.timeout_ms // 2)
            if have < wanted:
                raise TimeoutError(f"{have} of {wanted} replicas have it")

    async def close(self) -> None:
        """Closes the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


@dataclass(frozen=True, slots=True)
class SnapshotNames:
    """Keys beside a stream, in the same slot of a cluster."""

    making: str
    done: str
    pointer: str


def snapshot_names(stream: str, zxid: int) -> SnapshotNames:
    """The keys for a snapshot at ``zxid``: while it is made, when it is whole, and where that is noted."""
    base = stream if "{" in stream else "{" + stream + "}"
    return SnapshotNames(f"{base}:making", f"{base}:snapshot:{hex_of(zxid)}", f"{base}:snapshot")


def read_secret(path: str) -> str:
    """The one line of a file with a secret.  Blocks.  Raises OSError."""
    with open(path, encoding="utf-8") as file:
        return file.read().strip()
