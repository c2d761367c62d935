"""Ten things that happen to observers (row R19), each for any seed, on simulated ensembles under load.

A scenario draws links, delays and moments from its seed, does its mischief, and ends with the same verdict:
every server has the same tree, every reply is explained by the committed log (``sim.checkers``), and nobody
was ever seen to deliver anything else (``sim.monitor``).  It returns what it counted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from tests.server.clusters import Asker, Ensemble

from zabra.client import calls
from zabra.client.calls import Call
from zabra.jute.primitives import JuteError
from zabra.proto import codes
from zabra.proto.packets import PacketBuffer
from zabra.proto.records import QuorumPacket
from zabra.server.session_claim import FIRST_BYTE
from zabra.server.settings import Settings
from zabra.sim.checkers import HistoryChecker
from zabra.sim.client import SimClient
from zabra.sim.cluster import (
    OBSERVER_MASTER_PORT,
    QUORUM_PORT,
    RELAYS_FOLLOWERS,
    RELAYS_NONE,
    RELAYS_TREE,
    RELAYS_UNLISTED,
    Shape,
)
from zabra.sim.model import Model
from zabra.sim.monitor import ClusterMonitor
from zabra.sim.prng import Prng

VOTERS = [1, 2, 3]
TICK_MS = 200
# Upstream's election takes at least this long: it waits so long for better votes (finalizeWait).
ELECTION_MS = 200
CONFIG_PATH = "/zookeeper/config"

Counts = dict[str, int]


class Worker(Asker):
    """Writes a node of its own and reads it back, again and again; moves between servers at times."""

    def __init__(self, prng: Prng, think_us: int = 15_000, move_chance: float = 0.0) -> None:
        self.prng = prng
        self.think_us = think_us
        self.move_chance = move_chance
        self.stopping = False
        self.written = 0
        self.reads = 0
        self.moves = 0
        # The highest number known to be written, and reads that showed less.
        self.acknowledged = -1
        self.stale = 0
        # When each write was sent and how long its answer took, in us.
        self.latencies: list[int] = []
        self._sent_us = 0
        self._path = ""
        self._asleep = False

    def connected(self, client: SimClient) -> None:
        if not self._path:
            self._path = f"/n{client.number}"
            client.ask(calls.create(self._path, b"-1"))
        self._sleep(client)

    def _sleep(self, client: SimClient) -> None:
        if not self._asleep and not self.stopping:
            self._asleep = True
            client.after(int(self.prng.spread(self.think_us)))

    def wake(self, client: SimClient, tag: object) -> None:
        self._asleep = False
        if self.stopping or not client.is_connected() or client.pending():
            return
        if self.prng.chance(self.move_chance):
            self.moves += 1
            client.move()
            return
        self._sent_us = client.scheduler.now_us
        client.ask(calls.set_data(self._path, b"%d" % self.written))
        client.ask(calls.get_data(self._path))

    def answered(self, client: SimClient, call: Call[Any]) -> None:
        if call.op == codes.OP_SET_DATA and call.err == codes.OK:
            self.acknowledged = self.written
            self.latencies.append(client.scheduler.now_us - self._sent_us)
        elif call.op == codes.OP_GET_DATA and call.err == codes.OK:
            self.reads += 1
            value: Any = call.value
            self.stale += int(value[0]) < self.acknowledged
        if call.op == codes.OP_SET_DATA:
            self.written += 1
        self._sleep(client)

    def over(self, client: SimClient, expired: bool) -> None:
        if not self.stopping:
            self._path = ""
            self.acknowledged = -1
            client.renew()


class Scene:
    """One seed: its ensemble, its clients, its draws, and its verdict."""

    def __init__(
        self,
        seed: int,
        observers: int,
        relays: int,
        settings: Settings | None = None,
        links: bool = True,
    ) -> None:
        self.prng = Prng(seed, "observers")
        self.observers = list(range(4, 4 + observers))
        self.relays = relays
        if settings is None:
            settings = quick_settings()
        self.ensemble = Ensemble(Shape(VOTERS, self.observers, relays=relays), seed=seed, settings=settings)
        self.cluster = self.ensemble.cluster
        assert isinstance(self.ensemble.monitor, ClusterMonitor)
        self.monitor = self.ensemble.monitor
        self.monitor.machines = self.cluster.machines
        self.workers: list[Worker] = []
        if links:
            network = self.cluster.network
            network.base_us = int(self.prng.log_between(50, 3_000))
            network.jitter_us = int(self.prng.log_between(20, 3_000))
            network.cut_chance = self.prng.pick([0.0, 0.02, 0.2])
        for machine in self.cluster.machines.values():
            machine.fsync_us = machine.fsync_jitter_us = int(self.prng.log_between(50, 3_000))

    def start(self) -> Scene:
        """Everybody serves."""
        if self.relays in (RELAYS_TREE, RELAYS_UNLISTED):
            self.ensemble.start_in_order()
        else:
            self.ensemble.start(20_000)
        return self

    def work_at(self, *sids: int, move_chance: float = 0.0, think_us: int = 15_000) -> Worker:
        """A client that writes and reads, at one of the servers named."""
        worker = Worker(self.prng.split(f"worker {len(self.workers)}"), think_us, move_chance)
        self.workers.append(worker)
        self.cluster.add_client(worker, 10_000, list(sids)).start()
        return worker

    def now_ms(self) -> float:
        """Simulated time."""
        return self.cluster.scheduler.now_us / 1000

    def cut_off(self, sid: int) -> None:
        """Nothing goes between this server and any other."""
        for other in self.cluster.machines:
            if other != sid:
                self.cluster.network.block(sid, other)
                self.cluster.network.block(other, sid)

    def all_serve(self) -> bool:
        """Whether every machine's server serves."""
        return len(self.ensemble.modes()) == len(self.cluster.machines)

    def all_have_something(self) -> bool:
        """Whether a txn has reached everybody's disk: who is killed before that has nothing."""
        return all(one.last_synced_zxid & 0xFFFFFFFF for one in self.ensemble.servers().values())

    def syncing_at_once(self) -> int:
        """The most learners that one master synchronises now."""
        most = 0
        for server in self.ensemble.servers().values():
            relay = server.relay()
            leading = server.leading
            for syncer in (relay and relay.syncer, leading and leading.syncer):
                if syncer:
                    most = max(most, len(syncer.snaps) + len(syncer.diffs))
        return most

    def syncs(self) -> tuple[int, int, int]:
        """How often learners were synchronised by DIFF, TRUNC and SNAP by the masters there are now."""
        counts = [0, 0, 0]
        for server in self.ensemble.servers().values():
            relay = server.relay()
            leading = server.leading
            for syncer in (relay and relay.syncer, leading and leading.syncer):
                if syncer:
                    for index, count in enumerate((syncer.diff_count, syncer.trunc_count, syncer.snap_count)):
                        counts[index] += int(count)
        return counts[0], counts[1], counts[2]

    def not_by_diff(self) -> int:
        """How often a learner has cut or replaced what it had."""
        counts = self.monitor.judgement.counts
        return counts.get("snap syncs", 0) + counts.get("truncs", 0)

    def finish(self, **counts: int) -> Counts:
        """Faults end, everybody comes together, and everything that was written down is judged."""
        self.cluster.network.heal()
        for machine in self.cluster.machines.values():
            machine.resume()
            if not machine.is_up():
                assert machine.start(), machine.refusal
        for worker in self.workers:
            worker.stopping = True
        self.ensemble.until("everybody serves", self.all_serve, 60_000)
        self.ensemble.until("nobody asks any more", self._is_quiet, 60_000)
        self.ensemble.until("everybody has everything", self._is_level, 60_000)
        checker = HistoryChecker(self.monitor.chain, self.cluster.history)
        judgement = checker.check()
        assert judgement.violations == []
        self._check_trees(checker.model)
        self._check_session_ids()
        assert sum(worker.stale for worker in self.workers) == 0
        diffs, truncs, snaps = self.syncs()
        out = {
            "writes": sum(len(worker.latencies) for worker in self.workers),
            "reads": sum(worker.reads for worker in self.workers),
            "txns": len(self.monitor.chain),
            "diffs": diffs,
            "truncs": truncs,
            "snaps": snaps,
        }
        assert out["writes"] > 0
        assert out["reads"] > 0
        return {**out, **counts}

    def _is_quiet(self) -> bool:
        return all(not client.pending() for client in self.cluster.clients)

    def _is_level(self) -> bool:
        head = self.monitor.head()
        return all(one.tree.last_processed_zxid >= head for one in self.ensemble.servers().values())

    def _check_trees(self, model: Model) -> None:
        """Node by node.  The node of the view is not made by a txn."""
        due = {path: (node.data, node.stat()) for path, node in model.nodes.items()}
        due.pop(CONFIG_PATH, None)
        for sid, server in self.ensemble.servers().items():
            found = {path: (node.data, node.to_stat()) for path, node in server.tree.nodes.items()}
            found.pop(CONFIG_PATH, None)
            assert found == due, f"server {sid} has another tree"

    def _check_session_ids(self) -> None:
        seen: dict[int, None] = {}
        for entry in self.monitor.chain:
            header = entry.header
            is_claim = header.cxid != 0 and header.client_id >> 56 & 0xFF >= FIRST_BYTE
            if header.type == codes.OP_CREATE_SESSION and not is_claim:
                assert header.client_id not in seen, f"session 0x{header.client_id:x} is made twice"
                seen[header.client_id] = None


