"""QuotaChecker: nobody makes a node where a hard limit has no room for it.

A leader goes by what is committed when it looks, which is at least what had been answered to anybody when
the request was sent, and at most what was committed when it took effect.  If there was room at no moment
between the two, the request had to be refused.
"""

from bisect import bisect_right
from typing import Final

from zabra.proto import codes
from zabra.sim.histories import Invocation
from zabra.sim.model import LIMITS, QUOTA_ROOT, STATS, Model

CREATES: Final = frozenset(
    {codes.OP_CREATE, codes.OP_CREATE2, codes.OP_CREATE_CONTAINER, codes.OP_CREATE_TTL}
)
_HARD: Final = b"countHardLimit="


def room_for_a_node(model: Model, quota: str) -> bool:
    """Whether the quota on this path allows one more."""
    limits = model.nodes.get(QUOTA_ROOT + quota + LIMITS)
    stats = model.nodes.get(QUOTA_ROOT + quota + STATS)
    if limits is None or stats is None:
        return True
    _, there, hard = (limits.data or b"").rpartition(_HARD)
    limit = int(hard) if there else -1
    used = (stats.data or b"").removeprefix(b"count=").partition(b",")[0]
    return limit < 0 or not used or int(used) + 1 <= limit


class QuotaChecker:
    """Told of every txn, in order (``applied``), and asked about those that made a node (``had_room``)."""

    def __init__(self, invocations: list[Invocation]) -> None:
        # The highest zxid that anybody had been told, by time.
        self._told_us: list[int] = []
        self._told: list[int] = []
        highest = 0
        for one in sorted(invocations, key=_by_done):
            if one.answered and one.zxid > highest:
                highest = one.zxid
                self._told_us.append(one.done_us)
                self._told.append(highest)
        # Quota -> the zxids at which room came or went, and what has been since.
        self._zxids: dict[str, list[int]] = {}
        self._rooms: dict[str, list[bool]] = {}

    def applied(self, model: Model, zxid: int) -> None:
        """The model has this txn now."""
        quotas = [path[len(QUOTA_ROOT) : -len(LIMITS)] for path in model.nodes if path.endswith(LIMITS)]
        for quota in dict.fromkeys([*self._rooms, *quotas]):
            room = room_for_a_node(model, quota)
            rooms = self._rooms.setdefault(quota, [True])
            if rooms[-1] != room:
                rooms.append(room)
                self._zxids.setdefault(quota, []).append(zxid)

    def had_room(self, quota: str, one: Invocation, zxid: int) -> bool:
        """Whether there was room at some moment from when it was sent to right before ``zxid``."""
        rooms = self._rooms.get(quota)
        return rooms is None or any(self._seen(quota, rooms, one, zxid))

    def was_full(self, one: Invocation, zxid: int) -> bool:
        """Whether any quota was full at some such moment."""
        return any(not all(self._seen(quota, rooms, one, zxid)) for quota, rooms in self._rooms.items())

    def _seen(self, quota: str, rooms: list[bool], one: Invocation, zxid: int) -> list[bool]:
        """Room or none, as a leader may have seen it."""
        place = bisect_right(self._told_us, one.sent_us - 1)
        told = self._told[place - 1] if place else 0
        zxids = self._zxids.get(quota, [])
        first = bisect_right(zxids, told)
        last = bisect_right(zxids, zxid - 1)
        return rooms[first : last + 1]


def _by_done(one: Invocation) -> int:
    return one.done_us
