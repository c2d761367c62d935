"""Text scenarios: a directed schedule, and what must come of it, in a file that reads like a story.

A file is a list of blocks.  A block is commands, a line of dashes and the output that they are to have;
``rewrite`` regenerates the outputs for review.  Lines that begin with ``#`` are for the reader.

    cluster voters=1,2,3 observers=4      a fresh cluster; also tick=MS seed=N snapCount=N commitLog=N
    start 1 2 3                           starts servers, one after the other
    kill 1 / power-cut 1 [keep|lose]      ends one; ``keep`` and ``lose`` are about what was not synced
    pause 1 / resume 1
    hold 3>2 / release 3>2                what 3 sends to 2 is held up on the way ("*" for everybody)
    isolate 1 / heal                      nothing gets from or to 1; heals every link
    hold-disk 2 / release-disk 2          fsyncs of 2 do not complete
    client c at=2 [timeout=MS]            a client of server 2; ``c move 3`` takes it to another
    c create /a v / c setData /a v / c getData /a / c delete /a / c sync / c close ...
    c? setData /a v                       asks without waiting
    c multi /a /b=v                       creates /a and sets the data of /b, or neither
    c fill /n 100                         creates /n0000 to /n0099, without a word
    c die                                 the client's process ends; its session is left to expire
    c wait                                waits for what was asked
    run MS / settle                       lets time pass; settle: until all servers that run serve
    show packets disks commits roles      what is printed from now on (default: roles)
    logs / trees                          last zxid of every disk; the nodes of every server
    committed                             the committed log, as far as anybody has shown it

Packets, disks and files, and what is expected: see ``scenario_faults``.  Traces of upstream's TLA+
specification: see ``spec_schedule``.

Nothing is random: every packet takes 1 ms, every fsync 1 ms.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from zabra.client import calls
from zabra.client.calls import Call
from zabra.client.connection import WatchFired
from zabra.proto import codes
from zabra.proto.errors import ERROR_NAMES
from zabra.server.settings import Settings
from zabra.sim.checkers import HistoryChecker
from zabra.sim.client import SimClient
from zabra.sim.cluster import OBSERVER_MASTER_PORT, QUORUM_PORT, Cluster, Shape
from zabra.sim.gate import KINDS, Gate
from zabra.sim.machine import Process
from zabra.sim.prng import Prng
from zabra.sim.scenario_faults import COMMANDS, DISK_STOPS, KeepOrLose, options_of
from zabra.sim.spec_monitor import SpecMonitor
from zabra.sim.spec_schedule import COMMANDS as SPEC_COMMANDS
from zabra.sim.spec_schedule import Schedule
from zabra.sim.wiretap import Wiretap, describe_txn

DASHES: Final = "----"
_STEP_US: Final = 1000
_SETTLE_LIMIT_MS: Final = 20_000
_ANSWER_LIMIT_MS: Final = 10_000
_STEPS_MAX: Final = 200_000
_BYTES_MAX: Final = 3_000_000
_ROLE_WORDS: Final = ("LEADING", "FOLLOWING", "OBSERVING", "leading in epoch", "synchronised", "no more")


class ScenarioError(Exception):
    """A command that makes no sense."""


class _Cluster(Cluster):
    """One whose servers may not keep themselves busy for ever."""

    def run_ms(self, ms: int) -> None:
        """Lets simulated time pass.  Raises ScenarioError where more happens than can be meant."""
        for _ in range(ms):
            super().run_ms(1)
            if self.scheduler.steps > _STEPS_MAX or self.network.bytes_delivered > _BYTES_MAX:
                raise ScenarioError("too much happens: the servers keep each other busy")


class _Program:
    """A client that does what it is told."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self.name = name
        self.say = say
        self.stopping = False

    def connected(self, client: SimClient) -> None:
        """Not worth a line."""

    def answered(self, client: SimClient, call: Call[Any]) -> None:
        """Prints the outcome."""
        if call.op == codes.OP_CREATE and call.err == codes.OK and call.path[-4:].isdecimal():
            return
        self.say(f"{self.name} {describe_call(call)}")

    def fired(self, client: SimClient, event: WatchFired) -> None:
        """Prints the event."""
        names = {value: name for name, value in vars(codes).items() if name.startswith("EVENT_")}
        word = names[event.type].removeprefix("EVENT_").replace("_", "").lower()
        self.say(f"{self.name} watch {word} {event.path}")

    def over(self, client: SimClient, expired: bool) -> None:
        """Prints it."""
        self.say(f"{self.name} session {'expired' if expired else 'closed'}")

    def wake(self, client: SimClient, tag: Any) -> None:
        """It sets no timers."""