def quick_settings(**changes: object) -> Settings:
    """Ticks of 200 ms; whatever else is told."""
    settings = Settings()
    settings.tick_ms = TICK_MS
    for name, value in changes.items():
        assert hasattr(settings, name), name
        setattr(settings, name, value)
    return settings


def draw_relays(seed: int) -> int:
    """Where observers stand, in this seed."""
    return Prng(seed, "relays").pick([RELAYS_NONE, RELAYS_FOLLOWERS, RELAYS_TREE, RELAYS_UNLISTED])


# --- the ten ------------------------------------------------------------------------------------------------


def cut_off_for_longer_than_the_log(seed: int) -> Counts:
    """An observer hears nothing until what it missed is kept nowhere: it gets a SNAP, and then is in step."""
    settings = quick_settings(
        commit_log_count=10, snapshot_size_factor=-1.0, observer_master_size_limit=2_000
    )
    scene = Scene(seed, 2, draw_relays(seed), settings).start()
    scene.work_at(*VOTERS)
    sid = scene.observers[-1]
    before = scene.ensemble.server(sid).tree.last_processed_zxid
    scene.cut_off(sid)
    target = len(scene.monitor.chain) + 60 + scene.prng.below(60)
    scene.ensemble.until("the others write", lambda: len(scene.monitor.chain) >= target, 60_000)
    scene.ensemble.until("it has noticed", lambda: sid not in scene.ensemble.modes(), 30_000)
    snaps = scene.syncs()[2]
    scene.cluster.network.heal()
    scene.ensemble.until("it serves again", lambda: sid in scene.ensemble.modes(), 30_000)
    assert scene.ensemble.server(sid).tree.last_processed_zxid > before
    by_snap = scene.syncs()[2] - snaps
    assert by_snap >= 1, "it was not synchronised by SNAP"
    return scene.finish(cuts=1, snaps_after_cut=by_snap)


