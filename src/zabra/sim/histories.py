"""Histories: what clients asked, saw and were told, in order, whoever ran them.

The simulator's clients write one, and so can clients of real processes; the same checkers read both.  As a
file it is JSON lines, one entry each, times in microseconds of one clock:

    {"k": "sent", "t": 1200, "c": 0, "i": 7, "s": "0x1000...", "x": 3, "op": "setData", "body": "hex",
     "ids": ["ip:10.0.3.232"]}
    {"k": "answered", "t": 1900, "c": 0, "i": 7, "err": 0, "z": "0x100000005", "reply": "hex"}
    {"k": "lost", "t": 2500, "c": 0, "i": 8}
    {"k": "event", "t": 1850, "c": 0, "type": 3, "path": "/a", "z": "0x100000005"}
    {"k": "connected", "t": 3000, "c": 0, "s": "0x1000...", "timeout": 4000, "server": 2}
    {"k": "rewatched", "t": 3100, "c": 0, "z": "0x100000009"}
    {"k": "disconnected", ...}  {"k": "expired", ...}  {"k": "closed", ...}

``c`` numbers clients, ``i`` requests (over all clients), ``s`` is a session id, ``x`` an xid, ``z`` the zxid
of a reply or event header.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from zabra.proto import codes
from zabra.proto.records import Id

SENT: Final = "sent"
ANSWERED: Final = "answered"
LOST: Final = "lost"
EVENT: Final = "event"
CONNECTED: Final = "connected"
REWATCHED: Final = "rewatched"
DISCONNECTED: Final = "disconnected"
EXPIRED: Final = "expired"
CLOSED: Final = "closed"
KINDS: Final = (SENT, ANSWERED, LOST, EVENT, CONNECTED, REWATCHED, DISCONNECTED, EXPIRED, CLOSED)

_OPS_BY_NAME: Final = {name: op for op, name in codes.OP_NAMES.items()}


class Invocation:
    """One request and what became of it; ``done_us`` is -1 while open, ``answered`` False if unknown."""

    __slots__ = (
        "answered",
        "body",
        "client",
        "done_us",
        "err",
        "ids",
        "number",
        "op",
        "reply",
        "sent_us",
        "session_id",
        "xid",
        "zxid",
    )

    def __init__(
        self,
        number: int,
        client: int,
        session_id: int,
        xid: int,
        op: int,
        body: bytes,
        ids: list[Id],
        sent_us: int,
    ) -> None:
        self.number = number
        self.client = client
        self.session_id = session_id
        self.xid = xid
        self.op = op
        self.body = body
        self.ids = ids
        self.sent_us = sent_us
        self.done_us = -1
        self.answered = False
        self.err = codes.OK
        self.zxid = 0
        self.reply = b""

    def __repr__(self) -> str:
        outcome = f"err={self.err} zxid=0x{self.zxid:x}" if self.answered else "unknown"
        name = codes.OP_NAMES.get(self.op, str(self.op))
        return f"#{self.number} client {self.client} 0x{self.session_id:x}/{self.xid} {name} {outcome}"


class Entry:
    """One line: which fields mean something depends on ``kind``."""

    __slots__ = (
        "at_us",
        "client",
        "event_type",
        "invocation",
        "kind",
        "path",
        "server",
        "session_id",
        "timeout_ms",
        "zxid",
    )

    def __init__(self, kind: str, at_us: int, client: int) -> None:
        self.kind = kind
        self.at_us = at_us
        self.client = client
        self.invocation: Invocation | None = None
        self.event_type = 0
        self.path = ""
        self.zxid = 0
        self.session_id = 0
        self.timeout_ms = 0
        self.server = 0


class History:
    """All entries, in the order in which they happened."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.invocations: list[Invocation] = []

    def add(self, kind: str, at_us: int, client: int) -> Entry:
        """Appends an entry; the caller fills in the rest."""
        entry = Entry(kind, at_us, client)
        self.entries.append(entry)
        return entry

    def sent(
        self, at_us: int, client: int, session_id: int, xid: int, op: int, body: bytes, ids: list[Id]
    ) -> Invocation:
        """A request leaves."""
        invocation = Invocation(len(self.invocations), client, session_id, xid, op, body, ids, at_us)
        self.invocations.append(invocation)
        self.add(SENT, at_us, client).invocation = invocation
        return invocation

    def answered(self, at_us: int, invocation: Invocation, err: int, zxid: int, reply: bytes) -> None:
        """Its reply came."""
        invocation.done_us = at_us
        invocation.answered = True
        invocation.err = err
        invocation.zxid = zxid
        invocation.reply = reply
        self.add(ANSWERED, at_us, invocation.client).invocation = invocation

    def lost(self, at_us: int, invocation: Invocation) -> None:
        """No reply will come."""
        invocation.done_us = at_us
        self.add(LOST, at_us, invocation.client).invocation = invocation

    def event(self, at_us: int, client: int, event_type: int, path: str, zxid: int) -> None:
        """A watch event came."""
        entry = self.add(EVENT, at_us, client)
        entry.event_type = event_type
        entry.path = path
        entry.zxid = zxid

    def connected(self, at_us: int, client: int, session_id: int, timeout_ms: int, server: int) -> None:
        """A session is (again) served."""
        entry = self.add(CONNECTED, at_us, client)
        entry.session_id = session_id
        entry.timeout_ms = timeout_ms
        entry.server = server

    def of_client(self, client: int) -> list[Entry]:
        """One client's entries."""
        return [entry for entry in self.entries if entry.client == client]

    def clients(self) -> list[int]:
        """The clients, in order of appearance."""
        return list({entry.client: None for entry in self.entries})


