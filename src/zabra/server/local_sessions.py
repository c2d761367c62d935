"""LocalSessions: sessions that only this server knows, so that coming and going costs the quorum nothing.

A local session may do everything but own ephemerals; where the configuration allows it becomes a global one
at its first ephemeral.  Source: upstream ``LocalSessionTracker``, ``UpgradeableSessionTracker``.
"""

from mypy_extensions import i64

from zabra.server.host import Host
from zabra.sessions.tracker import SessionTracker


class LocalSessions:
    """The local sessions of this server.  ``upgrading``: those on their way to becoming global."""

    __slots__ = ("enabled", "host", "may_upgrade", "tracker", "upgrading")

    def __init__(self, host: Host) -> None:
        self.host: Host = host
        self.enabled: bool = host.settings.local_sessions_enabled
        self.may_upgrade: bool = host.settings.local_sessions_upgrading_enabled
        self.tracker: SessionTracker = SessionTracker(host.settings.tick_ms, host.now_ms)
        self.upgrading: dict[int, None] = {}

    def add(self, session_id: i64, timeout_ms: i64) -> None:
        """A new local session."""
        self.tracker.add(session_id, timeout_ms, self.host.now_ms)

    def holds(self, session_id: int) -> bool:
        """Whether the session is local here and alive."""
        return self.tracker.is_live(session_id)

    def touch(self, session_id: i64, timeout_ms: i64) -> bool:
        """Hears from a session; False if it is none of ours."""
        return self.tracker.touch(session_id, timeout_ms, self.host.now_ms)

    def begin_upgrade(self, session_id: int) -> bool:
        """The session is to become global; False if that has begun before."""
        if session_id in self.upgrading:
            return False
        self.upgrading[session_id] = None
        return True

    def remove(self, session_id: int) -> None:
        """The session is over, or global now."""
        self.upgrading.pop(session_id, None)
        self.tracker.remove(session_id)

    def expired(self) -> list[int]:
        """Sessions whose time is up; forgotten here."""
        out = self.tracker.expired(self.host.now_ms)
        for session_id in out:
            self.tracker.remove(session_id)
        return out

    def clear(self) -> None:
        """The server has lost its leader: as upstream, local sessions end with the role."""
        self.upgrading.clear()
        for session_id in self.tracker.session_ids():
            self.tracker.remove(session_id)
