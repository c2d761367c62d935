"""One simulated run from beginning to verdict: a safety phase with faults, a liveness phase without.

While faults go on nothing wrong may happen; once they stop, everybody must come together and serve within
``10 * (initLimit + syncLimit)`` ticks.  Then the clients wind down, sessions of those that died must expire,
and everything that was written down is judged.
"""

import hashlib
import traceback
from typing import Any, Final

from zabra.client import calls
from zabra.client.calls import Call
from zabra.client.connection import WatchFired
from zabra.proto import codes
from zabra.proto.records import Id
from zabra.proto.txn import TxnEntry
from zabra.server.session_claim import FIRST_BYTE
from zabra.sim import histories
from zabra.sim.checkers import HistoryChecker, Judgement, are_idle_stats
from zabra.sim.client import SimClient
from zabra.sim.client_faults import SUPER_ID, SUPER_USER, Operator
from zabra.sim.clock import US_PER_MS
from zabra.sim.cluster import OBSERVER_MASTER_PORT, QUORUM_PORT, Cluster
from zabra.sim.faults import Nemesis
from zabra.sim.gate import Cutter
from zabra.sim.machine import Process
from zabra.sim.model import Model
from zabra.sim.monitor import ClusterMonitor
from zabra.sim.options import CUT_AT_PACKET, RECONFIG, Options
from zabra.sim.plots import Plotter
from zabra.sim.prng import Prng
from zabra.sim.publisher import SimPublisher
from zabra.sim.scenario_faults import stand_at
from zabra.sim.session_checker import SessionChecker
from zabra.sim.spec_monitor import SpecMonitor
from zabra.sim.watch_checker import WatchChecker
from zabra.sim.workload import BusyProgram
from zabra.storage.errors import StorageError
from zabra.zab.zxid import COUNTER_MAX

_SETTLE_STEP_MS: Final = 100


class Report:
    """What a run did and whether it was right."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.judgement = Judgement()
        self.faults: dict[str, int] = {}
        self.injected: list[tuple[int, int, str]] = []
        self.steps = 0
        self.simulated_us = 0
        self.digest = ""

    @property
    def failed(self) -> bool:
        """Whether anything was violated."""
        return bool(self.judgement.violations)


class Prober:
    """A client that wants one write acknowledged: proof of progress."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.stopping = False
        self._number = 0

    def connected(self, client: SimClient) -> None:
        """Tries."""
        self._try(client)

    def _try(self, client: SimClient) -> None:
        if client.pending() == 0:
            self._number += 1
            client.ask(calls.create(f"/probe-{client.number}-{self._number}", b""))

    def answered(self, client: SimClient, call: Call[Any]) -> None:
        """Counts, or tries again."""
        if call.op == codes.OP_CREATE and call.err == codes.OK:
            self.acknowledged += 1
        elif client.is_connected():
            client.after(50 * US_PER_MS)

    def fired(self, client: SimClient, event: WatchFired) -> None:
        """It watches nothing."""

    def over(self, client: SimClient, expired: bool) -> None:
        """Begins again."""
        if not self.stopping:
            client.renew()

    def wake(self, client: SimClient, tag: Any) -> None:
        """Tries again."""
        if client.is_connected():
            self._try(client)