def describe_call(call: Call[Any]) -> str:
    """A call and its outcome in a line."""
    text = f"{codes.OP_NAMES.get(call.op, str(call.op))} {call.path}".rstrip()
    if not call.answered:
        return f"{text}: connection lost"
    if call.err != codes.OK:
        return f"{text}: {ERROR_NAMES.get(call.err, str(call.err))}"
    value = call.value
    if call.op == codes.OP_GET_DATA:
        assert value is not None
        data, stat = value
        return f"{text}: {(data or b'').decode()} version={stat.version}"
    if call.op in (codes.OP_SET_DATA, codes.OP_EXISTS):
        assert value is not None
        return f"{text}: ok version={value.version}"
    if call.op == codes.OP_GET_CHILDREN:
        return f"{text}: {','.join(sorted(value or []))}"
    if call.op == codes.OP_CREATE:
        return f"create: {value}"
    return f"{text}: ok"


class Player:
    """Carries out commands; ``output`` is what they printed."""

    def __init__(self, keep_steps: bool = False) -> None:
        self.cluster: Cluster | None = None
        self.monitor = SpecMonitor(keep_steps)
        self.output: list[str] = []
        self.shown = ["roles"]
        self._clients: dict[str, SimClient] = {}
        self._tap = Wiretap((QUORUM_PORT, OBSERVER_MASTER_PORT))
        self._calls: dict[str, list[Call[Any]]] = {}
        self.gate: Gate
        self.schedule = Schedule()
        # How each server was synchronised last.
        self.synchronised: dict[int, str] = {}

    # Blocks.

    def play(self, text: str) -> str:
        """Plays a whole file; returns it with the outputs as they are."""
        out: list[str] = []
        for comment, commands in parse(text):
            out += comment
            if not commands:
                continue
            self.output = []
            for command in commands:
                self._run(command)
            out += [*commands, DASHES, *self.output, ""]
        self._check()
        return "\n".join(out).rstrip("\n") + "\n"

    def _check(self) -> None:
        """The cluster's own checkers hold for scenarios too."""
        violations = list(self.monitor.judgement.violations)
        if not violations and self.cluster is not None:
            checker = HistoryChecker(self.monitor.chain, self.cluster.history)
            violations = checker.check().violations
        if violations:
            raise AssertionError(f"the scenario violates: {violations[0]}")

    def _run(self, line: str) -> None:
        words = line.split()
        name = words[0]
        if name == "cluster":
            self._new_cluster(words[1:])
            return
        if name == "show":
            self.shown = words[1:]
            return
        cluster = self._cluster()
        command = _COMMANDS.get(name)
        if command is not None:
            command(self, cluster, words[1:])
        elif name.rstrip("?") in self._clients:
            self._client_command(name, words[1:])
        else:
            raise ScenarioError(f"unknown command: {line}")

    def _cluster(self) -> Cluster:
        if self.cluster is None:
            raise ScenarioError("no cluster yet")
        return self.cluster

    def _new_cluster(self, words: list[str]) -> None:
        given = dict(word.split("=", 1) for word in words)
        settings = Settings()
        settings.tick_ms = int(given.get("tick", "1000"))
        settings.snap_count = int(given.get("snapCount", "100000"))
        settings.commit_log_count = int(given.get("commitLog", "500"))
        settings.init_limit_ticks = int(given.get("initLimit", "5"))
        settings.sync_limit_ticks = int(given.get("syncLimit", "3"))
        settings.snapshot_nodes_per_turn = int(given.get("snapNodes", "2000"))
        settings.jute_max_buffer = int(given.get("maxBuffer", "1048575"))
        settings.jute_extra_size = int(given.get("maxBuffer", "1048575"))
        shape = Shape(_sids(given.get("voters", "1,2,3")), _sids(given.get("observers", "")))
        self.monitor = SpecMonitor(self.monitor.keep)
        self.cluster = _Cluster(shape, settings, Prng(int(given.get("seed", "1")), "scenario"), self.monitor)
        self.monitor.machines = self.cluster.machines
        self.monitor.ensemble = self.cluster.ensemble
        self.cluster.overheard = self.monitor.overheard
        self.cluster.trace = self._traced
        network = self.cluster.network
        network.base_us = _STEP_US
        network.jitter_us = 0
        network.retransmit_us = 1
        # A dial that nobody hears is lost: a schedule says who meets whom.
        network.knock_us = 1 << 60
        network.tap = self._tapped
        self.gate = network.gate = Gate(network, (QUORUM_PORT, OBSERVER_MASTER_PORT))
        self.synchronised = {}
        for machine in self.cluster.machines.values():
            machine.fsync_us = _STEP_US
            machine.fsync_jitter_us = 0
            machine.crash_window_ops = 1
        for sid in _sids(given.get("forceSnap", "")):
            self.cluster.machines[sid].plan.settings.force_snapshot_sync = True
        self.monitor.listener = self._monitored
        self._clients = {}
        self._tap = Wiretap((QUORUM_PORT, OBSERVER_MASTER_PORT))

    # What is printed.

    def say(self, text: str) -> None:
        """A line of output."""
        self.output.append(text)

    def _traced(self, line: str) -> None:
        if "synchronised by" in line and "leader" in line:
            words = line.split()
            self.synchronised[int(words[1].rstrip(":"))] = words[words.index("by") + 1]
        if "roles" in self.shown and any(word in line for word in _ROLE_WORDS) and "learner" not in line:
            self.say(line.split(None, 1)[1])

    def _tapped(self, serial: int, source: int, target: int, port: int, data: bytes) -> None:
        self._tap.delivered(serial, source, target, port, data)
        lines = self._tap.lines
        self._tap.lines = []
        if "packets" in self.shown:
            for line in lines:
                self.say(line)

    def _monitored(self, what: str, line: str) -> None:
        if what in self.shown:
            self.say(line)

    # Servers.

    def start(self, cluster: Cluster, words: list[str]) -> None:
        """Starts servers 10 ms apart."""
        for sid in _sids(",".join(words)):
            if not cluster.machines[sid].start():
                self.say(f"{sid} does not start: {cluster.machines[sid].refusal}")
            cluster.run_ms(10)

    def kill(self, cluster: Cluster, words: list[str]) -> None:
        """SIGKILL."""
        for sid in _sids(",".join(words)):
            cluster.machines[sid].kill()

    def power_cut(self, cluster: Cluster, words: list[str]) -> None:
        """The machine loses power."""
        keep = words[-1] == "keep"
        for sid in _sids(",".join(word for word in words if word.isdecimal())):
            cluster.machines[sid].cut_power(draws=KeepOrLose(keep))

    def pause(self, cluster: Cluster, words: list[str]) -> None:
        """SIGSTOP."""
        for sid in _sids(",".join(words)):
            cluster.machines[sid].pause()

    def resume(self, cluster: Cluster, words: list[str]) -> None:
        """SIGCONT."""
        for sid in _sids(",".join(words)):
            cluster.machines[sid].resume()

    def hold_disk(self, cluster: Cluster, words: list[str]) -> None:
        """Disk work does not complete; with ``at=`` it goes on up to the first command of that kind."""
        plain, given = options_of(words)
        for sid in _sids(",".join(plain)):
            if "at" in given:
                cluster.machines[sid].disk_stops = frozenset({DISK_STOPS[given["at"]]})
            else:
                cluster.machines[sid].hold_disk(True)

    def release_disk(self, cluster: Cluster, words: list[str]) -> None:
        """It completes again."""
        for sid in _sids(",".join(words)):
            cluster.machines[sid].disk_stops = frozenset()
            cluster.machines[sid].hold_disk(False)

    # Links.

    def _pairs(self, cluster: Cluster, words: list[str]) -> list[tuple[int, int]]:
        out: list[tuple[int, int]] = []
        everybody = list(cluster.machines)
        for word in words:
            left, arrow, right = word.partition(">")
            if not arrow:
                raise ScenarioError(f"a link is written 3>2, not {word}")
            for source in everybody if left == "*" else _sids(left):
                for target in everybody if right == "*" else _sids(right):
                    if source != target:
                        out.append((source, target))
        return out

    def hold(self, cluster: Cluster, words: list[str]) -> None:
        """Holds up a direction; with ``at=`` what goes to a quorum port, from such a packet on."""
        plain, given = options_of(words)
        for source, target in self._pairs(cluster, plain):
            if "at" in given:
                kinds = frozenset(KINDS[name] for name in given["at"].split(","))
                self.gate.stop(source, target, kinds)
            else:
                cluster.network.block(source, target)

    def release(self, cluster: Cluster, words: list[str]) -> None:
        """Lets it go on."""
        for source, target in self._pairs(cluster, words):
            cluster.network.unblock(source, target)
            self.gate.open(source, target)

    def isolate(self, cluster: Cluster, words: list[str]) -> None:
        """Cuts servers off from each other."""
        for sid in _sids(",".join(words)):
            for other in cluster.machines:
                if other != sid:
                    cluster.network.block(sid, other)
                    cluster.network.block(other, sid)

    def heal(self, cluster: Cluster, words: list[str]) -> None:
        """Every link works."""
        cluster.network.heal()
        self.gate.open_all()

    # Time.

    def run(self, cluster: Cluster, words: list[str]) -> None:
        """Lets time pass."""
        cluster.run_ms(int(words[0]))

    def settle(self, cluster: Cluster, words: list[str]) -> None:
        """Until all servers that run serve and have everything committed."""
        waited = 0
        while not self._is_settled(cluster):
            if waited >= _SETTLE_LIMIT_MS:
                raise ScenarioError("the servers do not settle")
            cluster.run_ms(50)
            waited += 50
        cluster.run_ms(50)

    def _is_settled(self, cluster: Cluster) -> bool:
        running = cluster.processes()
        head = self.monitor.head()
        return bool(running) and all(
            process.server.role.serves() and process.server.tree.last_processed_zxid >= head
            for process in running
        )

    # Clients.

    def client(self, cluster: Cluster, words: list[str]) -> None:
        """A client, and its session."""
        given = dict(word.split("=", 1) for word in words[1:])
        name = words[0]
        timeout_ms = int(given.get("timeout", "10000"))
        client = cluster.add_client(_Program(name, self.say), timeout_ms, [int(given["at"])])
        self._clients[name] = client
        client.start()
        self._until(client.is_connected, _ANSWER_LIMIT_MS)
        if not client.is_connected():
            self.say(f"{name} does not connect")

    def _until(self, done: Callable[[], bool], limit_ms: int) -> None:
        cluster = self._cluster()
        waited = 0
        while not done() and waited < limit_ms:
            cluster.run_ms(5)
            waited += 5

    def ask(self, name: str, call: Call[Any]) -> None:
        """A client asks, and nobody waits for the answer."""
        self._clients[name].ask(call)

    def _client_command(self, name: str, words: list[str]) -> None:
        waits = not name.endswith("?")
        client = self._clients[name.rstrip("?")]
        if words[0] == "move":
            client.servers = [int(words[1])]
            client.move()
            self._until(client.is_connected, _ANSWER_LIMIT_MS)
            return
        if words[0] == "fill":
            for number in range(int(words[2])):
                client.ask(calls.create(f"{words[1]}{number:04}", b""))
        elif words[0] == "close":
            client.close_session()
        elif words[0] == "die":
            client.abandon()
        elif words[0] != "wait":
            client.ask(self._call(words))
        if waits:
            self._until(lambda: client.pending() == 0, _ANSWER_LIMIT_MS)
            if client.pending():
                self.say(f"{name} has no answer")

    def _call(self, words: list[str]) -> Call[Any]:
        op = words[0]
        path = words[1] if len(words) > 1 else "/"
        data = words[2].encode() if len(words) > 2 else b""
        if op == "create":
            return calls.create(path, data)
        if op == "createEphemeral":
            return calls.create(path, data, flags=codes.MODE_EPHEMERAL)
        if op == "multi":
            return calls.multi([_part(each) for each in words[1:]])
        if op == "createBig":
            return calls.create(path, bytes(int(words[2])))
        if op == "setData":
            return calls.set_data(path, data)
        if op == "delete":
            return calls.delete(path)
        if op == "getData":
            return calls.get_data(path)
        if op == "watch":
            return calls.get_data(path, watcher=1)
        if op == "exists":
            return calls.exists(path)
        if op == "getChildren":
            return calls.get_children(path)
        if op == "sync":
            return calls.sync(path)
        raise ScenarioError(f"unknown operation {op}")

    # Looking.

    def logs(self, cluster: Cluster, words: list[str]) -> None:
        """The last zxid of every disk that was ever written."""
        for sid, machine in cluster.machines.items():
            if machine.lives:
                store = machine.open_store()
                last = [zxid for zxid, _ in store.log.read_from(0)][-1:]
                self.say(f"{sid} log ends at 0x{last[0]:x}" if last else f"{sid} log is empty")

    def trees(self, cluster: Cluster, words: list[str]) -> None:
        """The nodes of every server that runs, but for ZooKeeper's own."""
        for process in cluster.processes():
            self.say(f"{process.sid} {self._tree_text(process)}")

    def _tree_text(self, process: Process) -> str:
        tree = process.server.tree
        nodes = [
            f"{path}={(node.data or b'').decode()}"
            for path, node in sorted(tree.nodes.items())
            if path != "/" and not path.startswith("/zookeeper")
        ]
        return f"0x{tree.last_processed_zxid:x} {' '.join(nodes)}".rstrip()

    def committed(self, cluster: Cluster, words: list[str]) -> None:
        """The committed log."""
        for entry in self.monitor.chain:
            self.say(f"0x{entry.header.zxid:x} {describe_txn(entry)}")


