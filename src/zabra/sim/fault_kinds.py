"""The written fault model: every kind of fault there is, and what it does (``zabra sim --faults``)."""

from typing import Final


class Kind:
    """One kind of fault: its name, what it is, and where it makes sense."""

    __slots__ = ("chance", "ensemble_only", "name", "text")

    def __init__(self, name: str, text: str, ensemble_only: bool = False, chance: float = 0.35) -> None:
        self.name = name
        self.text = text
        self.ensemble_only = ensemble_only
        # How likely a seed switches it on.
        self.chance = chance


KINDS: Final = (
    Kind("delay", "packets of one direction between two servers take up to 300 ms longer", True),
    Kind("client delay", "packets from or to one server take up to 300 ms longer for all clients"),
    Kind("loss", "up to 30 % of all packets are lost and retransmitted"),
    Kind("clog", "one direction between two servers stands still, then goes on", True),
    Kind("swizzle clog", "servers are clogged one by one, and unclogged in another order", True),
    Kind("cut", "a connection breaks in the middle of what is on its way"),
    Kind(
        "cut at a packet",
        "a connection between two servers breaks right behind a packet of a kind",
        True,
        chance=0.5,
    ),
    Kind("one-way partition", "nothing gets from one server to another, the way back is open", True),
    Kind("partition", "the servers fall into two parts that do not reach each other", True),
    Kind("isolate leader", "nobody reaches the leader, or the leader reaches nobody", True),
    Kind("flapping", "a link between two servers comes and goes", True),
    Kind("client partition", "one server is out of reach for all clients"),
    Kind("kill", "SIGKILL of one server, later a restart"),
    Kind("kill leader", "SIGKILL of the leader, later a restart", True),
    Kind("power cut", "one machine loses power and what was not synced, later a restart"),
    Kind("power cut of all", "all machines lose power at once, and return one by one", True),
    Kind("orphaned leader", "the leader and its clients are cut off from the other servers for long", True),
    Kind(
        "standstill",
        "nothing moves between the leader and the others, almost until they give up; clients leave meanwhile",
        True,
    ),
    Kind(
        "strike",
        "just as a server takes a step that matters it is killed, cut off, or all lose power",
        True,
        chance=0.7,
    ),
    Kind("crash at a write", "a machine loses power between two given operations on its disk"),
    Kind("crash loop", "one server is killed again shortly after each start, also while it recovers"),
    Kind("pause", "SIGSTOP of one server, later SIGCONT"),
    Kind("slow node", "one machine is ten times slower"),
    Kind("clock step", "a wall clock is set forward or back, by up to an hour"),
    Kind("clock rate", "a machine's clocks run up to 5 % too fast or too slow"),
    Kind("slow disk", "one disk takes up to a second for each fsync"),
    Kind("stuck fsync", "one fsync takes seconds"),
    Kind("slow log", "one server's log is on a slow disk of its own, its snapshots are not"),
    Kind(
        "lone disk",
        "all disks but one are stuck for a while, and the server with the good one is restarted meanwhile",
        True,
    ),
    Kind("write error", "a write fails (EIO): the server stops, and restarts"),
    Kind("fsync error", "an fsync fails (EIO), what it was to write is lost: the server stops, and restarts"),
    Kind("short write", "only half of a write happens, then ENOSPC: the server stops, and restarts"),
    Kind("disk full", "no space is left on one disk, for a while"),
    Kind("bit flip", "a byte of a file changes while the machine is down", True),
    Kind("lost entry", "a file disappears from its folder while the machine is down", True, chance=0.5),
    Kind("reformat", "a machine loses its whole disk", True),
    Kind("purge", "old snapshots and logs are removed"),
    Kind("snapshot", "an operator has a server take a snapshot, which may be restarted from it"),
    Kind("reconfig", "a voter or observer is removed, added, or changes into the other", True),
    Kind("mass watch", "every client watches the same nodes, in every way there is"),
    Kind("clients move", "all clients of one server drop their connections"),
    Kind("clients die", "several clients die at once: their sessions expire together"),
    Kind("client freeze", "a client says nothing for longer than its session lasts"),
)
KIND_NAMES: Final = tuple(kind.name for kind in KINDS)