class Run:
    """One run; ``execute`` does it all."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.report = Report(options)
        # The specification knows no changes of roles and no history from before the beginning.
        spec = None if RECONFIG in options.faults or options.near_rollover else SpecMonitor()
        self.monitor = ClusterMonitor() if spec is None else spec
        self.monitor.judgement = self.report.judgement
        prng = Prng(options.seed, "run")
        self.cluster = Cluster(
            options.shape(), options.settings(), prng.split("cluster"), self.monitor, SUPER_ID
        )
        self.monitor.machines = self.cluster.machines
        self.monitor.ensemble = self.cluster.ensemble
        if spec is not None:
            self.cluster.overheard = spec.overheard
        self.programs: list[BusyProgram] = []
        self.nemesis = Nemesis(
            self.cluster, self.monitor, prng.split("nemesis"), options.faults, options.fault_gap_ms
        )
        self.nemesis.skip = dict.fromkeys(options.skip)
        self.plotter = Plotter(self.nemesis, self.programs, self._all_rest, self._limit_ms())
        if CUT_AT_PACKET in options.faults:
            cutter = Cutter(self.cluster.network, (QUORUM_PORT, OBSERVER_MASTER_PORT))
            self.cluster.network.gate = self.nemesis.cutter = cutter
        self.healed_us = 0
        self.probers: list[Prober] = []
        self.operator = Operator()
        self.publishers = {sid: SimPublisher(sid) for sid in self.cluster.machines}
        self.monitor.on_informed = self._informed
        self.monitor.on_ended = self._ended
        network = self.cluster.network
        network.base_us = options.base_us
        network.jitter_us = options.jitter_us
        network.cut_chance = options.cut_chance
        for machine in self.cluster.machines.values():
            machine.fsync_us = options.fsync_us
            machine.fsync_jitter_us = options.fsync_us
            machine.split_batch_chance = options.split_batch_chance
            machine.plan.log_size_limit_bytes = options.log_size_limit
            if options.snap_senders and machine.sid % 2 != options.snap_senders % 2:
                machine.plan.settings.force_snapshot_sync = False

    def _jump(self, left: int) -> None:
        """Before anything happens, everybody is made to stand where the epoch's counter is nearly used up."""
        cluster = self.cluster
        deadline_us = self._limit_ms() * US_PER_MS
        while not self._all_rest() and cluster.scheduler.now_us < deadline_us:
            cluster.run_ms(_SETTLE_STEP_MS)
        if not self._all_rest():
            self.report.judgement.complain("liveness", "nothing has gone wrong yet, and no rest comes")
            return
        epoch = max([process.server.tree.last_processed_zxid >> 32 for process in cluster.processes()])
        zxid = epoch << 32 | COUNTER_MAX - left
        self.monitor.base = zxid
        for process in cluster.serving():
            stand_at(process, zxid)
            self.monitor.promise(process.sid).zxid = zxid
        cluster.say(f"everybody stands at 0x{zxid:x}")

    def _informed(self, process: Process, entries: list[TxnEntry]) -> None:
        self.publishers[process.sid].informed(process, entries)

    def _ended(self, process: Process) -> None:
        self.publishers[process.sid].crashed()

    def execute(self) -> Report:
        """Runs, judges, reports."""
        try:
            self._safety_phase()
            if not self.report.failed:
                self._liveness_phase()
            for number in range(self.options.aftershocks):
                if not self.report.failed:
                    self._aftershock(number)
                    self._liveness_phase()
            for number, name in enumerate(self.options.plots):
                if not self.report.failed:
                    self.plotter.play(name, number)
                    self._liveness_phase()
            if not self.report.failed:
                self._wind_down()
        except Exception as error:  # noqa: BLE001  # of a client, of a door: a finding like any other
            text = "".join(traceback.format_exception(error)[-6:]).strip()
            self.report.judgement.complain("exception", f"{error!r}\n{text}")
        self._judge()
        self._summarise()
        return self.report

    # Phases.

    def _limit_ms(self) -> int:
        options = self.options
        return 10 * (options.init_limit + options.sync_limit) * options.tick_ms

    def _safety_phase(self) -> None:
        options = self.options
        cluster = self.cluster
        cluster.start()
        if options.near_rollover:
            self._jump(Prng(options.seed, "rollover").between(5, 80))
        appetite = options.appetite()
        prng = Prng(options.seed, "clients")
        for i in range(options.clients):
            program = BusyProgram(appetite, prng.split(f"program {i}"))
            self.programs.append(program)
            timeout_ms = options.tick_ms * prng.pick([2, 4, 8, 16])
            cluster.add_client(program, timeout_ms).start()
        if RECONFIG in options.faults:
            operator = cluster.add_client(self.operator, 4 * options.tick_ms)
            operator.add_auth("digest", SUPER_USER, Id("super", ""))
            operator.start()
            self.nemesis.operator = operator
        self.nemesis.start()
        end_us = cluster.scheduler.now_us + options.seconds * 1_000_000
        while cluster.scheduler.now_us < end_us and not self.report.failed:
            cluster.run_ms(_SETTLE_STEP_MS)

    def _liveness_phase(self) -> None:
        """Faults stop: a leader, a write, everybody in step, within the limit."""
        self.nemesis.stop()
        cluster = self.cluster
        self.healed_us = cluster.scheduler.now_us
        cluster.say("faults end")
        probe = Prober()
        self.probers.append(probe)
        cluster.add_client(probe, 4 * self.options.tick_ms, self.options.shape().voters).start()
        deadline_us = self.healed_us + self._limit_ms() * US_PER_MS
        while cluster.scheduler.now_us < deadline_us and not self.report.failed:
            cluster.run_ms(_SETTLE_STEP_MS)
            self.nemesis.revive()
            if probe.acknowledged and self._all_serve():
                took_ms = (cluster.scheduler.now_us - self.healed_us) // US_PER_MS
                self.report.judgement.count("liveness ms", took_ms)
                return
        if not self.report.failed:
            states = [f"{p.sid} {p.server.role.name()}" for p in cluster.processes()]
            self.report.judgement.complain(
                "liveness",
                f"no progress within {self._limit_ms()} ms after the faults: "
                f"{probe.acknowledged} writes, servers {', '.join(states)}",
            )

    def _aftershock(self, number: int) -> None:
        """The leader goes, and so do some of those who try to take its place.

        What comes of it is still there when the faults end, where another fault would often have mended it.
        """
        cluster, nemesis = self.cluster, self.nemesis
        least_us = cluster.scheduler.now_us + nemesis.aftershock(number) * US_PER_MS
        limit_us = cluster.scheduler.now_us + 2 * self.options.init_limit * self.options.tick_ms * US_PER_MS
        while not self.report.failed:
            now = cluster.scheduler.now_us
            if now >= least_us and (now >= limit_us or not nemesis.is_waiting()):
                break
            cluster.run_ms(_SETTLE_STEP_MS)
            nemesis.revive()

    def _all_serve(self) -> bool:
        return all(
            machine.process is not None and machine.process.server.role.serves()
            for machine in self.cluster.machines.values()
        )

    def _all_rest(self) -> bool:
        """Everybody serves, has the same txns, and its disk has nothing left to do."""
        servers = [process.server for process in self.cluster.processes()]
        zxids = [int(server.tree.last_processed_zxid) for server in servers]
        # A leader without a txn of its own stands at the start of its epoch, and its followers do not.
        txns = {zxid if zxid & COUNTER_MAX else 0: None for zxid in zxids}
        return self._all_serve() and len(txns) == 1 and all(server.disk_is_idle() for server in servers)

    def _wind_down(self) -> None:
        """Clients finish, half of them without a word; all sessions must end, all trees become one."""
        cluster = self.cluster
        for program in self.programs:
            program.stopping = True
        for prober in self.probers:
            prober.stopping = True
        self.operator.stopping = True
        cluster.run_ms(5 * self.options.tick_ms)
        for i, client in enumerate(cluster.clients):
            if i % 2 and client.is_connected():
                client.close_session()
            else:
                client.abandon()
        limit_ms = 20 * self.options.tick_ms + self._limit_ms()
        deadline_us = cluster.scheduler.now_us + limit_ms * US_PER_MS
        while cluster.scheduler.now_us < deadline_us and not self.report.failed:
            cluster.run_ms(10 * _SETTLE_STEP_MS)
            if self._is_quiet():
                break
        if self.report.failed:
            return
        claims = self._claims()
        for process in cluster.processes():
            sessions = len([one for one in process.server.tree.sessions if one not in claims])
            if sessions:
                self.report.judgement.complain("expiry", f"server {process.sid} keeps {sessions} sessions")

    def _is_quiet(self) -> bool:
        """No sessions, and everybody at the head."""
        head = self.monitor.head()
        claims = self._claims()
        for process in self.cluster.processes():
            tree = process.server.tree
            if any(one not in claims for one in tree.sessions):
                return False
            if tree.last_processed_zxid < head or not process.server.role.serves():
                return False
        return True

    def _claims(self) -> dict[int, int]:
        """The sessions by which observers that nobody lists hold their session ids, and whose they are."""
        found: dict[int, int] = {}
        for process in self.cluster.processes():
            peer = process.server.peer
            if peer is None or not peer.claim.is_held():
                continue
            first_id = int(peer.claim.first_id)
            if first_id in found:
                text = f"servers {process.sid} and {found[first_id]} have the same session ids"
                self.report.judgement.complain("claim", text)
            found[first_id] = process.sid
        return found

    def _check_session_ids(self) -> None:
        """No id of a claimed range is given out twice."""
        seen: dict[int, None] = {}
        for entry in self.monitor.chain:
            header = entry.header
            # What claims a range has a cxid, and may come too late.
            if header.type != codes.OP_CREATE_SESSION or header.cxid != 0:
                continue
            if header.client_id in seen and header.client_id >> 56 >= FIRST_BYTE:
                self.report.judgement.complain("claim", f"session {header.client_id:x} is made twice")
            seen[header.client_id] = None

    # Verdict.

    def _judge(self) -> None:
        judgement = self.report.judgement
        chain = self.monitor.chain
        self._check_session_ids()
        checker = HistoryChecker(
            chain,
            self.cluster.history,
            extended_types=True,
            local_sessions=self.options.local_sessions,
            quotas=self.options.quotas,
        )
        checker.judgement = judgement
        checker.check()
        if judgement.violations:
            return
        watches = WatchChecker(checker.events, self.cluster.history, judgement)
        watches.check(chain)
        calms = [*self.plotter.calms, (self.healed_us, self.cluster.scheduler.now_us)]
        SessionChecker(self.monitor, self.cluster, judgement, calms).check()
        for process in self.cluster.processes():
            self._compare_tree(process, checker.model)
            self._compare_log(process)
            publisher = self.publishers[process.sid]
            publisher.fetch(process, min(process.server.tree.last_processed_zxid, self.monitor.head()))
            publisher.check(chain, judgement)

    def _compare_log(self, process: Process) -> None:
        """What one that serves would recover from is the committed log, byte for byte.

        What stands before the newest snapshot counts for nothing: a crash may have left it there.
        """
        if not process.server.role.serves():
            return
        head = min(process.server.tree.last_processed_zxid, self.monitor.head())
        committed = {entry.header.zxid: place for place, entry in enumerate(self.monitor.chain)}
        before = -1
        store = process.machine.open_store()
        try:
            snapshots = store.snaps.candidates()
            start = snapshots[0].zxid + 1 if snapshots else 1
            found = list(store.log.read_from(start, head)) if start <= head else []
        except StorageError as error:
            if not self.monitor.promise(process.sid).was_damaged:
                self.report.judgement.complain("log", f"server {process.sid}: {error}")
            return
        for zxid, raw in found:
            place = committed.get(zxid, -1)
            if place < 0 or self.monitor.chain[place].raw != raw:
                self.report.judgement.complain("log", f"server {process.sid} has logged 0x{zxid:x} otherwise")
                return
            if before >= 0 and place != before + 1 and not self.monitor.promise(process.sid).was_damaged:
                self.report.judgement.complain("log", f"server {process.sid} misses txns before 0x{zxid:x}")
                return
            before = place
            self.report.judgement.count("logged txns")

    def _compare_tree(self, process: Process, model: Model) -> None:
        """Node by node, the parts that digests leave out included."""
        tree = process.server.tree
        if not process.server.role.serves() or tree.last_processed_zxid < model.zxid:
            return
        self.report.judgement.count("trees")
        got = {path: (node.data, node.to_stat()) for path, node in tree.nodes.items()}
        due = {path: (node.data, node.stat()) for path, node in model.nodes.items()}
        for path in ["/zookeeper/config", *(path for path in due if are_idle_stats(model, path))]:
            got.pop(path, None)
            due.pop(path, None)
        if got != due:
            wrong = [path for path in sorted({**got, **due}) if got.get(path) != due.get(path)][:3]
            text = "; ".join(f"{path}: {got.get(path)} due {due.get(path)}" for path in wrong)
            self.report.judgement.complain("tree", f"server {process.sid}: {text}")
        if dict(tree.sessions) != model.sessions:
            self.report.judgement.complain("tree", f"server {process.sid} has other sessions than the log")

    def _summarise(self) -> None:
        report = self.report
        cluster = self.cluster
        report.faults = dict(self.nemesis.counts)
        report.injected = list(self.nemesis.injected)
        report.steps = cluster.scheduler.steps
        report.simulated_us = cluster.scheduler.now_us
        for name, value in cluster.network.counts.items():
            report.judgement.count(name, value)
        if self.options.near_rollover and self.monitor.head() >> 32 > self.monitor.base >> 32:
            last = [zxid for zxid in self.monitor.zxids if zxid & COUNTER_MAX >= COUNTER_MAX - 1]
            report.judgement.count("rollovers", len(last))
        for client in cluster.clients:
            report.judgement.count("client sessions", client.sessions)
            report.judgement.count("client expiries", client.expired)
        report.digest = self._digest()

    def _digest(self) -> str:
        """Over everything that was delivered, committed and seen."""
        out = hashlib.blake2b(digest_size=16)
        for entry in self.monitor.chain:
            out.update(entry.raw)
        for line in histories.dump(self.cluster.history):
            out.update(line.encode())
        network = self.cluster.network
        out.update(f"{self.cluster.scheduler.steps} {network.checksum} {network.bytes_delivered}".encode())
        return out.hexdigest()


def run(options: Options) -> Report:
    """One run."""
    return Run(options).execute()