class Wire:
    """Reads along on all links between servers: what is sent to learners, and what they answer."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.streams: dict[int, PacketBuffer] = {}
        self.acks: dict[int, dict[int, None]] = {}
        self.commits: dict[tuple[int, int], list[int]] = {}
        self.informs: dict[tuple[int, int], list[int]] = {}
        self.faults: list[str] = []
        scene.cluster.network.tap = self.heard

    def heard(self, serial: int, source: int, target: int, port: int, data: bytes) -> None:
        """``Network.tap``."""
        if port not in (QUORUM_PORT, OBSERVER_MASTER_PORT):
            return
        stream = self.streams.setdefault(serial, PacketBuffer())
        stream.feed(data)
        try:
            while (packet := stream.next()) is not None:
                self.packet(source, target, packet)
        except JuteError as error:
            self.faults.append(str(error))

    def packet(self, source: int, target: int, packet: QuorumPacket) -> None:
        """One packet between two servers."""
        kind, zxid = packet.type, packet.zxid
        observers = self.scene.observers
        if kind == codes.PACKET_ACK:
            if source in observers and zxid & 0xFFFFFFFF:
                self.faults.append(f"observer {source} acks 0x{zxid:x}")
            self.acks.setdefault(zxid, {})[source] = None
        elif kind == codes.PACKET_COMMIT:
            # Within a DIFF an observer gets both; what is committed then is history.
            if target not in observers:
                self.commits.setdefault((source, target), []).append(zxid)
        elif kind == codes.PACKET_INFORM:
            if target not in observers:
                self.faults.append(f"INFORM 0x{zxid:x} to voter {target}")
            self.informs.setdefault((source, target), []).append(zxid)
            self.check_quorum(zxid)

    def check_quorum(self, zxid: int) -> None:
        """The leader's own ack is not on the wire; one follower's makes a quorum of three."""
        if not [sid for sid in self.acks.get(zxid, {}) if sid in VOTERS]:
            self.faults.append(f"INFORM 0x{zxid:x} before a quorum has acked")


def inform_against_commit(seed: int) -> Counts:
    """Observers hear of a txn once a quorum has logged it, never before, in the order of the commits."""
    scene = Scene(seed, 3, draw_relays(seed))
    # What is read along has to be whole packets.
    scene.cluster.network.cut_chance = 0.0
    scene.start()
    scene.cluster.run_ms(500)
    wire = Wire(scene)
    for sid in (*VOTERS, scene.observers[0], scene.observers[-1]):
        scene.work_at(sid)
    leader = scene.ensemble.leader()
    slow = scene.prng.pick(scene.ensemble.followers())
    for _ in range(6):
        # Now the acks are late, now the commits, now what observers hear.
        source, target = scene.prng.pick([(slow, leader), (leader, slow), (leader, scene.observers[0])])
        scene.cluster.network.slow_pair(source, target, scene.prng.below(40_000))
        scene.cluster.run_ms(100 + scene.prng.below(200))
    counts = scene.finish(
        informs=sum(len(zxids) for zxids in wire.informs.values()),
        commits=sum(len(zxids) for zxids in wire.commits.values()),
    )
    assert wire.faults == [], wire.faults[:5]
    for pair, zxids in [*wire.informs.items(), *wire.commits.items()]:
        assert zxids == sorted(set(zxids)), f"{pair}: out of order"
    chain = [int(entry.header.zxid) for entry in scene.monitor.chain]
    for pair, zxids in wire.informs.items():
        first = bisect_right(chain, zxids[0]) - 1
        assert chain[first : first + len(zxids)] == zxids, f"{pair}: a gap"
    assert counts["informs"] > 20
    return counts


def chain_of_masters(seed: int) -> Counts:
    """A tree of ten observers, four levels deep; those that relay die and come back, the leader sees none."""
    scene = Scene(seed, 10, RELAYS_TREE).start()
    scene.work_at(*VOTERS)
    scene.work_at(scene.observers[-1], move_chance=0.01)
    ensemble = scene.ensemble
    leading = ensemble.server(ensemble.leader()).leading
    assert leading is not None
    known = list(leading.handlers)
    # Whoever has nothing yet gets a SNAP, as upstream's do.
    ensemble.until("all have something", scene.all_have_something)
    before = scene.not_by_diff()
    kills = 0
    for _ in range(5):
        sid = scene.prng.pick(scene.observers[:4])
        machine = scene.cluster.machines[sid]
        if not machine.is_up():
            continue
        machine.kill()
        kills += 1
        scene.cluster.run_ms(100 + scene.prng.below(600))
        assert machine.start()
        scene.cluster.run_ms(scene.prng.below(600))
        assert list(leading.handlers) == known, "the leader has other learners"
    counts = scene.finish(kills=kills)
    assert list(leading.handlers) == known
    assert scene.not_by_diff() == before
    return counts


def read_your_writes(seed: int) -> Counts:
    """Clients of observers write and read at once, and move between observers and voters meanwhile."""
    scene = Scene(seed, 4, draw_relays(seed)).start()
    everywhere = [*scene.observers, *VOTERS]
    for sid in scene.observers:
        scene.work_at(sid)
        scene.work_at(*everywhere, move_chance=0.05)
    for _ in range(4):
        late = scene.prng.pick(scene.observers)
        master = scene.ensemble.master_of(late)
        if master > 0:
            scene.cluster.network.slow_pair(master, late, scene.prng.below(150_000))
        scene.cluster.run_ms(500)
    scene.ensemble.until("somebody has moved", lambda: any(worker.moves for worker in scene.workers), 60_000)
    counts = scene.finish(moves=sum(worker.moves for worker in scene.workers))
    return counts


def fifty_observers_lose_their_leader(seed: int) -> Counts:
    """Fifty observers are back within two election times; no master is stormed."""
    relays = draw_relays(seed)
    scene = Scene(seed, 50, relays, links=False).start()
    scene.work_at(*VOTERS, think_us=10_000)
    scene.cluster.run_ms(300)
    ensemble = scene.ensemble
    old = ensemble.leader()
    before_ms = scene.now_ms()
    scene.cluster.machines[old].kill()
    most = 0

    def are_back() -> bool:
        nonlocal most
        most = max(most, scene.syncing_at_once())
        modes = ensemble.modes()
        return "leader" in modes.values() and all(sid in modes for sid in scene.observers)

    ensemble.until("all are back", are_back, 10_000)
    took_ms = int(scene.now_ms() - before_ms)
    assert took_ms <= 2 * ELECTION_MS
    assert most <= 50
    if relays != RELAYS_NONE:
        assert ensemble.below(ensemble.leader()) == ensemble.followers()
    return scene.finish(back_ms=took_ms, syncs_at_once=most)


def percentile(values: list[int], part: float) -> int:
    """The value below which ``part`` of them are."""
    return sorted(values)[int(part * (len(values) - 1))]


def write_latencies(seed: int, observers: int) -> tuple[Counts, list[int]]:
    """Latencies of writes at the voters, with so many observers under the leader."""
    scene = Scene(seed, observers, RELAYS_NONE, links=False).start()
    for sid in VOTERS:
        scene.work_at(sid, think_us=10_000)
    for sid in scene.observers:
        scene.work_at(sid, think_us=1_000_000_000)
    scene.cluster.run_ms(1_000)
    latencies = [one for worker in scene.workers[:3] for one in worker.latencies]
    return scene.finish(), latencies


def voters_do_not_notice(seed: int) -> Counts:
    """The same load with no observer and with ten: writes of the voters' clients take as long."""
    _, alone = write_latencies(seed, 0)
    counts, beside = write_latencies(seed, 10)
    halves = percentile(alone, 0.5), percentile(beside, 0.5)
    assert halves[1] <= 1.1 * halves[0], halves
    return {**counts, "p50_us_alone": halves[0], "p50_us_with_ten": halves[1]}


