"""QuorumPackets on the unframed stream between a learner and its leader, and what is inside them.

The stream is bare ``QuorumPacket`` records, one after another, with no outer length; after SNAP come the
raw bytes of a snapshot and then packets again.  ``PacketBuffer`` therefore consumes nothing until a packet
is whole, and can hand over the rest of the stream and take back what was left of it.

Every ``decode_*`` raises ``JuteError`` where the payload is not what its packet promises.  Source:
upstream ``Leader``, ``LearnerHandler``, ``Learner``.
"""

from typing import Final

from mypy_extensions import i64

from zabra.jute.primitives import DEFAULT_LENGTH_LIMIT, EndOfData, JuteError, Reader, Writer, hex64
from zabra.proto import codes
from zabra.proto.records import Id, LearnerInfo, QuorumPacket, write_nullable_id_vector

# LearnerInfo.protocolVersion and the payload of LEADERINFO: Zab 1.0.
PROTOCOL_VERSION: Final = 0x10000

# Bytes of type, zxid and the length of data: what must be there before anything can be said.
HEAD_BYTES: Final = 16

# Bytes that all ids of one packet may take.
AUTHINFO_BYTES_MAX: Final = 1 << 20


def encode_packet(type: i64, zxid: i64, data: bytes | None, authinfo: list[Id] | None = None) -> bytes:
    """The bytes of one QuorumPacket."""
    w = Writer()
    w.write_int(type)
    w.write_long(zxid)
    if data is None:
        w.write_int(-1)
    else:
        w.write_int(len(data))
        w.write_raw(data)
    if authinfo is None:
        w.write_int(-1)
    else:
        write_nullable_id_vector(w, authinfo)
    return w.getvalue()


def packet_bytes(packet: QuorumPacket) -> bytes:
    """The bytes of ``packet``."""
    return encode_packet(packet.type, packet.zxid, packet.data, packet.authinfo)


class PacketBuffer:
    """Cuts QuorumPackets out of the bytes of one connection.

    ``data_limit`` bounds the payload of one packet in bytes (jute.maxbuffer plus its extra size).  Memory
    is bounded by one packet plus what one ``feed`` brings: call ``next`` until None after every ``feed``.
    """

    __slots__ = ("_buf", "_chunks", "_have", "_limit", "_need", "_pos")

    def __init__(self, data_limit: i64 = DEFAULT_LENGTH_LIMIT) -> None:
        self._buf: bytes = b""
        self._pos: i64 = 0
        self._chunks: list[bytes] = []
        self._have: i64 = 0
        self._need: i64 = HEAD_BYTES + 4
        self._limit: i64 = data_limit

    def feed(self, data: bytes) -> None:
        """Appends bytes of the stream."""
        if data:
            self._chunks.append(data)
            self._have += len(data)

    def buffered(self) -> i64:
        """Bytes fed and not consumed."""
        return self._have

    def _join(self) -> None:
        if self._chunks:
            rest = self._buf[self._pos :]
            self._buf = rest + b"".join(self._chunks) if rest else b"".join(self._chunks)
            self._pos = 0
            self._chunks = []

    def next(self) -> QuorumPacket | None:
        """The next whole packet, or None (and nothing consumed) until more is fed.

        Raises JuteError where the stream cannot be one of packets; the connection must then be closed.
        """
        if self._have < self._need:
            return None
        self._join()
        r = Reader(self._buf, self._pos, -1, self._limit)
        kind = r.read_int()
        zxid = r.read_long()
        size = r.read_int()
        if size < -1 or size > self._limit:
            raise JuteError(f"unreasonable length = {size}")
        tail: i64 = size if size > 0 else 0
        whole: i64 = HEAD_BYTES + tail + 4
        if self._have < whole:
            self._need = whole
            return None
        data: bytes | None = None
        if size >= 0:
            start = r.pos
            data = self._buf[start : start + size]
            r.pos = start + size
        authinfo: list[Id] | None = None
        count = r.read_int()
        if count != -1:
            try:
                authinfo = self._read_ids(r, count)
            except EndOfData:
                if self._have > whole + AUTHINFO_BYTES_MAX:
                    raise JuteError(f"authinfo exceeds {AUTHINFO_BYTES_MAX} bytes") from None
                self._need = self._have + 1
                return None
        used = r.pos - self._pos
        self._pos += used
        self._have -= used
        self._need = HEAD_BYTES + 4
        return QuorumPacket(kind, zxid, data, authinfo)

    def _read_ids(self, r: Reader, count: i64) -> list[Id]:
        # An Id takes at least eight bytes, so a count beyond the bound is refused before waiting for it.
        if count < 0 or count > AUTHINFO_BYTES_MAX // 8:
            raise JuteError(f"unreasonable vector length = {count}")
        ids: list[Id] = []
        while count > 0:
            ids.append(Id.decode(r))
            count -= 1
        return ids

    def take_raw(self) -> bytes:
        """Hands over everything buffered: after SNAP the bytes are a snapshot's.

        What the snapshot does not use comes back by ``feed``.
        """
        self._join()
        raw = self._buf[self._pos :]
        self._buf = b""
        self._pos = 0
        self._have = 0
        self._need = HEAD_BYTES + 4
        return raw


