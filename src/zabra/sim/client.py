"""SimClient: one client program on the simulated network, driving the shipped ``ClientSession``.

It connects to a server of its list, keeps the session alive, writes everything down in a ``History`` and
hands what happens to its ``Program``, which decides what to ask next.
"""

from typing import Any, Final, Protocol

from mypy_extensions import mypyc_attr

from zabra.client.calls import Call
from zabra.client.connection import (
    STATE_CLOSED,
    STATE_EXPIRED,
    Answered,
    ClientSession,
    Happening,
    ProtocolError,
    StateChanged,
    WatchFired,
)
from zabra.proto.records import Id
from zabra.sim import histories
from zabra.sim.clock import US_PER_MS
from zabra.sim.events import Scheduler
from zabra.sim.histories import History, Invocation
from zabra.sim.machine import host_address
from zabra.sim.network import End, Network
from zabra.sim.prng import Prng

FIRST_CLIENT_HOST: Final = 1000
CLIENT_PORT: Final = 2181
_CONNECT_TIMEOUT_US: Final = 2_000_000
_RETRY_US: Final = 100_000


class Program(Protocol):
    """What a client wants; every method may call ``client.ask`` and ``client.after``."""

    def connected(self, client: "SimClient") -> None:
        """The session is served (again)."""

    def answered(self, client: "SimClient", call: Call[Any]) -> None:
        """A call is done."""

    def fired(self, client: "SimClient", event: WatchFired) -> None:
        """A watch fired."""

    def over(self, client: "SimClient", expired: bool) -> None:
        """The session is over; ``client.renew`` starts another."""

    def wake(self, client: "SimClient", tag: Any) -> None:
        """The time asked for by ``client.after`` has come."""


