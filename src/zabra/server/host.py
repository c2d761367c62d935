"""Host: what every part of one server shares within a turn: clocks, the tree, the Ready being filled.

It is the bottom of the ``server`` package: connections, serving and roles are written on it, and
``server.Server`` is the Host that drivers call.
"""

from mypy_extensions import i64

from zabra.auth.registry import Providers
from zabra.config.ensemble import EnsembleConfig
from zabra.metrics import Metrics
from zabra.proto.txn import TxnEntry
from zabra.server.committed_log import CommittedLog
from zabra.server.prng import SplitMix
from zabra.server.ready import DISK_APPEND, DISK_ROLL, LOG_INFO, LOG_WARNING, Dial, DiskCommand, Ready
from zabra.server.settings import Settings
from zabra.server.stats import ServerStats
from zabra.tree.acl_trail import AclTrail
from zabra.tree.datatree import DataTree


class Durable:
    """Something to do once the disk has carried out a command; subclasses say what."""

    def done(self) -> None:
        """Called once, in the turn in which the driver reported it."""
        raise AssertionError("not reached")


class WaitingDurable:
    """A Durable and the token it waits for."""

    __slots__ = ("durable", "token")

    def __init__(self, token: i64, durable: Durable) -> None:
        self.token: i64 = token
        self.durable: Durable = durable


