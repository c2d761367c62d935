"""The vocabulary between a Server and whatever drives it (asyncio, or the simulator).

Calls go in (``Server.connection_made``, ``data_received``, ``disk_done`` ...); one ``Ready`` comes out
per turn and says what to do.  A driver keeps order in two places only: bytes per connection, and
``disk`` commands (one queue, carried out in order).  Everything else may be done in any order.
Durability is an event: whatever promises it is emitted in answer to ``disk_done``.
"""

from typing import Final

from mypy_extensions import i64, mypyc_attr

from zabra.proto.txn import TxnEntry

# Which door a connection came through, or was dialled for.
PORT_CLIENT: Final = 1
PORT_QUORUM: Final = 2
PORT_ELECTION: Final = 3
PORT_OBSERVER_MASTER: Final = 4

# Kinds of DiskCommand, carried out in the order they were given.
DISK_APPEND: Final = 1  # entries: write to the log, then sync
DISK_ROLL: Final = 2  # the next append starts a new log file
DISK_TRUNCATE: Final = 3  # cut the log after zxid; ``refused`` if nothing would be left to start from
DISK_ACCEPTED_EPOCH: Final = 4  # value: replace acceptedEpoch
DISK_CURRENT_EPOCH: Final = 5  # value: replace currentEpoch
DISK_SNAPSHOT_BEGIN: Final = 6  # start snapshot.<zxid>; flag: sync it before it counts as done
DISK_SNAPSHOT_CHUNK: Final = 7  # data: more of its body
DISK_SNAPSHOT_END: Final = 8  # zxid, value: digest trailer; the snapshot is complete and valid
DISK_SNAPSHOT_ABORT: Final = 9  # throw the unfinished snapshot away
DISK_DROP_SNAPSHOTS: Final = 10  # delete every snapshot newer than zxid (after a truncation)
DISK_SAVE_FILE: Final = 11  # name, data: replace a configuration file (dynamic config) atomically
DISK_DELETE_FILE: Final = 12  # name
DISK_EDIT_CONFIG: Final = 13  # name: the static file; data: path of the dynamic one; flag: erase clientPort

LOG_DEBUG: Final = 10
LOG_INFO: Final = 20
LOG_WARNING: Final = 30
LOG_ERROR: Final = 40


@mypyc_attr(acyclic=True)
class DiskCommand:
    """One piece of disk work; ``token`` grows by one per command of the same queue."""

    __slots__ = ("data", "entries", "flag", "kind", "name", "refused", "token", "value", "zxid")

    def __init__(self, kind: i64, token: i64) -> None:
        self.kind: i64 = kind
        self.token: i64 = token
        self.entries: list[TxnEntry] = []
        self.zxid: i64 = 0
        self.value: i64 = 0
        self.data: bytes = b""
        self.name: str = ""
        self.flag: bool = False
        # Set by whoever carries it out: it could not be done, and nothing was changed.
        self.refused: bool = False


class Dial:
    """A connection to open: ``dial_id`` comes back with its outcome; the addresses are tried in turn."""

    __slots__ = ("addresses", "dial_id", "port", "timeout_ms")

    def __init__(self, dial_id: i64, port: i64, addresses: list[tuple[str, int]], timeout_ms: i64) -> None:
        self.dial_id: i64 = dial_id
        self.port: i64 = port
        self.addresses: list[tuple[str, int]] = addresses
        self.timeout_ms: i64 = timeout_ms


class LogRead:
    """Committed txns wanted back from the log on disk: from ``from_zxid`` on, at most ``max_bytes``.

    Answered by ``Server.log_read(token, entries, complete)``.
    """

    __slots__ = ("from_zxid", "max_bytes", "to_zxid", "token")

    def __init__(self, token: i64, from_zxid: i64, to_zxid: i64, max_bytes: i64) -> None:
        self.token: i64 = token
        self.from_zxid: i64 = from_zxid
        self.to_zxid: i64 = to_zxid
        self.max_bytes: i64 = max_bytes


class Listen:
    """A door to open (or close) for other servers while this one leads or relays."""

    __slots__ = ("addresses", "opened", "port")

    def __init__(self, port: i64, addresses: list[tuple[str, int]], opened: bool) -> None:
        self.port: i64 = port
        self.addresses: list[tuple[str, int]] = addresses
        self.opened: bool = opened


@mypyc_attr(acyclic=True)
class Ready:
    """What one turn asks of the driver."""

    __slots__ = (
        "closes",
        "dials",
        "disk",
        "informs",
        "listens",
        "log_lines",
        "log_reads",
        "pauses",
        "reload",
        "resumes",
        "sends",
        "snapshot",
        "stop_code",
        "stop_reason",
        "wake_at_ms",
        "words",
    )

    def __init__(self) -> None:
        # (connection, bytes), in order for each connection; closes come after them.
        self.sends: list[tuple[int, bytes]] = []
        self.closes: list[int] = []
        # The log's queue, and the queue of the fuzzy snapshots taken beside it.
        self.disk: list[DiskCommand] = []
        self.snapshot: list[DiskCommand] = []
        self.dials: list[Dial] = []
        self.listens: list[Listen] = []
        self.log_reads: list[LogRead] = []
        # Connections to stop, and to go on, reading from.
        self.pauses: list[int] = []
        self.resumes: list[int] = []
        # Committed txns in order, for publishers.
        self.informs: list[TxnEntry] = []
        # The tree is to be loaded anew from disk (after a truncation, or a snapshot that was not finished):
        # answered by Server.reloaded.  Given only when every command of both queues is done.
        self.reload: bool = False
        # (connection, four-letter word, rest of its input): the driver answers and closes.
        self.words: list[tuple[int, str, bytes]] = []
        # (level, text).
        self.log_lines: list[tuple[int, str]] = []
        # The latest monotonic ms by which the next turn must come.
        self.wake_at_ms: i64 = 0
        # Not -1: the server must stop with this exit code, for this reason.
        self.stop_code: i64 = -1
        self.stop_reason: str = ""

    def has_rare(self) -> bool:
        """Whether there is more than bytes to send, disk work and commits: most turns have no more."""
        return (
            len(self.log_lines) > 0
            or len(self.words) > 0
            or len(self.pauses) > 0
            or len(self.resumes) > 0
            or len(self.closes) > 0
            or len(self.listens) > 0
            or len(self.dials) > 0
            or len(self.log_reads) > 0
            or self.reload
            or self.stop_code >= 0
        )
