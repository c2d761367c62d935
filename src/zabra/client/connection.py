"""ClientSession: one client's session with an ensemble, across connections, without I/O.

Whoever drives it opens connections, moves bytes and reports the time; the session speaks the protocol:
handshake, xids, pings, watches, auth, and after a reconnect the re-binding of all of these.  It answers
with an ordered list of happenings, so that a caller sees an event before the reply that came behind it.
The CLI, the asyncio shell and the simulator's workloads all drive this object.

Source: upstream ``ClientCnxn`` (``SendThread``), ``ClientCnxnSocket``.
"""

from collections import deque
from typing import Any, Final

from zabra.client.calls import (
    WATCH_CHILD,
    WATCH_DATA,
    WATCH_EXIST,
    WATCH_NONE,
    WATCH_PERSISTENT,
    WATCH_RECURSIVE,
    Call,
    close_session,
)
from zabra.client.watches import WatchTable
from zabra.jute.primitives import JuteError, Reader, Writer
from zabra.proto import codes
from zabra.proto.records import (
    AuthPacket,
    ConnectRequest,
    ConnectResponse,
    ReplyHeader,
    RequestHeader,
    SetWatches,
    SetWatches2,
    WatcherEvent,
)

NO_PASSWORD: Final = bytes(16)
# Text bytes of paths in one setWatches, as the Java client batches them; below half of jute.maxbuffer.
SET_WATCHES_BATCH_BYTES: Final = 128 * 1024
# The longest a client stays silent although its timeout would allow more.
MAX_PING_INTERVAL_MS: Final = 10_000
# A ping goes out this much before it is due, so that it is not late on the wire.
PING_SLACK_MS: Final = 1_000

STATE_DISCONNECTED: Final = 0  # no connection: open one
STATE_CONNECTING: Final = 1  # connection made, session not yet confirmed
STATE_CONNECTED: Final = 2
STATE_CONNECTED_READ_ONLY: Final = 3
STATE_CLOSED: Final = 4  # by the client
STATE_EXPIRED: Final = 5
STATE_AUTH_FAILED: Final = 6

STATE_NAMES: Final = {
    STATE_DISCONNECTED: "DISCONNECTED",
    STATE_CONNECTING: "CONNECTING",
    STATE_CONNECTED: "CONNECTED",
    STATE_CONNECTED_READ_ONLY: "CONNECTEDREADONLY",
    STATE_CLOSED: "CLOSED",
    STATE_EXPIRED: "EXPIRED",
    STATE_AUTH_FAILED: "AUTH_FAILED",
}


class ProtocolError(Exception):
    """The server sent what no server sends: the connection is of no further use."""


class StateChanged:
    """The session entered ``state``, one of STATE_*."""

    __slots__ = ("state",)

    def __init__(self, state: int) -> None:
        self.state = state

    def __repr__(self) -> str:
        return f"StateChanged({STATE_NAMES[self.state]})"


class WatchFired:
    """A watch event; ``zxid`` is that of the causing txn, -1 where the server does not say."""

    __slots__ = ("path", "type", "watchers", "zxid")

    def __init__(self, event_type: int, path: str, zxid: int, watchers: list[int]) -> None:
        self.type = event_type
        self.path = path
        self.zxid = zxid
        self.watchers = watchers

    def __repr__(self) -> str:
        return f"WatchFired(type={self.type}, path={self.path!r}, watchers={self.watchers})"


class WatchesSet:
    """After a reconnect the server has the watches again, as of ``zxid``; what was missed came before."""

    __slots__ = ("zxid",)

    def __init__(self, zxid: int) -> None:
        self.zxid = zxid

    def __repr__(self) -> str:
        return f"WatchesSet(0x{self.zxid:x})"


class Answered:
    """A call is done: answered, refused, or lost with its connection."""

    __slots__ = ("call",)

    def __init__(self, call: Call[Any]) -> None:
        self.call = call

    def __repr__(self) -> str:
        return f"Answered({self.call!r})"


Happening = StateChanged | WatchFired | WatchesSet | Answered


def _frame(w: Writer) -> bytes:
    """The frame whose first four bytes were written as 0."""
    w.patch_int(0, w.size() - 4)
    return w.getvalue()


