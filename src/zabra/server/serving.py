"""Serving: clients, their sessions and requests, on whatever role the server has.

A request of a client either is answered here at once (a read with nothing of its own session before it),
waits behind the session's own writes, or goes to the role and comes back committed.  ``commit`` is the one
place where a txn takes effect, on every role: tree, watches, then the owner's reply, then what waited
behind it.  Source: upstream ``ZooKeeperServer``, ``CommitProcessor`` and ``FinalRequestProcessor``.
"""

from typing import Final

from librt.strings import read_i32_be
from mypy_extensions import i64

from zabra.jute.primitives import JuteError, Reader, Writer, hex64
from zabra.processors.context import ReadContext
from zabra.processors.eager_acl import eager_acl_error
from zabra.processors.operation import (
    KIND_CONNECTION,
    KIND_INTERNAL,
    KIND_READ,
    KIND_SESSION,
    KIND_SYNC,
    KIND_WRITE,
    Operation,
)
from zabra.processors.ops import OPS
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import AuthPacket, Id
from zabra.proto.request import OWNER_LOCAL, Request
from zabra.proto.txn import TxnEntry
from zabra.server.client_connection import (
    CONN_CLOSED,
    CONN_CONNECTING,
    CONN_NEW,
    CONN_OPEN,
    ClientConnection,
)
from zabra.server.host import Host
from zabra.server.local_sessions import LocalSessions
from zabra.server.roles.role import Role
from zabra.server.stats import ServerStats
from zabra.server.throttle import ConnectionThrottle, Held, HeldRequests, LargeRequests
from zabra.sessions.session_id import (
    PASSWORD_BYTES,
    first_session_id,
    next_session_id,
    session_password,
)
from zabra.tree.datatree import TxnResult
from zabra.tree.watches import FiredWatch

FOUR_LETTER_WORDS: Final = {
    word.encode("ascii"): True
    for word in [
        *("conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro"),
        *("mntr", "ruok", "srst", "srvr", "stat", "stmk", "wchc", "wchp", "wchs"),
    ]
}
# Telnet's interrupt: upstream closes on it.
TELNET_CLOSE: Final = b"\xff\xf4\xff\xfd"
NO_PASSWORD: Final = bytes(PASSWORD_BYTES)
UNIMPLEMENTED_ZXID: Final = -1
ENSEMBLE_SCHEME: Final = "ensemble"
# What stands before the body of a reply, behind its length: ReplyHeader.
REPLY_HEADER_BYTES: Final = 16