def unlisted_ones_come_and_go(seed: int) -> Counts:
    """Observers in nobody's configuration die, are cut off and come back; no session id is used twice."""
    scene = Scene(seed, 10, RELAYS_UNLISTED).start()
    for sid in scene.observers[::4]:
        scene.work_at(sid, *VOTERS, move_chance=0.02, think_us=60_000)
    kills = 0
    for _ in range(6):
        sid = scene.prng.pick(scene.observers)
        machine = scene.cluster.machines[sid]
        machine.kill()
        kills += 1
        # Now and then for so long that its claim expires.
        scene.cluster.run_ms(scene.prng.pick([200, 1_000, 6_000]))
        assert machine.start()
        scene.ensemble.until(f"{sid} serves", lambda sid=sid: sid in scene.ensemble.modes(), 30_000)
        fresh = scene.cluster.add_client(Asker(), 10_000, [sid])
        fresh.start()
        scene.ensemble.until("a client is connected", fresh.is_connected)
    claims = [
        int(server.peer.claim.first_id)
        for sid, server in scene.ensemble.servers().items()
        if sid in scene.observers and server.peer is not None
    ]
    assert len(set(claims)) == len(claims) == 10
    view = scene.ensemble.server(1).peer
    assert view is not None
    assert sorted(view.config.servers) == VOTERS
    return scene.finish(kills=kills, claims=len(claims))


