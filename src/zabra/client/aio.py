"""AsyncClient: ``ClientSession`` on asyncio, for the CLI, benchmarks, and tests of real servers.

Connects to the servers of a connect string (``host:port,host:port/chroot``) in random order, reconnects,
and keeps the session.  Watch callbacks run on the loop, before the reply that came behind their event is
delivered.  Source: upstream ``ZooKeeper``, ``StaticHostProvider``.
"""

import asyncio
import random
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from zabra.client import calls, connection
from zabra.client.calls import OPEN_ACL, Call, Part, PartResult
from zabra.client.connection import (
    Answered,
    ClientSession,
    Happening,
    ProtocolError,
    StateChanged,
    WatchFired,
)
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import ACL, ClientInfo, Stat

T = TypeVar("T")
# Called with (event type, path); paths are without the chroot.
Watcher = Callable[[int, str], None]
StateListener = Callable[[int], None]

DEFAULT_PORT: Final = 2181
# Wait after every server of the list has refused once.
RETRY_ROUND_MS: Final = 200
CONNECT_TIMEOUT_MS: Final = 5_000


def parse_connect_string(text: str) -> tuple[list[tuple[str, int]], str]:
    """``host:port,[v6]:port/chroot`` -> addresses and the chroot ("" for none).  Raises ValueError."""
    slash = text.find("/")
    chroot = "" if slash < 0 else text[slash:].rstrip("/")
    hosts = text if slash < 0 else text[:slash]
    addresses = [_parse_address(one.strip()) for one in hosts.split(",") if one.strip()]
    if not addresses:
        raise ValueError(f"no server in connect string {text!r}")
    if "//" in chroot:
        raise ValueError(f"empty part in chroot {chroot!r}")
    return addresses, chroot


def _parse_address(text: str) -> tuple[str, int]:
    host, port = text, str(DEFAULT_PORT)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"not an address: {text!r}")
        port = rest[1:] or port
    elif text.count(":") == 1:
        host, port = text.split(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"not an address: {text!r}")
    return host, int(port)


class _Link(asyncio.Protocol):
    """One transport, handed to the client that opened it."""

    def __init__(self, client: "AsyncClient") -> None:
        self.client = client
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.client._data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