class Serving:
    """The clients of one server; ``role`` is replaced when the server's state changes."""

    def __init__(self, host: Host, role: Role) -> None:
        self.host: Host = host
        self.stats: ServerStats = host.stats
        self.role: Role = role
        self.connections: dict[int, ClientConnection] = {}
        self.by_session: dict[int, ClientConnection] = {}
        self.per_ip: dict[str, int] = {}
        self.dirty: list[ClientConnection] = []
        self.paused: dict[int, ClientConnection] = {}
        # Requests taken in and not answered yet, over all connections.
        self.in_flight: i64 = 0
        # Connections that have not sent their ConnectRequest yet, oldest first.
        self.sessionless: dict[int, ClientConnection] = {}
        # A server on its own counts as number one, as upstream.
        server_id = host.settings.server_id or 1
        wall = host.wall_ms
        self.last_session_id: i64 = first_session_id(server_id, wall) - 1
        self.reader: Reader = Reader(b"")
        bounds = host.settings.session_timeout_bounds()
        self.min_timeout_ms: i64 = bounds[0]
        self.max_timeout_ms: i64 = bounds[1]
        self.max_buffer: i64 = host.settings.jute_max_buffer
        self.outstanding_limit: i64 = host.settings.global_outstanding_limit
        self.enforce_auth: bool = host.settings.enforce_auth_enabled
        self.local: LocalSessions = LocalSessions(host)
        self.eager_acl_check: bool = host.settings.eager_acl_check
        self.throttle: ConnectionThrottle = ConnectionThrottle(host.settings, host.random, host.now_ms)
        self.large: LargeRequests = LargeRequests(
            host.settings.large_request_threshold, host.settings.large_request_max_bytes
        )
        self.held: HeldRequests = HeldRequests(host.settings)

    def set_role(self, role: Role) -> None:
        """The server's state has changed."""
        self.role = role
        self.outstanding_limit = self.host.settings.global_outstanding_limit // role.shares_of_limit()

    # --- connections --------------------------------------------------------------------------------------

    def connection_made(self, conn_id: int, peer_host: str, peer_port: int) -> None:
        """A client has connected."""
        settings = self.host.settings
        count = self.per_ip.get(peer_host, 0)
        limit = settings.max_connections_per_ip
        if (limit > 0 and count >= limit) or 0 < settings.max_connections <= len(self.connections):
            self.host.metrics.connection_rejected.add(1)
            per_address = f"limit is {limit} per address" if 0 < limit <= count else "the server is full"
            self.host.warn(f"too many connections, refusing {peer_host}: {per_address}")
            self.host.out.closes.append(conn_id)
            return
        self.per_ip[peer_host] = count + 1
        context = ReadContext(self.host.tree, self.host.providers, conn_id)
        context.ids.append(Id("ip", peer_host))
        conn = ClientConnection(conn_id, peer_host, peer_port, self.host.now_ms, context)
        conn.established_ms = self.host.wall_ms
        self.connections[conn_id] = conn
        self.sessionless[conn_id] = conn

    def connection_lost(self, conn_id: int) -> None:
        """A client's connection is gone; its session lives on until its timeout."""
        conn = self.connections.get(conn_id)
        if conn is not None:
            if conn.session_id != 0 or conn.state != CONN_CONNECTING:
                # Not one that was asked a four-letter word: that is closed by us.
                self.host.metrics.connection_drop_count.add(1)
            self.forget(conn)

    def forget(self, conn: ClientConnection) -> None:
        """Drops everything that is tied to the connection."""
        if conn.state == CONN_CLOSED:
            return
        conn.state = CONN_CLOSED
        conn.inbuf = b""
        while not conn.queue.is_empty():
            self.dequeue(conn)
        conn_id: int = conn.conn_id
        del self.connections[conn_id]
        self.sessionless.pop(conn_id, None)
        self.paused.pop(conn_id, None)
        self.host.tree.watches.remove_watcher(conn_id)
        if self.by_session.get(conn.session_id) is conn:
            del self.by_session[conn.session_id]
        count = self.per_ip.get(conn.peer_host, 1) - 1
        if count > 0:
            self.per_ip[conn.peer_host] = count
        else:
            self.per_ip.pop(conn.peer_host, None)

    def close(self, conn: ClientConnection) -> None:
        """Sends what is written and closes."""
        if conn.state != CONN_CLOSED:
            self.flush_connection(conn)
            self.forget(conn)
            self.host.out.closes.append(conn.conn_id)

    def close_all(self) -> None:
        """Every client must go elsewhere (the role is over)."""
        for conn in list(self.connections.values()):
            self.close(conn)
        self.local.clear()
        self.held.clear()

    def mark_dirty(self, conn: ClientConnection) -> None:
        """Puts the connection on the list of those with something to send."""
        if not conn.dirty:
            conn.dirty = True
            self.dirty.append(conn)

    def flush_connection(self, conn: ClientConnection) -> None:
        """Moves one connection's output into the Ready."""
        if conn.dirty:
            data = conn.take_output()
            if data:
                self.host.out.sends.append((conn.conn_id, data))

    def flush(self) -> None:
        """One write per connection for the whole turn."""
        dirty = self.dirty
        if dirty:
            self.dirty = []
            for conn in dirty:
                self.flush_connection(conn)

    def set_congested(self, conn_id: int, congested: bool) -> None:
        """The client reads too slowly (or again fast enough): hold its requests back (or go on)."""
        conn = self.connections.get(conn_id)
        if conn is not None and conn.congested != congested:
            conn.congested = congested
            if not congested:
                self.parse_more(conn)

    # --- input --------------------------------------------------------------------------------------------

    def receive(self, conn_id: int, data: bytes) -> None:
        """Bytes from a client."""
        conn = self.connections.get(conn_id)
        if conn is None:
            return
        self.host.metrics.bytes_received_count.value += len(data)
        if conn.inbuf:
            data = conn.inbuf + data
            conn.inbuf = b""
        if conn.state == CONN_OPEN:
            if conn.is_local:
                self.local.touch(conn.session_id, conn.timeout_ms)
            # One that is becoming global is so to the leader before it is here.
            if not conn.is_local or conn.session_id in self.local.upgrading:
                self.role.touch(conn.session_id, conn.timeout_ms)
        pos = self.parse(conn, data)
        if pos < len(data) and conn.state != CONN_CLOSED:
            conn.inbuf = data[pos:] if pos > 0 else data

    def parse_more(self, conn: ClientConnection) -> None:
        """Goes on with input that was held back."""
        data = conn.inbuf
        if data and conn.state != CONN_CLOSED:
            conn.inbuf = b""
            pos = self.parse(conn, data)
            if pos < len(data) and conn.state != CONN_CLOSED:
                conn.inbuf = data[pos:] if pos > 0 else data

    def parse(self, conn: ClientConnection, data: bytes) -> i64:
        """Takes whole frames from ``data`` until input must wait; returns how many bytes were used."""
        end: i64 = len(data)
        pos: i64 = 0
        while end - pos >= 4 and not conn.stalled():
            length: int = read_i32_be(data, pos)
            size: i64 = length
            if conn.state == CONN_NEW and pos == 0 and self.is_word(conn, data):
                return end
            if size < 0 or size > self.max_buffer:
                self.host.warn(f"frame of {size} bytes from {conn.peer_host}:{conn.peer_port}: closing")
                self.close(conn)
                return end
            if not self.large.admits(size):
                self.host.metrics.large_requests_rejected.add(1)
                self.host.warn(f"too many large requests: closing {conn.peer_host}:{conn.peer_port}")
                self.close(conn)
                return end
            if end - pos - 4 < size:
                break
            pos += 4
            self.frame(conn, data, pos, pos + size)
            pos += size
            if conn.state == CONN_CLOSED:
                return end
        return pos

    def is_word(self, conn: ClientConnection, data: bytes) -> bool:
        """Whether the connection opens with a four-letter word; then the driver answers it."""
        head = data[:4]
        if head == TELNET_CLOSE:
            self.close(conn)
            return True
        if head not in FOUR_LETTER_WORDS:
            return False
        self.host.out.words.append((conn.conn_id, head.decode("ascii"), data[4:]))
        conn.received += 1
        self.stats.packets_received += 1
        conn.state = CONN_CONNECTING
        self.sessionless.pop(conn.conn_id, None)
        return True

    def frame(self, conn: ClientConnection, data: bytes, pos: i64, end: i64) -> None:
        """One whole frame."""
        conn.received += 1
        self.stats.packets_received += 1
        r = self.reader
        r.buf = data
        r.pos = pos
        r.end = end
        if conn.state == CONN_NEW:
            try:
                self.connect(conn, r)
            except JuteError:
                self.host.warn(f"malformed ConnectRequest from {conn.peer_host}:{conn.peer_port}: closing")
                self.close(conn)
            return
        if end - pos < 8:
            self.close(conn)
            return
        xid = r.read_int()
        op = r.read_int()
        self.request(conn, xid, op, r)

    # --- sessions -----------------------------------------------------------------------------------------

    def connect(self, conn: ClientConnection, r: Reader) -> None:
        """The ConnectRequest: a new session, or one that moves here."""
        host = self.host
        r.read_int()  # protocolVersion: upstream accepts any
        last_zxid_seen = r.read_long()
        timeout_ms = r.read_int()
        session_id = r.read_long()
        password = r.read_buffer()
        takes_read_only = False
        if r.remaining() > 0:
            takes_read_only = r.read_bool()
            conn.sends_read_only = True
        self.sessionless.pop(conn.conn_id, None)
        if not self.role.serves():
            host.metrics.cnxn_closed_without_zk_server_running.add(1)
            self.close(conn)
            return
        if not self.throttle.admits(self.throttle.price(session_id == 0, self.local.enabled), host.now_ms):
            host.metrics.connection_rejected.add(1)
            self.close(conn)
            return
        self.stats.connection_drop_probability = self.throttle.drop_chance
        host.metrics.connection_token_deficit.add(self.throttle.deficit())
        host.metrics.connection_request_count.add(1)
        if self.role.is_read_only() and not self.may_be_read_only(conn, session_id, takes_read_only):
            self.close(conn)
            return
        if last_zxid_seen > host.tree.last_processed_zxid:
            host.info(
                f"refusing {conn.peer_host}:{conn.peer_port}: it has seen zxid 0x{last_zxid_seen:x}, "
                f"we are at 0x{host.tree.last_processed_zxid:x}"
            )
            self.close(conn)
            return
        conn.timeout_ms = min(max(timeout_ms, self.min_timeout_ms), self.max_timeout_ms)
        conn.state = CONN_CONNECTING
        if session_id == 0:
            self.create_session(conn)
        else:
            self.resume_session(conn, session_id, password)

    def may_be_read_only(self, conn: ClientConnection, session_id: int, takes_read_only: bool) -> bool:
        """Whether a client may have its session on a server without a quorum: a new, local one."""
        if not takes_read_only:
            self.host.info(f"refusing {conn.peer_host}:{conn.peer_port}: it wants more than to read")
            return False
        if session_id in self.host.tree.sessions:
            self.host.info(f"refusing session {hex64(session_id)}: it is the quorum's, which is not here")
            return False
        if session_id == 0 and not self.local.enabled:
            self.host.info("refusing a new session: it would have to be local (localSessionsEnabled)")
            return False
        return True

    def create_session(self, conn: ClientConnection) -> None:
        """A new session: a txn like any write, answered when it is committed."""
        self.last_session_id = next_session_id(self.last_session_id)
        self.bind(conn, self.last_session_id)
        if self.local.enabled:
            conn.is_local = True
            self.local.add(conn.session_id, conn.timeout_ms)
            self.finish_connect(conn, True)
            return
        request = self.session_request(conn)
        conn.queue.append(request)
        self.in_flight += 1
        self.large.begun(len(request.body))
        self.role.submit(request)

    def session_request(self, conn: ClientConnection) -> Request:
        """createSession for the connection's session."""
        body = Writer()
        body.write_int(conn.timeout_ms)
        request = self.new_request(conn, 0, codes.OP_CREATE_SESSION, body.getvalue())
        request.ids = []
        return request

    def upgrade(self, conn: ClientConnection) -> None:
        """Makes a local session global, ahead of the request that needs it."""
        if self.local.begin_upgrade(conn.session_id):
            request = self.session_request(conn)
            request.conn_id = 0
            self.role.submit(request)

    def refuses_ephemeral(self, conn: ClientConnection, row: Operation, body: bytes) -> bool:
        """A local session wants an ephemeral: upgrades it where allowed, else True."""
        if not row.makes_ephemeral(body):
            return False
        if not self.local.may_upgrade:
            return True
        self.upgrade(conn)
        return False

    def end_local_session(self, conn: ClientConnection, request: Request) -> None:
        """closeSession of a local session: nobody else needs to know."""
        self.local.remove(conn.session_id)
        request.done = True
        self.drain(conn)

    def resume_session(self, conn: ClientConnection, session_id: i64, password: bytes | None) -> None:
        """A session that was made before, here or elsewhere."""
        self.host.metrics.connection_revalidate_count.add(1)
        old = self.by_session.get(session_id)
        if old is not None:
            self.close(old)
        self.bind(conn, session_id)
        if password is None or password != session_password(session_id):
            self.host.warn(f"wrong password for session {hex64(session_id)}")
            self.finish_connect(conn, False)
        else:
            if self.local.touch(session_id, conn.timeout_ms):
                conn.is_local = True
                self.finish_connect(conn, True)
            else:
                self.role.revalidate(conn.conn_id, session_id, conn.timeout_ms)

    def bind(self, conn: ClientConnection, session_id: i64) -> None:
        """The connection speaks for the session from now on."""
        conn.session_id = session_id
        conn.context.session_id = session_id
        self.by_session[session_id] = conn

    def revalidated(self, conn_id: int, session_id: i64, valid: bool) -> None:
        """The role's answer to ``revalidate``."""
        conn = self.connections.get(conn_id)
        if conn is not None and conn.state == CONN_CONNECTING and conn.session_id == session_id:
            self.finish_connect(conn, valid)

    def finish_connect(self, conn: ClientConnection, valid: bool) -> None:
        """Sends the ConnectResponse, and takes the requests that came behind the ConnectRequest."""
        out = conn.out
        mark = out.size()
        out.write_int(0)
        out.write_int(0)
        out.write_int(conn.timeout_ms if valid else 0)
        out.write_long(conn.session_id if valid else 0)
        out.write_buffer(session_password(conn.session_id) if valid else NO_PASSWORD)
        if conn.sends_read_only:
            out.write_bool(self.role.is_read_only())
        conn.end_reply(mark)
        self.stats.packets_sent += 1
        self.mark_dirty(conn)
        if not valid:
            self.close(conn)
            return
        conn.state = CONN_OPEN
        conn.last_response_ms = self.host.now_ms
        self.parse_more(conn)

    # --- requests -----------------------------------------------------------------------------------------

    def new_request(self, conn: ClientConnection, xid: i64, op: i64, body: bytes) -> Request:
        """A request of this connection's session."""
        request = Request(
            conn.session_id,
            xid,
            op,
            body,
            conn.context.ids,
            OWNER_LOCAL,
            conn.conn_id,
            self.host.now_ms,
        )
        request.is_local = conn.is_local
        return request

    def request(self, conn: ClientConnection, xid: i64, op: i64, r: Reader) -> None:
        """Routes one request by the kind that its row names."""
        if self.enforce_auth and op != codes.OP_AUTH and op != codes.OP_SASL and not self.is_trusted(conn):
            self.reply(conn, xid, 0, codes.ERR_SESSION_CLOSED_REQUIRE_SASL_AUTH)
            self.close(conn)
            return
        row = OPS.get(op)
        if row is None or row.kind == KIND_INTERNAL:
            self.refuse_unknown(conn, xid)
            return
        kind = row.kind
        if op == codes.OP_AUTH:
            self.authenticate(conn, xid, r)
        elif op == codes.OP_SASL:
            self.answer_sasl(conn, xid, r)
        elif self.held.must_wait(self.in_flight):
            self.hold(conn, self.new_request(conn, xid, op, r.read_rest()))
        elif kind == KIND_READ or kind == KIND_CONNECTION:
            if not conn.queue.is_empty():
                self.enqueue(conn, self.new_request(conn, xid, op, r.read_rest()))
            else:
                self.answer_read(conn, row, xid, r, conn.context.ids)
                conn.note_instant()
                self.stats.read_answered()
        else:
            request = self.new_request(conn, xid, op, r.read_rest())
            self.enqueue(conn, request)
            self.submit(conn, row, request)

    def hold(self, conn: ClientConnection, request: Request) -> None:
        """Too many requests are under way: this one waits, and everything behind it."""
        self.held.add(conn, request)
        self.large.begun(len(request.body))
        self.host.metrics.request_throttle_wait_count.add(1)
        if len(self.held) > self.outstanding_limit:
            self.pause(conn)

    def take_held(self) -> None:
        """Carries out what was held back, as far as there is room now."""
        if len(self.held) == 0:
            return
        host = self.host
        held = self.held.next(self.in_flight, host.now_ms)
        while held is not None:
            self.large.ended(len(held.request.body))
            host.metrics.request_throttle_queue_time_ms.add(host.now_ms - held.request.created_ms)
            self.take_up(held)
            held = self.held.next(self.in_flight, host.now_ms)
        if len(self.held) > 0:
            host.wake_by(host.now_ms + self.held.stall_ms)
        for conn in list(self.paused.values()):
            self.resume_if_possible(conn)

    def take_up(self, held: Held) -> None:
        """Carries out one request that was held back, or drops it."""
        conn = held.conn
        request = held.request
        metrics = self.host.metrics
        if self.held.is_stale(held, self.host.now_ms):
            metrics.stale_requests.add(1)
            if self.held.is_dropped(held, self.host.now_ms):
                metrics.stale_requests_dropped.add(1)
                # What comes behind it must not be carried out without it.
                self.close(conn)
                return
        row = OPS.get(request.op)
        assert row is not None
        if conn.state == CONN_CLOSED:
            if row.kind == KIND_WRITE or row.kind == KIND_SESSION:
                self.submit_for_nobody(request)
            return
        if self.held.waited_too_long(request, self.host.now_ms):
            metrics.throttled_ops.add(1)
            request.error = codes.ERR_THROTTLED_OP
        self.enqueue(conn, request)
        if request.error != 0 or row.kind == KIND_READ or row.kind == KIND_CONNECTION:
            self.drain(conn)
        else:
            self.submit(conn, row, request)

    def submit_for_nobody(self, request: Request) -> None:
        """A request whose connection is gone, which is carried out all the same."""
        try:
            if not request.is_local:
                self.role.submit(request)
        except JuteError as error:
            self.host.info(f"malformed request of session {hex64(request.session_id)}: {error}")

    def submit(self, conn: ClientConnection, row: Operation, request: Request) -> None:
        """Hands a write to the role, unless it can be answered here."""
        try:
            if self.role.is_read_only() and row.kind != KIND_SESSION:
                request.error = codes.ERR_NOT_READ_ONLY
                self.drain(conn)
                return
            if self.eager_acl_check and self.role.checks_eagerly():
                request.error = eager_acl_error(self.host.tree, self.host.providers, request)
                if request.error != 0:
                    self.drain(conn)
                    return
            if conn.is_local:
                if row.kind == KIND_SESSION:
                    self.end_local_session(conn, request)
                    return
                if self.refuses_ephemeral(conn, row, request.body):
                    request.error = codes.ERR_EPHEMERAL_ON_LOCAL_SESSION
                    self.drain(conn)
                    return
            self.role.submit(request)
        except JuteError:
            request.error = codes.ERR_MARSHALLING
            self.drain(conn)

    def enqueue(self, conn: ClientConnection, request: Request) -> None:
        """Puts a request behind the session's earlier ones; too many hold the client back."""
        conn.queue.append(request)
        self.host.metrics.requests_in_session_queue.add(len(conn.queue))
        self.in_flight += 1
        self.large.begun(len(request.body))
        if self.in_flight > self.outstanding_limit:
            self.pause(conn)

    def dequeue(self, conn: ClientConnection) -> Request:
        """The connection's oldest request is answered, or given up."""
        request = conn.queue.take()
        self.in_flight -= 1
        self.large.ended(len(request.body))
        return request

    def pause(self, conn: ClientConnection) -> None:
        """Takes no more input from the connection for now."""
        if not conn.paused:
            conn.paused = True
            self.paused[conn.conn_id] = conn
            self.host.out.pauses.append(conn.conn_id)

    def refuse_unknown(self, conn: ClientConnection, xid: i64) -> None:
        """An opcode that clients may not send: UNIMPLEMENTED and close, as upstream (``Request.isValid``)."""
        self.reply(conn, xid, UNIMPLEMENTED_ZXID, codes.ERR_UNIMPLEMENTED)
        self.close(conn)

    def reply(self, conn: ClientConnection, xid: i64, zxid: i64, err: i64) -> None:
        """A reply without a body."""
        conn.write_reply(xid, zxid, err)
        self.stats.packets_sent += 1
        self.mark_dirty(conn)

    def answer_sasl(self, conn: ClientConnection, xid: i64, r: Reader) -> None:
        """A SASL token where no SASL is configured: upstream answers it with a null token, out of turn."""
        try:
            token = r.read_buffer()
        except JuteError:
            token = None
        if token is None:
            self.close(conn)
            return
        mark = conn.begin_reply(xid, 0, codes.OK)
        conn.out.write_buffer(None)
        conn.end_reply(mark)
        self.stats.packets_sent += 1
        self.mark_dirty(conn)

    def is_trusted(self, conn: ClientConnection) -> bool:
        """Whether the connection has an id of one of the schemes that enforce.auth asks for."""
        schemes = self.host.settings.enforce_auth_schemes
        for one in conn.context.ids:
            if one.scheme in schemes:
                return True
        return False

    def authenticate(self, conn: ClientConnection, xid: i64, r: Reader) -> None:
        """The auth op: adds ids to the connection, or refuses and closes; out of turn, as upstream."""
        ids: list[Id] | None = None
        try:
            packet = AuthPacket.decode(r)
            ids = self.host.providers.authenticate(packet.scheme, packet.auth or b"")
        except JuteError:
            self.close(conn)
            return
        if ids is None:
            # Who means another ensemble is to try another server, and is told nothing, as upstream.
            if packet.scheme != ENSEMBLE_SCHEME or self.host.providers.get(packet.scheme) is None:
                self.reply(conn, xid, 0, codes.ERR_AUTH_FAILED)
            self.close(conn)
            return
        # Requests already on their way keep the list they were made with.
        merged = list(conn.context.ids)
        for one in ids:
            if one not in merged:
                merged.append(one)
        conn.context.ids = merged
        self.reply(conn, xid, 0, codes.OK)

    def answer_read(self, conn: ClientConnection, row: Operation, xid: i64, r: Reader, ids: list[Id]) -> None:
        """Answers a read (or ping) from the tree as it is now, for whom the client was when it asked."""
        zxid = self.host.tree.last_processed_zxid
        if row.code == codes.OP_PING:
            # Whatever xid a ping came with: upstream answers with its own.
            xid = codes.XID_PING
        body = r.pos
        err: i64 = codes.OK
        if row.fires:
            size = self.answer_firing(conn, row, xid, r, ids, zxid)
        else:
            mark = conn.begin_reply(xid, zxid, codes.OK)
            if row.kind == KIND_READ:
                err = self.try_read(conn, row, r, ids, conn.out)
                if err != codes.OK:
                    conn.out.truncate(mark)
                    mark = conn.begin_reply(xid, zxid, err)
            size = conn.end_reply(mark)
        conn.note_request(row.code, xid, zxid)
        conn.last_response_ms = self.host.now_ms
        self.mark_dirty(conn)
        stats = self.stats
        stats.packets_sent += 1
        if stats.answered(row.code, size) and err == codes.OK:
            weight = stats.namespace_weight()
            if weight > 0:
                r.pos = body
                path = r.read_ustring()
                node = self.host.tree.find(path)
                children: i64 = 0 if node is None else node.num_children()
                stats.namespace_read(row.code, path, size - REPLY_HEADER_BYTES, children, weight)

    def answer_firing(
        self, conn: ClientConnection, row: Operation, xid: i64, r: Reader, ids: list[Id], zxid: i64
    ) -> i64:
        """Answers a read that fires events: what the client missed goes out before the reply."""
        body = Writer()
        err = self.try_read(conn, row, r, ids, body)
        self.deliver(self.host.tree.watches.take_fired())
        mark = conn.begin_reply(xid, zxid, err)
        if err == codes.OK:
            conn.out.write_raw(body.getvalue())
        return conn.end_reply(mark)

    def try_read(self, conn: ClientConnection, row: Operation, r: Reader, ids: list[Id], out: Writer) -> i64:
        """Writes the body of the answer to ``out``; returns the error on refusal."""
        context = conn.context
        since = context.ids
        # One that had to wait does not gain by what was authenticated meanwhile, out of turn.
        context.ids = ids
        try:
            row.read(context, r, out)
        except KeeperError as error:
            return error.code
        except JuteError:
            return codes.ERR_MARSHALLING
        finally:
            context.ids = since
        return codes.OK

    # --- what was committed -------------------------------------------------------------------------------

    def match(self, session_id: i64, cxid: i64) -> Request | None:
        """The local request that waits for the txn of (session, cxid): the head of its connection's queue."""
        conn = self.by_session.get(session_id)
        if conn is None or conn.queue.is_empty():
            return None
        head = conn.queue.first()
        if head.cxid == cxid and head.error == 0:
            row = OPS.get(head.op)
            if row is not None and (row.kind == KIND_WRITE or row.kind >= KIND_SESSION):
                return head
        return None

    def commit(self, entry: TxnEntry, request: Request | None) -> None:
        """A txn is committed: apply it, tell who watches, answer who asked (``request``, if local)."""
        host = self.host
        header = entry.header
        result = host.tree.process_txn(header, entry.record, entry.node_digest, entry.parent_digest)
        self.stats.applied(entry, result, host.wall_ms, request is not None)
        if not host.tree.compare_digest(entry.digest):
            host.metrics.digest_mismatches_count.add(1)
            host.warn(f"tree digest differs from the leader's after zxid 0x{header.zxid:x}")
        host.committed_log.add(entry)
        host.out.informs.append(entry)
        fired = host.tree.watches.take_fired()
        if fired:
            self.stats.fired(fired)
            self.deliver(fired)
        if request is not None:
            conn = self.connections.get(request.conn_id)
            if conn is None:
                host.metrics.stale_replies.add(1)
            else:
                self.complete(conn, request, header.type, result)
        if header.type == codes.OP_CLOSE_SESSION:
            self.session_closed(header.client_id)
        elif header.type == codes.OP_CREATE_SESSION and self.local.enabled:
            self.session_upgraded(header.client_id)

    def session_upgraded(self, session_id: i64) -> None:
        """A session is global now; if it was local here, it no longer is."""
        if self.local.holds(session_id):
            self.local.remove(session_id)
            conn = self.by_session.get(session_id)
            if conn is not None:
                conn.is_local = False

    def session_closed(self, session_id: i64) -> None:
        """The session is over: its connection goes too, if it is here."""
        conn = self.by_session.get(session_id)
        if conn is not None:
            self.close(conn)

    def deliver(self, fired: list[FiredWatch]) -> None:
        """Writes each event once and hands it to everyone who may know of it (3.9.2: needs READ)."""
        for one in fired:
            frame = encode_event(one)
            acl = one.acl
            for watcher in one.watchers:
                conn = self.connections.get(watcher)
                if conn is None:
                    continue
                ids = conn.context.ids
                if acl and not self.host.providers.check_acl(acl, codes.PERM_READ, ids, one.path):
                    continue
                conn.out.write_raw(frame)
                conn.sent += 1
                self.stats.sent_event(len(frame) - 4)
                self.mark_dirty(conn)

    def complete(self, conn: ClientConnection, request: Request, txn_type: i64, result: TxnResult) -> None:
        """Answers a write whose txn was just applied; it must be the oldest unanswered one."""
        assert conn.queue.first() is request, "a commit out of the session's order"
        self.dequeue(conn)
        if request.op == codes.OP_CREATE_SESSION:
            conn.note_request(request.op, request.cxid, self.host.tree.last_processed_zxid)
            self.note_answered(conn, request, True)
            self.finish_connect(conn, result.err == codes.OK)
            return
        if result.err == codes.ERR_SESSION_MOVED:
            # Upstream says nothing: the client has moved on and only this old connection is left.
            self.close(conn)
            return
        self.write_result(conn, request, result)
        self.note_answered(conn, request, True)
        if request.op == codes.OP_CLOSE_SESSION:
            self.close(conn)
            return
        reads = self.drain(conn)
        self.stats.drained(reads, len(conn.queue))

    def write_result(self, conn: ClientConnection, request: Request, result: TxnResult) -> None:
        """The reply to an applied write."""
        zxid = self.host.tree.last_processed_zxid
        # A failed multi is answered with err 0, and its parts say what failed.
        err = codes.OK if result.results is not None else result.err
        mark = conn.begin_reply(request.cxid, zxid, err)
        if err == codes.OK:
            row = OPS.get(request.op)
            assert row is not None
            row.reply(self.host.tree, result, conn.out)
        self.stats.answered(request.op, conn.end_reply(mark))
        self.stats.packets_sent += 1
        conn.note_request(request.op, request.cxid, zxid)
        self.mark_dirty(conn)

    def note_answered(self, conn: ClientConnection, request: Request, is_update: bool) -> None:
        """Counts the time of a request that waited."""
        latency = self.host.now_ms - request.created_ms
        conn.last_response_ms = self.host.now_ms
        conn.note_latency(latency)
        self.stats.waited(latency, is_update)

    def synced(self, request: Request) -> None:
        """A sync has come back: answers it with its path, once it is the oldest."""
        conn = self.connections.get(request.conn_id)
        if conn is None:
            return
        request.done = True
        self.drain(conn)

    def drain(self, conn: ClientConnection) -> i64:
        """Answers what has become the head of the queue and needs no txn; returns how many reads."""
        reads: i64 = 0
        while not conn.queue.is_empty() and conn.state == CONN_OPEN:
            head = conn.queue.first()
            row = OPS.get(head.op)
            assert row is not None
            if head.error != 0:
                self.dequeue(conn)
                self.reply(conn, head.cxid, self.host.tree.last_processed_zxid, head.error)
            elif row.kind == KIND_READ or row.kind == KIND_CONNECTION:
                self.dequeue(conn)
                self.answer_read(conn, row, head.cxid, Reader(head.body), head.ids)
                self.note_answered(conn, head, False)
                reads += 1
            elif row.kind == KIND_SYNC and head.done:
                self.dequeue(conn)
                self.answer_sync(conn, head)
            elif row.kind == KIND_SESSION and head.done:
                self.dequeue(conn)
                self.reply(conn, head.cxid, self.host.tree.last_processed_zxid, codes.OK)
                self.close(conn)
                return reads
            else:
                break
        self.resume_if_possible(conn)
        return reads

    def answer_sync(self, conn: ClientConnection, request: Request) -> None:
        """The reply to a sync: its path."""
        mark = conn.begin_reply(request.cxid, self.host.tree.last_processed_zxid, codes.OK)
        conn.out.write_ustring(Reader(request.body).read_ustring())
        self.stats.answered(request.op, conn.end_reply(mark))
        self.stats.packets_sent += 1
        conn.note_request(request.op, request.cxid, self.host.tree.last_processed_zxid)
        self.note_answered(conn, request, False)
        self.mark_dirty(conn)

    def resume_if_possible(self, conn: ClientConnection) -> None:
        """Takes input again from a connection that was held back."""
        if len(self.held) > self.outstanding_limit:
            return
        if conn.paused and (self.in_flight <= self.outstanding_limit or conn.queue.is_empty()):
            conn.paused = False
            self.paused.pop(conn.conn_id, None)
            self.host.out.resumes.append(conn.conn_id)
            self.parse_more(conn)

    # --- time ---------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Closes connections that never said who they are."""
        if self.local.enabled:
            for session_id in self.local.expired():
                self.host.info(f"expiring local session 0x{session_id & 0xFFFFFFFFFFFFFFFF:x}")
                self.session_closed(session_id)
            self.host.wake_by(self.local.tracker.next_expiry_ms())
        limit = self.host.settings.sessionless_timeout_ms
        now = self.host.now_ms
        while self.sessionless:
            conn = next(iter(self.sessionless.values()))
            if now - conn.created_ms < limit:
                self.host.wake_by(conn.created_ms + limit)
                break
            self.host.metrics.sessionless_connections_expired.add(1)
            self.host.info(f"no ConnectRequest from {conn.peer_host}:{conn.peer_port} in {limit} ms: closing")
            self.close(conn)


def encode_event(fired: FiredWatch) -> bytes:
    """A notification frame: ReplyHeader(-1, zxid, 0) and WatcherEvent."""
    w = Writer()
    w.write_int(0)
    w.write_int(codes.XID_NOTIFICATION)
    w.write_long(fired.zxid)
    w.write_int(codes.OK)
    w.write_int(fired.event_type)
    w.write_int(codes.STATE_SYNC_CONNECTED)
    w.write_ustring(fired.path)
    w.patch_int(0, w.size() - 4)
    return w.getvalue()