class Reader(Asker):
    """Reads all the time, and writes down how old what it saw was."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.stopping = False
        self.oldest_ms = 0.0
        self.reads = 0

    def connected(self, client: SimClient) -> None:
        client.after(1_000)

    def wake(self, client: SimClient, tag: object) -> None:
        if client.is_connected() and not client.pending() and not self.stopping:
            client.ask(calls.exists("/"))

    def answered(self, client: SimClient, call: Call[Any]) -> None:
        if call.err == codes.OK:
            self.reads += 1
            monitor = self.scene.monitor
            newer = bisect_right(monitor.zxids, call.zxid)
            if newer < len(monitor.zxids):
                since_us = monitor.seen_us[monitor.zxids[newer]]
                age_ms = (client.scheduler.now_us - since_us) / 1000
                self.oldest_ms = max(self.oldest_ms, age_ms)
        client.after(20_000)


def nobody_reads_from_the_past(seed: int) -> Counts:
    """Links to observers become slow: none answers reads that are older than the limit and two ticks."""
    limit_ms = 400
    settings = quick_settings(max_serve_lag_ms=limit_ms, max_serve_lag_txns=0)
    scene = Scene(seed, 3, draw_relays(seed), settings, links=False).start()
    scene.work_at(*VOTERS)
    readers = []
    for sid in scene.observers:
        readers.append(Reader(scene))
        scene.cluster.add_client(readers[-1], 10_000, [sid]).start()
    refused = 0
    for _ in range(4):
        sid = scene.prng.pick(scene.observers)
        master = scene.ensemble.master_of(sid)
        if master < 0:
            continue
        scene.cluster.network.slow_pair(master, sid, scene.prng.pick([50_000, 600_000, 900_000]))
        scene.cluster.run_ms(2_500)
        refused += sid not in scene.ensemble.modes()
        scene.cluster.network.slow_pair(master, sid, 0)
        scene.cluster.run_ms(500)
    for reader in readers:
        reader.stopping = True
    oldest_ms = int(max(reader.oldest_ms for reader in readers))
    # It knows of a delay once its question, asked once a tick, is overdue.
    assert oldest_ms <= limit_ms + 2 * TICK_MS, f"a read showed what was {oldest_ms} ms old"
    return scene.finish(
        lag_reads=sum(reader.reads for reader in readers), refused=refused, oldest_ms=oldest_ms
    )


def power_fails_at_observers(seed: int) -> Counts:
    """Observers lose power in the middle of what they log, and what was not synced; they come back right."""
    settings = quick_settings(snap_count=40)
    scene = Scene(seed, 3, draw_relays(seed), settings).start()
    scene.work_at(*VOTERS)
    scene.work_at(*scene.observers, move_chance=0.02)
    cuts = 0
    for _ in range(6):
        machine = scene.cluster.machines[scene.prng.pick(scene.observers)]
        scene.cluster.run_ms(100 + scene.prng.below(400))
        machine.cut_power()
        cuts += 1
        scene.cluster.run_ms(scene.prng.below(400))
        assert machine.start(), machine.refusal
    return scene.finish(power_cuts=cuts)


class Owner(Asker):
    """Has one ephemeral node for as long as its session lives."""

    def __init__(self) -> None:
        self.path = ""
        self.expired = 0

    def connected(self, client: SimClient) -> None:
        if not self.path:
            self.path = f"/owner{client.number}"
            client.ask(calls.create(self.path, b"", flags=codes.MODE_EPHEMERAL))

    def over(self, client: SimClient, expired: bool) -> None:
        self.expired += 1


def sessions_move(seed: int) -> Counts:
    """Sessions go from observer to observer to voter; what they own goes with them, and with nobody else."""
    scene = Scene(seed, 4, draw_relays(seed)).start()
    scene.work_at(*VOTERS)
    owners = []
    for sid in scene.observers:
        owner = Owner()
        client = scene.cluster.add_client(owner, 4_000, [sid])
        client.start()
        owners.append((owner, client))
    scene.ensemble.until("all have their nodes", lambda: all(one.path for one, _ in owners), 10_000)
    moves = 0
    for _ in range(8):
        _, client = scene.prng.pick(owners)
        client.servers = [scene.prng.pick([*scene.observers, *VOTERS])]
        client.move()
        moves += 1
        scene.ensemble.until("it is connected again", client.is_connected, 20_000)
        if scene.prng.chance(0.3):
            scene.cluster.machines[client.server].kill()
            scene.cluster.run_ms(scene.prng.below(300))
            assert scene.cluster.machines[client.server].start()
            client.servers = [*scene.observers, *VOTERS]
            scene.ensemble.until("it is somewhere else", client.is_connected, 20_000)
    quiet = owners[::2]
    for _, client in quiet:
        client.abandon()
    scene.ensemble.until("everybody serves", scene.all_serve, 30_000)
    gone = [owner.path for owner, _ in quiet]

    def are_gone() -> bool:
        return all(path not in one.tree.nodes for one in scene.ensemble.servers().values() for path in gone)

    scene.ensemble.until("what the dead owned is gone", are_gone, 60_000)
    for owner, client in owners[1::2]:
        assert owner.expired == 0
        for server in scene.ensemble.servers().values():
            stat = server.tree.nodes[owner.path].to_stat()
            assert stat.ephemeral_owner == client.session.session_id
    return scene.finish(session_moves=moves, expired=len(gone))


SCENARIOS: tuple[Callable[[int], Counts], ...] = (
    cut_off_for_longer_than_the_log,
    inform_against_commit,
    chain_of_masters,
    read_your_writes,
    fifty_observers_lose_their_leader,
    voters_do_not_notice,
    unlisted_ones_come_and_go,
    nobody_reads_from_the_past,
    power_fails_at_observers,
    sessions_move,
)
