"""Snapshotter: when to take a snapshot, and taking it a slice per turn.

The tree goes on changing while it is walked (a fuzzy snapshot, as upstream's): replaying the log from the
zxid at which the walk began makes up for what the walk missed.  Source: upstream
``SyncRequestProcessor.shouldSnapshot``, ``FileTxnSnapLog.save``.
"""

from typing import Final

from mypy_extensions import i64

from zabra.server.host import Host
from zabra.server.ready import (
    DISK_SNAPSHOT_ABORT,
    DISK_SNAPSHOT_BEGIN,
    DISK_SNAPSHOT_CHUNK,
    DISK_SNAPSHOT_END,
)
from zabra.tree.snapshot_walk import SnapshotWalk

# One that takes long says how far it is so often.
PROGRESS_EVERY_MS: Final = 2000


class Snapshotter:
    """At most one fuzzy snapshot at a time."""

    def __init__(self, host: Host) -> None:
        self.host: Host = host
        self.walk: SnapshotWalk | None = None
        self.begun_zxid: i64 = 0
        self.begun_ms: i64 = 0
        # When something was last said of the one under way, and how many nodes it has.
        self.said_ms: i64 = 0
        self.nodes_written: i64 = 0
        self.last_token: i64 = 0
        self.done_token: i64 = 0
        self.end_token: i64 = 0
        # zxid and wall-clock ms of the last finished one, -1 before the first.
        self.last_zxid: i64 = -1
        self.last_wall_ms: i64 = -1
        # The walk has come to its end, at this zxid and digest, and the log may be behind it.
        self.walked: bool = False
        # It was given up.
        self.aborted: bool = False
        self.walked_zxid: i64 = 0
        self.walked_digest: i64 = 0
        self.count_trigger: i64 = 0
        self.size_trigger: i64 = 0
        self.draw_triggers()

    def draw_triggers(self) -> None:
        """Spreads the servers' snapshots over [n/2, n], so that they do not all take one at once."""
        count = self.host.settings.snap_count
        size = self.host.settings.snap_size_limit
        self.count_trigger = count // 2 + self.host.random.below(count // 2)
        self.size_trigger = size // 2 + self.host.random.below(size // 2)

    def due(self) -> bool:
        """Whether enough was logged since the last one."""
        host = self.host
        if host.appended_count > self.count_trigger:
            return True
        return host.settings.snap_size_limit > 0 and host.appended_bytes > self.size_trigger

    def busy(self) -> bool:
        """Whether one is being taken or written."""
        return self.end_token > self.done_token or self.walk is not None

    def step(self) -> None:
        """Once a turn: starts one that is due, or serialises the next slice of the one under way."""
        if self.walk is not None and self.walked:
            self.finish()
        elif self.walk is not None:
            self.next_slice(self.walk)
        elif self.due():
            self.draw_triggers()
            self.host.roll_log()
            if self.end_token <= self.done_token:
                self.begin()
        if self.busy():
            self.tell_progress()

    def tell_progress(self) -> None:
        """Says now and then how far one is that takes long."""
        host = self.host
        if host.now_ms - self.said_ms < PROGRESS_EVERY_MS:
            return
        self.said_ms = host.now_ms
        host.info(
            f"snapshot at 0x{self.begun_zxid:x}: {self.nodes_written} of {len(host.tree.nodes)} nodes, "
            f"{(host.now_ms - self.begun_ms) // 1000} s"
        )

    def begin(self) -> None:
        """Starts one now."""
        host = self.host
        self.begun_ms = host.now_ms
        self.said_ms = host.now_ms
        self.nodes_written = 0
        self.begun_zxid = host.tree.last_processed_zxid
        self.aborted = False
        self.walk = SnapshotWalk(host.tree)
        self.walked = False
        command = host.snapshot_command(DISK_SNAPSHOT_BEGIN)
        command.zxid = self.begun_zxid
        self.end_token = command.token
        host.wake_by(host.now_ms)

    def next_slice(self, walk: SnapshotWalk) -> None:
        """Serialises some more nodes, unless the disk is behind."""
        host = self.host
        if self.end_token - self.done_token > host.settings.snapshot_chunks_in_flight:
            return
        chunk = walk.step(host.settings.snapshot_nodes_per_turn)
        self.nodes_written = walk.nodes_written
        if chunk is not None:
            command = host.snapshot_command(DISK_SNAPSHOT_CHUNK)
            command.data = chunk
            host.wake_by(host.now_ms)
            self.end_token = command.token
        else:
            self.walked = True
            self.walked_zxid = host.tree.last_processed_zxid
            self.walked_digest = host.tree.digest
            self.finish()

    def finish(self) -> None:
        """Ends the snapshot, once the log has everything that it may hold.

        A server may apply what others have made durable before its own disk has it; a snapshot that is ahead
        of the log could not be made exact by replaying the log after a power cut.
        """
        host = self.host
        if host.last_synced_zxid < self.walked_zxid and host.last_logged_zxid >= self.walked_zxid:
            return
        command = host.snapshot_command(DISK_SNAPSHOT_END)
        command.zxid = self.walked_zxid
        command.value = self.walked_digest
        self.walk = None
        self.end_token = command.token

    def done(self, token: i64) -> None:
        """The disk has carried out the snapshot commands up to ``token``."""
        self.done_token = token
        if self.aborted and token >= self.end_token:
            self.aborted = False
        elif self.walk is None and token >= self.end_token:
            took_ms = self.host.now_ms - self.begun_ms
            self.host.metrics.snapshottime.add(took_ms)
            if took_ms >= PROGRESS_EVERY_MS:
                self.host.info(
                    f"snapshot at 0x{self.begun_zxid:x}: {self.nodes_written} nodes written in {took_ms} ms"
                )
            self.last_zxid = self.begun_zxid
            self.last_wall_ms = self.host.wall_ms
        elif self.walk is not None:
            self.host.wake_by(self.host.now_ms)

    def abort(self) -> None:
        """The tree is about to be replaced: the walk over the old one must not become a snapshot."""
        if self.walk is not None:
            self.walk = None
            self.aborted = True
            self.end_token = self.host.snapshot_command(DISK_SNAPSHOT_ABORT).token
