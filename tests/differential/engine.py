"""Plays one run on two servers, compares every frame, and cuts a failing run down.

One session at a time sends a batch of pipelined requests, and the next batch goes out when every reply to
it has come: so the order of requests is the same on both servers although six sessions take turns.  Events
for other sessions wait in their sockets and are compared when those sessions are next read.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.differential.generate import SUPER, Generator, Step, relocate, resolve
from tests.differential.views import Clock, Correspondence, View, view
from tests.differential.wire import HEADER, PASSWORD_BYTES, Connection, Op, encode, request

from zabra.proto import codes
from zabra.proto.errors import ERROR_NAMES

SESSION_TIMEOUT_MS = 3_600_000
SHRINK_RUNS = 800
"""Runs spent on cutting one failing run down, at most."""

EXPECTED_ERRORS = (
    codes.ERR_RUNTIME_INCONSISTENCY,
    codes.ERR_MARSHALLING,
    codes.ERR_UNIMPLEMENTED,
    codes.ERR_BAD_ARGUMENTS,
    codes.ERR_NO_NODE,
    codes.ERR_NO_AUTH,
    codes.ERR_BAD_VERSION,
    codes.ERR_NO_CHILDREN_FOR_EPHEMERALS,
    codes.ERR_NODE_EXISTS,
    codes.ERR_NOT_EMPTY,
    codes.ERR_INVALID_ACL,
    codes.ERR_AUTH_FAILED,
    codes.ERR_NO_WATCHER,
    codes.ERR_RECONFIG_DISABLED,
    codes.ERR_QUOTA_EXCEEDED,
)
"""Errors a client of a standalone server can be answered with; every large run must have seen each."""

EXPECTED_OPS = tuple(
    code for code in codes.OP_NAMES if code not in (codes.OP_CREATE_SESSION, codes.OP_DELETE_CONTAINER)
)

Address = tuple[str, int]
FrameFilter = Callable[[bytes], bytes]


class Difference(Exception):
    """The two servers did not do the same."""


@dataclass
class Counts:
    """What a command has seen so far."""

    ops: Counter[int] = field(default_factory=Counter)
    errors: Counter[int] = field(default_factory=Counter)
    events: Counter[int] = field(default_factory=Counter)
    sessions: int = 0
    resumed: int = 0
    closed_by_server: int = 0
    runs: int = 0
    drifts: int = 0

    def missing(self) -> list[str]:
        """Operations, errors and events that should have been seen and were not."""
        out = [codes.OP_NAMES[code] for code in EXPECTED_OPS if not self.ops[code]]
        out += [ERROR_NAMES[code] for code in EXPECTED_ERRORS if not self.errors[code]]
        return out + [f"event {kind}" for kind in range(1, 5) if not self.events[kind]]

    def line(self, differences: int) -> str:
        """One line for a report."""
        errors = ",".join(f"{code}:{self.errors[code]}" for code in sorted(self.errors, reverse=True))
        events = ",".join(f"{kind}:{self.events[kind]}" for kind in sorted(self.events))
        return (
            f"R11 fuzz-live ops={self.ops.total()} runs={self.runs} sessions={self.sessions} "
            f"resumed={self.resumed} closed-by-server={self.closed_by_server} opcodes={len(self.ops)} "
            f"events={self.events.total()} ({events}) errors={self.errors.total()} ({errors}) "
            f"zxid-drifts={self.drifts} missing={','.join(self.missing()) or 'none'} "
            f"differences={differences}"
        )


class Side:
    """One server's half of a session."""

    def __init__(self, address: Address, tamper: FrameFilter | None = None) -> None:
        self._address = address
        self._tamper = tamper
        self.connection: Connection | None = None
        self.session_id = 0
        self.passwd: bytes | None = bytes(PASSWORD_BYTES)
        self.last_zxid = 0

    def connect(self, mode: str) -> tuple[object, ...]:
        """Opens or resumes a session; what of the answer must be equal on both sides."""
        self.connection = Connection(*self._address)
        resume = mode in ("good", "wrong password")
        response = self.connection.open_session(
            SESSION_TIMEOUT_MS,
            session_id=self.session_id if resume else 0,
            passwd=bytes([7] * PASSWORD_BYTES)
            if mode == "wrong password"
            else self.passwd
            if resume
            else bytes(16),
            last_zxid=self.last_zxid if resume else 0,
            read_only={"short": None, "read-only": True}.get(mode, False),
        )
        if response is None:
            return ("closed",)
        if response.session_id:
            self.session_id, self.passwd = response.session_id, response.passwd
        size = None if response.passwd is None else len(response.passwd)
        accepted = response.session_id != 0
        same = not resume or not accepted or response.session_id == self.session_id
        return response.protocol_version, response.time_out, accepted, same, size, response.read_only

    def collect(self, replies: int, until_closed: bool) -> list[bytes | None]:
        """Frames until so many replies have come or the server has closed (a None at the end)."""
        assert self.connection is not None
        out: list[bytes | None] = []
        while replies > 0 or until_closed:
            payload = self.connection.frame()
            if payload is None:
                return [*out, None]
            if self._tamper is not None:
                payload = self._tamper(payload)
            out.append(payload)
            xid, zxid, _ = HEADER.unpack_from(payload)
            if zxid > 0:
                self.last_zxid = max(self.last_zxid, zxid)
            replies -= xid != codes.XID_NOTIFICATION
        return out

    def close(self) -> None:
        """Closes the connection, keeping what is needed to resume the session."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def closes(op: Op) -> bool:
    """Whether the server closes the connection after answering this."""
    if op[0] == "auth":
        return op[1] not in ("digest", "ip")
    return op[0] == "close_session" or (op[0] == "raw" and op[1] not in _KNOWN)


_KNOWN = frozenset(codes.OP_NAMES) - {codes.OP_NOTIFICATION, codes.OP_CHECK, codes.OP_ERROR}


class Run:
    """One run of steps on two servers."""

    def __init__(
        self,
        left: Address,
        right: Address,
        counts: Counts,
        same: Correspondence,
        tamper: FrameFilter | None = None,
    ) -> None:
        self._addresses = (left, right)
        self._counts = counts
        self._same = same
        self._tamper = tamper
        self._clock = Clock()
        self._slots: dict[int, tuple[Side, Side]] = {}
        self._xid = 0
        self._unordered: tuple[set[int], set[int]] = (set(), set())
        self.step_index = 0

    def play(self, steps: Sequence[Step]) -> None:
        """Plays all steps; raises Difference at the first thing that is not the same."""
        try:
            for index, step in enumerate(steps):
                self.step_index = index
                self._play(step)
            for session in list(self._slots):
                if self._live(session):
                    self._batch(session, (("ping",), ("close_session",)))
        finally:
            for pair in self._slots.values():
                for side in pair:
                    side.close()

    def _live(self, session: int) -> bool:
        return session in self._slots and self._slots[session][0].connection is not None

    def _play(self, step: Step) -> None:
        kind, session = step[0], step[1]
        if kind == "batch":
            if self._live(session):
                self._batch(session, step[2])
        elif kind == "drop":
            if self._live(session):
                self._batch(session, (("ping",),))
                self._close(session)
        elif kind == "connect":
            if not self._live(session):
                self._slots[session] = (Side(self._addresses[0]), Side(self._addresses[1], self._tamper))
                self._connect(session, step[2])
        elif session in self._slots and not self._live(session):
            self._connect(session, step[2])

    def _connect(self, session: int, mode: str) -> None:
        left, right = self._slots[session]
        answers = (left.connect(mode), right.connect(mode))
        if answers[0] != answers[1]:
            raise Difference(f"connect ({mode}): {answers[0]} and {answers[1]}")
        if answers[0][0] == "closed" or not answers[0][2]:
            self._close(session)
            return
        self._same.session(left.session_id, right.session_id)
        if mode == "good":
            self._counts.resumed += 1
        else:
            self._counts.ops[codes.OP_CREATE_SESSION] += 1
            self._counts.sessions += 1

    def _close(self, session: int) -> None:
        for side in self._slots[session]:
            side.close()

    def _batch(self, session: int, ops: Sequence[Op]) -> None:
        if not ops:
            return
        sent: list[tuple[int, int, Op]] = []
        for op in ops:
            sent.append((self._next_xid(op), encode(resolve(op, 1))[0], op))
        left = self._slots[session][0].last_zxid
        for index, side in enumerate(self._slots[session]):
            assert side.connection is not None
            zxid_of = self._same.right if index else int
            parts = [request(xid, *encode(resolve(op, left, zxid_of))) for xid, _, op in sent]
            side.connection.send(b"".join(parts))
        until_closed = closes(ops[-1])
        frames = []
        for name, side in zip(("left", "right"), self._slots[session], strict=True):
            try:
                frames.append(side.collect(len(sent), until_closed))
            except TimeoutError:
                raise Difference(f"no answer on the {name} side to {_names(sent)}") from None
        self._compare(sent, *frames)
        if frames[0][-1] is None:
            self._counts.closed_by_server += 1
            self._close(session)

    def _next_xid(self, op: Op) -> int:
        if op[0] == "ping":
            return codes.XID_PING
        if op[0] == "auth":
            return codes.XID_AUTH
        if op[0] in ("set_watches", "set_watches2"):
            return codes.XID_SET_WATCHES
        self._xid += 1
        return self._xid

    def _compare(
        self, sent: list[tuple[int, int, Op]], left: list[bytes | None], right: list[bytes | None]
    ) -> None:
        mine, others = self._views(sent, left, 0), self._views(sent, right, 1)
        replies = iter(sent)
        for a, b in zip(mine, others, strict=False):
            told = self._same.difference(a, b)
            if told is not None:
                what = "event" if a.is_event else "reply"
                raise Difference(f"{what}: {told}\n  sent  {_names(sent)}\n  left  {a}\n  right {b}")
            if a.is_event:
                self._counts.events[a.shape[2]] += 1
            else:
                self._count(next(replies), a)
        if len(mine) != len(others):
            surplus = mine[len(others) :] or others[len(mine) :]
            where = "left" if len(mine) > len(others) else "right"
            raise Difference(f"more frames on the {where}\n  sent  {_names(sent)}\n  surplus {surplus}")
        if (left[-1] is None) != (right[-1] is None):
            where = "left" if left[-1] is None else "right"
            raise Difference(f"closed on the {where} only\n  sent  {_names(sent)}")

    def _views(self, sent: list[tuple[int, int, Op]], frames: list[bytes | None], side: int) -> list[View]:
        """Views of the frames; events of one closeSession in a fixed order, for upstream promises none."""
        out: list[View] = []
        replies = 0
        for payload in frames:
            if payload is None:
                break
            if HEADER.unpack_from(payload)[0] == codes.XID_NOTIFICATION:
                out.append(view(None, payload, self._clock))
            else:
                out.append(view(sent[replies][1] if replies < len(sent) else None, payload, self._clock))
                replies += 1
        if sent[-1][1] == codes.OP_CLOSE_SESSION and out and not out[-1].is_event:
            self._unordered[side].add(out[-1].zxid)
        start = 0
        while start < len(out):
            end = start + 1
            if out[start].is_event and out[start].zxid in self._unordered[side]:
                while end < len(out) and out[end].is_event and out[end].zxid == out[start].zxid:
                    end += 1
                out[start:end] = sorted(out[start:end], key=_event_order)
            start = end
        return out

    def _count(self, sent: tuple[int, int, Op], reply: View) -> None:
        self._counts.ops[sent[1]] += 1
        errors = self._counts.errors
        if reply.err:
            errors[reply.err] += 1
        elif sent[1] in (codes.OP_MULTI, codes.OP_MULTI_READ):
            errors.update(entry for entry in reply.shape[2:] if isinstance(entry, int) and entry < 0)


def _event_order(event: View) -> tuple[str, int]:
    return event.shape[4], event.shape[2]


def _names(sent: list[tuple[int, int, Op]]) -> str:
    text = "; ".join(f"{xid}: {op}" for xid, _, op in sent)
    return text if len(text) < 6000 else text[:6000] + " ..."


class Harness:
    """Plays runs one after another on two servers and keeps count."""

    def __init__(
        self,
        left: Address,
        right: Address,
        *,
        malformed: bool = True,
        tamper: FrameFilter | None = None,
    ) -> None:
        self.counts = Counts()
        self._addresses = (left, right)
        self._malformed = malformed
        self._tamper = tamper
        self._same = Correspondence()
        self._number = 0

    def _root(self) -> str:
        self._number += 1
        return f"/d{self._number:07d}"

    def one(self, seed: int, ops: int) -> tuple[list[Step], Difference | None]:
        """Plays the run of one seed; the steps played and the difference found, if any."""
        rng = random.Random(seed)
        root = self._root()
        generator = Generator(rng, root, quota=rng.random() < 0.25, malformed=self._malformed)
        # Runs with quotas wait for every reply: upstream checks a quota against what is applied already.
        steps = generator.run(ops // 6 if generator.quota else ops)
        self.counts.runs += 1
        return steps, self._try(steps, root, self.counts)

    def _try(self, steps: list[Step], root: str, counts: Counts) -> Difference | None:
        """Plays steps; the difference, or None.  The run's nodes are removed on both servers afterwards."""
        self._calibrate()
        run = Run(*self._addresses, counts, self._same, self._tamper)
        try:
            run.play(steps)
        except Difference as difference:
            difference.add_note(str(run.step_index))
            return difference
        finally:
            counts.drifts = self._same.drifts
            for address in self._addresses:
                remove_tree(address, (root, "/zookeeper/quota" + root))
        return None

    def _calibrate(self) -> None:
        """Learns by how much the two servers' zxids differ now."""
        zxids = []
        for address in self._addresses:
            connection = Connection(*address)
            connection.open_session(SESSION_TIMEOUT_MS)
            connection.send(request(1, codes.OP_CLOSE_SESSION))
            payload = connection.frame()
            if payload is None:
                raise ConnectionError(f"{address} closed during closeSession")
            zxids.append(HEADER.unpack_from(payload)[1])
            connection.close()
        self._same.calibrate(zxids[0], zxids[1])

    def shrink(self, steps: list[Step], difference: Difference) -> tuple[list[Step], Difference]:
        """The smallest list of steps found that still shows a difference, and that difference."""
        root = next(op[2] for step in steps if step[0] == "batch" for op in step[2] if op[0] == "create")
        self._runs_left = SHRINK_RUNS
        best, told = steps, difference
        if difference.__notes__:
            cut = steps[: int(difference.__notes__[0]) + 1]
            again = self._replay(cut, root)
            if again is not None:
                best, told = cut, again
        best, told = self._drop_parts(best, told, root, _whole_steps)
        return self._drop_parts(best, told, root, _single_ops)

    def _replay(self, steps: list[Step], root: str) -> Difference | None:
        self._runs_left -= 1
        new = self._root()
        return self._try(relocate(steps, root, new), new, Counts())

    def _drop_parts(
        self,
        best: list[Step],
        told: Difference,
        root: str,
        without: Callable[[list[Step], int, int], list[Step]],
    ) -> tuple[list[Step], Difference]:
        """Leaves out ever smaller stretches, keeping what still shows a difference."""
        size = max(len(best), sum(len(step[2]) for step in best if step[0] == "batch")) // 2
        while size >= 1:
            start = 0
            while self._runs_left > 0:
                candidate = without(best, start, size)
                if candidate == best:
                    break
                again = self._replay(candidate, root)
                if again is None:
                    start += size
                else:
                    best, told = candidate, again
            size //= 2
        return best, told


