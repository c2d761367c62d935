"""What a role tells about itself for the operators' doors: plain data, filled by ``Role.describe``.

``status.ServerView`` puts it beside what every server has.  Nothing here knows a role or a connection, so
that roles can import it.  Units are in the names; -1 and "" say that there is nothing to tell.
"""

from typing import Final

from mypy_extensions import i64

from zabra.config.ensemble import EnsembleConfig
from zabra.zab.phases import ELECTION, SERVER_STATES, SYNC_MODES, SYNC_NONE, ZAB_STATES

# Parts of a view that cost more than a few counters; a picture holds those it was asked for.
PART_CONNECTIONS: Final = 1  # every client connection (cons, stat)
PART_SESSIONS: Final = 2  # sessions by the time of their expiry (dump)
PART_EPHEMERALS: Final = 4  # ephemeral nodes by session (dump)
PART_WATCHES_BY_SESSION: Final = 8  # (wchc)
PART_WATCHES_BY_PATH: Final = 16  # (wchp)
PART_METRICS: Final = 32  # every metric (mntr)
PART_DIGESTS: Final = 64  # the log of digests (hash)

# Size of a proposal or a reply before the first one.
NO_SIZE: Final = -1


class SizeStats:
    """Sizes in bytes of the newest, the smallest and the largest of something (upstream ``BufferStats``)."""

    __slots__ = ("largest", "last", "smallest")

    def __init__(self) -> None:
        self.last: i64 = NO_SIZE
        self.smallest: i64 = NO_SIZE
        self.largest: i64 = NO_SIZE

    def note(self, size: i64) -> None:
        """Takes one more into account."""
        self.last = size
        if size > self.largest:
            self.largest = size
        if size < self.smallest or self.smallest == NO_SIZE:
            self.smallest = size

    def reset(self) -> None:
        """Forgets all of them."""
        self.last = NO_SIZE
        self.smallest = NO_SIZE
        self.largest = NO_SIZE

    def copy(self) -> "SizeStats":
        """The same numbers, which will not change."""
        out = SizeStats()
        out.last = self.last
        out.smallest = self.smallest
        out.largest = self.largest
        return out


class ExpiryBucket:
    """The sessions that expire at ``when_ms`` (monotonic) unless they are heard before."""

    __slots__ = ("session_ids", "when_ms")

    def __init__(self, when_ms: i64, session_ids: list[int]) -> None:
        self.when_ms: i64 = when_ms
        self.session_ids: list[int] = session_ids


def copy_buckets(buckets: list[tuple[int, list[int]]]) -> list[ExpiryBucket]:
    """What a session tracker tells, as a part of a RoleView."""
    return [ExpiryBucket(when, ids) for when, ids in buckets]


class LearnerView:
    """One learner at the server it follows; ``address`` is host:port, ``established_ms`` wall clock."""

    __slots__ = (
        "address",
        "established_ms",
        "last_zxid",
        "packets_received",
        "packets_sent",
        "queued_bytes",
        "queued_packets",
        "requests",
        "sid",
    )

    def __init__(self, sid: i64, address: str, established_ms: i64) -> None:
        self.sid: i64 = sid
        self.address: str = address
        self.established_ms: i64 = established_ms
        self.queued_packets: i64 = 0
        self.queued_bytes: i64 = 0
        self.packets_received: i64 = 0
        self.packets_sent: i64 = 0
        self.requests: i64 = 0
        self.last_zxid: i64 = -1


class LeaderView:
    """What only a leader has."""

    __slots__ = (
        "learners",
        "pending_syncs",
        "proposal_sizes",
        "synced_followers",
        "synced_non_voting_followers",
        "uptime_ms",
    )

    def __init__(self) -> None:
        self.uptime_ms: i64 = 0
        # Connected learners; those of them that are in step, by kind (observers: RoleView.observers).
        self.learners: i64 = 0
        self.synced_followers: i64 = 0
        self.synced_non_voting_followers: i64 = 0
        self.pending_syncs: i64 = 0
        self.proposal_sizes: SizeStats = SizeStats()


class QuorumView:
    """What every member of an ensemble has; ``config`` is the configuration in force."""

    __slots__ = ("config", "leader_address", "leader_id", "peer_state", "zab_state")

    def __init__(self, config: EnsembleConfig) -> None:
        self.config: EnsembleConfig = config
        # "leading - broadcast": state, phase, kind of synchronisation (upstream getDetailedPeerState).
        self.peer_state: str = ""
        # "election", "discovery", "synchronization", "broadcast".
        self.zab_state: str = ""
        # The server that leads, and its host; -1 and "" while nobody does.
        self.leader_id: i64 = -1
        self.leader_address: str = ""

    def led_by(self, sid: i64) -> None:
        """Notes who leads."""
        self.leader_id = sid
        server = self.config.servers.get(sid)
        if server is not None:
            self.leader_address = server.addresses[0][0]


def quorum_view(config: EnsembleConfig, state: i64, zab_state: i64, sync_mode: i64) -> QuorumView:
    """A view with the words for the states of ``zab.phases``."""
    view = QuorumView(config)
    view.zab_state = ZAB_STATES[zab_state].lower()
    view.peer_state = SERVER_STATES[state].lower()
    if zab_state != ELECTION:
        view.peer_state += f" - {view.zab_state}"
    if sync_mode != SYNC_NONE:
        view.peer_state += f" - {SYNC_MODES[sync_mode].lower()}"
    return view


class RoleView:
    """What a role tells: ``parts`` says which of the costly parts are wanted."""

    __slots__ = (
        "has_lag",
        "lag_ms",
        "lag_txns",
        "leader",
        "local_buckets",
        "local_sessions",
        "name",
        "observer_master_id",
        "observers",
        "parts",
        "quorum",
        "serves",
        "session_buckets",
        "synced_observers",
        "tracks_sessions",
    )

    def __init__(self, name: str, serves: bool, parts: i64) -> None:
        self.name: str = name
        self.serves: bool = serves
        self.parts: i64 = parts
        # Whether this server expires the ensemble's sessions; then, with PART_SESSIONS, when.
        self.tracks_sessions: bool = False
        self.session_buckets: list[ExpiryBucket] = []
        # None: local sessions are not enabled.  Buckets only with PART_SESSIONS.
        self.local_sessions: i64 = 0
        self.local_buckets: list[ExpiryBucket] | None = None
        self.quorum: QuorumView | None = None
        self.leader: LeaderView | None = None
        # Observers that are in step with this server, where it may have some (-1: it may not).
        self.synced_observers: i64 = -1
        self.observers: list[LearnerView] = []
        # At an observer: the server it follows.
        self.observer_master_id: i64 = -1
        # Whether it knows of a distance to the leader, which it may not serve at; -1: not measured yet.
        self.has_lag: bool = False
        self.lag_ms: i64 = -1
        self.lag_txns: i64 = -1
