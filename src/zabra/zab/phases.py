"""The states of a server and the phases of Zab, and which may follow which, as data.

``Machine.move`` is the only way from one to another: it refuses what the table does not have, and returns
a ``Move`` for the trace.  ``docs`` draws its diagrams from these tables.  Words are upstream's
(``QuorumPeer.ServerState``, ``ZabState``, ``SyncMode``); phases are those of the Zab paper, section IV.
"""

from typing import Final

from mypy_extensions import i64

# ServerState; the numbers are those of notifications.
LOOKING: Final = 0
FOLLOWING: Final = 1
LEADING: Final = 2
OBSERVING: Final = 3

SERVER_STATES: Final[dict[int, str]] = {
    LOOKING: "LOOKING",
    FOLLOWING: "FOLLOWING",
    LEADING: "LEADING",
    OBSERVING: "OBSERVING",
}

# A role ends in LOOKING.  The moves between roles are those of a reconfiguration that names the next
# leader (upstream QuorumPeer.updateServerState with reconfigFlag set).
SERVER_MOVES: Final[dict[int, list[int]]] = {
    LOOKING: [FOLLOWING, LEADING, OBSERVING, LOOKING],
    FOLLOWING: [LOOKING, LEADING, OBSERVING],
    LEADING: [LOOKING, FOLLOWING, OBSERVING],
    OBSERVING: [LOOKING, FOLLOWING, LEADING],
}

# ZabState: phases 0 to 3.
ELECTION: Final = 0
DISCOVERY: Final = 1
SYNCHRONIZATION: Final = 2
BROADCAST: Final = 3

ZAB_STATES: Final[dict[int, str]] = {
    ELECTION: "ELECTION",
    DISCOVERY: "DISCOVERY",
    SYNCHRONIZATION: "SYNCHRONIZATION",
    BROADCAST: "BROADCAST",
}

ZAB_MOVES: Final[dict[int, list[int]]] = {
    ELECTION: [DISCOVERY, ELECTION],
    DISCOVERY: [SYNCHRONIZATION, ELECTION],
    SYNCHRONIZATION: [BROADCAST, ELECTION],
    BROADCAST: [ELECTION],
}

# SyncMode: what a learner is going through in SYNCHRONIZATION.
SYNC_NONE: Final = 0
SYNC_DIFF: Final = 1
SYNC_SNAP: Final = 2
SYNC_TRUNC: Final = 3

SYNC_MODES: Final[dict[int, str]] = {
    SYNC_NONE: "NONE",
    SYNC_DIFF: "DIFF",
    SYNC_SNAP: "SNAP",
    SYNC_TRUNC: "TRUNC",
}

SYNC_MOVES: Final[dict[int, list[int]]] = {
    SYNC_NONE: [SYNC_DIFF, SYNC_SNAP, SYNC_TRUNC, SYNC_NONE],
    SYNC_DIFF: [SYNC_NONE],
    SYNC_SNAP: [SYNC_NONE],
    SYNC_TRUNC: [SYNC_NONE],
}


class IllegalMove(Exception):
    """A state machine was asked for a move its table does not have: a bug, so the server must stop."""


class Move:
    """One move of one machine, for the trace."""

    __slots__ = ("machine", "new", "old", "why")

    def __init__(self, machine: str, old: str, new: str, why: str) -> None:
        self.machine: str = machine
        self.old: str = old
        self.new: str = new
        self.why: str = why

    def __repr__(self) -> str:
        return f"{self.machine}: {self.old} -> {self.new} ({self.why})"


class Machine:
    """A named state with a table of legal moves."""

    __slots__ = ("moves", "name", "names", "state")

    def __init__(self, name: str, names: dict[int, str], moves: dict[int, list[int]], start: i64) -> None:
        self.name: str = name
        self.names: dict[int, str] = names
        self.moves: dict[int, list[int]] = moves
        self.state: i64 = start

    def can_move(self, to: i64) -> bool:
        """Whether the table has a move from here to ``to``."""
        return to in self.moves[self.state]

    def move(self, to: i64, why: str) -> Move:
        """Moves to ``to``.  Raises IllegalMove where the table does not have it."""
        old = self.state
        if to not in self.moves[old]:
            raise IllegalMove(f"{self.name}: {self.names[old]} -> {self.names.get(to, str(to))} ({why})")
        self.state = to
        return Move(self.name, self.names[old], self.names[to], why)

    def word(self) -> str:
        """The state in upstream's word."""
        return self.names[self.state]


def server_machine() -> Machine:
    """ServerState, from LOOKING."""
    return Machine("ServerState", SERVER_STATES, SERVER_MOVES, LOOKING)


def zab_machine() -> Machine:
    """ZabState, from ELECTION."""
    return Machine("ZabState", ZAB_STATES, ZAB_MOVES, ELECTION)


def sync_machine() -> Machine:
    """SyncMode, from NONE."""
    return Machine("SyncMode", SYNC_MODES, SYNC_MOVES, SYNC_NONE)
