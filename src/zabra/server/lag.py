"""Lag: how far an observer is behind, in ms and in txns, and whether that is near enough to serve clients.

Nothing on the wire says how old what arrives is: packets wait in buffers together with the PINGs behind
them.  So the observer asks: a sync of no session goes up, and its answer comes down behind everything that
was committed when it was asked.  The time that takes bounds how old the tree is, and the txns that came
meanwhile are those that were missing, whatever any clock says.  See docs/adr/0077.
"""

from typing import Final

from mypy_extensions import i64

from zabra.jute.primitives import Reader, Writer
from zabra.server.settings import Settings

# The session id of a sync that asks for nothing but this.
PROBE_SESSION: Final = 0

UNKNOWN: Final = -1
# How soon an observer that is too far behind asks again.
RETRY_MS: Final = 50
# Bytes of what a master adds to its answer.
LAG_BYTES: Final = 16


def encode_lag(ms: i64, txns: i64) -> bytes:
    """Payload of a SYNC that answers a probe: how far its sender is behind itself."""
    w = Writer()
    w.write_long(ms)
    w.write_long(txns)
    return w.getvalue()


def decode_lag(data: bytes | None) -> tuple[i64, i64]:
    """(ms, txns) that an answer tells; (0, 0) for one that tells nothing (Apache's)."""
    if data is None or len(data) < LAG_BYTES:
        return 0, 0
    r = Reader(data)
    ms = r.read_long()
    return ms, r.read_long()


class Lag:
    """One observer's distance from the leader, while it has a master.

    ``in_step`` becomes true when an answer finds it within both limits (0: no limit), and false when it
    is known to be beyond one of them.
    """

    __slots__ = (
        "_asked_informs",
        "_asked_ms",
        "_every_ms",
        "_fell_back",
        "_informs",
        "_last_inform_ms",
        "_limit_ms",
        "_limit_txns",
        "_ms",
        "_next_ms",
        "_txns",
        "in_step",
    )

    def __init__(self, settings: Settings, now_ms: i64) -> None:
        self._limit_ms: i64 = settings.max_serve_lag_ms
        self._limit_txns: i64 = settings.max_serve_lag_txns
        self._every_ms: i64 = settings.tick_ms
        self._ms: i64 = UNKNOWN
        self._txns: i64 = UNKNOWN
        self._informs: i64 = 0
        self._last_inform_ms: i64 = now_ms
        # When the question under way was asked, UNKNOWN: none is.
        self._asked_ms: i64 = UNKNOWN
        self._asked_informs: i64 = 0
        self._next_ms: i64 = now_ms
        self._fell_back: bool = False
        self.in_step: bool = not self.is_limited()

    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return self._limit_ms > 0 or self._limit_txns > 0

    def is_known(self) -> bool:
        """Whether an answer has come."""
        return self._ms != UNKNOWN

    def informed(self, now_ms: i64) -> None:
        """A committed txn has come."""
        self._informs += 1
        self._last_inform_ms = now_ms

    def should_ask(self, now_ms: i64) -> bool:
        """Whether it is time to ask; then ask, and call ``asked``."""
        return self._asked_ms == UNKNOWN and now_ms >= self._next_ms

    def asked(self, now_ms: i64) -> None:
        """The question is on its way."""
        self._asked_ms = now_ms
        self._asked_informs = self._informs

    def answered(self, now_ms: i64, master_ms: i64, master_txns: i64) -> None:
        """The answer has come; the master says how far it is behind itself."""
        if self._asked_ms == UNKNOWN:
            return
        self._ms = now_ms - self._asked_ms + max(0, master_ms)
        self._txns = self._informs - self._asked_informs + max(0, master_txns)
        self._asked_ms = UNKNOWN
        if self.is_limited():
            # Who fell back comes back only when clearly near: no coming and going at the limit.
            part: i64 = 2 if self._fell_back else 1
            near_ms = self._limit_ms == 0 or self._ms * part <= self._limit_ms
            near_txns = self._limit_txns == 0 or self._txns * part <= self._limit_txns
            if near_ms and near_txns:
                self.in_step = True
                self._fell_back = False
            elif self.in_step:
                self.fall_back()
        self._next_ms = now_ms + (self._every_ms if self.in_step else RETRY_MS)

    def fall_back(self) -> None:
        """It was near enough, and no longer is."""
        self.in_step = False
        self._fell_back = True

    def tick(self, now_ms: i64, heard_ms: i64) -> None:
        """Time has passed: an answer that does not come says something too.

        Not while PINGs come and txns do not: then the leader cannot commit, and nobody is behind.  Where
        nothing comes at all (``heard_ms``: when something last did), the line may hold back anything.
        """
        if self._asked_ms == UNKNOWN or not self.in_step or not self.is_limited():
            return
        flows = now_ms - self._last_inform_ms <= self._every_ms
        is_silent = now_ms - heard_ms > self._every_ms
        late = (flows or is_silent) and self._limit_ms > 0 and self.ms(now_ms) > self._limit_ms
        if late or (self._limit_txns > 0 and self.txns() > self._limit_txns):
            self.fall_back()

    def wake_ms(self, now_ms: i64) -> i64:
        """When ``tick`` and ``should_ask`` should be called next."""
        if self._asked_ms == UNKNOWN:
            return self._next_ms
        overdue_ms = self._asked_ms + self._limit_ms + 1
        if self._limit_ms > 0 and self.in_step and overdue_ms > now_ms:
            return min(overdue_ms, now_ms + self._every_ms)
        return now_ms + self._every_ms

    def ms(self, now_ms: i64) -> i64:
        """The lag in ms; UNKNOWN before the first answer, unless it is overdue already."""
        if self._asked_ms != UNKNOWN:
            return max(self._ms, now_ms - self._asked_ms)
        return self._ms

    def txns(self) -> i64:
        """The lag in txns; UNKNOWN before the first answer."""
        if self._asked_ms != UNKNOWN:
            return max(self._txns, self._informs - self._asked_informs)
        return self._txns
