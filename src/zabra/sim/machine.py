"""Machine and Process: a host with a disk and clocks, and one life of a server on it.

A ``Process`` carries out what its ``Server`` asks (``Ready``), as the runtime's Node does, on simulated
links, disk and time.  Every turn, every delivery and every completion of disk work is an event of its own;
what happens to a server between two events (a crash, a pause) finds it exactly there.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from mypy_extensions import mypyc_attr

from zabra.auth.registry import Providers
from zabra.config.ensemble import EnsembleConfig, QuorumServer, parse_properties
from zabra.proto.request import FIRST_CONNECTION_ID
from zabra.proto.txn import TxnEntry, decode_txn
from zabra.server.disk_worker import DiskFailure, DiskWorker
from zabra.server.ready import PORT_ELECTION, Dial, DiskCommand, Listen, LogRead, Ready
from zabra.server.reconfig import DYNAMIC_FILE_KEY, next_file_name
from zabra.server.recovery import Recovered, RecoveryOptions, open_store, recover, recover_epochs
from zabra.server.roles.learning import SYNCHRONIZATION
from zabra.server.server import Server
from zabra.server.settings import Settings
from zabra.sim.clock import US_PER_MS, MachineClock
from zabra.sim.disk import Draws, SimDisk
from zabra.sim.events import Scheduler
from zabra.sim.network import End, Network
from zabra.sim.prng import Prng
from zabra.storage.epochs import Epochs
from zabra.storage.errors import StorageError
from zabra.storage.names import VERSION_FOLDER
from zabra.storage.txnsnaplog import FileTxnSnapLog
from zabra.tree.ephemerals import EphemeralTypes

# What waits in a process's inbox for the next turn.
_MADE: Final = 1
_DIAL_FAILED: Final = 2
_DATA: Final = 3
_LOST: Final = 4
_CONGESTED: Final = 5
_DISK_DONE: Final = 6
_DISK_FAILED: Final = 7
_SNAPSHOT_DONE: Final = 8
_SNAPSHOT_FAILED: Final = 9
_LOG_READ: Final = 10
_LISTEN_FAILED: Final = 11
_CALL: Final = 12
_RELOADED: Final = 13

# CPU time of a turn: to begin with, and for each item taken in.
_TURN_US: Final = 30
_ITEM_US: Final = 5
# The code with which the runtime ends when the data cannot be loaded again.
EXIT_RELOAD: Final = 10
_DEFAULT_DIAL_TIMEOUT_MS: Final = 5_000
_LOG_READ_US: Final = 500
_RELOAD_US: Final = 5_000
# The disk operations of one batch among which a crash picks its moment.
_CRASH_WINDOW_OPS: Final = 24


class PowerCut(Exception):
    """The machine, or the process, ends at this very disk operation."""


class Monitor(Protocol):
    """Who watches a cluster; called between events, never changes anything."""

    def started(self, process: "Process", recovered: Recovered) -> None:
        """A server has recovered and starts."""

    def refused(self, machine: "Machine", reason: str) -> None:
        """A server's data made it refuse to start."""

    def informed(self, process: "Process", entries: list[TxnEntry]) -> None:
        """Txns were committed here, in this order."""

    def turned(self, process: "Process") -> None:
        """A turn is over."""

    def voted(self, process: "Process", data: bytes) -> None:
        """This goes out on a connection of the election."""

    def said(self, process: "Process", data: bytes) -> None:
        """These packets go to the leader that synchronises this server."""

    def submitted(self, process: "Process", commands: list[DiskCommand]) -> None:
        """These commands were given to the log's queue."""

    def logged(self, process: "Process", commands: list[DiskCommand]) -> None:
        """These commands of the log's queue are durable."""

    def snapshotted(self, process: "Process", commands: list[DiskCommand]) -> None:
        """These commands of the snapshots' queue are durable."""

    def stopped(self, process: "Process", code: int, reason: str) -> None:
        """The server asked to be stopped."""

    def failed(self, process: "Process", error: BaseException) -> None:
        """The server raised: a bug, whatever the reason."""

    def ended(self, process: "Process") -> None:
        """The process is gone (crashed or stopped)."""


