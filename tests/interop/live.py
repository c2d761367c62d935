"""The simulator's clients against real servers: the same programs, histories and checkers.

``Crowd`` runs a number of clients on one thread, over real sockets and in real time; each is a
``sim.client.SimClient``, which drives the shipped ``ClientSession`` and writes down what it asked and was
told.  What the checkers of ``sim.checkers`` then say about that history needs the committed txns: see
``witness``.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from zabra.client.connection import ProtocolError
from zabra.proto.records import Id
from zabra.sim.client import Program, SimClient
from zabra.sim.histories import History
from zabra.sim.prng import Prng

RECEIVE_BYTES = 1 << 18
Address = tuple[str, int]
Callback = Callable[[Any], None]


class End:
    """A client's end of a connection: what ``network.End`` is in the simulator."""

    def __init__(self, sock: socket.socket, owner: SimClient, dial_id: int, deadline_us: int) -> None:
        self.sock = sock
        self.owner = owner
        self.dial_id = dial_id
        self.deadline_us = deadline_us
        self.connected = False
        self.alive = True
        self.unsent = b""


class LiveWorld:
    """Real time and sockets, with the interfaces of ``sim.events.Scheduler`` and ``sim.network.Network``.

    Everything runs on the thread that calls ``run``.
    """

    def __init__(self, addresses: Sequence[Address], source: str = "") -> None:
        self.addresses = list(addresses)
        self.source = source
        self.owners: dict[int, object] = {}
        self.problems: list[str] = []
        self.stopping = False
        self._made = 0
        self._heap: list[tuple[int, int, Callback, Any]] = []
        self._selector = selectors.DefaultSelector()
        self._open: dict[End, None] = {}
        self._calls: list[Callable[[], None]] = []
        self._calls_lock = threading.Lock()

    # As a scheduler.

    @property
    def now_us(self) -> int:
        """Microseconds of the monotonic clock."""
        return time.monotonic_ns() // 1000

    def at(self, when_us: int, callback: Callback, argument: Any = None) -> None:
        """Calls back at a time."""
        self._made += 1
        heapq.heappush(self._heap, (when_us, self._made, callback, argument))

    def after(self, delay_us: int, callback: Callback, argument: Any = None) -> None:
        """Calls back in ``delay_us``."""
        self.at(self.now_us + delay_us, callback, argument)

    # As a network.

    def dial(
        self, host: int, owner: SimClient, port: int, servers: list[int], dial_id: int, timeout_us: int
    ) -> None:
        """Connects to ``servers[0]``, an index into ``addresses``."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = End(sock, owner, dial_id, self.now_us + timeout_us)
        code = sock.connect_ex(self.addresses[servers[0]])
        self._open[end] = None
        if code not in (0, errno.EINPROGRESS):
            self.after(0, self._dial_failed, end)
            return
        self._selector.register(sock, selectors.EVENT_WRITE, end)
        self.at(end.deadline_us, self._dial_timed_out, end)

    def _dial_timed_out(self, end: End) -> None:
        if end.alive and not end.connected:
            self._dial_failed(end)

    def _dial_failed(self, end: End) -> None:
        if end.alive:
            self._shut(end)
            end.owner.dial_failed(end.dial_id)

    def send(self, end: End, data: bytes) -> None:
        """Sends what can be sent now; the rest follows."""
        if not end.alive:
            return
        if end.unsent:
            end.unsent += data
            return
        sent = 0
        with contextlib.suppress(BlockingIOError, ConnectionError):
            sent = end.sock.send(data)
        if sent < len(data):
            # A connection that is gone says so when it is read.
            end.unsent = data[sent:]
            self._selector.modify(end.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, end)

    def close(self, end: End) -> None:
        """Closes from this side: the owner is not told."""
        self._shut(end)

    def _shut(self, end: End) -> None:
        if end.alive:
            end.alive = False
            self._open.pop(end, None)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(end.sock)
            end.sock.close()

    # The loop.

    def call(self, what: Callable[[], None]) -> None:
        """Has ``what`` called on the loop's thread."""
        with self._calls_lock:
            self._calls.append(what)

    def run(self) -> None:
        """Until ``stopping``."""
        while not self.stopping:
            self._run_calls()
            self._run_due()
            wait_s = 0.02
            if self._heap:
                wait_s = min(wait_s, max(0, self._heap[0][0] - self.now_us) / 1e6)
            for key, events in self._selector.select(wait_s):
                self._ready(key.data, events)
        for end in list(self._open):
            self._shut(end)
        self._selector.close()

    def _run_calls(self) -> None:
        with self._calls_lock:
            calls = self._calls
            self._calls = []
        for what in calls:
            what()

    def _run_due(self) -> None:
        now = self.now_us
        while self._heap and self._heap[0][0] <= now:
            _, _, callback, argument = heapq.heappop(self._heap)
            callback(argument)

    def _ready(self, end: End, events: int) -> None:
        if not end.alive:
            return
        if not end.connected:
            self._connected(end)
            return
        if events & selectors.EVENT_WRITE:
            self._send_more(end)
        if events & selectors.EVENT_READ:
            self._receive(end)

    def _connected(self, end: End) -> None:
        if end.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0:
            self._dial_failed(end)
            return
        end.connected = True
        self._selector.modify(end.sock, selectors.EVENT_READ, end)
        end.owner.link_made(end, 0, end.dial_id)  # type: ignore[arg-type]  # stands for network.End

    def _send_more(self, end: End) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            end.unsent = end.unsent[end.sock.send(end.unsent) :]
        if not end.unsent:
            self._selector.modify(end.sock, selectors.EVENT_READ, end)

    def _receive(self, end: End) -> None:
        try:
            data = end.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._shut(end)
            end.owner.link_lost(end)  # type: ignore[arg-type]  # stands for network.End
            return
        try:
            end.owner.link_data(end, data)  # type: ignore[arg-type]  # stands for network.End
        except ProtocolError as error:
            self.problems.append(f"client {end.owner.number}: {error}")
            self._shut(end)
            end.owner.link_lost(end)  # type: ignore[arg-type]  # stands for network.End


