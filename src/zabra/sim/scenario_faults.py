"""Commands of text scenarios that go below the servers: packets one by one, disks, files; and ``expect``.

    hold 3>2 at=NEWLEADER         the direction stops at the first such packet (ACKLD: the ack of NEWLEADER)
    let 3>2 COMMIT [0x100000002]  passes what is held up to and including that packet; waits for it
    inject 2>3 ACK 0x100000002    sends a packet that 2 did not send
    garbage 2 3888 [hex]          a stranger connects and sends bytes that make no sense
    hold-disk 2 at=current-epoch  disk work stops before the first command of a kind (``DISK_STOPS``)
    disk-fault 2 write EIO [path=log] [skip=N]     the next such disk operation goes wrong
    crash-at 2 rename [path=acceptedEpoch] [keep|lose]   power goes off right before that disk operation
    fill-disk 2 / free-disk 2     no space is left; there is again
    rot 2 log|snapshot            a byte of the last txn, or of the newest snapshot, changes (server is down)
    tear 2 log                    the last txn is cut at a sector (server is down)
    lose 2 log|snapshot           the newest such file disappears; ``lose 2 logs`` all of them
    put 2 NAME TEXT               a file in the data folder
    given 1,2 zxid=0x1b00000005 [accepted=N current=N]   what the data folder holds before the first start
    snapshot 2                    begins a fuzzy snapshot, and a new log file
    slow 2 100                    a machine is so many times slower
    zxid 0x1fffffff0              servers in step are made to stand there, in log and snapshot too
    expect ...                    fails the scenario unless it is so (``EXPECTATIONS``)
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from zabra.proto import codes
from zabra.proto.packets import encode_packet
from zabra.server import ready
from zabra.server.recovery import open_store
from zabra.server.server import Server
from zabra.sim.cluster import Cluster
from zabra.sim.disk import FAULT_KINDS, SECTOR_BYTES
from zabra.sim.gate import KINDS
from zabra.sim.machine import Machine, NobodyListens, PowerCut, Process
from zabra.sim.network import End
from zabra.storage import txnlog_format as fmt
from zabra.storage.epochs import Epochs
from zabra.storage.log_reader import LogFileReader, list_logs
from zabra.storage.names import VERSION_FOLDER, join
from zabra.tree.datatree import DataTree
from zabra.tree.snapshot_walk import serialize_tree

if TYPE_CHECKING:
    from zabra.sim.scenario import Player

Command = Callable[["Player", Cluster, list[str]], None]

_LET_LIMIT_MS: Final = 30_000
_STRANGER_HOST: Final = 900
_MASK_64: Final = (1 << 64) - 1
DISK_STOPS: Final = {
    "append": ready.DISK_APPEND,
    "truncate": ready.DISK_TRUNCATE,
    "accepted-epoch": ready.DISK_ACCEPTED_EPOCH,
    "current-epoch": ready.DISK_CURRENT_EPOCH,
    "snapshot": ready.DISK_SNAPSHOT_BEGIN,
    "snapshot-end": ready.DISK_SNAPSHOT_END,
}


class ExpectationError(AssertionError):
    """What a scenario expects is not so."""


def options_of(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Plain words, and name=value ones."""
    plain = [word for word in words if "=" not in word]
    return plain, dict(word.split("=", 1) for word in words if "=" in word)


def sids_of(text: str) -> list[int]:
    """The server ids of ``1,2``."""
    return [int(part) for part in text.replace(" ", ",").split(",") if part]


def _pair(word: str) -> tuple[int, int]:
    left, _, right = word.partition(">")
    return int(left), int(right)


# Packets.


