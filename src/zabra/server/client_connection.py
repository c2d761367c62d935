"""ClientConnection: the state of one client's connection, and the frames it sends.

Replies are written straight into the connection's output: the frame's length is patched in afterwards and
a refused reply taken back, so an answer costs no object of its own.  The rules of who may do what when are
``serving.Serving``'s.
"""

from typing import Final

from mypy_extensions import i64

from zabra.fifo import Fifo
from zabra.jute.primitives import Writer
from zabra.processors.context import ReadContext
from zabra.proto import codes
from zabra.proto.request import Request

# A connection's life.
CONN_NEW: Final = 0  # nothing but a ConnectRequest or a four-letter word may come
CONN_CONNECTING: Final = 1  # the session is being made or revalidated; input waits
CONN_OPEN: Final = 2
CONN_CLOSED: Final = 3


class ClientConnection:
    """One client: its session, the requests that wait, and the bytes on their way."""

    __slots__ = (
        "congested",
        "conn_id",
        "context",
        "created_ms",
        "dirty",
        "established_ms",
        "inbuf",
        "is_local",
        "is_secure",
        "last_cxid",
        "last_latency_ms",
        "last_op",
        "last_response_ms",
        "last_zxid",
        "latency_count",
        "latency_max_ms",
        "latency_min_ms",
        "latency_sum_ms",
        "out",
        "paused",
        "peer_host",
        "peer_port",
        "queue",
        "received",
        "sends_read_only",
        "sent",
        "session_id",
        "state",
        "timeout_ms",
    )

    def __init__(
        self, conn_id: i64, peer_host: str, peer_port: i64, now_ms: i64, context: ReadContext
    ) -> None:
        self.conn_id: i64 = conn_id
        self.peer_host: str = peer_host
        self.peer_port: i64 = peer_port
        self.created_ms: i64 = now_ms
        # The same by the wall clock, for people.
        self.established_ms: i64 = 0
        self.context: ReadContext = context
        self.state: i64 = CONN_NEW
        self.session_id: i64 = 0
        self.timeout_ms: i64 = 0
        # The client's ConnectRequest had the readOnly byte, so the response has it too.
        self.sends_read_only: bool = False
        self.is_local: bool = False
        # Whether it came through TLS.
        self.is_secure: bool = False
        # Bytes received and not parsed yet.
        self.inbuf: bytes = b""
        # Requests in the order they came, from the oldest one not answered yet.
        self.queue: Fifo[Request] = Fifo()
        self.out: Writer = Writer()
        # Whether ``out`` is on the list of connections to flush this turn.
        self.dirty: bool = False
        # Input is held back: too many requests outstanding; or the client does not read its replies.
        self.paused: bool = False
        self.congested: bool = False
        # Counters for the ``cons`` command.
        self.received: i64 = 0
        self.sent: i64 = 0
        self.last_op: i64 = 0
        self.last_cxid: i64 = -1
        self.last_zxid: i64 = -1
        self.last_response_ms: i64 = 0
        self.last_latency_ms: i64 = 0
        self.latency_min_ms: i64 = -1
        self.latency_max_ms: i64 = 0
        self.latency_sum_ms: i64 = 0
        self.latency_count: i64 = 0

    def stalled(self) -> bool:
        """Whether further input must wait."""
        return self.paused or self.congested or self.state == CONN_CONNECTING

    def begin_reply(self, xid: i64, zxid: i64, err: i64) -> i64:
        """Starts a frame with its ReplyHeader; returns the mark for ``end_reply``."""
        out = self.out
        mark = out.size()
        out.write_int(0)
        out.write_int(xid)
        out.write_long(zxid)
        out.write_int(err)
        return mark

    def end_reply(self, mark: i64) -> i64:
        """Completes the frame begun at ``mark``; returns how many bytes stand behind its length."""
        out = self.out
        size = out.size() - mark - 4
        out.patch_int(mark, size)
        self.sent += 1
        return size

    def write_reply(self, xid: i64, zxid: i64, err: i64) -> None:
        """A whole reply without a body."""
        self.end_reply(self.begin_reply(xid, zxid, err))

    def take_output(self) -> bytes:
        """The bytes to send, which are forgotten here."""
        data = self.out.getvalue()
        self.out.truncate(0)
        self.dirty = False
        return data

    def note_instant(self) -> None:
        """Counts one request answered in the turn it came in."""
        self.last_latency_ms = 0
        self.latency_min_ms = 0
        self.latency_count += 1

    def note_request(self, op: i64, cxid: i64, zxid: i64) -> None:
        """Remembers the request answered last; special xids (pings) leave the last cxid as it was."""
        self.last_op = op
        if cxid >= 0:
            self.last_cxid = cxid
        self.last_zxid = zxid

    def reset_stats(self) -> None:
        """The ``crst`` command."""
        self.received = 0
        self.sent = 0
        self.last_op = codes.OP_NOTIFICATION
        self.last_cxid = -1
        self.last_zxid = -1
        self.last_response_ms = 0
        self.last_latency_ms = 0
        self.latency_min_ms = -1
        self.latency_max_ms = 0
        self.latency_sum_ms = 0
        self.latency_count = 0

    def note_latency(self, latency_ms: i64) -> None:
        """Counts one answered request."""
        self.last_latency_ms = latency_ms
        self.latency_sum_ms += latency_ms
        self.latency_count += 1
        if latency_ms > self.latency_max_ms:
            self.latency_max_ms = latency_ms
        if self.latency_min_ms < 0 or latency_ms < self.latency_min_ms:
            self.latency_min_ms = latency_ms