def dump(history: History) -> Iterator[str]:
    """The lines of the file."""
    for entry in history.entries:
        yield json.dumps(_entry_to_json(entry), separators=(",", ":"))


def _entry_to_json(entry: Entry) -> dict[str, Any]:
    out: dict[str, Any] = {"k": entry.kind, "t": entry.at_us, "c": entry.client}
    one = entry.invocation
    if one is not None:
        out["i"] = one.number
        if entry.kind == SENT:
            out |= {
                "s": hex(one.session_id),
                "x": one.xid,
                "op": codes.OP_NAMES[one.op],
                "body": one.body.hex(),
                "ids": [f"{one_id.scheme}:{one_id.id}" for one_id in one.ids],
            }
        elif entry.kind == ANSWERED:
            out |= {"err": one.err, "z": hex(one.zxid), "reply": one.reply.hex()}
    elif entry.kind == EVENT:
        out |= {"type": entry.event_type, "path": entry.path, "z": hex(entry.zxid)}
    elif entry.kind == CONNECTED:
        out |= {"s": hex(entry.session_id), "timeout": entry.timeout_ms, "server": entry.server}
    elif entry.kind == REWATCHED:
        out["z"] = hex(entry.zxid)
    return out


def load(lines: Iterable[str]) -> History:
    """Reads the lines of ``dump``.  Raises ValueError, naming the line."""
    history = History()
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                _load_entry(history, json.loads(line))
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise ValueError(f"line {number}: {type(error).__name__}: {error}") from error
    return history


def _load_entry(history: History, raw: dict[str, Any]) -> None:
    kind, at, client = raw["k"], raw["t"], raw["c"]
    if kind == SENT:
        ids = [Id(*text.split(":", 1)) for text in raw["ids"]]
        op = _OPS_BY_NAME[raw["op"]]
        body = bytes.fromhex(raw["body"])
        one = history.sent(at, client, int(raw["s"], 16), raw["x"], op, body, ids)
        if one.number != raw["i"]:
            raise ValueError(f"request {raw['i']} where {one.number} was due")
    elif kind == ANSWERED:
        reply = bytes.fromhex(raw["reply"])
        history.answered(at, history.invocations[raw["i"]], raw["err"], int(raw["z"], 16), reply)
    elif kind == LOST:
        history.lost(at, history.invocations[raw["i"]])
    elif kind == EVENT:
        history.event(at, client, raw["type"], raw["path"], int(raw["z"], 16))
    elif kind == CONNECTED:
        history.connected(at, client, int(raw["s"], 16), raw["timeout"], raw["server"])
    elif kind in KINDS:
        entry = history.add(kind, at, client)
        entry.zxid = int(raw["z"], 16) if "z" in raw else 0
    else:
        raise ValueError(f"unknown kind {kind!r}")