@mypyc_attr(allow_interpreted_subclasses=True)
class SimClient:
    """Implements ``network.Owner`` for a client's host."""

    def __init__(
        self,
        number: int,
        scheduler: Scheduler,
        network: Network,
        prng: Prng,
        history: History,
        program: Program,
        servers: list[int],
        timeout_ms: int,
    ) -> None:
        self.number = number
        self.host = FIRST_CLIENT_HOST + number
        self.scheduler = scheduler
        self.network = network
        self.prng = prng
        self.history = history
        self.program = program
        self.servers = servers
        self.timeout_ms = timeout_ms
        self.session = ClientSession(timeout_ms)
        self.server = 0
        # Where it connects next, 0: anywhere.
        self._next_server = 0
        # Sessions that ended on the wire: by expiry, and by closeSession.
        self.expired = 0
        self.closed = 0
        self.sessions = 1
        self.stopped = False
        self._auths: list[tuple[str, bytes, Id]] = []
        self._end: End | None = None
        self._dialling = False
        self._dial_id = 0
        self._tick_us = 0
        self._busy = False
        self._in_flight: dict[int, Invocation] = {}
        self._unsent: list[Call[Any]] = []
        network.owners[self.host] = self

    # What programs ask.

    def start(self) -> None:
        """Begins to connect."""
        self._connect()

    def ids(self) -> list[Id]:
        """Whom the servers take this client for."""
        return [Id("ip", host_address(self.host)), *[one for _, _, one in self._auths]]

    def add_auth(self, scheme: str, data: bytes, becomes: Id) -> None:
        """Authenticates; ``becomes`` is the id that the scheme makes of ``data``."""
        self._auths.append((scheme, data, becomes))
        self.session.add_auth(scheme, data)

    def ask(self, call: Call[Any]) -> None:
        """Sends a request."""
        self.session.submit(call)
        self._unsent.append(call)
        self._after_activity()

    def after(self, delay_us: int, tag: Any = None) -> None:
        """``program.wake`` is called in ``delay_us``."""
        self.scheduler.after(delay_us, self._wake_program, tag)

    def is_connected(self) -> bool:
        """Whether requests travel now."""
        return self.session.is_connected() and self._end is not None

    def pending(self) -> int:
        """Requests not answered yet."""
        return self.session.pending()

    def move(self, server: int = 0) -> None:
        """Drops the connection; the session goes on at another server, at ``server`` if that takes it."""
        self._next_server = server
        end = self._end
        if end is not None:
            self.network.close(end)
            self._lost(end)

    def close_session(self) -> None:
        """Ends the session properly."""
        self._unsent.append(self.session.close())
        self._after_activity()

    def flush(self) -> None:
        """Sends what the session has to send."""
        self._after_activity()

    def forget_session(self) -> None:
        """The program dies and starts anew: its old session is left to expire."""
        self._drop_connection()
        self.session.connection_lost(self._now_ms())
        self.history.add(histories.DISCONNECTED, self.scheduler.now_us, self.number)
        self._after_activity()
        self.history.add(histories.CLOSED, self.scheduler.now_us, self.number)
        self._new_session()

    def renew(self) -> None:
        """Starts a new session after the old one is over."""
        assert self.session.is_over()
        self._new_session()

    def _new_session(self) -> None:
        self.session = ClientSession(self.timeout_ms)
        self._unsent.clear()
        for scheme, data, _ in self._auths:
            self.session.add_auth(scheme, data)
        self.sessions += 1
        self._drop_connection()
        self._connect()

    def abandon(self) -> None:
        """The client's process dies: its session is left to expire."""
        if self._end is not None:
            self.history.add(histories.DISCONNECTED, self.scheduler.now_us, self.number)
        self._drop_connection()
        self.stopped = True

    # Connecting.

    def _connect(self) -> None:
        if self.stopped or self._dialling or self._end is not None or self.session.is_over():
            return
        self.server = self._next_server or self.prng.pick(self.servers)
        self._next_server = 0
        self._dialling = True
        self._dial_id += 1
        self.network.dial(self.host, self, CLIENT_PORT, [self.server], self._dial_id, _CONNECT_TIMEOUT_US)

    def _retry(self, _: object) -> None:
        self._connect()

    def _wake_program(self, tag: Any) -> None:
        if not self.stopped:
            self.program.wake(self, tag)

    def _drop_connection(self) -> None:
        end = self._end
        if end is not None:
            self._end = None
            self.network.close(end)

    def _lost(self, end: End) -> None:
        if end is not self._end:
            return
        self._end = None
        self.session.connection_lost(self._now_ms())
        self.history.add(histories.DISCONNECTED, self.scheduler.now_us, self.number)
        self._after_activity()
        if not self.session.is_over():
            self.scheduler.after(self.prng.below(_RETRY_US), self._retry, None)

    def _now_ms(self) -> int:
        return self.scheduler.now_us // US_PER_MS

    # What the network reports.

    def accepts(self, port: int) -> bool:
        """Nobody dials clients."""
        return False

    def link_made(self, end: End, port: int, dial_id: int) -> None:
        """Connected to a server."""
        self._dialling = False
        if self.stopped or self.session.is_over() or dial_id != self._dial_id:
            self.network.close(end)
            return
        self._end = end
        self.session.connection_made(self._now_ms())
        self._after_activity()

    def dial_failed(self, dial_id: int) -> None:
        """Could not connect."""
        self._dialling = False
        self.scheduler.after(self.prng.below(_RETRY_US), self._retry, None)

    def link_data(self, end: End, data: bytes) -> None:
        """Bytes of the server."""
        if end is not self._end:
            return
        try:
            self.session.data_received(data, self._now_ms())
        except ProtocolError:
            self._after_activity()
            raise
        self._after_activity()

    def link_lost(self, end: End) -> None:
        """The connection is gone."""
        self._lost(end)

    def link_congested(self, end: End, congested: bool) -> None:
        """The server reads slowly; a client has nothing to hold back."""

    # The turn of a client.

    def _after_activity(self) -> None:
        """Writes down what happened, tells the program, sends what there is to send."""
        if self._busy:
            # The program asks while it is told something: the loop below sees to it.
            return
        self._busy = True
        while True:
            happenings = self.session.take_happenings()
            if not happenings:
                break
            for happening in happenings:
                self._happened(happening)
        self._busy = False
        end = self._end
        if end is not None and not self.stopped:
            out = self.session.take_output(self._now_ms())
            if out:
                self._note_sent()
                self.network.send(end, out)
            if self.session.is_over():
                self._drop_connection()
                return
            self._schedule_tick()

    def _note_sent(self) -> None:
        unsent = self._unsent
        if not unsent:
            return
        now = self.scheduler.now_us
        kept: list[Call[Any]] = []
        for call in unsent:
            if call.xid == 0:
                if not call.done:
                    kept.append(call)
                continue
            self._in_flight[call.xid] = self.history.sent(
                now, self.number, self.session.session_id, call.xid, call.op, call.body, self.ids()
            )
        self._unsent = kept

    def _happened(self, happening: Happening) -> None:
        now = self.scheduler.now_us
        if isinstance(happening, Answered):
            self._answered(happening.call)
        elif isinstance(happening, WatchFired):
            self.history.event(now, self.number, happening.type, happening.path, happening.zxid)
            self.program.fired(self, happening)
        elif isinstance(happening, StateChanged):
            self._state_changed(happening.state)
        else:
            self.history.add(histories.REWATCHED, now, self.number).zxid = happening.zxid

    def _answered(self, call: Call[Any]) -> None:
        invocation = self._in_flight.pop(call.xid, None) if call.xid else None
        if invocation is not None:
            now = self.scheduler.now_us
            if call.answered:
                self.history.answered(now, invocation, call.err, call.zxid, call.reply)
            else:
                self.history.lost(now, invocation)
        if not self.stopped:
            self.program.answered(self, call)

    def _state_changed(self, state: int) -> None:
        session = self.session
        now = self.scheduler.now_us
        if session.is_connected():
            self.history.connected(now, self.number, session.session_id, session.timeout_ms, self.server)
            self.program.connected(self)
        elif state in (STATE_EXPIRED, STATE_CLOSED):
            expired = state == STATE_EXPIRED
            self.expired += expired
            self.closed += not expired
            self.history.add(histories.EXPIRED if expired else histories.CLOSED, now, self.number)
            self.scheduler.after(0, self._over, (session, expired))

    def _over(self, what: tuple[ClientSession, bool]) -> None:
        if what[0] is self.session and not self.stopped:
            self._drop_connection()
            self.program.over(self, what[1])

    def _schedule_tick(self) -> None:
        wake_ms = self.session.wake_at_ms()
        if wake_ms < 0:
            return
        when = wake_ms * US_PER_MS
        if self._tick_us <= self.scheduler.now_us or when < self._tick_us:
            self._tick_us = when
            self.scheduler.at(when, self._tick, when)

    def _tick(self, when_us: int) -> None:
        if when_us != self._tick_us or self.stopped:
            return
        self._tick_us = 0
        end = self._end
        if end is None:
            return
        if not self.session.tick(self._now_ms()):
            self.network.close(end)
            self._lost(end)
            return
        self._after_activity()
