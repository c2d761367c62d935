"""What two servers' answers have to share, and what may differ.

``view`` splits a frame into a shape (which must be equal), zxids, and session ids; times are replaced by
what must hold of them.  ``Correspondence`` decides whether two views say the same: zxids may differ by a
constant, session ids by a one-to-one map.  The constant may change only where a request was answered with
-5 (MARSHALLINGERROR): upstream spends a zxid on some malformed writes and not on others, and no client can
tell anything from it.
"""

from __future__ import annotations

import bisect
import re
import time
from typing import Any, Final

from tests.differential.wire import HEADER

from zabra.jute.primitives import JuteError, Reader
from zabra.proto import codes
from zabra.proto.records import GetACLResponse, MultiHeader, Stat, WatcherEvent, WhoAmIResponse

CLOCK_SLACK_MS: Final = 60_000
MEMBERS: Final = re.compile(rb"server\.\d+=")
PORT: Final = re.compile(rb":\d+")
LIST_ORDER_FREE: Final = (codes.OP_GET_CHILDREN, codes.OP_GET_CHILDREN2, codes.OP_GET_EPHEMERALS)


class View:
    """One frame: ``shape`` compared for equality, ``zxids`` and ``owners`` through the correspondence."""

    __slots__ = ("err", "owners", "shape", "xid", "zxid", "zxids")

    def __init__(self, xid: int, zxid: int, err: int) -> None:
        self.xid = xid
        self.zxid = zxid
        self.err = err
        self.shape: list[Any] = [xid, err]
        self.zxids = [zxid]
        self.owners: list[int] = []

    @property
    def is_event(self) -> bool:
        """Whether this is a notification."""
        return self.xid == codes.XID_NOTIFICATION

    def __repr__(self) -> str:
        zxids = ",".join(f"{zxid:#x}" for zxid in self.zxids)
        return f"shape={self.shape} zxids=[{zxids}] owners={[hex(owner) for owner in self.owners]}"


class Clock:
    """The run's time window; a server's wall-clock value becomes a word."""

    def __init__(self, start_ms: int | None = None) -> None:
        start_ms = int(time.time() * 1000) if start_ms is None else start_ms
        self.first_ms = start_ms - CLOCK_SLACK_MS

    def word(self, value: int) -> str:
        """``none`` for 0, ``now`` for a time in this run, ``strange`` for anything else."""
        if value == 0:
            return "none"
        return "now" if self.first_ms <= value <= int(time.time() * 1000) + CLOCK_SLACK_MS else "strange"


def view(code: int | None, payload: bytes, clock: Clock) -> View:
    """The view of a reply to operation ``code``, or of a notification."""
    out = View(*HEADER.unpack_from(payload))
    reader = Reader(payload, HEADER.size)
    try:
        if out.is_event:
            event = WatcherEvent.decode(reader)
            out.shape += [event.type, event.state, event.path]
        elif out.err == 0 and code is not None:
            _body(code, reader, out, clock)
    except JuteError as error:
        out.shape += ["cannot be decoded", str(error), payload[HEADER.size :].hex()]
        return out
    # Upstream sends the results it had when a multiRead breaks; no client reads behind an error.
    if reader.remaining() and not (out.err and code == codes.OP_MULTI_READ):
        out.shape += ["then", reader.read_rest().hex()]
    return out


def _stat(reader: Reader, out: View, clock: Clock) -> None:
    stat = Stat.decode(reader)
    out.zxids += [stat.czxid, stat.mzxid, stat.pzxid]
    out.owners.append(stat.ephemeral_owner)
    untouched = stat.czxid == stat.mzxid and stat.version == 0
    times = (clock.word(stat.ctime), clock.word(stat.mtime), stat.ctime == stat.mtime if untouched else None)
    out.shape.append(
        (stat.version, stat.cversion, stat.aversion, stat.data_length, stat.num_children, *times)
    )


def _vector(reader: Reader) -> list[str] | None:
    count = reader.read_int()
    return None if count < 0 else [reader.read_ustring() for _ in range(count)]