class AsyncClient:
    """A session on a running loop: ``async with AsyncClient("host:2181") as client``."""

    def __init__(
        self,
        hosts: str,
        timeout_ms: int = 10_000,
        read_only: bool = False,
        session_id: int = 0,
        password: bytes = connection.NO_PASSWORD,
        ssl_context: ssl.SSLContext | None = None,
        on_state: StateListener | None = None,
        shuffle: bool = True,
    ) -> None:
        self.addresses, self.chroot = parse_connect_string(hosts)
        if shuffle:
            random.shuffle(self.addresses)
        self.session = ClientSession(timeout_ms, read_only, session_id, password)
        self._ssl = ssl_context
        self._on_state = on_state
        self._watchers: dict[int, Watcher] = {}
        self._handles: dict[Watcher, int] = {}
        self._transport: asyncio.Transport | None = None
        self._runner: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._flushing = False
        self.address: tuple[str, int] | None = None

    async def __aenter__(self) -> "AsyncClient":
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    # Life.

    async def start(self, within_s: float = 30.0) -> None:
        """Connects.  Raises TimeoutError, or KeeperError where the session is refused."""
        self._runner = asyncio.get_running_loop().create_task(self._run())
        await self.wait_connected(within_s)

    async def wait_connected(self, within_s: float = 30.0) -> None:
        """Returns once the session is (again) connected."""
        async with asyncio.timeout(within_s):
            while not self.session.is_connected():
                if self.session.is_over():
                    raise KeeperError(self.session._end_code())
                self._changed.clear()
                await self._changed.wait()

    async def close(self) -> None:
        """Ends the session and the connection."""
        if not self.session.is_over() and self.session.is_connected():
            call = self.session.close()
            future = self._track(call)
            self._flush()
            await asyncio.wait([future], timeout=self.session.timeout_ms / 1000)
        await self.abandon()

    async def abandon(self) -> None:
        """Drops the connection and leaves the session to its timeout (a crash, as servers see it)."""
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
            self._runner = None
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self.session.connection_lost(self._now_ms())
        self._deliver()

    def drop_connection(self) -> None:
        """Cuts the transport; the client then reconnects (to the next server)."""
        if self._transport is not None:
            self._transport.abort()

    async def _run(self) -> None:
        failures = 0
        while not self.session.is_over():
            address = self.addresses[0]
            self.addresses.append(self.addresses.pop(0))
            link = await self._connect(address)
            if link is None:
                failures += 1
            else:
                self.address = address
                await link.lost
                failures = 0 if self.session.is_connected() else failures + 1
                self._transport = None
                self.session.connection_lost(self._now_ms())
                self._deliver()
            if failures >= len(self.addresses):
                failures = 0
                await asyncio.sleep(RETRY_ROUND_MS / 1000)

    async def _connect(self, address: tuple[str, int]) -> _Link | None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_MS / 1000):
                transport, link = await loop.create_connection(lambda: _Link(self), *address, ssl=self._ssl)
        except (OSError, TimeoutError):
            return None
        self._transport = transport
        self.session.connection_made(self._now_ms())
        self._flush()
        return link

    def _now_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000)

    def _data_received(self, data: bytes) -> None:
        try:
            self.session.data_received(data, self._now_ms())
        except ProtocolError:
            self.drop_connection()
        self._deliver()
        self._flush()

    def _flush_soon(self) -> None:
        """All calls of one turn of the loop go out in one write."""
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        now = self._now_ms()
        if not self.session.tick(now):
            self.drop_connection()
        out = self.session.take_output(now)
        if out and self._transport is not None:
            self._transport.write(out)
        if self.session.is_over() and self._transport is not None:
            self._transport.close()
        self._set_timer(now)

    def _set_timer(self, now: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake = self.session.wake_at_ms()
        if wake >= 0:
            delay = max(wake - now, 0) / 1000
            self._timer = asyncio.get_running_loop().call_later(delay, self._flush)

    def _deliver(self) -> None:
        for happening in self.session.take_happenings():
            self._deliver_one(happening)

    def _deliver_one(self, happening: Happening) -> None:
        if isinstance(happening, Answered):
            future = happening.call.tag
            if isinstance(future, asyncio.Future) and not future.done():
                future.set_result(None)
        elif isinstance(happening, WatchFired):
            path = self._strip(happening.path)
            for handle in happening.watchers:
                self._watchers[handle](happening.type, path)
        elif isinstance(happening, StateChanged):
            self._changed.set()
            if self._on_state is not None:
                self._on_state(happening.state)

    # Calls.

    def _track(self, call: Call[Any]) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        call.tag = future
        if call.done:
            future.set_result(None)
        return future

    def submit(self, call: Call[T]) -> "asyncio.Future[None]":
        """Queues a call without waiting (pipelining): await the future, then ask ``call.result()``."""
        future = self._track(call)
        self.session.submit(call)
        self._deliver()
        self._flush_soon()
        return future

    async def call(self, call: Call[T]) -> T:
        """Sends a call and waits for its value.  Raises KeeperError."""
        await self.submit(call)
        return call.result()

    def _full(self, path: str) -> str:
        if not self.chroot:
            return path
        return self.chroot if path == "/" else self.chroot + path

    def _strip(self, path: str) -> str:
        if not self.chroot or not path.startswith(self.chroot):
            return path
        return path[len(self.chroot) :] or "/"

    def _handle(self, watcher: Watcher | None) -> int:
        if watcher is None:
            return 0
        handle = self._handles.get(watcher)
        if handle is None:
            handle = self._handles[watcher] = len(self._handles) + 1
            self._watchers[handle] = watcher
        return handle

    def add_auth(self, scheme: str, data: bytes) -> None:
        """Authenticates this session, now and after every reconnect."""
        self.session.add_auth(scheme, data)
        self._flush_soon()

    async def create(
        self, path: str, data: bytes | None = b"", acl: list[ACL] = OPEN_ACL, flags: int = 0
    ) -> str:
        """Creates a node; returns its path."""
        return self._strip(await self.call(calls.create(self._full(path), data, acl, flags)))

    async def create2(
        self, path: str, data: bytes | None = b"", acl: list[ACL] = OPEN_ACL, flags: int = 0
    ) -> tuple[str, Stat]:
        """Creates a node; returns its path and stat."""
        made, stat = await self.call(calls.create2(self._full(path), data, acl, flags))
        return self._strip(made), stat

    async def create_container(self, path: str, data: bytes | None = b"") -> tuple[str, Stat]:
        """Creates a container node."""
        made, stat = await self.call(calls.create_container(self._full(path), data))
        return self._strip(made), stat

    async def create_ttl(self, path: str, data: bytes | None, ttl_ms: int) -> tuple[str, Stat]:
        """Creates a node that may go ``ttl_ms`` after its last change, once childless."""
        made, stat = await self.call(calls.create_ttl(self._full(path), data, ttl_ms))
        return self._strip(made), stat

    async def delete(self, path: str, version: int = -1) -> None:
        """Deletes a node."""
        await self.call(calls.delete(self._full(path), version))

    async def set_data(self, path: str, data: bytes | None, version: int = -1) -> Stat:
        """Replaces a node's data."""
        return await self.call(calls.set_data(self._full(path), data, version))

    async def get_data(self, path: str, watcher: Watcher | None = None) -> tuple[bytes | None, Stat]:
        """A node's data and stat."""
        return await self.call(calls.get_data(self._full(path), self._handle(watcher)))

    async def exists(self, path: str, watcher: Watcher | None = None) -> Stat | None:
        """A node's stat, None where there is none."""
        call = calls.exists(self._full(path), self._handle(watcher))
        try:
            return await self.call(call)
        except KeeperError as error:
            if error.code == codes.ERR_NO_NODE:
                return None
            raise

    async def get_children(self, path: str, watcher: Watcher | None = None) -> list[str]:
        """Names of the children, sorted."""
        names = await self.call(calls.get_children(self._full(path), self._handle(watcher)))
        return sorted(names)

    async def get_children2(self, path: str, watcher: Watcher | None = None) -> tuple[list[str], Stat]:
        """Names of the children, sorted, and the node's stat."""
        names, stat = await self.call(calls.get_children2(self._full(path), self._handle(watcher)))
        return sorted(names), stat

    async def get_all_children_number(self, path: str) -> int:
        """The number of descendants."""
        return await self.call(calls.get_all_children_number(self._full(path)))

    async def get_ephemerals(self, prefix: str = "/") -> list[str]:
        """Ephemeral nodes of this session below a string prefix."""
        found = await self.call(calls.get_ephemerals(self._full(prefix)))
        return sorted(self._strip(path) for path in found)

    async def get_acl(self, path: str) -> tuple[list[ACL], Stat]:
        """A node's ACL and stat."""
        return await self.call(calls.get_acl(self._full(path)))

    async def set_acl(self, path: str, acl: list[ACL], version: int = -1) -> Stat:
        """Replaces a node's ACL."""
        return await self.call(calls.set_acl(self._full(path), acl, version))

    async def sync(self, path: str = "/") -> str:
        """Brings this server up to what the leader had committed."""
        return self._strip(await self.call(calls.sync(self._full(path))))

    async def add_watch(self, path: str, watcher: Watcher, recursive: bool = False) -> None:
        """A watch that stays."""
        await self.call(calls.add_watch(self._full(path), self._handle(watcher), recursive))

    async def remove_watches(self, path: str, watcher_type: int) -> None:
        """Takes this session's watches away."""
        await self.call(calls.remove_watches(self._full(path), watcher_type))

    async def multi(self, parts: Sequence[Part]) -> list[PartResult]:
        """All or nothing.  Paths in parts are full paths.  Raises KeeperError with the first real refusal."""
        results = await self.call(calls.multi(list(parts)))
        for result in results:
            if result.err not in (codes.OK, codes.ERR_RUNTIME_INCONSISTENCY):
                raise KeeperError(result.err)
        return results

    async def multi_read(self, parts: Sequence[Part]) -> list[PartResult]:
        """Several reads, each with its own outcome."""
        return await self.call(calls.multi_read(list(parts)))

    async def who_am_i(self) -> list[ClientInfo]:
        """The ids this connection speaks for."""
        return await self.call(calls.who_am_i())

    async def reconfig(
        self,
        joining: str | None = None,
        leaving: str | None = None,
        members: str | None = None,
        from_config: int = -1,
    ) -> tuple[bytes | None, Stat]:
        """Changes the ensemble; returns its new configuration."""
        return await self.call(calls.reconfig(joining, leaving, members, from_config))

    async def get_config(self, watcher: Watcher | None = None) -> tuple[bytes | None, Stat]:
        """The ensemble's configuration (outside any chroot)."""
        return await self.call(calls.get_data("/zookeeper/config", self._handle(watcher)))


def transport_of(client: AsyncClient) -> asyncio.Transport:
    """The open transport of a connected client, for tests that look at sockets."""
    assert client._transport is not None
    return client._transport
