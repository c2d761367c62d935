"""A tiny synchronous client that sends any bytes it is told to and hands back whole frames.

It keeps none of the rules a real client keeps, which is the point: the differential and the bad-input
suites send things that no client library would.  Operations are plain tuples (name, arguments...), so that
a run can be printed, cut down and played again; ``encode`` turns one into (opcode, body).  A path or id may
be None (null on the wire) and may hold lone surrogates U+DC80 to U+DCFF, which stand for single raw bytes.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from zabra.jute.primitives import EndOfData, Reader
from zabra.proto import codes
from zabra.proto.records import ConnectResponse

Op = tuple[Any, ...]
AclSpec = Sequence[tuple[int, str | None, str | None]] | None

PASSWORD_BYTES: Final = 16
MULTI_END: Final = struct.pack(">ibi", -1, 1, -1)
INT: Final = struct.Struct(">i")
HEADER: Final = struct.Struct(">iqi")


def integer(value: int) -> bytes:
    """A 32-bit integer."""
    return INT.pack(value)


def long(value: int) -> bytes:
    """A 64-bit integer."""
    return struct.pack(">q", value)


def buffer(value: bytes | None) -> bytes:
    """Length and bytes; None as null."""
    return integer(-1) if value is None else integer(len(value)) + value


def ustring(value: str | None) -> bytes:
    """Length and text; None as null; lone surrogates DC80 to DCFF as the single bytes they stand for."""
    return integer(-1) if value is None else buffer(value.encode("utf-8", "surrogateescape"))


def strings(values: Sequence[str | None] | None) -> bytes:
    """A vector of strings; None as null."""
    if values is None:
        return integer(-1)
    return integer(len(values)) + b"".join(map(ustring, values))


def acls(values: AclSpec) -> bytes:
    """A vector of ACL from (perms, scheme, id); None as null."""
    if values is None:
        return integer(-1)
    parts = [integer(len(values))]
    for perms, scheme, identity in values:
        parts += [integer(perms), ustring(scheme), ustring(identity)]
    return b"".join(parts)


def _path_flag(path: str | None, flag: int) -> bytes:
    return ustring(path) + bytes([flag])


def _path_int(path: str | None, number: int) -> bytes:
    return ustring(path) + integer(number)


def _create(code: int, path: str | None, data: bytes | None, acl: AclSpec, flags: int) -> bytes:
    return ustring(path) + buffer(data) + acls(acl) + integer(flags)


def _create_ttl(path: str | None, data: bytes | None, acl: AclSpec, flags: int, ttl: int) -> bytes:
    return ustring(path) + buffer(data) + acls(acl) + integer(flags) + long(ttl)


def _set_watches(relative: int, *lists: Sequence[str | None]) -> bytes:
    return long(relative) + b"".join(map(strings, lists))


def _multi(parts: Sequence[Op]) -> bytes:
    out = []
    for part in parts:
        code, body = encode(part)
        out.append(struct.pack(">ibi", code, 0, -1) + body)
    return b"".join(out) + MULTI_END


_BODIES: dict[str, tuple[int, Callable[..., bytes]]] = {
    "create_ttl": (codes.OP_CREATE_TTL, _create_ttl),
    "delete": (codes.OP_DELETE, _path_int),
    "exists": (codes.OP_EXISTS, _path_flag),
    "get_data": (codes.OP_GET_DATA, _path_flag),
    "set_data": (codes.OP_SET_DATA, lambda p, d, v: ustring(p) + buffer(d) + integer(v)),
    "get_acl": (codes.OP_GET_ACL, ustring),
    "set_acl": (codes.OP_SET_ACL, lambda p, a, v: ustring(p) + acls(a) + integer(v)),
    "get_children": (codes.OP_GET_CHILDREN, _path_flag),
    "get_children2": (codes.OP_GET_CHILDREN2, _path_flag),
    "sync": (codes.OP_SYNC, ustring),
    "ping": (codes.OP_PING, lambda: b""),
    "check": (codes.OP_CHECK, _path_int),
    "multi": (codes.OP_MULTI, _multi),
    "multi_read": (codes.OP_MULTI_READ, _multi),
    "check_watches": (codes.OP_CHECK_WATCHES, _path_int),
    "remove_watches": (codes.OP_REMOVE_WATCHES, _path_int),
    "add_watch": (codes.OP_ADD_WATCH, _path_int),
    "set_watches": (codes.OP_SET_WATCHES, _set_watches),
    "set_watches2": (codes.OP_SET_WATCHES2, _set_watches),
    "who_am_i": (codes.OP_WHO_AM_I, lambda: b""),
    "get_ephemerals": (codes.OP_GET_EPHEMERALS, ustring),
    "get_all_children_number": (codes.OP_GET_ALL_CHILDREN_NUMBER, ustring),
    "auth": (codes.OP_AUTH, lambda s, d: integer(0) + ustring(s) + buffer(d)),
    "sasl": (codes.OP_SASL, buffer),
    "reconfig": (codes.OP_RECONFIG, lambda j, r, m, c: ustring(j) + ustring(r) + ustring(m) + long(c)),
    "close_session": (codes.OP_CLOSE_SESSION, lambda: b""),
}


def encode(op: Op) -> tuple[int, bytes]:
    """(opcode, request body) of an operation; ``("raw", opcode, body)`` is taken as it is."""
    name = op[0]
    if name == "create":
        return op[1], _create(*op[1:])
    if name == "raw":
        return op[1], op[2]
    code, body = _BODIES[name]
    return code, body(*op[1:])


def frame(payload: bytes) -> bytes:
    """The payload behind its length."""
    return integer(len(payload)) + payload


def request(xid: int, code: int, body: bytes = b"") -> bytes:
    """A framed request."""
    return frame(struct.pack(">ii", xid, code) + body)


def connect_request(
    time_out: int,
    *,
    session_id: int = 0,
    passwd: bytes | None = bytes(PASSWORD_BYTES),
    last_zxid: int = 0,
    read_only: bool | None = False,
    protocol_version: int = 0,
) -> bytes:
    """A framed ConnectRequest; ``read_only=None`` leaves the last byte out, as clients before 3.4 did."""
    head = struct.pack(">iqiq", protocol_version, last_zxid, time_out, session_id)
    tail = b"" if read_only is None else bytes([read_only])
    return frame(head + buffer(passwd) + tail)


class Connection:
    """One TCP connection to a server; every wait is bounded by ``timeout_s``."""

    def __init__(self, host: str, port: int, timeout_s: float = 20.0) -> None:
        self._socket = socket.create_connection((host, port), timeout=timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self.response: ConnectResponse | None = None

    @property
    def socket(self) -> socket.socket:
        """The socket itself, for what has no method here."""
        return self._socket

    def send(self, data: bytes) -> None:
        """Sends bytes as they are; a connection that the server closed already is for ``frame`` to notice."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def frame(self) -> bytes | None:
        """The next frame's payload, or None when the server closed the connection.

        Raises TimeoutError when neither happens in time.
        """
        while True:
            if len(self._buffer) >= 4:
                size = INT.unpack_from(self._buffer)[0]
                if len(self._buffer) >= 4 + size:
                    payload = bytes(self._buffer[4 : 4 + size])
                    del self._buffer[: 4 + size]
                    return payload
            try:
                part = self._socket.recv(262144)
            except (ConnectionResetError, BrokenPipeError):
                part = b""
            if not part:
                return None
            self._buffer += part

    def rest(self) -> bytes:
        """All bytes up to the server's close."""
        out = bytes(self._buffer)
        self._buffer.clear()
        try:
            while part := self._socket.recv(262144):
                out += part
        except ConnectionResetError:
            return out
        return out

    def open_session(self, time_out: int, **fields: Any) -> ConnectResponse | None:
        """Sends a ConnectRequest; the response, or None when the server closed instead."""
        self.send(connect_request(time_out, **fields))
        payload = self.frame()
        self.response = None if payload is None else decode_connect_response(payload)
        return self.response

    def call(self, xid: int, op: Op) -> tuple[int, bytes]:
        """Sends one operation and waits for its reply, skipping events: (err, body)."""
        self.send(request(xid, *encode(op)))
        while True:
            payload = self.frame()
            if payload is None:
                raise ConnectionError(f"closed instead of a reply to {op[0]}")
            got, _, err = HEADER.unpack_from(payload)
            if got != codes.XID_NOTIFICATION:
                return err, payload[HEADER.size :]

    def close(self) -> None:
        """Closes the socket; the session lives on until its timeout."""
        self._socket.close()


def decode_connect_response(payload: bytes) -> ConnectResponse:
    """A ConnectResponse with or without its last byte."""
    try:
        return ConnectResponse.decode(Reader(payload))
    except EndOfData:
        return ConnectResponse.decode(Reader(payload + b"\0"))