def _whole_steps(steps: list[Step], start: int, size: int) -> list[Step]:
    return steps[:start] + steps[start + size :]


def _single_ops(steps: list[Step], start: int, size: int) -> list[Step]:
    """Leaves out operations ``start`` to ``start + size`` of all batches, counted through."""
    out: list[Step] = []
    index = 0
    for step in steps:
        if step[0] != "batch":
            out.append(step)
            continue
        kept = tuple(op for place, op in enumerate(step[2], index) if not start <= place < start + size)
        index += len(step[2])
        if kept:
            out.append(("batch", step[1], kept))
    return out


def remove_tree(address: Address, paths: Sequence[str]) -> None:
    """Deletes these nodes and all below them as the super user."""
    connection = Connection(*address)
    try:
        connection.open_session(SESSION_TIMEOUT_MS)
        connection.call(codes.XID_AUTH, ("auth", "digest", SUPER))
        for path in paths:
            _remove(connection, path)
        connection.call(1, ("close_session",))
    finally:
        connection.close()


def _remove(connection: Connection, path: str) -> None:
    err, body = connection.call(1, ("get_children", path, 0))
    if err == codes.ERR_NO_NODE:
        return
    count = struct.unpack_from(">i", body)[0]
    place = 4
    for _ in range(count):
        size = struct.unpack_from(">i", body, place)[0]
        _remove(connection, f"{path}/{body[place + 4 : place + 4 + size].decode()}")
        place += 4 + size
    err, _ = connection.call(1, ("delete", path, -1))
    if err:
        raise AssertionError(f"cannot remove {path}: {err}")