def let(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """Passes the packets up to one; waits until there is such a one."""
    source, target = _pair(words[0])
    zxid = int(words[2], 16) if len(words) > 2 else -1
    waited = 0
    while not player.gate.let(source, target, KINDS[words[1]], zxid):
        if waited >= _LET_LIMIT_MS:
            raise ExpectationError(f"{source} sends {target} no {' '.join(words[1:])}")
        cluster.run_ms(1)
        waited += 1
    cluster.run_ms(3)


def inject(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """A packet out of nowhere."""
    source, target = _pair(words[0])
    packet = encode_packet(KINDS[words[1]], int(words[2], 16), None)
    if not player.gate.inject(source, target, packet):
        raise ExpectationError(f"{source} has no connection to {target}")
    cluster.run_ms(3)


class _Stranger(NobodyListens):
    """A host that dials, sends its bytes and hangs up."""

    def __init__(self, cluster: Cluster, data: bytes) -> None:
        self.cluster = cluster
        self.data = data

    def link_made(self, end: End, port: int, dial_id: int) -> None:
        """Connected."""
        self.cluster.network.send(end, self.data)

    def dial_failed(self, dial_id: int) -> None:
        """Refused: the server is down."""


def garbage(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """Bytes that make no sense, at any port."""
    data = bytes.fromhex(words[2]) if len(words) > 2 else bytes(range(1, 200))
    stranger = _Stranger(cluster, data)
    cluster.network.owners[_STRANGER_HOST] = stranger
    cluster.network.dial(_STRANGER_HOST, stranger, int(words[1]), [int(words[0])], 1, 1_000_000)
    cluster.run_ms(50)


# Disks.


def disk_fault(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """An operation that will go wrong."""
    plain, given = options_of(words)
    assert plain[2] in FAULT_KINDS, f"kinds of disk faults are {FAULT_KINDS}"
    machine = cluster.machines[int(plain[0])]
    player.monitor.promise(machine.sid).may_stop_until_us = 1 << 62
    machine.disk.inject(
        plain[1],
        plain[2],
        given.get("path", ""),
        skip=int(given.get("skip", "0")),
        times=int(given.get("times", "1")),
    )


class _CrashAt:
    """Cuts the power right before a disk operation."""

    def __init__(self, machine: Machine, operation: str, path: str) -> None:
        self.machine = machine
        self.operation = operation
        self.path = path

    def before(self, operation: str, path: str) -> None:
        """``SimDisk.before``."""
        if operation == self.operation and self.path in path:
            self.machine.disk.before = None
            raise PowerCut(f"{operation} {path}")


class KeepOrLose:
    """What survives a power cut: nothing unsynced, or everything."""

    def __init__(self, keep: bool) -> None:
        self.keep = keep

    def below(self, bound: int) -> int:
        """0 is "nothing", 1 is "everything" for ``SimDisk.crash``."""
        return 1 if self.keep and bound > 1 else 0


def crash_at(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """Arms a power cut."""
    plain, given = options_of(words)
    machine = cluster.machines[int(plain[0])]
    machine.crash_draws = KeepOrLose("keep" in plain)
    machine.disk.before = _CrashAt(machine, plain[1], given.get("path", "")).before


def fill_disk(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """No space is left."""
    for sid in sids_of(",".join(words)):
        player.monitor.promise(sid).may_stop_until_us = 1 << 62
        cluster.machines[sid].disk.capacity_bytes = 1


def free_disk(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """There is space again."""
    for sid in sids_of(",".join(words)):
        cluster.machines[sid].disk.capacity_bytes = 0


def _log_files(machine: Machine) -> list[str]:
    return [file.path for file in list_logs(machine.disk, VERSION_FOLDER)]


def _snapshot_files(machine: Machine) -> list[str]:
    names = [name for name in machine.disk.list(VERSION_FOLDER) if name.startswith("snapshot.")]
    return [join(VERSION_FOLDER, name) for name in sorted(names, key=lambda name: int(name[9:], 16))]


def _last_txn(machine: Machine) -> tuple[str, int, int]:
    """Path, first and last byte of the last txn in the newest log."""
    path = _log_files(machine)[-1]
    reader = LogFileReader(machine.disk, path)
    start = 0
    while reader.tail is None:
        for entry in reader.next_slice():
            start = entry.offset
    return path, start, reader.end


def rot(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """A byte changes."""
    machine = cluster.machines[int(words[0])]
    player.monitor.promise(machine.sid).damaged = True
    if words[1] == "log":
        path, start, end = _last_txn(machine)
        machine.disk.flip(path, (start + end) // 2)
    else:
        path = _snapshot_files(machine)[-1]
        machine.disk.flip(path, machine.disk.size(path) // 2)


def tear(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """A crash in the middle of the write of the last txn: zeros from a sector on."""
    machine = cluster.machines[int(words[0])]
    player.monitor.promise(machine.sid).damaged = True
    path, start, end = _last_txn(machine)
    middle = (start + end) // 2 // SECTOR_BYTES * SECTOR_BYTES
    assert middle > start, "no sector begins within the last txn: make it larger"
    machine.disk.overwrite(path, middle, bytes(machine.disk.size(path) - middle))


def lose(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """Files disappear."""
    machine = cluster.machines[int(words[0])]
    player.monitor.promise(machine.sid).damaged = True
    files = _log_files(machine) if words[1].startswith("log") else _snapshot_files(machine)
    for path in files if words[1].endswith("s") else files[-1:]:
        machine.disk.lose_entry(path)


def put(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """A file in the data folder."""
    disk = cluster.machines[int(words[0])].disk
    file = disk.create(join(VERSION_FOLDER, words[1]))
    file.write(" ".join(words[2:]).encode())
    file.sync()
    disk.sync_folder(VERSION_FOLDER)


def given(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """Data folders that are there before the servers: a snapshot of an empty tree, and epoch files."""
    plain, options = options_of(words)
    zxid = int(options["zxid"], 16)
    player.monitor.base = max(player.monitor.base, zxid)
    for sid in sids_of(",".join(plain)):
        disk = cluster.machines[sid].disk
        store = open_store(disk, disk)
        tree = DataTree()
        tree.last_processed_zxid = zxid
        store.snaps.save(zxid, [serialize_tree(tree)], zxid, tree.digest)
        epochs = Epochs(disk, VERSION_FOLDER)
        if "accepted" in options:
            epochs.save_accepted(int(options["accepted"]))
        if "current" in options:
            epochs.save_current(int(options["current"]))


def snapshot(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """A fuzzy snapshot begins."""
    for sid in sids_of(",".join(words)):
        process_of(cluster, sid).call(_begin_snapshot)
    cluster.run_ms(1)


def slow(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """Turns, and disk work, take longer."""
    cluster.machines[int(words[0])].slowness = int(words[1])


def zxid(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """As if so many txns had been committed in this epoch: for the end of the counter."""
    to = int(words[0], 16)
    for process in cluster.serving():
        stand_at(process, to)
    player.monitor.base = to
    player.monitor.spec.jump(to)


def stand_at(process: Process, to: int) -> None:
    """Makes a server in step stand at ``to``, as if so many txns had been committed."""
    server = process.server
    tree = server.tree
    assert server.disk_is_idle(), "what is still to be logged would not follow"
    tree.last_processed_zxid = to
    server.last_logged_zxid = server.last_synced_zxid = to
    server.committed_log.clear()
    process.store.snaps.save(to, [serialize_tree(tree)], to, tree.digest)
    process.store.log.continue_from(to)
    leading = server.leading
    if leading is not None:
        broadcast = leading.broadcast
        assert broadcast is not None
        broadcast.last_proposed = broadcast.last_committed = broadcast._self_acked = to
        leading.prep.last_zxid = to


def _begin_snapshot(server: Server) -> None:
    server.roll_log()
    server.snapshotter.begin()


# Expectations.


def process_of(cluster: Cluster, sid: int) -> Process:
    """A running server."""
    process = cluster.machines[sid].process
    if process is None:
        raise ExpectationError(f"server {sid} is down")
    return process


def _check(ok: bool, what: str) -> None:
    if not ok:
        raise ExpectationError(what)


def expect_leader(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """``expect leader 3``: it leads and serves; ``expect leader none``: nobody does."""
    leaders = [p.sid for p in cluster.serving() if p.server.role.name() == "leader"]
    due = [] if words[0] == "none" else [int(words[0])]
    _check(leaders == due, f"leaders are {leaders}, due are {due}")


def expect_epoch(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """``expect epoch 4``: the leader's."""
    peers = [p.server.peer for p in cluster.serving() if p.server.leading is not None]
    epochs = [peer.current_epoch for peer in peers if peer is not None]
    _check(epochs == [int(words[0])], f"epochs of the leaders are {epochs}")


def expect_disk(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """``expect disk 1 accepted=3 current=2 log=0x100000004``: what the files say (log: the last txn)."""
    plain, options = options_of(words)
    machine = cluster.machines[int(plain[0])]
    epochs = Epochs(machine.disk, VERSION_FOLDER)
    for name, got in (("accepted", epochs.read_accepted()), ("current", epochs.read_current())):
        if name in options:
            _check(str(got) == options[name], f"{name} epoch on disk {plain[0]} is {got}")
    if "log" in options:
        last = 0
        for path in _log_files(machine):
            reader = LogFileReader(machine.disk, path)
            while reader.tail is None:
                for entry in reader.next_slice():
                    last = fmt.txn_zxid(entry.raw)
        _check(last == int(options["log"], 16), f"the log of {plain[0]} ends at 0x{last:x}")


def expect_node(player: "Player", cluster: Cluster, words: list[str], there: bool) -> None:
    """``expect present /a [/b]``, ``expect absent /a``: at every server that serves."""
    serving = cluster.serving()
    _check(bool(serving), "nobody serves")
    for process in serving:
        for path in words:
            found = path in process.server.tree.nodes
            text = f"server {process.sid} {'has' if found else 'does not have'} {path}"
            _check(found is there, text)


def expect_same(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """``expect same``: all servers that run serve, with one tree, node by node, stats included."""
    found: dict[int, object] = {}
    for process in cluster.processes():
        tree = process.server.tree
        _check(process.server.role.serves(), f"server {process.sid} does not serve")
        # A leader stands at the start of its epoch, where its followers have none of its txns yet.
        _check(tree.last_processed_zxid >= player.monitor.head(), f"server {process.sid} is behind")
        nodes = {path: (node.data, node.to_stat()) for path, node in tree.nodes.items()}
        nodes.pop("/zookeeper/config", None)
        found[process.sid] = (tree.digest, nodes, dict(tree.sessions))
    first = next(iter(found.values()), None)
    for sid, one in found.items():
        _check(one == first, f"server {sid} has another tree than server {next(iter(found))}")


def expect_up(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """``expect up 1,2``: they run and serve."""
    serving = [process.sid for process in cluster.serving()]
    for sid in sids_of(words[0]):
        _check(sid in serving, f"server {sid} does not serve")


def expect_down(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """``expect down 1,2``: they do not serve."""
    serving = [process.sid for process in cluster.serving()]
    for sid in sids_of(words[0]):
        _check(sid not in serving, f"server {sid} serves")


def expect_stopped(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """``expect stopped 1``: its process has ended."""
    for sid in sids_of(words[0]):
        _check(cluster.machines[sid].process is None, f"server {sid} runs")


def expect_sync(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """``expect sync 1 SNAP``: how the last synchronisation of a server was done."""
    got = player.synchronised.get(int(words[0]))
    _check(got == words[1], f"server {words[0]} was synchronised by {got}")


def expect_packet(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """``expect held 2>3 ACK``: what stands first in a direction; ``expect held 2>3 nothing``."""
    piece = player.gate.front(*_pair(words[0]))
    got = "nothing" if piece is None else codes.PACKET_NAMES.get(piece.kind, str(piece.kind))
    _check(got == words[1], f"held is {got}")


def expect_exact(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """``expect exact 1``: its tree is what the log promises at its zxid, whether or not it serves yet."""
    for sid in sids_of(words[0]):
        tree = process_of(cluster, sid).server.tree
        due = player.monitor.digest_at(tree.last_processed_zxid)
        _check(tree.digest & _MASK_64 == due, f"server {sid} is not exact at 0x{tree.last_processed_zxid:x}")


def expect_commits(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """``expect commits 7``: so many txns are known to be committed."""
    _check(len(player.monitor.chain) == int(words[0]), f"{len(player.monitor.chain)} txns are committed")


def _expect_present(player: "Player", cluster: Cluster, words: list[str]) -> None:
    expect_node(player, cluster, words, True)


def _expect_absent(player: "Player", cluster: Cluster, words: list[str]) -> None:
    expect_node(player, cluster, words, False)


EXPECTATIONS: Final[dict[str, Command]] = {
    "leader": expect_leader,
    "epoch": expect_epoch,
    "disk": expect_disk,
    "present": _expect_present,
    "absent": _expect_absent,
    "same": expect_same,
    "up": expect_up,
    "down": expect_down,
    "stopped": expect_stopped,
    "sync": expect_sync,
    "held": expect_packet,
    "commits": expect_commits,
    "exact": expect_exact,
}


def expect(player: "Player", cluster: Cluster, words: list[str]) -> None:
    """Fails the scenario unless it is so."""
    EXPECTATIONS[words[0]](player, cluster, words[1:])


COMMANDS: Final[dict[str, Command]] = {
    "let": let,
    "inject": inject,
    "garbage": garbage,
    "disk-fault": disk_fault,
    "crash-at": crash_at,
    "fill-disk": fill_disk,
    "free-disk": free_disk,
    "rot": rot,
    "tear": tear,
    "lose": lose,
    "put": put,
    "given": given,
    "snapshot": snapshot,
    "slow": slow,
    "zxid": zxid,
    "expect": expect,
}