class Host:
    """Clocks, tree, log position, and the batch of work being gathered."""

    def __init__(
        self,
        settings: Settings,
        providers: Providers,
        tree: DataTree,
        last_logged_zxid: int,
        seed: int,
        now_ms: int,
        wall_ms: int,
    ) -> None:
        self.settings: Settings = settings
        self.providers: Providers = providers
        self.tree: DataTree = tree
        self.random: SplitMix = SplitMix(seed)
        self.now_ms: i64 = now_ms
        self.wall_ms: i64 = wall_ms
        self.out: Ready = Ready()
        self.metrics: Metrics = Metrics()
        self.stats: ServerStats = ServerStats(self.metrics, now_ms)
        self.committed_log: CommittedLog = CommittedLog(settings.commit_log_count)
        # The last txn handed to the log, and the last one known to be durable.
        self.last_logged_zxid: i64 = last_logged_zxid
        self.last_synced_zxid: i64 = last_logged_zxid
        self._batch: list[TxnEntry] = []
        self._token: i64 = 0
        self._done_token: i64 = 0
        self._waiting: list[WaitingDurable] = []
        self._snapshot_token: i64 = 0
        self._dial_id: i64 = 0
        # Txns and bytes appended since the log was last rolled.
        self.appended_count: i64 = 0
        self.appended_bytes: i64 = 0
        # The tree is being loaded anew (``ask_reload``).
        self.reloading: bool = False
        # Since when clients have not been served, -1 while they are.
        self.unavailable_since_ms: i64 = now_ms
        # Txns handed to the disk and not known to be durable.
        self.unsynced_count: i64 = 0
        # Of the batch that became durable last: how many txns, and how long after they were handed over.
        self.synced_count: i64 = 0
        self.synced_took_ms: i64 = 0

    # --- the log -----------------------------------------------------------------------------------

    def append(self, entry: TxnEntry) -> None:
        """Hands a txn to the log; ``log_synced`` follows when it is durable."""
        self._batch.append(entry)
        self.metrics.sync_processor_request_queued.value += 1
        self.last_logged_zxid = entry.header.zxid
        self.appended_count += 1
        self.appended_bytes += len(entry.raw)

    def flush_appends(self) -> None:
        """Turns what was appended so far into one disk command."""
        if self._batch:
            batch = self._batch
            self._batch = []
            command = self.disk_command(DISK_APPEND)
            command.entries = batch
            command.zxid = batch[len(batch) - 1].header.zxid
            self.out.disk.append(command)
            count: i64 = len(batch)
            self.unsynced_count += count
            self.metrics.sync_processor_queue_size.add(self.unsynced_count)
            self._waiting.append(WaitingDurable(command.token, LogSynced(self, command.zxid, count)))

    def disk_command(self, kind: i64) -> DiskCommand:
        """A command with the next token; the caller fills it and puts it on ``out.disk``."""
        self._token += 1
        return DiskCommand(kind, self._token)

    def submit_disk(self, command: DiskCommand, durable: Durable | None) -> None:
        """Queues a command behind all before it; ``durable.done()`` is called when it is carried out.

        Appends gathered so far go first, so commands that were made with ``disk_command`` must be
        submitted at once.
        """
        self.out.disk.append(command)
        if durable is not None:
            self._waiting.append(WaitingDurable(command.token, durable))

    def roll_log(self) -> None:
        """The next append starts a new log file."""
        self.flush_appends()
        self.submit_disk(self.disk_command(DISK_ROLL), None)
        self.appended_count = 0
        self.appended_bytes = 0

    def disk_done(self, token: int) -> None:
        """Every command up to ``token`` is durable."""
        self._done_token = token
        waiting = self._waiting
        count = 0
        for one in waiting:
            if one.token > token:
                break
            count += 1
        done = waiting[:count]
        self._waiting = waiting[count:]
        unsynced = self.unsynced_count
        for one in done:
            one.durable.done()
        if self.unsynced_count < unsynced:
            self.metrics.sync_processor_batch_size.add(unsynced - self.unsynced_count)

    def disk_is_idle(self) -> bool:
        """Whether everything handed to the log's queue is durable."""
        return self._done_token == self._token and not self._batch

    def drop_durables(self) -> None:
        """What the role that is over wanted to hear of the disk no longer matters (the disk work goes on)."""
        kept: list[WaitingDurable] = []
        for one in self._waiting:
            if isinstance(one.durable, LogSynced):
                kept.append(one)
        self._waiting = kept

    def note_synced(self, zxid: i64) -> None:
        """The log is durable up to ``zxid``; the server tells its role."""
        self.last_synced_zxid = zxid

    def tree_is_void(self) -> None:
        """The tree is about to be replaced: nothing may be saved of it any more."""

    def replace_tree(self, tree: DataTree) -> None:
        """Another tree, received or loaded anew, takes the place of the one there was."""
        if self.tree.acl_trail is not None and tree.acl_trail is None:
            tree.acl_trail = AclTrail(tree.last_processed_zxid)
        self.tree = tree
        self.committed_log.clear()

    def disk_is_at_rest(self) -> bool:
        """Whether nothing is being written, no fuzzy snapshot either: what there is may be read anew."""
        return self.disk_is_idle()

    def ask_reload(self) -> None:
        """Has the tree loaded from disk; one that is under way already will do, since nothing is written."""
        if not self.reloading:
            self.reloading = True
            self.out.reload = True

    def show_config(self, ensemble: EnsembleConfig) -> None:
        """Another view is in force, and no txn says so: the server puts it into the tree."""

    # --- snapshots beside the log --------------------------------------------------------------------

    def snapshot_command(self, kind: i64) -> DiskCommand:
        """A command for the queue of fuzzy snapshots."""
        self._snapshot_token += 1
        command = DiskCommand(kind, self._snapshot_token)
        self.out.snapshot.append(command)
        return command

    # --- connections to other servers ------------------------------------------------------------------

    def dial(self, port: i64, addresses: list[tuple[str, int]], timeout_ms: i64) -> i64:
        """Asks for a connection; its id comes back with the outcome."""
        self._dial_id += 1
        self.out.dials.append(Dial(self._dial_id, port, addresses, timeout_ms))
        return self._dial_id

    def send(self, conn_id: i64, data: bytes) -> None:
        """Bytes for another server."""
        self.out.sends.append((conn_id, data))

    def close_conn(self, conn_id: i64) -> None:
        """Closes a connection to another server, behind what was sent to it."""
        self.out.closes.append(conn_id)

    # --- availability -----------------------------------------------------------------------------------

    def note_unavailable(self) -> None:
        """No leader is known, and so nobody is served."""
        if self.unavailable_since_ms < 0:
            self.unavailable_since_ms = self.now_ms

    def note_available(self, leads: bool) -> None:
        """Clients are served (again)."""
        if self.unavailable_since_ms >= 0:
            took_ms = self.now_ms - self.unavailable_since_ms
            self.unavailable_since_ms = -1
            self.metrics.unavailable_time.add(took_ms)
            if leads:
                self.metrics.leader_unavailable_time.add(took_ms)

    # --- the rest -------------------------------------------------------------------------------------

    def log(self, level: int, text: str) -> None:
        """A line for the operator's log."""
        self.out.log_lines.append((level, text))

    def info(self, text: str) -> None:
        """A line at level info."""
        self.log(LOG_INFO, text)

    def warn(self, text: str) -> None:
        """A line at level warning."""
        self.log(LOG_WARNING, text)

    def stop(self, code: int, reason: str) -> None:
        """The server must stop; the first reason stands."""
        if self.out.stop_code < 0:
            self.metrics.unrecoverable_error_count.add(1)
            self.out.stop_code = code
            self.out.stop_reason = reason

    def wake_by(self, when_ms: i64) -> None:
        """Asks for a turn no later than ``when_ms`` (monotonic)."""
        if self.out.wake_at_ms == 0 or when_ms < self.out.wake_at_ms:
            self.out.wake_at_ms = when_ms

    def wakes_at(self) -> i64:
        """When the next turn is asked for so far."""
        return self.out.wake_at_ms


class LogSynced(Durable):
    """A batch of the log is durable."""

    def __init__(self, host: Host, zxid: i64, count: i64) -> None:
        self.host: Host = host
        self.zxid: i64 = zxid
        self.count: i64 = count
        self.appended_ms: i64 = host.now_ms

    def done(self) -> None:
        host = self.host
        host.unsynced_count -= self.count
        took_ms = host.now_ms - self.appended_ms
        host.metrics.sync_processor_queue_and_flush_time_ms.add_many(took_ms, self.count)
        host.synced_count = self.count
        host.synced_took_ms = took_ms
        host.note_synced(self.zxid)