def encode_learner_info(sid: i64, config_version: i64) -> bytes:
    """Payload of FOLLOWERINFO and OBSERVERINFO."""
    w = Writer()
    LearnerInfo(sid, PROTOCOL_VERSION, config_version).encode(w)
    return w.getvalue()


def decode_learner_info(data: bytes | None) -> LearnerInfo | None:
    """Payload of FOLLOWERINFO and OBSERVERINFO in its three historical lengths.

    Eight bytes are the sid alone (protocol version 1), twelve add the protocol version, twenty the config
    version (-1 when missing).  None: no payload, the leader invents a sid.
    """
    if data is None:
        return None
    r = Reader(data)
    sid = r.read_long()
    version: i64 = r.read_int() if len(data) >= 12 else 1
    config_version: i64 = r.read_long() if len(data) >= 20 else -1
    return LearnerInfo(sid, version, config_version)


def _int_bytes(value: i64) -> bytes:
    w = Writer()
    w.write_int(value)
    return w.getvalue()


def _read_int(data: bytes | None, what: str) -> i64:
    if data is None:
        raise JuteError(f"{what} without payload")
    return Reader(data).read_int()


def encode_leader_info() -> bytes:
    """Payload of LEADERINFO: the protocol version."""
    return _int_bytes(PROTOCOL_VERSION)


def decode_leader_info(data: bytes | None) -> i64:
    """The leader's protocol version."""
    return _read_int(data, "LEADERINFO")


def encode_ack_epoch(current_epoch: i64) -> bytes:
    """Payload of ACKEPOCH: the learner's currentEpoch, or -1: this does not ack the epoch."""
    return _int_bytes(current_epoch)


def decode_ack_epoch(data: bytes | None) -> i64:
    """The learner's currentEpoch, or -1."""
    return _read_int(data, "ACKEPOCH")


def encode_touches(touches: list[tuple[i64, i64]]) -> bytes:
    """A learner's answer to PING: (session id, timeout in ms) of the sessions heard from; never null."""
    w = Writer()
    for session_id, timeout_ms in touches:
        w.write_long(session_id)
        w.write_int(timeout_ms)
    return w.getvalue()


def decode_touches(data: bytes | None) -> list[tuple[i64, i64]]:
    """(session id, timeout in ms) of the sessions a learner heard from."""
    touches: list[tuple[i64, i64]] = []
    if data is None:
        return touches
    r = Reader(data)
    while r.remaining() > 0:
        session_id = r.read_long()
        touches.append((session_id, r.read_int()))
    return touches