class DiskQueue:
    """One queue of disk commands and the thread that carries it out."""

    __slots__ = (
        "batch",
        "broken",
        "carried_out",
        "deferred",
        "is_log",
        "process",
        "stage",
        "token",
        "waiting",
        "worker",
    )

    def __init__(self, process: "Process", worker: DiskWorker, is_log: bool) -> None:
        self.process = process
        self.worker = worker
        self.is_log = is_log
        self.waiting: list[DiskCommand] = []
        self.batch: list[DiskCommand] = []
        self.deferred = False
        # The thread has failed and ended.
        self.broken = False
        # The batch is on the disk, and only the report of it is still on its way.
        self.carried_out = False
        self.token = 0
        # Counts what was scheduled: what is brought forward must not happen again.
        self.stage = 0

    def submit(self, commands: list[DiskCommand]) -> None:
        """Queues commands; the thread takes them up when it is free."""
        if self.broken:
            return
        self.waiting.extend(commands)
        if not self.batch:
            self._begin()

    def _begin(self) -> None:
        """Takes all that waits, or, at random, only some of it; its completion is an event."""
        waiting = self.waiting
        machine = self.process.machine
        count = len(waiting)
        if machine.disk_stops:
            count = machine.count_before_stop(waiting)
            if count == 0:
                return
        if count > 1 and machine.prng.chance(machine.split_batch_chance):
            count = 1 + machine.prng.below(count)
        self.batch = waiting[:count]
        del waiting[:count]
        self._soon(machine.disk_delay_us(self.is_log), self._complete)

    def _soon(self, delay_us: int, step: Callable[[int], None]) -> None:
        self.stage += 1
        self.process.machine.scheduler.after(delay_us, step, self.stage)

    def hurry(self) -> None:
        """The disk is as fast as ever again: what it was slow with is done soon."""
        if self.batch and not self.broken and not self.deferred:
            delay_us = self.process.machine.disk_delay_us(self.is_log)
            self._soon(delay_us, self._report if self.carried_out else self._complete)

    def _complete(self, stage: int) -> None:
        process = self.process
        if not process.alive or stage != self.stage:
            return
        if process.machine.paused or process.machine.disk_held:
            self.deferred = True
            return
        batch = self.batch
        disk = process.machine.disk
        countdown = process.machine.countdown
        if countdown is not None:
            disk.before = countdown.tick
        try:
            self.token = self.worker.run(batch)
        except PowerCut:
            self.broken = True
            process.machine.countdown = None
            process.machine.network.count("crash at a disk operation")
            process.machine.cut_power(draws=process.machine.crash_draws)
            return
        except DiskFailure as failure:
            self.broken = True
            process.push(_DISK_FAILED if self.is_log else _SNAPSHOT_FAILED, failure.token, failure.message)
            return
        finally:
            if countdown is not None:
                disk.before = None
        if disk.delay_ms:
            # A slow call: the time it took comes on top, and only then is the batch reported.
            delay = disk.delay_ms * US_PER_MS
            disk.delay_ms = 0
            self.carried_out = True
            self._soon(delay, self._report)
            return
        self._report(self.stage)

    def _report(self, stage: int) -> None:
        process = self.process
        if not process.alive or stage != self.stage:
            return
        token = self.token
        batch = self.batch
        self.batch = []
        self.carried_out = False
        if self.is_log:
            process.machine.monitor.logged(process, batch)
        else:
            process.machine.monitor.snapshotted(process, batch)
        process.push(_DISK_DONE if self.is_log else _SNAPSHOT_DONE, token)
        if self.waiting:
            self._begin()

    def resume(self) -> None:
        """The process goes on after a pause."""
        if self.deferred:
            self.deferred = False
            self._complete(self.stage)
        elif self.waiting and not self.batch:
            self._begin()

    def interrupt(self, ops: int) -> None:
        """The process dies now: of the batch under way, ``ops`` operations have happened (-1: some)."""
        if not self.batch or self.broken or self.carried_out:
            return
        disk = self.process.machine.disk
        machine = self.process.machine
        # Most batches are a few operations.
        if ops < 0:
            ops = machine.prng.below(1 + machine.prng.below(machine.crash_window_ops))
        countdown = Countdown(ops)
        disk.before = countdown.tick
        try:
            self.worker.run(self.batch)
        except (PowerCut, DiskFailure):
            pass
        finally:
            disk.before = None
            disk.delay_ms = 0


