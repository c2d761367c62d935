"""Connections of the election port: who dials whom, which connection stays, what is sent again.

The rules of upstream ``QuorumCnxManager`` without its threads.  One connection per pair of servers, dialled
by the larger sid: a dialer says who it is and, if it is the smaller, hangs up and is dialled back.  A peer
is owed only the newest message; it is sent again when the connection to it is made anew, because the old
connection may have swallowed it.  Connection ids and dials are the driver's; notifications are the
election's (``zab/election.py``); bytes that make no sense cost their sender the connection and a line in
the log, nothing more.
"""

from typing import Final

from mypy_extensions import i64

from zabra.jute.primitives import Reader
from zabra.proto.notification import (
    ANONYMOUS_OBSERVER,
    NOTIFICATION_BYTES_MAX,
    Notification,
    Refused,
    decode_initial_message,
    decode_notification,
    encode_initial_message,
    encode_notification,
    frame_notification,
)

# Accepted connections that have not said who they are.
UNIDENTIFIED_MAX: Final = 256

# Peers that are in no configuration (joiners): connections that stand, and dials under way.
UNKNOWN_PEERS_MAX: Final = 256

# Dials to one peer at a time, where it has shown that it is there.
DIALS_BACK_MAX: Final = 2

NEVER: Final = -1


class ElectionActions:
    """What one call asks for.

    ``sends`` (connection, bytes) come before ``closes`` (connection, reason); ``dials`` are (sid, addresses
    to try in turn), answered by ``dialled`` or ``dial_failed``; ``notifications`` are (sid, Notification) in
    order; ``ups`` and ``downs`` are sids, for ``FastLeaderElection.peer_up`` and ``peer_down``; ``notes`` are
    for the log.
    """

    __slots__ = ("closes", "dials", "downs", "notes", "notifications", "sends", "ups")

    def __init__(self) -> None:
        self.sends: list[tuple[int, bytes]] = []
        self.closes: list[tuple[int, str]] = []
        self.dials: list[tuple[int, list[tuple[str, int]]]] = []
        self.notifications: list[tuple[int, Notification]] = []
        self.ups: list[int] = []
        self.downs: list[int] = []
        self.notes: list[str] = []


class _Link:
    """One connection; ``sid`` is known once ``identified``."""

    __slots__ = ("buf", "congested", "conn", "deadline_ms", "identified", "sid")

    def __init__(self, conn: i64, deadline_ms: i64) -> None:
        self.conn: i64 = conn
        self.sid: i64 = 0
        self.identified: bool = False
        self.congested: bool = False
        self.deadline_ms: i64 = deadline_ms
        self.buf: bytes = b""


