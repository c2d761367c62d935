"""What the door is told by its server: its settings, once, and the server's state, a few times a second."""

from dataclasses import astuple, dataclass


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """The door's options and what it needs to know of its server; plain values, for the link.

    ``super_digest`` and the like are what the digest scheme is made of.  ``keeps_log``: whether there is a
    log to read on from.
    """

    data_dir: str
    data_log_dir: str
    keeps_log: bool
    server_id: int
    on_voters: bool = False
    max_subscribers: int = 15_000
    buffer_bytes: int = 65_536
    slow_reader_ms: int = 30_000
    heartbeat_ms: int = 10_000
    max_filter_bytes: int = 8192
    max_header_bytes: int = 16_384
    max_snapshot_nodes: int = 100_000
    allow_origins: tuple[str, ...] = ()
    digest_algorithm: str = "SHA1"
    super_digest: str = ""
    digest_enabled: bool = True
    skip_acl: bool = False

    def message(self) -> tuple[object, ...]:
        """For the link."""
        return astuple(self)


@dataclass(frozen=True, slots=True)
class Status:
    """A server's state.

    ``committed``: all up to there is committed (-1: not known); ``synced``: all up to there is in the log;
    ``floor``: ACLs are known for what follows it; ``open_to``: from the floor up to there, everybody could
    read everything (-1: not so).  ``lag_ms``, ``lag_txns``: -1 where not known.
    """

    mode: str
    serves: bool
    is_voter: bool
    committed: int
    synced: int
    zxid: int
    floor: int
    open_to: int
    lag_ms: int
    lag_txns: int

    def message(self) -> tuple[object, ...]:
        """For the link."""
        return astuple(self)


NO_STATUS = Status("starting", False, False, -1, 0, 0, 0, -1, -1, -1)