class Countdown:
    """Cuts the power before the n-th disk operation from now."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def tick(self, operation: str, path: str) -> None:
        """``SimDisk.before``."""
        if self.left <= 0:
            raise PowerCut(f"{operation} {path}")
        self.left -= 1


class ServerPlan:
    """What every life of one server is built from.

    ``ports`` are the doors that are open whatever the role: port
    number to kind (``ready.PORT_*``).
    """

    def __init__(self, settings: Settings, ensemble: EnsembleConfig | None, providers: Providers) -> None:
        self.settings = settings
        self.ensemble = ensemble
        self.providers = providers
        self.ports: dict[int, int] = {}
        self.preallocate_bytes = 4096
        self.log_size_limit_bytes = 0


class Machine:
    """A host: disk, clocks, speed, and the process that runs on it (or none)."""

    def __init__(
        self,
        sid: int,
        scheduler: Scheduler,
        network: Network,
        prng: Prng,
        monitor: Monitor,
        plan: ServerPlan,
        address_of: Callable[[str], int],
        say: Callable[[str], None],
    ) -> None:
        self.sid = sid
        self.say = say
        self.scheduler = scheduler
        self.network = network
        self.prng = prng
        self.monitor = monitor
        self.plan = plan
        self.address_of = address_of
        self.disk = SimDisk()
        # Where configuration files are; nobody reformats that one.
        self.config_disk = SimDisk()
        # The power goes at a certain disk operation from now.
        self.countdown: Countdown | None = None
        self.clock = MachineClock()
        self.process: Process | None = None
        self.lives = 0
        self.paused = False
        self.disk_held = False
        # Disk work stops before commands of these kinds (``ready.DISK_*``).
        self.disk_stops: frozenset[int] = frozenset()
        # What survives when a disk operation turns out to be the last.
        self.crash_draws: Draws | None = None
        # Among so many disk operations of the batch under way a crash picks its moment.
        self.crash_window_ops = _CRASH_WINDOW_OPS
        # How much slower than usual; and the disk's own pace.
        self.slowness = 1
        self.fsync_us = 300
        self.fsync_jitter_us = 300
        # The log is on a disk of its own, which takes so much longer.
        self.log_extra_us = 0
        # And so are its snapshots.
        self.snapshot_extra_us = 0
        self.split_batch_chance = 0.0
        # Why the data was refused at the last start, "" if it was not.
        self.refusal = ""
        # The next start is cut off at the n-th disk operation of recovery (-1: it is not).
        self.cut_recovery_at = -1

    def open_store(self) -> FileTxnSnapLog:
        """Log and snapshots on this machine's disk."""
        return open_store(
            self.disk,
            self.disk,
            preallocate_bytes=self.plan.preallocate_bytes,
            log_size_limit_bytes=self.plan.log_size_limit_bytes,
            with_digest=self.plan.settings.digest_enabled,
        )

    def write_config(self) -> None:
        """The static file, as whoever set the machine up wrote it."""
        ensemble = self.plan.ensemble
        name = self.plan.settings.config_file
        if name and ensemble is not None:
            file = self.config_disk.create(name)
            file.write((ensemble.file_text(False) + "\n").encode())
            file.sync()
            self.config_disk.sync_folder("")

    def read_config(self) -> tuple[EnsembleConfig | None, EnsembleConfig | None]:
        """The view to start with, and the one seen last, as the configuration files have them."""
        name = self.plan.settings.config_file
        if not name:
            return self.plan.ensemble, None
        disk = self.config_disk
        pairs = parse_properties(disk.read(name).decode())
        pointers = [value for key, value in pairs if key == DYNAMIC_FILE_KEY]
        if not pointers:
            return EnsembleConfig.from_properties(pairs), None
        config = EnsembleConfig.parse(disk.read(pointers[0]).decode())
        config.version = int(pointers[0].rpartition(".")[2], 16)
        if self.sid not in config.servers and self.plan.ensemble is not None:
            # It was removed: whoever starts it again tells it what its own addresses are.
            own = self.plan.ensemble.servers[self.sid]
            servers = {**config.servers, self.sid: QuorumServer(self.sid, own.addresses, True, own.client)}
            return EnsembleConfig(servers, 0), None
        coming = next_file_name(name)
        seen = EnsembleConfig.parse(disk.read(coming).decode()) if disk.exists(coming) else None
        return config, seen

    def is_up(self) -> bool:
        """Whether a server runs here."""
        return self.process is not None

    def disk_delay_us(self, is_log: bool) -> int:
        """How long the next batch of disk work takes."""
        delay = self.fsync_us + int(self.prng.spread(self.fsync_jitter_us))
        if is_log:
            return (delay + self.log_extra_us) * self.slowness
        return delay * self.slowness * 2 + self.snapshot_extra_us

    def start(self) -> bool:
        """Starts the server from its disk; False if its data was refused or the power went again."""
        assert self.process is None
        self.say(f"{self.sid} starts")
        self.refusal = ""
        self.paused = False
        self.disk.now_ms = self.clock.wall_ms(self.scheduler.now_us)
        process = Process(self, self.lives)
        self.lives += 1
        if self.cut_recovery_at >= 0:
            self.disk.before = Countdown(self.cut_recovery_at).tick
            self.cut_recovery_at = -1
        try:
            process.boot()
        except PowerCut:
            self.network.count("crash in recovery")
            self.disk.before = None
            self.disk.crash(self.prng)
            return False
        except (StorageError, OSError) as error:
            self.refusal = f"{type(error).__name__}: {error}"
            self.monitor.refused(self, self.refusal)
            return False
        finally:
            self.disk.before = None
            # However long recovery took: that is not for the first thing to be written to wait for.
            self.disk.delay_ms = 0
        self.process = process
        self.network.owners[self.sid] = process
        process.begin()
        return True

    def kill(self, ops: int = -1) -> None:
        """SIGKILL: the process is gone, what it has written stays in the page cache.

        ``ops``: how much of what its disk was at has happened (-1: some of it).
        """
        process = self.process
        if process is not None:
            self.say(f"{self.sid} is killed")
            self._end(process, ops)
            for end in list(process.ends.values()):
                self.network.close(end)
            self.network.owners[self.sid] = NobodyListens()

    def count_before_stop(self, commands: list[DiskCommand]) -> int:
        """How many of ``commands`` come before the first at which disk work stops."""
        for place, command in enumerate(commands):
            if command.kind in self.disk_stops:
                return place
        return len(commands)

    def hold_disk(self, held: bool) -> None:
        """Disk work begins and does not complete, or completes again."""
        self.disk_held = held
        if not held and self.process is not None:
            self.process.log_queue.resume()
            self.process.snapshot_queue.resume()

    def cut_power(self, scatter: bool = False, draws: Draws | None = None) -> None:
        """The machine loses power: unsynced bytes may be gone or torn, and nobody is told."""
        process = self.process
        if process is not None:
            self.say(f"{self.sid} loses power")
            self._end(process)
            for end in list(process.ends.values()):
                self.network.vanish(end)
        self.network.owners.pop(self.sid, None)
        self.disk.crash(self.prng if draws is None else draws, scatter)
        if self.plan.settings.config_file:
            self.config_disk.crash(self.prng if draws is None else draws, scatter)

    def _end(self, process: "Process", ops: int = -1) -> None:
        process.alive = False
        self.countdown = None
        for queue in (process.log_queue, process.snapshot_queue):
            queue.interrupt(ops)
        self.process = None
        self.paused = False
        self.monitor.ended(process)

    def pause(self) -> None:
        """SIGSTOP."""
        self.say(f"{self.sid} is paused")
        self.paused = True

    def resume(self) -> None:
        """SIGCONT."""
        if self.paused:
            self.say(f"{self.sid} goes on")
            self.paused = False
            if self.process is not None:
                self.process.resume()

    def hurry(self) -> None:
        """The disk is as fast as ever again."""
        if self.process is not None:
            for queue in (self.process.log_queue, self.process.snapshot_queue):
                queue.resume()
                queue.hurry()

    def step_wall(self, by_ms: int) -> None:
        """The wall clock is set."""
        self.clock.step_wall(by_ms)

    def set_rate(self, rate_ppm: int) -> None:
        """The clocks run faster or slower from now on."""
        self.clock.set_rate(self.scheduler.now_us, rate_ppm)


