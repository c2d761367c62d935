"""A network of its own per server, on one bridge: partitions as packets that vanish, not as errors.

Each server gets a network namespace with one address; clients reach all of them from where the tests run.
To cut a direction the sender is given a wrong hardware address for the receiver, so its packets go nowhere
and nobody is told; TCP retransmits, as on a broken switch.  A bad network is a program (``wire.c``) that
stands between a server and the bridge and hands frames on late, twice, out of order or never; it does what
netem does, which not every kernel has.  Needs root, iproute2 and a C compiler.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

NOWHERE = "02:ff:ff:ff:ff:ff"
SOURCE = Path(__file__).with_name("wire.c")


SOURCE_ID = 254
"""The last part of the address that clients come from."""


class Weather:
    """What a bad network does with each frame; shares are of a million."""

    def __init__(self, delay_ms: float, jitter_ms: float = 0.0, loss: int = 0, duplicate: int = 0) -> None:
        self.delay_us = round(1000 * delay_ms)
        self.jitter_us = round(1000 * jitter_ms)
        self.loss = loss
        self.duplicate = duplicate

    def words(self, seed: int) -> list[str]:
        """For the program's command line."""
        return [str(one) for one in (self.delay_us, self.jitter_us, self.loss, self.duplicate, seed)]


@cache
def unavailable() -> str:
    """Why there can be no lab here; empty where there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    if shutil.which("gcc") is None and shutil.which("cc") is None:
        return "there is no C compiler"
    probe = f"zprobe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if made.returncode != 0:
        return f"no network namespaces: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", probe], check=True)
    return ""


class Lab:
    """Servers 1 to ``count``; use as a context manager."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._net = os.getpid() % 200 + 20
        self._name = f"zb{os.getpid() % 100000}"
        self._cuts: dict[tuple[int, int], None] = {}
        self._wires: dict[int, subprocess.Popen[str]] = {}
        self._program: str | None = None
        self._up = False

    @property
    def source(self) -> str:
        """The address that clients come from."""
        return self.address(SOURCE_ID)

    def address(self, sid: int) -> str:
        """Where server ``sid`` is."""
        return f"10.213.{self._net}.{sid}"

    def prefix(self, sid: int) -> list[str]:
        """What to put before a command so that it runs in the network of server ``sid``."""
        return ["ip", "netns", "exec", self._namespace(sid)]

    def _namespace(self, sid: int) -> str:
        return f"{self._name}n{sid}"

    def _mac(self, sid: int) -> str:
        return f"02:00:0a:d5:{self._net:02x}:{sid:02x}"

    def __enter__(self) -> Lab:
        atexit.register(self.close)
        self._up = True
        bridge = self._name
        commands = [
            f"link add {bridge} address {self._mac(SOURCE_ID)} type bridge",
            f"addr add {self.source}/24 dev {bridge}",
            f"link set {bridge} up",
        ]
        for sid in range(1, self.count + 1):
            _run("ip", "netns", "add", self._namespace(sid))
            outer = f"{bridge}v{sid}"
            commands += [
                f"link add {outer} type veth peer name peer0 address {self._mac(sid)} "
                f"netns {self._namespace(sid)}",
                f"link set {outer} master {bridge}",
                f"link set {outer} up",
            ]
        _batch([], commands)
        for sid in range(1, self.count + 1):
            inside = [f"addr add {self.address(sid)}/24 dev peer0", "link set lo up", "link set peer0 up"]
            inside += [self._way(other, self._mac(other)) for other in [*self._others(sid), SOURCE_ID]]
            _batch(["-n", self._namespace(sid)], inside)
        return self

    def _others(self, sid: int) -> list[int]:
        return [other for other in range(1, self.count + 1) if other != sid]

    def _way(self, sid: int, mac: str) -> str:
        return f"neigh replace {self.address(sid)} lladdr {mac} nud permanent dev peer0"

    def cut(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Packets from the first to the second of each pair vanish from now on."""
        for sender in sorted({sender for sender, _ in pairs}):
            targets = [receiver for one, receiver in pairs if one == sender]
            commands = [self._way(receiver, NOWHERE) for receiver in targets]
            _batch(["-n", self._namespace(sender)], commands)
        self._cuts.update(dict.fromkeys(pairs))

    def weather(self, sid: int, weather: Weather, seed: int = 1) -> None:
        """From now on everything from and to a server, clients' packets too, goes through a bad network."""
        self._clear(sid)
        program = self._wire_program()
        outer, inner, other = (f"{self._name}{letter}{sid}" for letter in "vwu")
        commands = [
            f"link add {inner} type veth peer name {other}",
            # The kernel of this side is not to answer what only passes through.
            *(f"link set {one} arp off" for one in (outer, inner)),
            f"link set {outer} nomaster",
            f"link set {other} master {self._name}",
            *(f"link set {one} up" for one in (inner, other)),
        ]
        _batch([], commands)
        _run(program, "plain", other)
        _run(*self.prefix(sid), program, "plain", "peer0")
        command = [program, "join", outer, inner, *weather.words(seed)]
        wire = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._wires[sid] = wire
        assert wire.stdout is not None
        assert wire.stdout.readline() == "joined\n", f"{' '.join(command)} ended with {wire.wait()}"

    def _clear(self, sid: int) -> None:
        """The server is on the bridge itself again."""
        wire = self._wires.pop(sid, None)
        if wire is not None:
            wire.kill()
            wire.wait()
            assert wire.stdout is not None
            wire.stdout.close()
            _batch([], [f"link del {self._name}w{sid}", f"link set {self._name}v{sid} master {self._name}"])

    def _wire_program(self) -> str:
        if self._program is None:
            folder = tempfile.mkdtemp(prefix="zabra-wire-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            self._program = f"{folder}/wire"
            compiler = shutil.which("gcc") or "cc"
            _run(compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", self._program, str(SOURCE))
        return self._program

    def heal(self) -> None:
        """Everything arrives again, at once."""
        for sid in list(self._wires):
            self._clear(sid)
        cuts = list(self._cuts)
        self._cuts = {}
        for sender in sorted({sender for sender, _ in cuts}):
            targets = [receiver for one, receiver in cuts if one == sender]
            commands = [self._way(receiver, self._mac(receiver)) for receiver in targets]
            _batch(["-n", self._namespace(sender)], commands)

    def isolate(self, sids: Sequence[int]) -> None:
        """``sids`` and the rest no longer hear each other; clients reach all of them as before."""
        rest = [sid for sid in range(1, self.count + 1) if sid not in sids]
        self.cut([(one, other) for one in sids for other in rest])
        self.cut([(other, one) for one in sids for other in rest])

    def close(self) -> None:
        """Takes it all down; servers should have stopped."""
        if not self._up:
            return
        self._up = False
        for sid in list(self._wires):
            self._clear(sid)
        for sid in range(1, self.count + 1):
            # The kernel would take the pair away with the namespace, but only some time later.
            _try("ip", "link", "del", f"{self._name}v{sid}")
            _try("ip", "netns", "del", self._namespace(sid))
        _try("ip", "link", "del", self._name)

    def __exit__(self, *_: object) -> None:
        self.close()


def _try(*words: str) -> None:
    subprocess.run(words, capture_output=True, check=False)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr.strip()}"


def _batch(options: Sequence[str], commands: Sequence[str]) -> None:
    text = "".join(f"{command}\n" for command in commands)
    done = subprocess.run(["ip", *options, "-batch", "-"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, f"{text}: {done.stderr.strip()}"
