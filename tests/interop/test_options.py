"""What options do to a connection, byte for byte as Apache ZooKeeper does it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.differential.servers import CONFIG, MAKERS, Address, NamedServer
from tests.differential.wire import Connection, request
from tests.interop import apache
from tests.interop.processes import ConfigValue, free_ports, member_config, poll

from zabra.jute.primitives import Reader, Writer
from zabra.proto import codes
from zabra.proto.records import AuthPacket, ConnectResponse, ReplyHeader
from zabra.sessions.session_id import session_password

PORTS = (14500, 14599)
OPEN = [(codes.PERM_ALL, "world", "anyone")]


class Door:
    """The clients' door of one server; every connection through it is closed in the end."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def connect(self) -> Connection:
        """A connection without a session."""
        conn = Connection(*self._address)
        self._stack.callback(conn.close)
        return conn

    def open(self) -> Connection:
        """A connection with a session."""
        conn = self.connect()
        assert conn.open_session(10_000) is not None
        return conn

    def hello(self, time_out: int = 10_000, **fields: Any) -> ConnectResponse | None:
        """What a ConnectRequest is answered with; None: closed instead."""
        return self.connect().open_session(time_out, **fields)


Script = Callable[[Door], list[object]]


@pytest.fixture(autouse=True, scope="module")
def java() -> None:
    apache.require_java()


def outcomes(
    folder: Path,
    script: Script,
    properties: Mapping[str, str],
    keys: Mapping[str, ConfigValue] | None = None,
    members: bool = False,
) -> tuple[list[object], list[object]]:
    """What the script sees of Apache ZooKeeper, and of Zabra."""
    found = []
    for name in ("apache", "zabra"):
        server = start(name, folder / name, properties, keys or {}, members)
        try:
            with Door(server.pair) as door:
                found.append(script(door))
        finally:
            server.kill()
    return found[0], found[1]


def start(
    name: str, folder: Path, properties: Mapping[str, str], keys: Mapping[str, ConfigValue], members: bool
) -> NamedServer:
    """A server of its own; or the first of three members, of which the others are not there."""
    ports = free_ports(8, *PORTS)
    cfg: dict[str, ConfigValue] = {**CONFIG, **keys}
    if members:
        cfg = {**member_config(1, ports, False), **cfg}
        for sid in (1, 2, 3):
            cfg[f"server.{sid}"] = f"127.0.0.1:{ports[2 * sid - 1]}:{ports[2 * sid]}"
    server = MAKERS[name](folder, ports[0], properties, cfg)
    server.launch()
    if members:
        poll(f"{name} to be read-only", 60, lambda: server.four_letter("isro") == "ro" or None)
    else:
        server.wait_serving()
    return server


def answer(conn: Connection) -> tuple[int, int] | None:
    """(xid, error) of the next reply; None: closed instead."""
    payload = conn.frame()
    if payload is None:
        return None
    header = ReplyHeader.decode(Reader(payload))
    return header.xid, header.err


def ask(conn: Connection, xid: int, op: tuple[Any, ...]) -> int | None:
    """The error of one operation's reply; None: closed instead."""
    try:
        return conn.call(xid, op)[0]
    except ConnectionError:
        return None


def authenticate(conn: Connection, scheme: str, data: bytes) -> tuple[int, int] | None:
    """The answer to an auth packet."""
    w = Writer()
    AuthPacket(0, scheme, data).encode(w)
    conn.send(request(codes.XID_AUTH, codes.OP_AUTH, w.getvalue()))
    return answer(conn)


def throttled(door: Door) -> list[object]:
    seen: list[object] = []
    first, second = door.open(), door.open()
    seen.append(door.hello())
    seen.append(ask(first, 1, ("create", codes.OP_CREATE, "/a", b"x" * 1500, OPEN, 0)))
    seen.append(ask(first, 2, ("get_data", "/a", 0)))
    seen.append(ask(second, 1, ("create", codes.OP_CREATE, "/b", b"x" * 2500, OPEN, 0)))
    seen.append(ask(first, 3, ("exists", "/b", 0)))
    return seen


def test_tokens_and_large_requests(tmp_path: Path) -> None:
    properties = {
        "zookeeper.connection_throttle_tokens": "2",
        "zookeeper.connection_throttle_fill_time": "10000000",
        "zookeeper.largeRequestThreshold": "1000",
        "zookeeper.largeRequestMaxBytes": "2000",
    }
    theirs, ours = outcomes(tmp_path, throttled, properties)
    assert theirs == ours == [None, codes.OK, codes.OK, None, codes.ERR_NO_NODE]