class ElectionConnections:
    """The election connections of server ``sid``.

    ``own_addresses`` are told to those it dials; ``handshake_timeout_ms`` is how long an accepted connection
    may take to say who it is.
    """

    __slots__ = (
        "_addresses",
        "_by_sid",
        "_dialling",
        "_handshake_timeout_ms",
        "_last",
        "_links",
        "_multi_address",
        "_next_anonymous",
        "_own_addresses",
        "_pending",
        "_unidentified",
        "sid",
    )

    def __init__(
        self,
        sid: i64,
        own_addresses: list[tuple[str, int]],
        multi_address: bool,
        handshake_timeout_ms: i64,
    ) -> None:
        self.sid: i64 = sid
        self._own_addresses: list[tuple[str, int]] = own_addresses
        self._multi_address: bool = multi_address
        self._handshake_timeout_ms: i64 = handshake_timeout_ms
        self._addresses: dict[int, list[tuple[str, int]]] = {}
        self._links: dict[int, _Link] = {}
        self._by_sid: dict[int, _Link] = {}
        self._unidentified: dict[int, None] = {}
        # Dials under way, by sid.
        self._dialling: dict[int, int] = {}
        # The newest message not sent yet, and the last one sent, framed.
        self._pending: dict[int, bytes] = {}
        self._last: dict[int, bytes] = {}
        self._next_anonymous: i64 = -1

    def set_view(self, addresses: dict[int, list[tuple[str, int]]]) -> None:
        """Election addresses of everybody in the current and the next configuration."""
        self._addresses = addresses

    def set_own_addresses(self, addresses: list[tuple[str, int]]) -> None:
        """A reconfiguration has moved this server."""
        self._own_addresses = addresses

    def is_up(self, sid: i64) -> bool:
        """Whether a connection to ``sid`` stands."""
        return sid in self._by_sid

    def connection_of(self, sid: i64) -> i64:
        """The connection to ``sid``, or -1."""
        link = self._by_sid.get(sid)
        return -1 if link is None else link.conn

    # Sending.

    def send(self, sid: i64, n: Notification, actions: ElectionActions) -> None:
        """Sends now, or keeps the message as the newest and dials."""
        if sid == self.sid:
            return
        message = frame_notification(encode_notification(n))
        link = self._by_sid.get(sid)
        if link is not None and not link.congested:
            self._transmit(link, message, actions)
            return
        if link is None and sid not in self._addresses:
            actions.notes.append(f"server {sid} is in no configuration and has no connection")
            return
        self._pending[sid] = message
        if link is None:
            self._dial(sid, self._addresses.get(sid, []), actions)

    def connect_all(self, actions: ElectionActions) -> None:
        """Dials everybody of the configurations, or owed a message, to whom no connection stands."""
        wanted = dict.fromkeys(self._addresses)
        wanted.update(dict.fromkeys(self._pending))
        for sid in sorted(wanted):
            if sid not in self._by_sid:
                self._dial(sid, self._addresses.get(sid, []), actions)

    def _dial(
        self, sid: i64, addresses: list[tuple[str, int]], actions: ElectionActions, at_once: int = 1
    ) -> None:
        """Dials, unless ``at_once`` dials to ``sid`` are under way."""
        under_way = self._dialling.get(sid, 0)
        if sid == self.sid or under_way >= at_once:
            return
        if not addresses:
            actions.notes.append(f"no election address of server {sid} is known")
            return
        if sid not in self._addresses and self._unknown(dict.fromkeys(self._dialling)) >= UNKNOWN_PEERS_MAX:
            actions.notes.append(f"too many dials to unknown peers: server {sid} is not dialled")
            return
        self._dialling[sid] = under_way + 1
        actions.dials.append((sid, addresses))

    def _transmit(self, link: _Link, message: bytes, actions: ElectionActions) -> None:
        self._pending.pop(link.sid, None)
        self._last[link.sid] = message
        actions.sends.append((link.conn, message))

    def _is_crowded(self, sid: i64) -> bool:
        """Whether ``sid`` is one unknown peer too many."""
        if sid in self._addresses or sid in self._by_sid:
            return False
        return self._unknown(dict.fromkeys(self._by_sid)) >= UNKNOWN_PEERS_MAX

    def _unknown(self, sids: dict[int, None]) -> i64:
        """How many of ``sids`` are in no configuration."""
        return len([sid for sid in sids if sid not in self._addresses])

    def _forget_unknown(self, sid: i64) -> None:
        """A peer in no configuration is owed nothing once its connection is gone."""
        if sid not in self._addresses:
            self._pending.pop(sid, None)
            self._last.pop(sid, None)

    # What happens to connections.

    def dialled(self, sid: i64, conn: i64) -> ElectionActions:
        """The dial to ``sid`` has led to ``conn``."""
        actions = ElectionActions()
        self._dial_ended(sid)
        if sid > self.sid and sid in self._by_sid:
            # It has dialled meanwhile; saying hello would only make it dial again.
            actions.closes.append((conn, f"server {sid} has connected already"))
            return actions
        if self._is_crowded(sid):
            actions.closes.append((conn, f"too many connections of unknown peers: {sid}"))
            return actions
        hello = encode_initial_message(self.sid, self._own_addresses, self._multi_address)
        actions.sends.append((conn, hello))
        if sid > self.sid:
            actions.closes.append((conn, f"the larger sid {sid} dials back"))
            return actions
        link = _Link(conn, NEVER)
        self._links[conn] = link
        self._establish(link, sid, actions)
        return actions

    def dial_failed(self, sid: i64) -> ElectionActions:
        """None of the addresses answered."""
        actions = ElectionActions()
        self._dial_ended(sid)
        if sid not in self._by_sid and sid not in self._dialling:
            actions.downs.append(sid)
        return actions

    def _dial_ended(self, sid: i64) -> None:
        under_way = self._dialling.pop(sid, 0)
        if under_way > 1:
            self._dialling[sid] = under_way - 1

    def accepted(self, conn: i64, now_ms: i64) -> ElectionActions:
        """Somebody has dialled this server."""
        actions = ElectionActions()
        if len(self._unidentified) >= UNIDENTIFIED_MAX:
            actions.closes.append((conn, "too many connections that have not said who they are"))
            return actions
        self._links[conn] = _Link(conn, now_ms + self._handshake_timeout_ms)
        self._unidentified[conn] = None
        return actions

    def lost(self, conn: i64) -> ElectionActions:
        """The connection is gone, by whomever."""
        actions = ElectionActions()
        link = self._forget(conn)
        if link is not None and link.identified and self._by_sid.get(link.sid) is link:
            self._down(link.sid, actions)
        return actions

    def _down(self, sid: i64, actions: ElectionActions) -> None:
        self._by_sid.pop(sid, None)
        self._forget_unknown(sid)
        actions.downs.append(sid)

    def set_congested(self, conn: i64, congested: bool) -> ElectionActions:
        """Whether the transport of ``conn`` has too much to send: the newest message waits meanwhile."""
        actions = ElectionActions()
        link = self._links.get(conn)
        if link is not None and link.identified:
            link.congested = congested
            pending = self._pending.get(link.sid)
            if not congested and pending is not None and self._by_sid.get(link.sid) is link:
                self._transmit(link, pending, actions)
        return actions

    def next_deadline_ms(self) -> i64:
        """When ``tick`` must be called, or NEVER."""
        first: i64 = NEVER
        for conn in self._unidentified:
            deadline = self._links[conn].deadline_ms
            if first == NEVER or deadline < first:
                first = deadline
        return first

    def tick(self, now_ms: i64) -> ElectionActions:
        """Time has passed: who has not said who they are by now is cut off."""
        actions = ElectionActions()
        for conn in list(self._unidentified):
            if now_ms >= self._links[conn].deadline_ms:
                self._close(self._links[conn], "no initial message in time", actions)
        return actions

    # What connections say.

    def received(self, conn: i64, data: bytes) -> ElectionActions:
        """Bytes from ``conn``."""
        actions = ElectionActions()
        link = self._links.get(conn)
        if link is None:
            return actions
        link.buf = link.buf + data if link.buf else data
        if not link.identified and not self._identify(link, actions):
            return actions
        self._cut(link, actions)
        return actions

    def _identify(self, link: _Link, actions: ElectionActions) -> bool:
        """Reads the initial message; whether the connection goes on."""
        hello = decode_initial_message(link.buf)
        if hello is None:
            return False
        if isinstance(hello, Refused):
            self._close(link, hello.reason, actions)
            return False
        sid = hello.sid
        if sid == ANONYMOUS_OBSERVER:
            sid = self._next_anonymous
            self._next_anonymous -= 1
        if sid == self.sid:
            self._close(link, f"a server with this server's own sid {sid} has connected", actions)
            return False
        if sid < self.sid:
            self._close(link, f"dialling the smaller sid {sid} back", actions)
            old = self._by_sid.pop(sid, None)
            if old is not None:
                # It has dialled, so it has no use for the old connection.
                self._close(old, f"server {sid} has connected anew", actions)
            addresses = hello.addresses if hello.addresses else self._addresses.get(sid, [])
            # A dial from before it was up, or could be reached, may hang for as long as dials can.
            self._dial(sid, addresses, actions, DIALS_BACK_MAX)
            return False
        if self._is_crowded(sid):
            self._close(link, f"too many connections of unknown peers: {sid}", actions)
            return False
        link.buf = link.buf[hello.size :]
        self._unidentified.pop(link.conn, None)
        self._establish(link, sid, actions)
        return True

    def _establish(self, link: _Link, sid: i64, actions: ElectionActions) -> None:
        old = self._by_sid.pop(sid, None)
        if old is not None:
            self._close(old, f"a newer connection to server {sid} stands", actions)
        link.sid = sid
        link.identified = True
        link.deadline_ms = NEVER
        self._by_sid[sid] = link
        actions.ups.append(sid)
        message = self._pending.get(sid)
        if message is None:
            message = self._last.get(sid)
        if message is not None:
            self._transmit(link, message, actions)

    def _cut(self, link: _Link, actions: ElectionActions) -> None:
        """Takes whole messages off the buffer."""
        r = Reader(link.buf)
        while r.remaining() >= 4:
            start = r.pos
            size = r.read_int()
            if size <= 0 or size > NOTIFICATION_BYTES_MAX:
                self._close(link, f"invalid message length {size} from server {link.sid}", actions)
                self._down(link.sid, actions)
                return
            if r.remaining() < size:
                r.pos = start
                break
            message = link.buf[r.pos : r.pos + size]
            r.pos += size
            n = decode_notification(message)
            if isinstance(n, Refused):
                actions.notes.append(f"server {link.sid}: {n.reason}")
            else:
                actions.notifications.append((link.sid, n))
        if r.pos > 0:
            link.buf = link.buf[r.pos :]

    def _close(self, link: _Link, reason: str, actions: ElectionActions) -> None:
        self._forget(link.conn)
        actions.closes.append((link.conn, reason))

    def _forget(self, conn: i64) -> _Link | None:
        self._unidentified.pop(conn, None)
        return self._links.pop(conn, None)
