"""SessionTracker: which sessions live, when each expires, and through whom it speaks.

Expiry times are rounded up to whole ticks, so that touching a session is usually a comparison and an
expiry check looks at one bucket.  Source: upstream ``SessionTrackerImpl`` and ``ExpiryQueue``.
"""

from collections import deque
from typing import Final

from mypy_extensions import i64

from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.request import OWNER_NONE

# For so many ticks at least it is known of a session that it has ended (``SessionTracker.end``), and for so
# many times a learner's syncLimit: what has not come to the leader by then never comes, since whoever brings
# it, and each relay on the way, is given up after syncLimit.
ENDED_KEPT_TICKS: Final = 60
ENDED_KEPT_LIMITS: Final = 4


class TrackedSession:
    """One session: ``timeout_ms`` as negotiated, ``expires_ms`` its bucket (monotonic ms)."""

    __slots__ = ("closing", "expires_ms", "owner", "session_id", "timeout_ms")

    def __init__(self, session_id: i64, timeout_ms: i64, expires_ms: i64) -> None:
        self.session_id: i64 = session_id
        self.timeout_ms: i64 = timeout_ms
        self.expires_ms: i64 = expires_ms
        self.owner: i64 = OWNER_NONE
        self.closing: bool = False


class SessionTracker:
    """The sessions one server is responsible for expiring.

    ``tick_ms`` is the bucket width, ``sync_limit_ticks`` how long learners may be behind.
    """

    __slots__ = ("_buckets", "_ended", "_ended_order", "_kept_ms", "_sessions", "_swept_ms", "tick_ms")

    def __init__(self, tick_ms: int, now_ms: int, sync_limit_ticks: int = 0) -> None:
        self.tick_ms: i64 = tick_ms
        self._kept_ms: i64 = max(ENDED_KEPT_TICKS, ENDED_KEPT_LIMITS * sync_limit_ticks) * tick_ms
        self._sessions: dict[int, TrackedSession] = {}
        self._buckets: dict[int, dict[int, None]] = {}
        self._swept_ms: i64 = self._round_up(now_ms)
        # Those that ended lately; with when (ms) each is forgotten, in that order.
        self._ended: dict[int, None] = {}
        self._ended_order: deque[tuple[int, int]] = deque()

    def _round_up(self, when_ms: i64) -> i64:
        return (when_ms // self.tick_ms + 1) * self.tick_ms

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, session_id: int) -> bool:
        return session_id in self._sessions

    def session_ids(self) -> list[int]:
        """Every tracked session, oldest first."""
        return list(self._sessions)

    def add(self, session_id: int, timeout_ms: int, now_ms: int) -> bool:
        """Tracks a session from now; False if it was tracked already (then it is only touched)."""
        if session_id in self._sessions:
            self.touch(session_id, timeout_ms, now_ms)
            return False
        expires = self._round_up(now_ms + timeout_ms)
        self._sessions[session_id] = TrackedSession(session_id, timeout_ms, expires)
        self._bucket(expires)[session_id] = None
        return True

    def _bucket(self, expires_ms: int) -> dict[int, None]:
        bucket = self._buckets.get(expires_ms)
        if bucket is None:
            bucket = self._buckets[expires_ms] = {}
        return bucket

    def touch(self, session_id: int, timeout_ms: int, now_ms: i64) -> bool:
        """Hears from a session; False if it is unknown or closing."""
        session = self._sessions.get(session_id)
        if session is None or session.closing:
            return False
        expires = self._round_up(now_ms + timeout_ms)
        # Never earlier: a learner's late report must not shorten a life that was already granted.
        if expires > session.expires_ms:
            old = self._buckets.get(session.expires_ms)
            if old is not None:
                old.pop(session_id, None)
                if not old:
                    del self._buckets[session.expires_ms]
            session.expires_ms = expires
            self._bucket(expires)[session_id] = None
        return True

    def extend(self, by_ms: i64) -> None:
        """Every session lives ``by_ms`` longer: for so long nobody could be heard here."""
        old = self._buckets
        self._buckets = {}
        for when in sorted(old):
            later = self._round_up(when + by_ms - 1)
            bucket = self._bucket(later)
            for session_id in old[when]:
                self._sessions[session_id].expires_ms = later
                bucket[session_id] = None

    def timeout_of(self, session_id: int) -> i64:
        """Negotiated timeout in ms, 0 for an unknown session."""
        session = self._sessions.get(session_id)
        return 0 if session is None else session.timeout_ms

    def is_live(self, session_id: int) -> bool:
        """Tracked and not closing."""
        session = self._sessions.get(session_id)
        return session is not None and not session.closing

    def remove(self, session_id: int) -> None:
        """Forgets a session."""
        session = self._sessions.pop(session_id, None)
        if session is not None:
            bucket = self._buckets.get(session.expires_ms)
            if bucket is not None:
                bucket.pop(session_id, None)
                if not bucket:
                    del self._buckets[session.expires_ms]

    def end(self, session_id: int, now_ms: i64) -> None:
        """Forgets a session, but not at once that there was one."""
        self.remove(session_id)
        order = self._ended_order
        while order and order[0][0] <= now_ms:
            del self._ended[order.popleft()[1]]
        if session_id not in self._ended:
            self._ended[session_id] = None
            order.append((now_ms + self._kept_ms, session_id))

    def has_ended(self, session_id: int) -> bool:
        """Whether there was such a session lately."""
        return session_id in self._ended

    def set_closing(self, session_id: int) -> None:
        """From now on nothing may be done in the name of this session."""
        session = self._sessions.get(session_id)
        if session is not None:
            session.closing = True

    def owner_of(self, session_id: int) -> i64:
        """Through whom the session speaks, OWNER_NONE if nobody yet."""
        session = self._sessions.get(session_id)
        return OWNER_NONE if session is None else session.owner

    def set_owner(self, session_id: int, owner: i64) -> None:
        """Moves the session.  Raises SESSIONEXPIRED for an unknown or closing one."""
        session = self._sessions.get(session_id)
        if session is None or session.closing:
            raise KeeperError(codes.ERR_SESSION_EXPIRED)
        session.owner = owner

    def check(self, session_id: int, owner: i64) -> None:
        """Raises SESSIONEXPIRED for a dead session, SESSIONMOVED for one that speaks through another."""
        session = self._sessions.get(session_id)
        if session is None or session.closing:
            raise KeeperError(codes.ERR_SESSION_EXPIRED)
        if session.owner == OWNER_NONE:
            session.owner = owner
        elif owner != OWNER_NONE and session.owner != owner:
            raise KeeperError(codes.ERR_SESSION_MOVED)

    def next_expiry_ms(self) -> i64:
        """When ``expired`` should be asked next (monotonic ms)."""
        return self._swept_ms

    def expired(self, now_ms: i64) -> list[int]:
        """Marks and returns the sessions whose time is up; each is returned once."""
        out: list[int] = []
        while self._swept_ms <= now_ms:
            bucket = self._buckets.pop(self._swept_ms, None)
            if bucket is not None:
                for session_id in bucket:
                    session = self._sessions[session_id]
                    # One that closes itself has its closeSession proposed already; upstream adds another.
                    if not session.closing:
                        session.closing = True
                        out.append(session_id)
            if not self._buckets:
                self._swept_ms = self._round_up(now_ms)
                break
            self._swept_ms += self.tick_ms
        return out

    def expiry_buckets(self) -> list[tuple[int, list[int]]]:
        """(expiry ms, session ids) in order of time, for the ``dump`` command."""
        return [(when, list(self._buckets[when])) for when in sorted(self._buckets)]
