"""Plays a case and puts into words what the server did."""

from __future__ import annotations

import re
import socket

from tests.badinput.cases import Case
from tests.differential.wire import (
    HEADER,
    INT,
    Connection,
    connect_request,
    decode_connect_response,
    encode,
    request,
)

from zabra.jute.primitives import JuteError
from zabra.proto import codes

Address = tuple[str, int]

SESSION_MS = 10_000
QUIET_S = 0.4
"""How long nothing must come before an incomplete input counts as waited for."""
ANSWER_S = 20.0
PARENT = "/bad"
SECOND_CONNECT_RESPONSE = 37
"""Length of a ConnectResponse, which has no header, where a reply is looked for."""

_PING = request(codes.XID_PING, codes.OP_PING)


def prepare(address: Address) -> None:
    """Makes the node below which cases create theirs."""
    connection = Connection(*address)
    connection.open_session(SESSION_MS)
    connection.call(1, ("create", codes.OP_CREATE, PARENT, b"", ((31, "world", "anyone"),), 0))
    connection.call(2, ("close_session",))
    connection.close()


def healthy(address: Address) -> bool:
    """Whether a well-behaved client is served."""
    connection = Connection(*address, timeout_s=ANSWER_S)
    try:
        if connection.open_session(SESSION_MS) is None:
            return False
        err, _ = connection.call(1, ("exists", PARENT, 0))
        connection.call(2, ("close_session",))
        return err in (codes.OK, codes.ERR_NO_NODE)
    except (ConnectionError, TimeoutError):
        return False
    finally:
        connection.close()


def observe(address: Address, case: Case) -> list[str]:
    """What the server did, as words."""
    connection = Connection(*address, timeout_s=ANSWER_S)
    try:
        if case.session and connection.open_session(SESSION_MS) is None:
            return ["no session"]
        connection.send(case.data)
        if case.half_close:
            _shut(connection)
        if case.probe == "text":
            return _text(connection)
        if case.probe == "wait":
            connection.socket.settimeout(QUIET_S if not case.half_close else ANSWER_S)
        elif not case.half_close:
            connection.send(_PING)
        return _frames(connection, not case.session)
    finally:
        _clean_up(connection)


def _shut(connection: Connection) -> None:
    connection.socket.shutdown(socket.SHUT_WR)


def _text(connection: Connection) -> list[str]:
    text = connection.rest().decode("utf-8", "replace")
    return ["text " + re.sub(r"\d+", "n", text)[:70].strip(), "closed"]


def _frames(connection: Connection, first: bool) -> list[str]:
    out: list[str] = []
    while True:
        try:
            payload = connection.frame()
        except TimeoutError:
            return [*out, "waiting"]
        if payload is None:
            return [*out, "closed"]
        if first:
            out.append(_session(payload))
            first = False
            continue
        if len(payload) < HEADER.size:
            out.append(f"frame {payload.hex()}")
            continue
        xid, _, err = HEADER.unpack_from(payload)
        if xid == codes.XID_PING and len(payload) == HEADER.size and err == 0:
            return [*out, _after_ping(connection, out)]
        # Upstream sometimes answers what stands behind a closeSession before it closes, and sometimes not.
        if err != codes.ERR_SESSION_EXPIRED:
            out.append(_reply(xid, err, payload[HEADER.size :]))


def _after_ping(connection: Connection, seen: list[str]) -> str:
    """``usable``, or ``closed`` when the close that follows a refusal came only behind the ping's answer."""
    if any(f"err={err}" in word for word in seen for err in (codes.ERR_UNIMPLEMENTED, codes.ERR_AUTH_FAILED)):
        connection.socket.settimeout(QUIET_S)
        try:
            return "closed" if connection.frame() is None else "more than was asked for"
        except TimeoutError:
            return "usable"
    return "usable"


def _session(payload: bytes) -> str:
    try:
        response = decode_connect_response(payload)
    except JuteError:
        return f"frame {payload.hex()}"
    if response.session_id == 0:
        return f"refused timeout={response.time_out} bytes={len(payload)}"
    return f"session timeout={response.time_out} bytes={len(payload)}"


def _reply(xid: int, err: int, body: bytes) -> str:
    if xid == codes.XID_NOTIFICATION:
        return f"event type={INT.unpack_from(body)[0]}"
    if xid == 0 and len(body) == SECOND_CONNECT_RESPONSE - HEADER.size:
        return "a ConnectResponse"
    size = f" body={len(body)}" if body else ""
    return f"reply xid={xid} err={err}{size}"


def _clean_up(connection: Connection) -> None:
    """Ends the session, if there is one that answers, so that its ephemerals go."""
    try:
        connection.socket.settimeout(QUIET_S)
        connection.send(request(99, codes.OP_CLOSE_SESSION))
    except OSError:
        return
    finally:
        connection.close()


def resume_cases(address: Address) -> dict[str, list[str]]:
    """Cases that need a session id of this server's: right id with wrong passwords."""
    out: dict[str, list[str]] = {}
    for name, passwd in (("wrong", bytes([7] * 16)), ("empty", b""), ("null", None), ("short", bytes(3))):
        holder = Connection(*address)
        response = holder.open_session(SESSION_MS)
        assert response is not None
        visitor = Connection(*address, timeout_s=ANSWER_S)
        visitor.send(connect_request(SESSION_MS, session_id=response.session_id, passwd=passwd) + _PING)
        out[f"resume: {name} password"] = _frames(visitor, True)
        visitor.close()
        holder.send(request(1, *encode(("exists", "/", 0))))
        out[f"resume: the holder after a {name} password"] = _holder(holder)
        _clean_up(holder)
    return out


def _holder(holder: Connection) -> list[str]:
    payload = holder.frame()
    return ["closed"] if payload is None else ["served"]