@mypyc_attr(allow_interpreted_subclasses=True)
class NobodyListens:
    """A host that is up and runs no server: dials are refused."""

    def accepts(self, port: int) -> bool:
        """Never."""
        return False

    def link_made(self, end: End, port: int, dial_id: int) -> None:
        """Cannot happen."""
        raise AssertionError("nobody listens here")

    def dial_failed(self, dial_id: int) -> None:
        """Nobody dials from here either."""
        raise AssertionError("nobody dials from here")

    def link_data(self, end: End, data: bytes) -> None:
        """Bytes for a process that is gone."""

    def link_lost(self, end: End) -> None:
        """A connection of a process that is gone."""

    def link_congested(self, end: End, congested: bool) -> None:
        """A connection of a process that is gone."""


class Process:
    """One life of a server.  Implements ``network.Owner``."""

    def __init__(self, machine: Machine, life: int) -> None:
        self.machine = machine
        self.sid = machine.sid
        self.life = life
        self.alive = True
        self.server: Server
        self.store: FileTxnSnapLog
        self.epochs: Epochs
        self.log_queue: DiskQueue
        self.snapshot_queue: DiskQueue
        self.recovered: Recovered
        self.ends: dict[int, End] = {}
        self.ports: dict[int, int] = dict(machine.plan.ports)
        self.turns = 0
        # Messages of the election that came while it looks for a leader.
        self.votes_heard = 0
        # Turns in a row for which nothing had happened, and since when.
        self.idle_turns = 0
        self.idle_since_us = 0
        self.wake_us = 0
        self._inbox: list[tuple[int, Any, Any]] = []
        self._next_conn_id = FIRST_CONNECTION_ID
        self._turn_scheduled = False
        self._busy_until_us = 0
        self._scheduler = machine.scheduler
        self._network = machine.network
        # Whatever the checkers want to keep per life.
        self.notes: dict[str, Any] = {}

    # Life.

    def boot(self) -> None:
        """Recovers from the disk and builds the server.  Raises StorageError, OSError, PowerCut."""
        machine = self.machine
        disk = machine.disk
        self.store = machine.open_store()
        self.recovered = self._recover()
        self.epochs = Epochs(disk, VERSION_FOLDER)
        recover_epochs(self.epochs, self.recovered)
        files = machine.config_disk
        self.log_queue = DiskQueue(self, DiskWorker(self.store, True, self.epochs, files, ""), True)
        self.snapshot_queue = DiskQueue(self, DiskWorker(self.store, False, self.epochs, files, ""), False)

    def _recover(self) -> Recovered:
        settings = self.machine.plan.settings
        options = RecoveryOptions()
        options.types = EphemeralTypes(settings.extended_types_enabled, False)
        options.digest_enabled = settings.digest_enabled
        options.refuse_wrong_digest = self.machine.plan.ensemble is not None
        options.recent_limit = settings.commit_log_count
        return recover(self.store, self.machine.disk, options)

    def begin(self) -> None:
        """Starts to serve."""
        machine = self.machine
        now = self._scheduler.now_us
        machine.monitor.started(self, self.recovered)
        try:
            ensemble, next_ensemble = machine.read_config()
            self.server = Server(
                machine.plan.settings,
                machine.plan.providers,
                self.recovered,
                machine.prng.bits64(),
                machine.clock.monotonic_ms(now),
                machine.clock.wall_ms(now),
                ensemble,
                next_ensemble,
            )
        except Exception as error:  # noqa: BLE001  # whatever the core raises is a finding
            self._fail(error)
            return
        self._schedule_turn()

    def _fail(self, error: Exception) -> None:
        self.machine.monitor.failed(self, error)
        self.machine.kill()

    def resume(self) -> None:
        """The machine runs again after a pause."""
        self._turn_scheduled = False
        self._schedule_turn()
        self.log_queue.resume()
        self.snapshot_queue.resume()

    # Turns.

    def push(self, kind: int, first: Any = None, second: Any = None) -> None:
        """Something has happened; it is taken in by the next turn."""
        self._inbox.append((kind, first, second))
        if not self._turn_scheduled:
            self._schedule_turn()

    def call(self, what: Callable[[Server], None]) -> None:
        """Runs ``what`` inside the next turn (an operator's command)."""
        self.push(_CALL, what)

    def _schedule_turn(self) -> None:
        if not self._turn_scheduled:
            self._turn_scheduled = True
            when = self._scheduler.now_us + _TURN_US * self.machine.slowness
            if when < self._busy_until_us:
                when = self._busy_until_us
            self._scheduler.at(when, self._turn, None)

    def _turn(self, _: object) -> None:
        machine = self.machine
        if not self.alive or machine.paused:
            return
        self._turn_scheduled = False
        now = self._scheduler.now_us
        server = self.server
        inbox = self._inbox
        self._inbox = []
        self.turns += 1
        self._busy_until_us = now + (_TURN_US + _ITEM_US * len(inbox)) * machine.slowness
        try:
            server.begin_turn(machine.clock.monotonic_ms(now), machine.clock.wall_ms(now))
            for kind, first, second in inbox:
                if kind == _DATA:
                    if server.looking is not None and server.doors.get(first) == PORT_ELECTION:
                        self.votes_heard += 1
                    server.data_received(first, second)
                elif kind == _DISK_DONE:
                    server.disk_done(first)
                else:
                    self._feed_rare(server, kind, first, second)
            ready = server.ready()
        except Exception as error:  # noqa: BLE001  # whatever the core raises is a finding
            self._fail(error)
            return
        if inbox or ready.sends or ready.disk or ready.snapshot:
            # A snapshot goes out in slices, a turn for each.
            self.idle_turns = 0
        else:
            if self.idle_turns == 0:
                self.idle_since_us = now
            self.idle_turns += 1
        self._carry_out(ready, now)
        if self.alive:
            machine.monitor.turned(self)

    def _feed_rare(self, server: Server, kind: int, first: Any, second: Any) -> None:
        if kind == _MADE:
            end: End = first
            dial_id, port_kind = second
            server.connection_made(
                end.conn_id, port_kind, host_address(end.peer_host), 30000 + end.conn_id, dial_id
            )
        elif kind == _LOST:
            server.connection_lost(first)
        elif kind == _DIAL_FAILED:
            server.dial_failed(first)
        elif kind == _CONGESTED:
            if second:
                server.congested(first)
            else:
                server.drained(first)
        elif kind == _DISK_FAILED:
            server.disk_failed(first, second)
        elif kind == _SNAPSHOT_DONE:
            server.snapshot_done(first)
        elif kind == _SNAPSHOT_FAILED:
            server.snapshot_failed(first, second)
        elif kind == _LOG_READ:
            server.log_read(first, second[0], second[1])
        elif kind == _RELOADED:
            server.reloaded(first)
        elif kind == _CALL:
            first(server)

    def _carry_out(self, ready: Ready, now: int) -> None:
        if ready.disk:
            self.machine.monitor.submitted(self, ready.disk)
            self.log_queue.submit(ready.disk)
        ends = self.ends
        learning = self.server.learning
        if learning is not None and learning.state == SYNCHRONIZATION:
            for conn_id, data in ready.sends:
                if conn_id == learning.conn_id:
                    self.machine.monitor.said(self, data)
        for conn_id, data in ready.sends:
            end = ends.get(conn_id)
            if end is not None:
                if end.tag == PORT_ELECTION:
                    self.machine.monitor.voted(self, data)
                self._network.send(end, data)
        if ready.closes:
            for conn_id in ready.closes:
                closing = ends.pop(conn_id, None)
                if closing is not None:
                    self._network.close(closing)
        if ready.snapshot:
            self.snapshot_queue.submit(ready.snapshot)
        if ready.informs:
            self.machine.monitor.informed(self, ready.informs)
        if ready.reload:
            self._scheduler.after(_RELOAD_US * self.machine.slowness, self._reload, None)
        if ready.dials or ready.listens or ready.log_reads or ready.pauses or ready.resumes or ready.words:
            self._carry_out_rare(ready)
        for _, line in ready.log_lines:
            self.machine.say(f"{self.sid}: {line}")
        if ready.stop_code >= 0:
            self.machine.monitor.stopped(self, ready.stop_code, ready.stop_reason)
            self.machine.kill()
            return
        if ready.wake_at_ms:
            self._wake_by(self.machine.clock.when_us(ready.wake_at_ms), now)

    def _carry_out_rare(self, ready: Ready) -> None:
        for listen in ready.listens:
            self._listen(listen)
        for dial in ready.dials:
            self._dial(dial)
        for read in ready.log_reads:
            self._scheduler.after(_LOG_READ_US * self.machine.slowness, self._read_log, read)
        for conn_id in ready.pauses:
            if conn_id in self.ends:
                self._network.pause(self.ends[conn_id], True)
        for conn_id in ready.resumes:
            if conn_id in self.ends:
                self._network.pause(self.ends[conn_id], False)
        for conn_id, _, _ in ready.words:
            closing = self.ends.pop(conn_id, None)
            if closing is not None:
                self._network.close(closing)
                self.push(_LOST, conn_id)

    def _wake_by(self, when_us: int, now: int) -> None:
        if self.wake_us <= now or when_us < self.wake_us:
            self.wake_us = when_us
            self._scheduler.at(when_us, self._wake, when_us)

    def _wake(self, when_us: int) -> None:
        if self.alive and self.wake_us == when_us:
            self.wake_us = 0
            self._schedule_turn()

    def _listen(self, listen: Listen) -> None:
        for number in [number for number, kind in self.ports.items() if kind == listen.port]:
            del self.ports[number]
        if listen.opened:
            for _, number in listen.addresses:
                self.ports[number] = listen.port

    def _dial(self, dial: Dial) -> None:
        if not dial.addresses:
            self.push(_DIAL_FAILED, dial.dial_id)
            return
        timeout_ms = dial.timeout_ms if dial.timeout_ms > 0 else _DEFAULT_DIAL_TIMEOUT_MS
        targets = [self.machine.address_of(host) for host, _ in dial.addresses]
        number = dial.addresses[0][1]
        owner = _DialOwner(self, dial.port)
        self._network.dial(self.sid, owner, number, targets, dial.dial_id, timeout_ms * US_PER_MS)

    def _read_log(self, read: LogRead) -> None:
        if not self.alive:
            return
        entries: list[TxnEntry] = []
        size = 0
        complete = True
        try:
            for _, raw in self.store.log.read_from(read.from_zxid, read.to_zxid):
                size += len(raw)
                if size > read.max_bytes:
                    complete = False
                    break
                entries.append(decode_txn(raw))
        except (StorageError, OSError):
            # The log does not reach back so far, or cannot be read.
            entries = []
            complete = False
        self.push(_LOG_READ, read.token, (entries, complete))

    def _reload(self, _: object) -> None:
        """Loads the tree anew; the server waits for it with both queues empty."""
        if not self.alive:
            return
        try:
            self.push(_RELOADED, self._recover())
        except (StorageError, OSError) as error:
            self.machine.monitor.stopped(self, EXIT_RELOAD, f"reload: {error}")
            self.machine.kill()

    # What the network reports.

    def accepts(self, port: int) -> bool:
        """Whether a door is open (the kernel accepts even while the process is paused)."""
        return self.alive and port in self.ports

    def link_made(self, end: End, port: int, dial_id: int) -> None:
        """A connection came in."""
        self.take_link(end, 0, self.ports.get(port, 0))

    def take_link(self, end: End, dial_id: int, kind: int) -> None:
        """Gives a connection its number and reports it."""
        if not self.alive:
            self._network.close(end)
            return
        end.conn_id = self._next_conn_id
        end.owner = self
        end.tag = kind
        self._next_conn_id += 1
        self.ends[end.conn_id] = end
        self.push(_MADE, end, (dial_id, kind))

    def dial_failed(self, dial_id: int) -> None:
        """See ``_DialOwner``."""
        if self.alive:
            self.push(_DIAL_FAILED, dial_id)

    def link_data(self, end: End, data: bytes) -> None:
        """Bytes arrived."""
        if self.alive:
            self._inbox.append((_DATA, end.conn_id, data))
            if not self._turn_scheduled:
                self._schedule_turn()

    def link_lost(self, end: End) -> None:
        """A connection is gone."""
        if self.alive and self.ends.pop(end.conn_id, None) is not None:
            self.push(_LOST, end.conn_id)

    def link_congested(self, end: End, congested: bool) -> None:
        """A peer reads too slowly, or has caught up."""
        if self.alive and end.conn_id in self.ends:
            self.push(_CONGESTED, end.conn_id, congested)


class _DialOwner:
    """Remembers, while a dial is on its way, for which kind of port it is."""

    __slots__ = ("kind", "process")

    def __init__(self, process: Process, kind: int) -> None:
        self.process = process
        self.kind = kind

    def accepts(self, port: int) -> bool:
        """Nobody asks."""
        return False

    def link_made(self, end: End, port: int, dial_id: int) -> None:
        """The dial succeeded."""
        self.process.take_link(end, dial_id, self.kind)

    def dial_failed(self, dial_id: int) -> None:
        """It did not."""
        self.process.dial_failed(dial_id)

    def link_data(self, end: End, data: bytes) -> None:
        """Cannot happen: the process owns the connection before anything arrives."""
        raise AssertionError("data before the connection was made")

    def link_lost(self, end: End) -> None:
        """Nobody was told of the connection yet."""

    def link_congested(self, end: End, congested: bool) -> None:
        """Nobody was told of the connection yet."""


def host_address(host: int) -> str:
    """The address by which servers know a host: servers have small numbers, clients large ones."""
    return f"10.{host >> 16 & 0xFF}.{host >> 8 & 0xFF}.{host & 0xFF}"
