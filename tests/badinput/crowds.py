"""Crowds of clients that behave badly, and a healthy client that has to be served meanwhile.

Each function returns what it measured as words for the report line, or raises ``Failed``.
"""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tests.badinput.cases import MAX_FRAME, WORLD
from tests.badinput.observe import PARENT, SESSION_MS, Address, healthy
from tests.differential.wire import Connection, connect_request, encode, integer, request

from zabra.proto import codes

HEALTHY_P99_S: Final = 1.0
ENOUGH_CALLS: Final = 50
ENOUGH_WITHIN_S: Final = 30.0
RSS_LIMIT_MIB: Final = 200
"""How much a server may grow over one crowd (reliability target R13)."""


class Failed(Exception):
    """The server did not stand it."""


class Healthy:
    """A client in a thread of its own that writes, reads and times each call until it is stopped."""

    def __init__(self, address: Address) -> None:
        self._connection = Connection(*address, timeout_s=30)
        if self._connection.open_session(SESSION_MS) is None:
            raise Failed("a healthy client got no session")
        self.seconds: list[float] = []
        self._error: Exception | None = None
        self._stop = threading.Event()
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        xid = 0
        try:
            while not self._stop.wait(0.005):
                for op in (("set_data", PARENT, b"healthy", -1), ("get_data", PARENT, 0)):
                    xid += 1
                    started = time.monotonic()
                    err, _ = self._connection.call(xid, op)
                    self.seconds.append(time.monotonic() - started)
                    if len(self.seconds) == ENOUGH_CALLS:
                        self._enough.set()
                    if err:
                        raise Failed(f"a healthy client's {op[0]} was answered {err}")
        except (Failed, OSError) as error:
            self._error = error
            self._enough.set()

    def finish(self) -> str:
        """Stops; the slowest hundredth in words.  Raises Failed when a call failed or was too slow."""
        self._enough.wait(ENOUGH_WITHIN_S)
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise Failed(f"a healthy client failed: {self._error}")
        self._connection.call(1_000_000, ("close_session",))
        self._connection.close()
        if len(self.seconds) < ENOUGH_CALLS:
            raise Failed("a healthy client was hardly served")
        p99 = sorted(self.seconds)[len(self.seconds) * 99 // 100]
        if p99 > HEALTHY_P99_S:
            raise Failed(f"a healthy client's p99 was {p99:.2f} s")
        return f"p99={p99 * 1000:.0f}ms"


@contextlib.contextmanager
def beside_healthy(address: Address, words: list[str]) -> Iterator[None]:
    """Runs the block while a healthy client works; its figure goes to ``words``."""
    client = Healthy(address)
    try:
        yield
    finally:
        words.append(client.finish())


def rss_mib(pid: int | None) -> float:
    """Resident memory of a process; 0 when the process is not known."""
    if pid is None:
        return 0.0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def slow(address: Address, pid: int | None, words: list[str]) -> None:
    """A session and a request of which each byte comes alone."""
    connection = Connection(*address, timeout_s=60)
    with beside_healthy(address, words):
        for byte in connect_request(SESSION_MS) + request(1, *encode(("exists", PARENT, 0))):
            connection.send(bytes([byte]))
            select.select([connection.socket], [], [], 0.003)
        frames = [connection.frame(), connection.frame()]
    connection.close()
    if None in frames:
        raise Failed("closed on a client that sends one byte at a time")


def half_open(address: Address, pid: int | None, words: list[str], count: int, wait_s: float) -> None:
    """Connections that send nothing, or half a length, or half a request: all have to be closed in time."""
    beginnings = (b"", b"\0\0", connect_request(SESSION_MS)[:20])
    sockets = []
    with beside_healthy(address, words):
        for index in range(count):
            sockets.append(_dial(address))
            sockets[-1].sendall(beginnings[index % len(beginnings)])
        closed = _await_closed(sockets, wait_s)
    _close_all(sockets)
    words.append(f"closed={closed}/{count}")
    if closed < count:
        raise Failed(
            f"{count - closed} of {count} connections that never open a session were kept {wait_s:g} s"
        )


def _dial(address: Address) -> socket.socket:
    return socket.create_connection(address, timeout=30)


def _await_closed(sockets: list[socket.socket], wait_s: float) -> int:
    """How many of the sockets the server closes within the time."""
    selector = selectors.DefaultSelector()
    for waiting in sockets:
        waiting.setblocking(False)
        selector.register(waiting, selectors.EVENT_READ)
    closed = 0
    deadline = time.monotonic() + wait_s
    while closed < len(sockets) and time.monotonic() < deadline:
        for key, _ in selector.select(0.2):
            one = key.fileobj
            assert isinstance(one, socket.socket)
            try:
                gone = not one.recv(4096)
            except ConnectionResetError:
                gone = True
            if gone:
                closed += 1
                selector.unregister(one)
    selector.close()
    return closed


def _close_all(sockets: list[socket.socket]) -> None:
    for one in sockets:
        one.close()


def never_reading(address: Address, pid: int | None, words: list[str], megabytes: int) -> None:
    """A client asks for far more than its socket can hold and reads nothing of it."""
    writer = Connection(*address)
    writer.open_session(SESSION_MS)
    path = PARENT + "/large"
    writer.call(1, ("create", codes.OP_CREATE, path, b"x" * 100_000, WORLD, 0))
    before = rss_mib(pid)
    deaf = Connection(*address, timeout_s=5)
    deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.open_session(SESSION_MS)
    with beside_healthy(address, words):
        deaf.send(request(1, *encode(("add_watch", PARENT, 1))))
        ask = request(2, *encode(("get_data", path, 0)))
        sent = _push(deaf.socket, ask * 10, megabytes)
        for xid in range(2, 2002):
            writer.call(xid, ("set_data", path, b"x" * (100_000 if xid == 2 else 100), -1))
        grown = rss_mib(pid) - before
    words.append(f"asked={sent}MB grown={grown:.0f}MiB")
    deaf.close()
    writer.call(3000, ("delete", path, -1))
    writer.call(3001, ("close_session",))
    writer.close()
    if pid is not None and grown > RSS_LIMIT_MIB:
        raise Failed(f"the server grew by {grown:.0f} MiB for a client that does not read")


def _push(one: socket.socket, ask: bytes, megabytes: int) -> int:
    """Sends requests for 1 MB each until so many megabytes are due or the server stops reading."""
    sent = 0
    one.settimeout(2)
    for _ in range(megabytes):
        try:
            one.sendall(ask)
        except OSError:
            return sent
        sent += 1
    return sent


def oversize(address: Address, pid: int | None, words: list[str], count: int) -> None:
    """Frames over the limit, one connection each, with and without a session; all have to be closed."""
    closed = 0
    with beside_healthy(address, words):
        for index in range(count):
            connection = Connection(*address)
            if index % 2:
                connection.open_session(SESSION_MS)
            connection.send(integer(MAX_FRAME + 1 + index * 1_000_000) + bytes(1000))
            closed += connection.frame() is None
            connection.close()
    words.append(f"closed={closed}/{count}")
    if closed != count:
        raise Failed("a frame over jute.maxbuffer did not end its connection")


def connections(address: Address, pid: int | None, words: list[str], count: int) -> None:
    """So many sessions at once; all answer a ping, and the server goes back to what it was."""
    before = rss_mib(pid)
    crowd = []
    with beside_healthy(address, words):
        for _ in range(count):
            crowd.append(Connection(*address, timeout_s=60))
            crowd[-1].send(connect_request(40_000))
        opened = sum(connection.frame() is not None for connection in crowd)
        for connection in crowd:
            connection.send(request(codes.XID_PING, codes.OP_PING))
        answered = sum(connection.frame() is not None for connection in crowd)
        grown = rss_mib(pid) - before
        for connection in crowd:
            connection.send(request(1, codes.OP_CLOSE_SESSION))
        ended = sum(connection.frame() is not None for connection in crowd)
    for connection in crowd:
        connection.close()
    words.append(f"open={opened} answered={answered} ended={ended} grown={grown:.0f}MiB")
    if not opened == answered == ended == count:
        raise Failed(f"of {count} sessions {opened} opened, {answered} answered a ping, {ended} closed")
    if pid is not None and grown > RSS_LIMIT_MIB:
        raise Failed(f"the server grew by {grown:.0f} MiB for {count} sessions")


def words_flood(address: Address, pid: int | None, words: list[str], count: int) -> None:
    """Four-letter words one after another."""
    answered = 0
    with beside_healthy(address, words):
        for _ in range(count):
            connection = Connection(*address)
            connection.send(b"srvr")
            answered += b"Mode" in connection.rest()
            connection.close()
    words.append(f"answered={answered}/{count}")
    if answered != count:
        raise Failed("a four-letter word went unanswered")


Crowd = Callable[[Address, int | None, list[str]], None]


def crowds(quick: bool, half_open_wait_s: float) -> dict[str, Crowd]:
    """The crowds by name; ``quick`` makes them small."""
    many = 200 if quick else 1000
    return {
        "slow": slow,
        "half-open": lambda a, p, w: half_open(a, p, w, many, half_open_wait_s),
        "never-reading": lambda a, p, w: never_reading(a, p, w, 50 if quick else 400),
        "oversize": lambda a, p, w: oversize(a, p, w, 20 if quick else 200),
        "connections": lambda a, p, w: connections(a, p, w, 5000),
        "four-letter": lambda a, p, w: words_flood(a, p, w, 100 if quick else 1000),
    }


def play(name: str, crowd: Crowd, address: Address, pid: int | None) -> tuple[str, bool]:
    """(words for the report, whether the server stood it)."""
    words: list[str] = []
    try:
        crowd(address, pid, words)
        if not healthy(address):
            raise Failed("a healthy client is not served afterwards")
    except (Failed, OSError) as error:
        return f"{name}=FAILED({error})", False
    return f"{name}=ok({','.join(words)})", True