class LiveClient(SimClient):
    """A client program on real sockets."""

    world: LiveWorld

    def ids(self) -> list[Id]:
        """Whom servers take this client for: they see the address it comes from."""
        return [Id("ip", self.world.source or "127.0.0.1"), *[one for _, _, one in self._auths]]

    def add_auth(self, scheme: str, data: bytes, becomes: Id) -> None:
        """One identity at most: upstream keeps them in a set, so their order in an ACL is anybody's guess."""
        if not self._auths:
            super().add_auth(scheme, data, becomes)


class Crowd:
    """``programs``: one client each.  Between ``start`` and ``finish`` they run on a thread of their own."""

    def __init__(
        self,
        addresses: Sequence[Address],
        programs: Sequence[Any],
        *,
        seed: int = 1,
        timeout_ms: int = 10_000,
        source: str = "",
        homes: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.world = LiveWorld(addresses, source)
        self.history = History()
        self.programs = list(programs)
        self.clients: list[LiveClient] = []
        everywhere = list(range(len(addresses)))
        for number, program in enumerate(programs):
            servers = list(homes[number]) if homes is not None else everywhere
            prng = Prng(seed, f"client {number}")
            self.clients.append(self._client(number, program, prng, servers, timeout_ms))
        self._thread = threading.Thread(target=self._run, name="crowd", daemon=True)
        self._error: BaseException | None = None

    def _client(
        self, number: int, program: Program, prng: Prng, servers: list[int], timeout_ms: int
    ) -> LiveClient:
        world: Any = self.world
        client = LiveClient(number, world, world, prng, self.history, program, servers, timeout_ms)
        client.world = self.world
        return client

    def start(self) -> None:
        """Everybody begins to connect."""
        for client in self.clients:
            self.world.call(client.start)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.world.run()
        except BaseException as error:
            self._error = error
            raise

    def answered(self) -> int:
        """Requests answered so far."""
        return sum(program.done for program in self.programs)

    def check_alive(self) -> None:
        """Raises what the thread died of."""
        if self._error is not None:
            raise AssertionError("the crowd's thread died") from self._error

    def wind_down(self) -> None:
        """Nobody asks for anything more."""
        for program in self.programs:
            program.stopping = True

    def is_quiet(self) -> bool:
        """Whether everything asked was answered, or its connection lost."""
        return all(client.pending() == 0 for client in self.clients)

    def expired(self) -> int:
        """Sessions that a server called expired."""
        return sum(client.expired for client in self.clients)

    def finish(self) -> History:
        """Stops the thread; sessions are left to themselves."""
        self.world.stopping = True
        self._thread.join(30)
        self.check_alive()
        assert not self._thread.is_alive(), "the crowd does not end"
        assert not self.world.problems, self.world.problems
        return self.history