def enforced(door: Door) -> list[object]:
    seen: list[object] = []
    stranger = door.open()
    stranger.send(request(codes.XID_PING, codes.OP_PING))
    seen += [answer(stranger), answer(stranger)]
    known = door.open()
    seen.append(authenticate(known, "digest", b"alice:secret"))
    seen.append(ask(known, 1, ("get_data", "/", 0)))
    named = door.open()
    seen.append(authenticate(named, "ensemble", b"blue"))
    seen.append(ask(named, 1, ("get_data", "/", 0)))
    wrong = door.open()
    seen.append(authenticate(wrong, "ensemble", b"red"))
    seen.append(answer(wrong))
    unknown = door.open()
    seen.append(authenticate(unknown, "nothing", b"x"))
    seen.append(answer(unknown))
    return seen


def test_enforced_authentication_and_names_of_ensembles(tmp_path: Path) -> None:
    properties = {
        "zookeeper.enforce.auth.enabled": "true",
        "zookeeper.enforce.auth.schemes": "digest",
        "zookeeper.authProvider.1": "org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider",
        "zookeeper.ensembleAuthName": "blue,green",
    }
    theirs, ours = outcomes(tmp_path, enforced, properties)
    required = codes.ERR_SESSION_CLOSED_REQUIRE_SASL_AUTH
    assert theirs == ours
    assert ours[:4] == [(codes.XID_PING, required), None, (codes.XID_AUTH, codes.OK), codes.OK]


def required_sasl(door: Door) -> list[object]:
    conn = door.open()
    digest = authenticate(conn, "digest", b"alice:secret")
    return [digest, ask(conn, 1, ("get_data", "/", 0)), answer(conn)]


def test_sessions_that_must_use_sasl(tmp_path: Path) -> None:
    properties = {
        "zookeeper.sessionRequireClientSASLAuth": "true",
        "zookeeper.authProvider.1": "org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
    }
    theirs, ours = outcomes(tmp_path, required_sasl, properties)
    required = codes.ERR_SESSION_CLOSED_REQUIRE_SASL_AUTH
    assert theirs == ours == [(codes.XID_AUTH, codes.OK), required, None]


def bounded(door: Door) -> list[object]:
    seen: list[object] = []
    for asked_ms in (1, 5000, 100_000):
        response = door.hello(asked_ms)
        seen.append(None if response is None else response.time_out)
    conn = door.open()
    seen.append(ask(conn, 1, ("create", codes.OP_CREATE, "/a", b"x" * 1900, OPEN, 0)))
    seen.append(ask(conn, 2, ("set_data", "/a", b"x" * 2100, -1)))
    return seen


def test_bounds_of_timeouts_and_of_requests(tmp_path: Path) -> None:
    keys: dict[str, ConfigValue] = {"minSessionTimeout": 3000, "maxSessionTimeout": 50_000}
    theirs, ours = outcomes(tmp_path, bounded, {"jute.maxbuffer": "2048"}, keys)
    assert theirs == ours == [3000, 5000, 50_000, codes.OK, None]


def read_only(door: Door) -> list[object]:
    seen: list[object] = [door.hello(read_only=False)]
    seen.append(door.hello(read_only=None))
    conn = door.connect()
    response = conn.open_session(10_000, read_only=True)
    assert response is not None
    seen.append((response.time_out, response.read_only))
    for xid, op in enumerate(
        [
            ("get_data", "/", 0),
            ("exists", "/none", 1),
            ("create", codes.OP_CREATE, "/a", b"", OPEN, 0),
            ("create", codes.OP_CREATE, "/e", b"", OPEN, codes.MODE_EPHEMERAL),
            ("create", codes.OP_CREATE2, "/a", b"", OPEN, 0),
            ("set_data", "/", b"", -1),
            ("delete", "/a", -1),
            ("sync", "/"),
            ("get_children", "/", 0),
            ("multi", [("delete", "/a", -1)]),
            ("who_am_i",),
        ],
        1,
    ):
        seen.append((op[0], ask(conn, xid, op)))
    again = door.connect()
    renewed = again.open_session(
        10_000, read_only=True, session_id=response.session_id, passwd=session_password(response.session_id)
    )
    seen.append(None if renewed is None else (renewed.session_id == response.session_id, renewed.read_only))
    seen.append(answer(conn))
    unknown = door.hello(read_only=True, session_id=0x77, passwd=session_password(0x77))
    seen.append(None if unknown is None else (unknown.time_out, unknown.session_id))
    seen.append(door.hello(read_only=True, last_zxid=1 << 40))
    seen.append(ask(again, 1, ("close_session",)))
    seen.append(answer(again))
    return seen


def test_a_member_alone_serves_reads(tmp_path: Path) -> None:
    keys: dict[str, ConfigValue] = {"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": "true"}
    theirs, ours = outcomes(tmp_path, read_only, {"readonlymode.enabled": "true"}, keys, members=True)
    assert theirs == ours
    assert ours[:3] == [None, None, (10_000, True)]
    assert ("create", codes.ERR_NOT_READ_ONLY) in ours