class ClientSession:
    """One session; times are monotonic ms of the driver's clock.

    ``timeout_ms`` is what is asked for until the server has answered, then what it granted.
    """

    def __init__(
        self,
        timeout_ms: int,
        read_only: bool = False,
        session_id: int = 0,
        password: bytes = NO_PASSWORD,
        send_read_only_flag: bool = True,
    ) -> None:
        self.timeout_ms = timeout_ms
        self.read_only = read_only
        self.session_id = session_id
        self.password = password
        self.send_read_only_flag = send_read_only_flag
        self.state = STATE_DISCONNECTED
        self.last_zxid = 0
        self.watches = WatchTable()
        # Stop re-registering watches after a reconnect (upstream's disableAutoWatchReset).
        self.auto_watch_reset = True
        self._xid = 0
        self._auths: list[tuple[str, bytes]] = []
        # Not sent yet, and sent and waiting for their replies, in order.
        self._queue: deque[Call[Any]] = deque()
        self._sent: deque[Call[Any]] = deque()
        self._input = b""
        self._output: list[bytes] = []
        self._happenings: list[Happening] = []
        self._closing = False
        self._last_heard_ms = 0
        self._last_sent_ms = 0
        self._ping_sent_ms = -1

    # What the application asks.

    def submit(self, call: Call[Any]) -> None:
        """Queues a request; it is sent once the session is connected."""
        if self.state >= STATE_CLOSED or self._closing:
            self._finish(call, self._end_code())
            return
        self._queue.append(call)

    def add_auth(self, scheme: str, data: bytes) -> None:
        """Authenticates now and after every reconnect."""
        self._auths.append((scheme, data))
        if self.is_connected():
            self._send_auth(scheme, data)

    def close(self) -> Call[None]:
        """Ends the session: everything submitted before is still answered."""
        call = close_session()
        self.submit(call)
        self._closing = True
        if not self.is_connected() and self.session_id == 0:
            self._end(STATE_CLOSED)
        return call

    def is_connected(self) -> bool:
        """Whether requests travel."""
        return self.state == STATE_CONNECTED or self.state == STATE_CONNECTED_READ_ONLY

    def is_over(self) -> bool:
        """Closed, expired or refused: no connection will help."""
        return self.state >= STATE_CLOSED

    def pending(self) -> int:
        """Calls not done yet."""
        return len(self._queue) + len(self._sent)

    # What the driver reports.

    def connection_made(self, now_ms: int) -> None:
        """A connection is open: introduces the session."""
        assert self.state == STATE_DISCONNECTED, STATE_NAMES[self.state]
        self._input = b""
        self._output.clear()
        self._last_heard_ms = now_ms
        self._last_sent_ms = now_ms
        self._ping_sent_ms = -1
        self._set_state(STATE_CONNECTING)
        w = Writer()
        w.write_int(0)
        if self.send_read_only_flag:
            self._connect_request().encode(w)
        else:
            self._write_old_connect_request(w)
        self._output.append(_frame(w))
        for scheme, data in self._auths:
            self._send_auth(scheme, data)
        if self.session_id != 0 and self.auto_watch_reset:
            self._send_watches()

    def _connect_request(self) -> ConnectRequest:
        return ConnectRequest(
            0, self.last_zxid, self.timeout_ms, self.session_id, self.password, self.read_only
        )

    def _write_old_connect_request(self, w: Writer) -> None:
        w.write_int(0)
        w.write_long(self.last_zxid)
        w.write_int(self.timeout_ms)
        w.write_long(self.session_id)
        w.write_buffer(self.password)

    def connection_lost(self, now_ms: int) -> None:
        """The connection (or the attempt at one) is gone: everything sent is in doubt."""
        if self.is_over():
            return
        if self._closing and self._sent and self._sent[-1].op == codes.OP_CLOSE_SESSION:
            self._end(STATE_CLOSED)
            return
        while self._sent:
            self._finish(self._sent.popleft(), codes.ERR_CONNECTION_LOSS)
        self._output.clear()
        self._input = b""
        if self.state != STATE_DISCONNECTED:
            self._set_state(STATE_DISCONNECTED)
        if self._closing and not any(call.op == codes.OP_CLOSE_SESSION for call in self._queue):
            self._end(STATE_CLOSED)

    def data_received(self, data: bytes, now_ms: int) -> None:
        """Bytes of the server, in any cut.  Raises ProtocolError; the driver then closes the connection."""
        self._last_heard_ms = now_ms
        buf = self._input + data if self._input else data
        pos = 0
        end = len(buf)
        try:
            while end - pos >= 4:
                size = int.from_bytes(buf[pos : pos + 4], "big", signed=True)
                if size < 0:
                    raise ProtocolError(f"a frame of {size} bytes")
                if end - pos - 4 < size:
                    break
                self._frame_received(Reader(buf, pos + 4, pos + 4 + size, limit=0x7FFFFFFF))
                pos += 4 + size
        except JuteError as error:
            raise ProtocolError(f"malformed reply: {error}") from error
        self._input = buf[pos:]

    def tick(self, now_ms: int) -> bool:
        """Sends a ping where one is due; False if the server has been silent for too long (then close)."""
        if self.state == STATE_DISCONNECTED or self.is_over():
            return True
        if now_ms - self._last_heard_ms >= self.read_timeout_ms():
            return False
        if self.is_connected() and now_ms >= self._ping_due_ms():
            w = Writer()
            w.write_int(0)
            RequestHeader(codes.XID_PING, codes.OP_PING).encode(w)
            self._output.append(_frame(w))
            self._last_sent_ms = now_ms
        return True

    def read_timeout_ms(self) -> int:
        """The silence after which the server is given up: 2/3 of the session timeout."""
        return self.timeout_ms * 2 // 3

    def _ping_due_ms(self) -> int:
        idle = self.read_timeout_ms() // 2
        if idle > PING_SLACK_MS:
            idle = max(PING_SLACK_MS, idle - PING_SLACK_MS)
        return self._last_sent_ms + min(idle, MAX_PING_INTERVAL_MS)

    def wake_at_ms(self) -> int:
        """When ``tick`` must be called at the latest; -1: never."""
        if self.state == STATE_DISCONNECTED or self.is_over():
            return -1
        silent = self._last_heard_ms + self.read_timeout_ms()
        return min(silent, self._ping_due_ms()) if self.is_connected() else silent

    def take_output(self, now_ms: int) -> bytes:
        """The bytes to send now; empty for none."""
        if self.is_connected() and self._queue:
            while self._queue:
                self._send(self._queue.popleft(), now_ms)
        if not self._output:
            return b""
        out = self._output[0] if len(self._output) == 1 else b"".join(self._output)
        self._output.clear()
        self._last_sent_ms = now_ms
        return out

    def take_happenings(self) -> list[Happening]:
        """What happened since the last call, in order."""
        out = self._happenings
        self._happenings = []
        return out

    # Sending.

    def _send(self, call: Call[Any], now_ms: int) -> None:
        self._xid = self._xid + 1 if self._xid < 0x7FFFFFFF else 1
        call.xid = self._xid
        call.sent_ms = now_ms
        w = Writer()
        w.write_int(0)
        w.write_int(call.xid)
        w.write_int(call.op)
        w.write_raw(call.body)
        self._output.append(_frame(w))
        self._sent.append(call)

    def _send_auth(self, scheme: str, data: bytes) -> None:
        w = Writer()
        w.write_int(0)
        RequestHeader(codes.XID_AUTH, codes.OP_AUTH).encode(w)
        AuthPacket(0, scheme, data).encode(w)
        self._output.append(_frame(w))

    def _send_watches(self) -> None:
        """Repeats every watch in batches; the older request where no persistent watch needs the newer."""
        kinds = (WATCH_DATA, WATCH_EXIST, WATCH_CHILD, WATCH_PERSISTENT, WATCH_RECURSIVE)
        batch: list[list[str]] = [[] for _ in kinds]
        size = 0
        for place, kind in enumerate(kinds):
            for path in self.watches.paths(kind):
                if size + len(path) > SET_WATCHES_BATCH_BYTES:
                    self._send_watch_batch(batch)
                    batch = [[] for _ in kinds]
                    size = 0
                batch[place].append(path)
                size += len(path)
        if any(batch):
            self._send_watch_batch(batch)

    def _send_watch_batch(self, batch: list[list[str]]) -> None:
        data, exist, child, persistent, recursive = batch
        w = Writer()
        w.write_int(0)
        if persistent or recursive:
            RequestHeader(codes.XID_SET_WATCHES, codes.OP_SET_WATCHES2).encode(w)
            SetWatches2(self.last_zxid, data, exist, child, persistent, recursive).encode(w)
        else:
            RequestHeader(codes.XID_SET_WATCHES, codes.OP_SET_WATCHES).encode(w)
            SetWatches(self.last_zxid, data, exist, child).encode(w)
        self._output.append(_frame(w))

    # Receiving.

    def _frame_received(self, r: Reader) -> None:
        if self.state == STATE_CONNECTING:
            self._connect_response(r)
            return
        if self.is_over():
            return
        header = ReplyHeader.decode(r)
        xid = header.xid
        if xid == codes.XID_PING:
            return
        if xid == codes.XID_NOTIFICATION:
            self._notification(header, r)
        elif xid == codes.XID_AUTH:
            if header.err == codes.ERR_AUTH_FAILED:
                self._end(STATE_AUTH_FAILED)
        elif xid == codes.XID_SET_WATCHES:
            self.last_zxid = max(self.last_zxid, header.zxid)
            self._happenings.append(WatchesSet(header.zxid))
        else:
            self._reply(header, r)

    def _connect_response(self, r: Reader) -> None:
        if r.remaining() == 36:
            granted = ConnectResponse(r.read_int(), r.read_int(), r.read_long(), r.read_buffer(), False)
        else:
            granted = ConnectResponse.decode(r)
        if granted.time_out <= 0:
            self._end(STATE_EXPIRED)
            return
        self.timeout_ms = granted.time_out
        self.session_id = granted.session_id
        self.password = granted.passwd or NO_PASSWORD
        self._set_state(STATE_CONNECTED_READ_ONLY if granted.read_only else STATE_CONNECTED)

    def _notification(self, header: ReplyHeader, r: Reader) -> None:
        event = WatcherEvent.decode(r)
        watchers = self.watches.fire(event.type, event.path)
        self._happenings.append(WatchFired(event.type, event.path, header.zxid, watchers))

    def _reply(self, header: ReplyHeader, r: Reader) -> None:
        if not self._sent:
            raise ProtocolError(f"a reply with xid {header.xid}, and nothing was asked")
        call = self._sent.popleft()
        if call.xid != header.xid:
            self._finish(call, codes.ERR_CONNECTION_LOSS)
            raise ProtocolError(f"a reply with xid {header.xid} where {call.xid} was due")
        call.answered = True
        call.zxid = header.zxid
        call.reply = r.buf[r.pos : r.end]
        if header.zxid > self.last_zxid:
            self.last_zxid = header.zxid
        if header.err == codes.OK:
            call.value = call.decode(r)
        self._settle_watch(call, header.err)
        self._finish(call, header.err)
        if call.op == codes.OP_CLOSE_SESSION:
            self._end(STATE_CLOSED)

    def _settle_watch(self, call: Call[Any], err: int) -> None:
        if call.op == codes.OP_REMOVE_WATCHES:
            if err == codes.OK:
                self.watches.remove(call.kind, call.path)
            return
        kind = call.kind
        if kind == WATCH_NONE:
            return
        if kind == WATCH_EXIST:
            if err == codes.OK:
                kind = WATCH_DATA
            elif err != codes.ERR_NO_NODE:
                return
        elif err != codes.OK:
            return
        self.watches.add(kind, call.path, call.watch)

    def _finish(self, call: Call[Any], err: int) -> None:
        call.err = err
        call.done = True
        self._happenings.append(Answered(call))

    def _set_state(self, state: int) -> None:
        self.state = state
        self._happenings.append(StateChanged(state))

    def _end_code(self) -> int:
        if self.state == STATE_AUTH_FAILED:
            return codes.ERR_AUTH_FAILED
        return codes.ERR_SESSION_EXPIRED

    def _end(self, state: int) -> None:
        self._set_state(state)
        code = codes.ERR_CONNECTION_LOSS if state == STATE_CLOSED else self._end_code()
        while self._sent:
            self._finish(self._sent.popleft(), code)
        while self._queue:
            self._finish(self._queue.popleft(), code)
        self._output.clear()