def _body(code: int, reader: Reader, out: View, clock: Clock) -> None:
    shape = out.shape
    if code in (codes.OP_CREATE, codes.OP_SYNC):
        shape.append(reader.read_nullable_ustring())
    elif code in (codes.OP_CREATE2, codes.OP_CREATE_CONTAINER, codes.OP_CREATE_TTL):
        shape.append(reader.read_nullable_ustring())
        _stat(reader, out, clock)
    elif code in (codes.OP_EXISTS, codes.OP_SET_DATA, codes.OP_SET_ACL):
        _stat(reader, out, clock)
    elif code in (codes.OP_GET_DATA, codes.OP_RECONFIG):
        data = reader.read_buffer()
        # /zookeeper/config: two ensembles on one machine have different ports.
        shape.append(data if data is None or not MEMBERS.match(data) else PORT.sub(b":#", data))
        _stat(reader, out, clock)
    elif code == codes.OP_GET_ACL:
        _acl(reader, out, clock)
    elif code in LIST_ORDER_FREE:
        names = _vector(reader)
        shape.append(names if names is None else sorted(names))
        if code == codes.OP_GET_CHILDREN2:
            _stat(reader, out, clock)
    elif code in (codes.OP_GET_ALL_CHILDREN_NUMBER, codes.OP_ADD_WATCH):
        shape.append(reader.read_int())
    elif code == codes.OP_WHO_AM_I:
        info = WhoAmIResponse.decode(reader).client_info
        shape.append(sorted((entry.auth_scheme, entry.user) for entry in info))
    elif code == codes.OP_SASL:
        shape.append(reader.read_buffer())
    elif code in (codes.OP_MULTI, codes.OP_MULTI_READ):
        _multi(reader, out, clock)


def _acl(reader: Reader, out: View, clock: Clock) -> None:
    """Upstream keeps a connection's ids in a hash set, so what scheme ``auth`` expands to has no order."""
    start = reader.pos
    count = reader.read_int()
    reader.pos = start
    entries = GetACLResponse.decode(reader)
    out.shape += [count, sorted((entry.perms, entry.id.scheme, entry.id.id) for entry in entries.acl)]
    stat = entries.stat
    out.zxids += [stat.czxid, stat.mzxid, stat.pzxid]
    out.owners.append(stat.ephemeral_owner)
    out.shape.append((stat.version, stat.cversion, stat.aversion, stat.data_length, stat.num_children))


def _multi(reader: Reader, out: View, clock: Clock) -> None:
    while True:
        header = MultiHeader.decode(reader)
        out.shape.append((header.type, header.done, header.err))
        if header.done:
            return
        if header.type == codes.OP_ERROR:
            out.shape.append(reader.read_int())
        else:
            _body(header.type, reader, out, clock)


class Correspondence:
    """How the left server's zxids and session ids relate to the right one's."""

    def __init__(self) -> None:
        # From left zxid starts[i] on, right = left - deltas[i].
        self._starts: list[int] = []
        self._deltas: list[int] = []
        self._left_to_right: dict[int, int] = {}
        self._right_to_left: dict[int, int] = {}
        self.drifts = 0

    def calibrate(self, left: int, right: int) -> None:
        """From this pair on, the difference of the two is what all zxids differ by."""
        delta = left - right
        if self._deltas and self._deltas[-1] == delta:
            return
        if self._starts and self._starts[-1] == left:
            self._deltas[-1] = delta
            return
        self._starts.append(left)
        self._deltas.append(delta)

    def session(self, left: int, right: int) -> None:
        """The two servers' ids of one session."""
        self._left_to_right[left] = right
        self._right_to_left[right] = left

    def right(self, left: int) -> int:
        """The right server's zxid that stands where this one of the left server stands."""
        index = bisect.bisect_right(self._starts, left) - 1
        return left - self._deltas[index] if left > 0 and index >= 0 else left

    def difference(self, left: View, right: View) -> str | None:
        """What is different, or None."""
        if left.shape != right.shape:
            return "content"
        if left.err == codes.ERR_MARSHALLING and not self._same_zxid(left.zxid, right.zxid):
            self.drifts += 1
            self.calibrate(left.zxid, right.zxid)
        if len(left.zxids) != len(right.zxids):
            return "number of zxids"
        for index, (mine, other) in enumerate(zip(left.zxids, right.zxids, strict=True)):
            if not self._same_zxid(mine, other):
                return "reply zxid" if index == 0 else "zxid in stat"
        for mine, other in zip(left.owners, right.owners, strict=True):
            if self._left_to_right.get(mine, mine if mine == 0 else None) != other:
                return "ephemeralOwner"
        return None

    def _same_zxid(self, left: int, right: int) -> bool:
        if left <= 0 or right <= 0:
            return left == right
        index = bisect.bisect_right(self._starts, left) - 1
        return index >= 0 and left - right == self._deltas[index]
