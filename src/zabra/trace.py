"""How the core tells what it does: events handed to a tracer, in upstream's words.

The core never logs.  Where something happens that a person, a checker or a log wants to know, it asks
whether anyone is listening and, only then, makes an event::

    if tracer.enabled:
        tracer.event(TraceEvent(PROPOSAL, sid, {"zxid": zxid, "type": "setData"}))

With nobody listening that costs one attribute.  Drivers decide what becomes of events: the runtime writes
them to its log, the simulator keeps them for its checkers.
"""

from typing import Final, Protocol

# What happens to a server as a whole.
STATE: Final = "state"
ZAB_STATE: Final = "zabState"
VOTE: Final = "vote"
ELECTED: Final = "elected"
SYNC_PLAN: Final = "syncPlan"
RECOVERED: Final = "recovered"
SNAPSHOT: Final = "snapshot"
RECONFIG: Final = "reconfig"
# What happens to one txn.
PROPOSAL: Final = "proposal"
ACK: Final = "ack"
COMMIT: Final = "commit"
INFORM: Final = "inform"
APPLY: Final = "apply"
# What happens on a connection.
SENT: Final = "sent"
RECEIVED: Final = "received"
OPENED: Final = "opened"
CLOSED: Final = "closed"
SESSION: Final = "session"
AUTH: Final = "auth"
# What should not happen.
WARNING: Final = "warning"
PROTOCOL_ERROR: Final = "protocolError"

ACTIONS: Final[dict[str, str]] = {
    STATE: "the server's state changes: LOOKING, FOLLOWING, LEADING, OBSERVING",
    ZAB_STATE: "the phase changes: ELECTION, DISCOVERY, SYNCHRONIZATION, BROADCAST",
    VOTE: "the server proposes another leader",
    ELECTED: "an election ends",
    SYNC_PLAN: "a leader decides between DIFF, TRUNC and SNAP for a learner",
    RECOVERED: "the tree was rebuilt from snapshot and log",
    SNAPSHOT: "a snapshot begins or ends",
    RECONFIG: "a configuration is proposed or takes effect",
    PROPOSAL: "a txn is proposed (leader) or received (learner)",
    ACK: "a txn is durable here and acknowledged, or an ack arrives at the leader",
    COMMIT: "a txn is committed",
    INFORM: "a committed txn arrives at an observer",
    APPLY: "a txn changes the tree",
    SENT: "a packet is sent to another server",
    RECEIVED: "a packet arrives from another server",
    OPENED: "a connection is open",
    CLOSED: "a connection is closed, and why",
    SESSION: "a session is created, moved, closed or expired",
    AUTH: "a client authenticates or fails to",
    WARNING: "something an operator should know",
    PROTOCOL_ERROR: "a peer or client sent what is not allowed",
}

# Fields that read better in hexadecimal, as upstream prints them.
HEX_FIELDS: Final[tuple[str, ...]] = ("zxid", "session", "epoch", "last_zxid", "peer_epoch")


class TraceEvent:
    """Something that happened: an action of ``ACTIONS``, the server's id, and details by name."""

    __slots__ = ("action", "fields", "sid")

    def __init__(self, action: str, sid: int, fields: dict[str, object]) -> None:
        self.action: str = action
        self.sid: int = sid
        self.fields: dict[str, object] = fields

    def __str__(self) -> str:
        details = [f"{name}={_shown(name, value)}" for name, value in self.fields.items()]
        return " ".join([f"{self.sid} {self.action}", *details])

    def __repr__(self) -> str:
        return f"TraceEvent({self.action!r}, {self.sid!r}, {self.fields!r})"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TraceEvent)
            and self.action == other.action
            and self.sid == other.sid
            and self.fields == other.fields
        )

    def __hash__(self) -> int:
        return hash(str(self))


def _shown(name: str, value: object) -> str:
    if name in HEX_FIELDS and isinstance(value, int):
        return f"-0x{-value:x}" if value < 0 else f"0x{value:x}"
    return str(value)


class Tracer(Protocol):
    """Who listens.  ``enabled`` may change at any time; ``event`` must neither raise nor wait."""

    enabled: bool

    def event(self, event: TraceEvent) -> None:
        """Takes one event."""


class NullTracer:
    """Nobody listens."""

    def __init__(self) -> None:
        self.enabled: bool = False

    def event(self, event: TraceEvent) -> None:
        """Drops it."""


class ListTracer:
    """Keeps the newest events, for tests and the simulator.  ``limit`` bounds how many."""

    def __init__(self, limit: int = 100_000) -> None:
        assert limit > 0
        self.enabled: bool = True
        self.limit: int = limit
        self.events: list[TraceEvent] = []

    def event(self, event: TraceEvent) -> None:
        """Keeps it, and drops the older half when there are too many."""
        if len(self.events) >= self.limit:
            del self.events[: (self.limit + 1) // 2]
        self.events.append(event)

    def of(self, action: str) -> list[TraceEvent]:
        """The kept events of one action, oldest first."""
        return [event for event in self.events if event.action == action]