_Command = Callable[[Player, Cluster, list[str]], None]
_COMMANDS: Final[dict[str, _Command]] = {
    "start": Player.start,
    "kill": Player.kill,
    "power-cut": Player.power_cut,
    "pause": Player.pause,
    "resume": Player.resume,
    "hold-disk": Player.hold_disk,
    "release-disk": Player.release_disk,
    "hold": Player.hold,
    "release": Player.release,
    "isolate": Player.isolate,
    "heal": Player.heal,
    "run": Player.run,
    "settle": Player.settle,
    "client": Player.client,
    "logs": Player.logs,
    "trees": Player.trees,
    "committed": Player.committed,
    **COMMANDS,
    **SPEC_COMMANDS,
}


def _part(text: str) -> calls.Part:
    """Of a multi: ``/a`` is created, ``/a=v`` gets other data."""
    path, equals, value = text.partition("=")
    call: Call[Any] = calls.set_data(path, value.encode()) if equals else calls.create(path, b"")
    return calls.part_of(call)


def _sids(text: str) -> list[int]:
    return [int(part) for part in text.replace(" ", ",").split(",") if part]


def parse(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """(comment lines, commands) of each block; the outputs of before are dropped."""
    comment: list[str] = []
    commands: list[str] = []
    in_output = False
    for line in [*text.split("\n"), ""]:
        if in_output:
            if line.strip():
                continue
            in_output = False
            yield comment, commands
            comment, commands = [], []
        elif line.strip() == DASHES:
            in_output = True
        elif commands and not line.strip():
            yield comment, commands
            comment, commands = [], []
        elif line.startswith("#") or not line.strip():
            comment.append(line)
        else:
            commands.append(line)
    while comment and not comment[-1].strip():
        comment.pop()
    if comment or commands:
        yield comment, commands


def play_file(path: Path) -> list[str]:
    """Plays a file; returns its lines with the outputs as they are."""
    return Player().play(path.read_text()).rstrip("\n").split("\n")
