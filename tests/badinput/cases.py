"""The table of bad inputs to the client port: what is sent, and how to look at what happens.

A case opens a connection (with ``session=True`` also a session), sends ``data``, and is observed.
``probe`` is how it ends: ``ping`` sends a ping, so that the answer shows whether the connection still
serves; ``wait`` expects nothing for a while, for input that is not complete.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

from tests.differential.wire import (
    MULTI_END,
    Op,
    buffer,
    connect_request,
    encode,
    frame,
    integer,
    long,
    request,
    ustring,
)

from zabra.proto import codes

WORLD: Final = ((31, "world", "anyone"),)
MAX_FRAME: Final = 0xFFFFF
HUGE: Final = 2**31 - 1


class Case:
    """One row of the table."""

    __slots__ = ("data", "fatal_to_apache", "half_close", "name", "probe", "session")

    def __init__(
        self,
        name: str,
        data: bytes,
        *,
        session: bool = True,
        probe: str = "ping",
        half_close: bool = False,
        fatal_to_apache: bool = False,
    ) -> None:
        self.name = name
        self.data = data
        self.session = session
        self.probe = probe
        self.half_close = half_close
        self.fatal_to_apache = fatal_to_apache


def _connect(name: str, **fields: Any) -> Case:
    return Case(f"connect: {name}", connect_request(fields.pop("time_out", 10_000), **fields), session=False)


def _first(name: str, data: bytes, **more: Any) -> Case:
    return Case(f"first bytes: {name}", data, session=False, **more)


def _op(name: str, op: Op, xid: int = 1, **more: Any) -> Case:
    return Case(f"request: {name}", request(xid, *encode(op)), **more)


def _raw(name: str, code: int, body: bytes, xid: int = 1, **more: Any) -> Case:
    return Case(f"request: {name}", request(xid, code, body), **more)


def _sub(code: int, body: bytes, done: int = 0) -> bytes:
    return struct.pack(">ibi", code, done, -1) + body


def first_bytes() -> list[Case]:
    """What a fresh connection may send instead of a ConnectRequest."""
    hello = bytes.fromhex("16030100c8010000c40303") + bytes(189)
    return [
        _first("length 0", integer(0)),
        _first("length -1", integer(-1)),
        _first("length -2^31", integer(-(2**31))),
        _first("length 2^31-1", integer(HUGE)),
        _first("length jute.maxbuffer + 1", integer(MAX_FRAME + 1)),
        _first("jute.maxbuffer zero bytes", frame(bytes(MAX_FRAME))),
        _first("frame of 1 byte", frame(b"\0")),
        _first("frame of 27 bytes", frame(bytes(27))),
        _first("frame of 28 bytes", frame(bytes(28))),
        _first("two bytes only", b"\0\0", probe="wait"),
        _first("length and nothing", integer(45), probe="wait"),
        _first("length and half a request", connect_request(10_000)[:20], probe="wait"),
        _first("an HTTP request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        _first("a TLS ClientHello", hello),
        _first("an SSH banner", b"SSH-2.0-OpenSSH_9.2\r\n"),
        _first("telnet's interrupt", bytes.fromhex("fff4fffd"), probe="wait"),
        _first("garbage", bytes(range(200, 256))),
        _first("ruok", b"ruok", probe="text"),
        _first("ruok and a line end", b"ruok\r\n", probe="text"),
        _first("isro", b"isro", probe="text"),
        _first("RUOK", b"RUOK"),
        _first("an unknown four-letter word", b"abcd"),
        _first("a word that is not in the whitelist", b"wchp", probe="text"),
        _first("stmk without its mask", b"stmk", probe="wait"),
        _first("ruok in two parts", b"ru", probe="wait"),
        _first("a request before the session", request(1, *encode(("exists", "/", 0)))),
    ]


def connects() -> list[Case]:
    """ConnectRequests with odd fields."""
    head = struct.pack(">iqiq", 0, 0, 10_000, 0)
    return [
        _connect("as it should be"),
        _connect("no read-only byte", read_only=None),
        _connect("read-only", read_only=True),
        Case("connect: read-only byte 2", frame(head + buffer(bytes(16)) + b"\2"), session=False),
        Case("connect: bytes after the end", frame(head + buffer(bytes(16)) + b"\0junk"), session=False),
        Case("connect: password length -2", frame(head + integer(-2) + b"\0"), session=False),
        Case("connect: password length 2^31-1", frame(head + integer(HUGE) + b"\0"), session=False),
        Case("connect: password cut", frame(head + integer(16) + bytes(10)), session=False),
        _connect("null password", passwd=None),
        _connect("empty password", passwd=b""),
        _connect("password of 1000 bytes", passwd=bytes(1000)),
        _connect("protocol version 99", protocol_version=99),
        _connect("protocol version -1", protocol_version=-1),
        _connect("timeout 0", time_out=0),
        _connect("timeout -1", time_out=-1),
        _connect("timeout 2^31-1", time_out=HUGE),
        _connect("unknown session", session_id=0x123456789),
        _connect("session -1", session_id=-1),
        _connect("session -2^63", session_id=-(2**63)),
        _connect("last zxid in the future", last_zxid=2**62),
        _connect("last zxid negative", last_zxid=-5),
        Case("connect: then nothing more to send", connect_request(10_000), session=False, half_close=True),
        Case("connect: twice", connect_request(10_000)),
        Case("connect: request in the same packet",
             connect_request(10_000) + request(1, *encode(("exists", "/", 0))), session=False),
    ]  # fmt: skip


def frames() -> list[Case]:
    """Frames within a session whose length or header is wrong."""
    return [
        Case("frame: length 0", integer(0)),
        Case("frame: length -1", integer(-1)),
        Case("frame: length -2^31", integer(-(2**31))),
        Case("frame: length jute.maxbuffer + 1", integer(MAX_FRAME + 1) + bytes(100)),
        Case("frame: length 2^31-1", integer(HUGE)),
        Case("frame: ruok", b"ruok"),
        Case("frame: 4 bytes", frame(integer(1))),
        Case("frame: 7 bytes", frame(bytes(7))),
        Case("frame: cut, then nothing more to send",
             request(1, *encode(("exists", "/", 0)))[:-3], probe="wait", half_close=True),
        Case("frame: cut", request(1, *encode(("exists", "/", 0)))[:-3], probe="wait"),
        Case("frame: jute.maxbuffer bytes of zeros", frame(bytes(MAX_FRAME))),
        Case("frame: HTTP", b"GET / HTTP/1.1\r\n\r\n"),
    ]  # fmt: skip


def headers() -> list[Case]:
    """Opcodes and xids that no client sends."""
    exists = encode(("exists", "/", 0))
    unknown = (0, 10, 13, 23, 99, 108, 200, HUGE, -1, -2, -12, -(2**31))
    out = [_raw(f"unknown opcode {code}", code, b"") for code in unknown]
    out.append(_raw("check alone, with its body", codes.OP_CHECK, ustring("/") + integer(-1)))
    out.append(_raw("createSession", codes.OP_CREATE_SESSION, integer(10_000)))
    out.append(_raw("createSession without a body", codes.OP_CREATE_SESSION, b""))
    out.append(_raw("deleteContainer of a missing node", codes.OP_DELETE_CONTAINER, ustring("/bad/missing")))
    out.append(_raw("deleteContainer without a body", codes.OP_DELETE_CONTAINER, b""))
    out += [Case(f"request: xid {xid}", request(xid, *exists)) for xid in (0, -1, -2, -4, -8, -(2**31), HUGE)]
    out.append(_raw("ping with a body", codes.OP_PING, b"junk", xid=codes.XID_PING))
    out.append(_raw("whoAmI with a body", codes.OP_WHO_AM_I, b"junk"))
    out.append(_raw("closeSession with a body", codes.OP_CLOSE_SESSION, b"junk"))
    out.append(Case("request: after closeSession", request(1, codes.OP_CLOSE_SESSION) + request(2, *exists)))
    return out


BODY_OPS: Final = (
    codes.OP_CREATE, codes.OP_DELETE, codes.OP_EXISTS, codes.OP_GET_DATA, codes.OP_SET_DATA, codes.OP_GET_ACL,
    codes.OP_SET_ACL, codes.OP_GET_CHILDREN, codes.OP_SYNC, codes.OP_GET_CHILDREN2, codes.OP_MULTI,
    codes.OP_CREATE2, codes.OP_RECONFIG, codes.OP_CHECK_WATCHES, codes.OP_REMOVE_WATCHES,
    codes.OP_CREATE_CONTAINER, codes.OP_CREATE_TTL, codes.OP_MULTI_READ, codes.OP_SET_WATCHES,
    codes.OP_GET_EPHEMERALS, codes.OP_GET_ALL_CHILDREN_NUMBER, codes.OP_SET_WATCHES2, codes.OP_ADD_WATCH,
)  # fmt: skip


def bodies() -> list[Case]:
    """For every operation: no body at all, a null path, and a path longer than the frame."""
    out = [_raw(f"{codes.OP_NAMES[code]} without a body", code, b"") for code in BODY_OPS]
    null: list[Op] = [
        ("create", codes.OP_CREATE, None, b"", WORLD, 0),
        ("create_ttl", None, b"", WORLD, 5, 1000),
        ("delete", None, -1),
        ("exists", None, 0),
        ("exists", None, 1),
        ("get_data", None, 0),
        ("set_data", None, b"", -1),
        ("get_acl", None),
        ("set_acl", None, WORLD, -1),
        ("get_children", None, 0),
        ("get_children2", None, 1),
        ("sync", None),
        ("check_watches", None, 3),
        ("remove_watches", None, 3),
        ("get_ephemerals", None),
        ("get_all_children_number", None),
        ("add_watch", None, 0),
        ("multi", (("delete", None, -1),)),
        ("multi_read", (("get_data", None, 0),)),
        ("set_watches", 0, (None,), (None,), (None,)),
    ]
    out += [_op(f"{op[0]} of a null path, number {index}", op) for index, op in enumerate(null)]
    for code in (codes.OP_CREATE, codes.OP_DELETE, codes.OP_EXISTS, codes.OP_SET_DATA, codes.OP_ADD_WATCH):
        name = codes.OP_NAMES[code]
        out.append(_raw(f"{name}: path length 2^31-1", code, integer(HUGE) + b"/x"))
        out.append(_raw(f"{name}: path length -2", code, integer(-2) + b"/x"))
        out.append(_raw(f"{name}: path longer than the frame", code, integer(50) + b"/x"))
    return out


def vectors() -> list[Case]:
    """Counts that promise more than there is."""
    create = ustring("/bad/v") + buffer(b"")
    acl = integer(31) + ustring("world") + ustring("anyone")
    lists = long(0)
    return [
        _raw("create: 2^31-1 ACLs", codes.OP_CREATE, create + integer(HUGE) + acl + integer(0)),
        _raw("create: -2 ACLs", codes.OP_CREATE, create + integer(-2) + acl + integer(0)),
        _raw("create: 2 ACLs promised, 1 sent", codes.OP_CREATE, create + integer(2) + acl + integer(0)),
        _raw("create: 10^6 ACLs promised", codes.OP_CREATE, create + integer(10**6) + acl * 3),
        _raw("setWatches: 2^31-1 paths", codes.OP_SET_WATCHES, lists + integer(HUGE)),
        _raw("setWatches: -2 paths", codes.OP_SET_WATCHES, lists + integer(-2)),
        _raw("setWatches: null lists", codes.OP_SET_WATCHES, lists + integer(-1) * 3, xid=-8),
        _raw("setWatches2: null lists", codes.OP_SET_WATCHES2, lists + integer(-1) * 5, xid=-8),
        _raw("create: data length 2^31-1", codes.OP_CREATE, ustring("/bad/v") + integer(HUGE)),
        _raw("create: data length -2", codes.OP_CREATE, ustring("/bad/v") + integer(-2)),
    ]


def multis() -> list[Case]:
    """Multis that are put together wrongly."""
    delete = _sub(codes.OP_DELETE, ustring("/bad/m") + integer(-1))
    check = _sub(codes.OP_CHECK, ustring("/bad") + integer(-1))
    data = _sub(codes.OP_GET_DATA, ustring("/bad") + b"\0")
    multi, multi_read = codes.OP_MULTI, codes.OP_MULTI_READ
    return [
        _raw("multi: empty", multi, MULTI_END),
        _raw("multi: no end", multi, check),
        _raw("multi: end at once, type 2", multi, struct.pack(">ibi", 2, 1, -1)),
        _raw("multi: unknown type 99", multi, _sub(99, b"") + MULTI_END),
        _raw("multi: a multi inside", multi, _sub(codes.OP_MULTI, MULTI_END) + MULTI_END),
        _raw("multi: setACL inside", multi, _sub(codes.OP_SET_ACL, ustring("/bad")) + MULTI_END),
        _raw("multi: read after write", multi, check + data + MULTI_END),
        _raw("multi: write after read", multi, data + check + MULTI_END),
        _raw("multi: reads only", multi, data + MULTI_END),
        _raw("multi: type -1 that is not done", multi, _sub(-1, integer(0)) + MULTI_END),
        _raw("multi: bytes after the end", multi, check + MULTI_END + b"junk"),
        _raw("multi: fails at the second of three", multi, check + delete + check + MULTI_END),
        _raw("multi: create with flags 99", multi,
             _sub(1, ustring("/bad/x") + buffer(b"") + integer(0) + integer(99)) + MULTI_END),
        _raw("multi: 20000 checks", multi, check * 20_000 + MULTI_END),
        _raw("multiRead: empty", multi_read, MULTI_END),
        _raw("multiRead: no end", multi_read, data),
        _raw("multiRead: a write inside", multi_read, data + delete + MULTI_END),
        _raw("multiRead: exists inside", multi_read,
             _sub(codes.OP_EXISTS, ustring("/bad") + b"\0") + MULTI_END),
        _raw("multiRead: only writes", multi_read, check + MULTI_END),
    ]  # fmt: skip


def _create(path: str, acl: Any = WORLD, flags: int = 0, code: int = codes.OP_CREATE) -> Op:
    return "create", code, path, b"", acl, flags


def values() -> list[Case]:
    """Well-formed requests with values that make no sense."""
    out = [
        _op(f"create {path!r}", _create(path))
        for path in (
            "",
            "bad",
            "//bad",
            "/bad//x",
            "/bad/../x",
            "/bad/./x",
            "/bad/x/",
            "/bad\x00",
            "/bad/\x01",
            "/bad/\x7f",
            "/bad/\ue000",
            "/bad/\ufff0",
            "/bad/\U0001f600",
            "/bad/\udcff",
            "/bad/\udced\udca0\udcbd",
            "/",
            "/zookeeper",
        )
    ]
    out += [
        _op(f"create with ACL {acl}", _create("/bad/acl", acl))
        for acl in (
            None,
            (),
            ((31, "", ""),),
            ((31, None, None),),
            ((31, "world", None),),
            ((31, "world", "x"),),
            ((31, "nosuch", "x"),),
            ((31, "auth", ""),),
            ((31, "digest", "nocolon"),),
            ((31, "ip", "999.1.1.1"),),
            ((31, "ip", "1.1.1.1/99"),),
        )
    ]
    out += [
        _op(f"create with flags {flags}", _create("/bad/flags", WORLD, flags))
        for flags in (-1, 5, 6, 7, 99, HUGE)
    ]
    out += [
        _op(f"createTTL with flags {flags}, ttl {ttl}", ("create_ttl", "/bad/ttl", b"", WORLD, flags, ttl))
        for flags, ttl in ((5, 0), (5, -1), (5, 2**40), (5, 2**63 - 1), (0, 0), (0, 5), (7, 5))
    ]
    out.append(
        _op(
            "createTTL with flags 0, ttl -1",
            ("create_ttl", "/bad/ttl", b"", WORLD, 0, -1),
            fatal_to_apache=True,
        )
    )
    return out


def odd_values() -> list[Case]:
    """Long paths, nodes that must stay, modes and types that are none."""
    return [
        Case(
            "request: create with bytes after the end",
            request(1, 1, encode(_create("/bad/tail"))[1] + b"junk"),
        ),
        _op("exists of a path of 1 MB", ("exists", "/" + "x" * 1_000_000, 0)),
        _op("create of a path of 1 MB", _create("/" + "x" * 1_000_000)),
        _op("getData 10000 levels down", ("get_data", "/x" * 10_000, 0)),
        _op("create 10000 levels down", _create("/x" * 10_000)),
        _op("delete of /", ("delete", "/", -1)),
        _op("delete of /zookeeper", ("delete", "/zookeeper", -1)),
        _op("setData of version -2^31", ("set_data", "/bad", b"", -(2**31))),
        _op("addWatch mode 2", ("add_watch", "/bad", 2)),
        _op("addWatch mode -1", ("add_watch", "/bad", -1)),
        _op("removeWatches type 0", ("remove_watches", "/bad", 0)),
        _op("removeWatches type 6", ("remove_watches", "/bad", 6)),
        _op("checkWatches type 6", ("check_watches", "/bad", 6)),
        _op("setWatches of bad paths", ("set_watches", 0, ("x", "", "//"), ("x",), ("\x00",)), xid=-8),
        _op("reconfig", ("reconfig", "server.9=junk", None, None, -1)),
        _raw("create: null path and null ACL", 1, integer(-1) * 3 + integer(0)),
    ]


def auths() -> list[Case]:
    """Auth packets and SASL tokens."""

    def auth(name: str, scheme: str | None, data: bytes | None, xid: int = codes.XID_AUTH) -> Case:
        return _op(f"auth {name}", ("auth", scheme, data), xid=xid)

    return [
        auth("of an unknown scheme", "nosuch", b"x"),
        auth("of a null scheme", None, b"x"),
        auth("world", "world", b"anyone"),
        auth("super", "super", b""),
        auth("ip", "ip", b"1.2.3.4"),
        auth("digest", "digest", b"a:b"),
        auth("digest with no colon", "digest", b"nocolon"),
        auth("digest, empty", "digest", b""),
        auth("digest, null", "digest", None),
        auth("digest of bytes that are not UTF-8", "digest", b"\xff\xfe:\x00"),
        auth("digest of 1 MB", "digest", b"a:" + b"x" * 1_000_000),
        auth("with xid 7", "digest", b"a:b", xid=7),
        _raw("auth without a body", codes.OP_AUTH, b"", xid=-4),
        _raw("auth type 1", codes.OP_AUTH, integer(1) + ustring("digest") + buffer(b"a:b"), xid=-4),
        _op("sasl, no SASL configured", ("sasl", b"token")),
        _op("sasl, null token", ("sasl", None)),
        _raw("sasl without a body", codes.OP_SASL, b""),
    ]


def table() -> Sequence[Case]:
    """All cases; names are unique."""
    groups = (
        first_bytes(),
        connects(),
        frames(),
        headers(),
        bodies(),
        vectors(),
        multis(),
        values(),
        odd_values(),
        auths(),
    )
    return [case for group in groups for case in group]