def encode_revalidate(session_id: i64, timeout_ms: i64) -> bytes:
    """Payload of a learner's REVALIDATE."""
    w = Writer()
    w.write_long(session_id)
    w.write_int(timeout_ms)
    return w.getvalue()


def decode_revalidate(data: bytes | None) -> tuple[i64, i64]:
    """(session id, timeout in ms) of a learner's REVALIDATE."""
    if data is None:
        raise JuteError("REVALIDATE without payload")
    r = Reader(data)
    session_id = r.read_long()
    return session_id, r.read_int()


def encode_revalidate_answer(session_id: i64, valid: bool) -> bytes:
    """Payload of the leader's REVALIDATE."""
    w = Writer()
    w.write_long(session_id)
    w.write_bool(valid)
    return w.getvalue()


def decode_revalidate_answer(data: bytes | None) -> tuple[i64, bool]:
    """(session id, whether it lives) of the leader's REVALIDATE."""
    if data is None:
        raise JuteError("REVALIDATE without payload")
    r = Reader(data)
    session_id = r.read_long()
    return session_id, r.read_bool()


class ForwardedRequest:
    """What a learner forwards: a client's request, ``body`` as the client sent it."""

    __slots__ = ("body", "cxid", "op", "session_id")

    def __init__(self, session_id: i64, cxid: i64, op: i64, body: bytes) -> None:
        self.session_id: i64 = session_id
        self.cxid: i64 = cxid
        self.op: i64 = op
        self.body: bytes = body

    def __repr__(self) -> str:
        return f"ForwardedRequest(0x{self.session_id:x}, cxid={self.cxid}, op={self.op}, {self.body!r})"


def encode_request(session_id: i64, cxid: i64, op: i64, body: bytes) -> bytes:
    """Payload of REQUEST."""
    w = Writer()
    w.write_long(session_id)
    w.write_int(cxid)
    w.write_int(op)
    w.write_raw(body)
    return w.getvalue()


def request_packet(session_id: i64, cxid: i64, op: i64, body: bytes, authinfo: list[Id] | None) -> bytes:
    """The bytes of a whole REQUEST packet."""
    return encode_packet(codes.PACKET_REQUEST, -1, encode_request(session_id, cxid, op, body), authinfo)


def decode_request(data: bytes | None) -> ForwardedRequest:
    """Payload of REQUEST."""
    if data is None:
        raise JuteError("REQUEST without payload")
    r = Reader(data)
    session_id = r.read_long()
    cxid = r.read_int()
    op = r.read_int()
    return ForwardedRequest(session_id, cxid, op, r.read_rest())


def encode_activate(designated_leader: i64) -> bytes:
    """Payload of COMMITANDACTIVATE: the sid that should lead under the new configuration."""
    w = Writer()
    w.write_long(designated_leader)
    return w.getvalue()


def decode_activate(data: bytes | None) -> i64:
    """The designated leader in COMMITANDACTIVATE."""
    if data is None:
        raise JuteError("COMMITANDACTIVATE without payload")
    return Reader(data).read_long()


def encode_inform_and_activate(designated_leader: i64, txn: bytes) -> bytes:
    """Payload of INFORMANDACTIVATE: the designated leader and the bytes of the reconfig txn."""
    return encode_activate(designated_leader) + txn


def decode_inform_and_activate(data: bytes | None) -> tuple[i64, bytes]:
    """(designated leader, bytes of the reconfig txn) in INFORMANDACTIVATE."""
    if data is None:
        raise JuteError("INFORMANDACTIVATE without payload")
    r = Reader(data)
    leader = r.read_long()
    return leader, r.read_rest()


def describe_packet(packet: QuorumPacket) -> str:
    """A packet in one line, for traces and refusals."""
    name = codes.PACKET_NAMES.get(packet.type, f"UNKNOWN({packet.type})")
    size = -1 if packet.data is None else len(packet.data)
    return f"{name} zxid={hex64(packet.zxid)} data={size}"
