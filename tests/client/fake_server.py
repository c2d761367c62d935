"""The bytes a server would send: small builders for the client's tests."""

from zabra.jute.primitives import Reader, Writer
from zabra.proto import codes
from zabra.proto.records import ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader, WatcherEvent

PASSWORD = bytes(range(16))


def frame(*parts: bytes) -> bytes:
    """A frame of ``parts``."""
    body = b"".join(parts)
    return len(body).to_bytes(4, "big") + body


def encoded(record: object) -> bytes:
    """A record's bytes."""
    w = Writer()
    record.encode(w)  # type: ignore[attr-defined]  # every record has it
    return w.getvalue()


def connected(session_id: int = 7, timeout_ms: int = 6000, read_only: bool = False) -> bytes:
    """A granting ConnectResponse (or, with timeout 0, a refusing one)."""
    return frame(encoded(ConnectResponse(0, timeout_ms, session_id, PASSWORD, read_only)))


def reply(xid: int, zxid: int, err: int = 0, body: bytes = b"") -> bytes:
    """A reply."""
    return frame(encoded(ReplyHeader(xid, zxid, err)), body)


def event(event_type: int, path: str, zxid: int = -1) -> bytes:
    """A watch event."""
    return frame(
        encoded(ReplyHeader(codes.XID_NOTIFICATION, zxid, 0)),
        encoded(WatcherEvent(event_type, codes.STATE_SYNC_CONNECTED, path)),
    )


def frames(data: bytes) -> list[bytes]:
    """The payloads in ``data``, which must end with a whole frame."""
    out = []
    while data:
        size = int.from_bytes(data[:4], "big")
        assert len(data) >= 4 + size
        out.append(data[4 : 4 + size])
        data = data[4 + size :]
    return out


def header_of(payload: bytes) -> tuple[RequestHeader, Reader]:
    """A request's header, and the rest to read."""
    r = Reader(payload)
    return RequestHeader.decode(r), r


def connect_request(payload: bytes) -> ConnectRequest:
    """The first frame of a connection."""
    return ConnectRequest.decode(Reader(payload))
