"""Server processes under test: start, bounded waits, four-letter words, stop, kill; and ensembles of them.

Nothing here knows which implementation runs: ``ServerProcess`` takes the command line, ``Ensemble`` takes a
function that makes a member, so one ensemble may mix implementations.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from zabra.testing.ports import claim, is_free

PATIENCE = float(os.environ.get("ZABRA_PATIENCE", "4"))
"""How many times as long as on an idle machine anything may take."""
POLL_S = 0.02
"""Pause between two looks at a condition, in seconds."""

ConfigValue = str | int

_T = TypeVar("_T")

_running: dict[int, ServerProcess] = {}


def _kill_leftovers() -> None:
    for server in list(_running.values()):
        server.kill()


atexit.register(_kill_leftovers)


class ServerError(Exception):
    """A server did not do what was asked in the time it had; the text holds the tail of its log."""


def poll(what: str, timeout_s: float, condition: Callable[[], _T | None]) -> _T:
    """Calls ``condition`` until it returns something; TimeoutError(what) when that has taken too long.

    ``timeout_s`` is meant for a machine with nothing else to do: PATIENCE times as long is waited.
    """
    deadline = time.monotonic() + PATIENCE * timeout_s
    while True:
        value = condition()
        if value is not None:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}")
        time.sleep(POLL_S)


def four_letter(host: str, port: int, word: str, timeout_s: float = 2.0) -> str | None:
    """The answer to a four-letter word, or None when nobody listens or the connection breaks."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.sendall(word.encode())
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
    except OSError:
        return None
    return b"".join(parts).decode("utf-8", "replace")


def free_ports(count: int, first: int = 20000, end: int = 32000) -> list[int]:
    """``count`` ports nobody listens on, below the range the kernel gives to outgoing connections.

    No other process that asks here gets them as long as this one lives; this one may, once they are free.
    """
    found: list[int] = []
    span = end - first
    start = os.getpid() * 97 % span
    for offset in range(span):
        port = first + (start + offset) % span
        if is_free(port) and claim(port):
            found.append(port)
            if len(found) == count:
                return found
    raise ServerError(f"no {count} free ports between {first} and {end}")


def free_block(count: int, first: int = 20000, end: int = 32000) -> int:
    """The first of ``count`` ports in a row that nobody listens on."""
    run: list[int] = []
    start = first + os.getpid() * 97 % (end - first)
    for port in (*range(start, end), *range(first, start)):
        if run and port != run[-1] + 1:
            run = []
        run = [*run, port] if is_free(port) and claim(port) else []
        if len(run) == count:
            return run[0]
    raise ServerError(f"no {count} free ports in a row between {first} and {end}")


class ServerProcess:
    """One server as an operating-system process with its own folder.

    ``folder`` gets ``zoo.cfg``, ``data/`` (unless the config names a dataDir), ``data/myid`` (from the key
    ``myid``) and ``server.log`` (stdout and stderr of all starts).  ``{config}`` in ``argv`` becomes the
    path of zoo.cfg and ``{folder}`` that of the folder.  ``host`` is where clients find it.
    """

    def __init__(
        self,
        argv: Sequence[str],
        cfg: Mapping[str, ConfigValue],
        folder: Path,
        *,
        name: str = "server",
        env: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.name = name
        self.folder = folder
        self.host = host
        self.cfg: dict[str, ConfigValue] = dict(cfg)
        self.myid = self.cfg.pop("myid", None)
        self.data_dir = Path(str(self.cfg.setdefault("dataDir", str(folder / "data"))))
        self.config_path = folder / "zoo.cfg"
        self.log_path = folder / "server.log"
        places = {"{config}": str(self.config_path), "{folder}": str(folder)}
        self._argv = [_fill(word, places) for word in argv]
        self._env = dict(os.environ if env is None else env)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def client_port(self) -> int:
        """The plain client port, from ``clientPort`` or from the own server line."""
        if "clientPort" in self.cfg:
            return int(self.cfg["clientPort"])
        line = str(self.cfg.get(f"server.{self.myid}", ""))
        if ";" not in line:
            raise ServerError(f"{self.name}: no clientPort in the configuration")
        return int(line.split(";")[1].rsplit(":", 1)[-1])

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"{self.host}:{self.client_port}"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise ServerError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def write_config(self) -> None:
        """Writes zoo.cfg and myid; ``start`` calls it when zoo.cfg is not there yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.config_path.write_text("".join(f"{key}={value}\n" for key, value in self.cfg.items()))
        if self.myid is not None:
            (self.data_dir / "myid").write_text(f"{self.myid}\n")

    def launch(self) -> None:
        """Starts the process without waiting for it to serve."""
        if self.running:
            raise ServerError(f"{self.name} is running already")
        if self._port_taken():
            raise ServerError(f"{self.name}: somebody else listens on {self.address}")
        if not self.config_path.exists():
            self.write_config()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self._env,
            )
        _running[id(self)] = self

    def _port_taken(self) -> bool:
        try:
            socket.create_connection((self.host, self.client_port), timeout=2).close()
        except (OSError, ServerError):
            # A member without a plain client port has none that could be taken.
            return False
        return True

    def wait_serving(self, timeout_s: float = 60.0) -> str:
        """Waits until ``srvr`` names a mode; returns the mode (leader, follower, observer, standalone)."""
        try:
            return poll(f"{self.name} serves on {self.address}", timeout_s, self._mode_or_death)
        except TimeoutError as error:
            raise ServerError(f"{error}\n{self.log_tail()}") from None

    def start(self, timeout_s: float = 60.0) -> None:
        """``launch`` and ``wait_serving``."""
        self.launch()
        self.wait_serving(timeout_s)

    def mode(self) -> str | None:
        """The mode ``srvr`` tells, or None while the server does not serve."""
        answer = self.four_letter("srvr")
        if answer is None or "Mode: " not in answer:
            return None
        return answer.split("Mode: ", 1)[1].split("\n", 1)[0].strip()

    def _mode_or_death(self) -> str | None:
        if not self.running:
            raise ServerError(f"{self.name} ended with {self.exit_code()}\n{self.log_tail()}")
        return self.mode()

    def four_letter(self, word: str, timeout_s: float = 2.0) -> str | None:
        """Answer to a four-letter word, or None."""
        return four_letter(self.host, self.client_port, word, timeout_s)

    def exit_code(self) -> int | None:
        """Exit code of the last process, None while it runs or before it ran."""
        return None if self._process is None else self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, for instance SIGSTOP and SIGCONT."""
        os.kill(self.pid, number)

    def freeze(self) -> None:
        """SIGSTOP; returns when every thread has stopped, which the signal alone does not wait for."""
        self.signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.pid}/task")

        def stopped() -> bool | None:
            # "pid (name) state ...", where the name may hold anything.
            states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks.iterdir()]
            return set(states) == {"T"} or None

        poll(f"{self.name} has stopped", 10, stopped)

    def stop(self, timeout_s: float = 20.0) -> int | None:
        """SIGTERM, then SIGKILL after ``timeout_s``; returns the exit code, None when it never ran."""
        if self._process is None:
            return None
        if self.running:
            self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        _running.pop(id(self), None)
        return self._process.returncode

    def kill(self) -> None:
        """SIGKILL, and waits for the end; nothing when it does not run."""
        if self._process is None:
            return
        if self.running:
            self._process.kill()
        self._process.wait()
        _running.pop(id(self), None)

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of the server's output."""
        if not self.log_path.exists():
            return "(no log)"
        text = self.log_path.read_text(errors="replace").splitlines()[-lines:]
        return f"--- last lines of {self.log_path}\n" + "\n".join(text)

    def __enter__(self) -> ServerProcess:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _fill(word: str, places: Mapping[str, str]) -> str:
    for place, value in places.items():
        word = word.replace(place, value)
    return word


MakeServer = Callable[[int, dict[str, ConfigValue], Path], ServerProcess]
"""Makes the member with this server id from its configuration and folder."""


class Ensemble:
    """``participants`` voters with ids 1…n and ``observers`` with the ids after them.

    ``ports`` gives four ports per member (client, quorum, election, admin); None takes free ones.
    ``cfg`` is added to every member's configuration.  ``hosts`` has the address of each member, in the
    order of ids; None puts all on loopback.
    """

    def __init__(
        self,
        make_server: MakeServer,
        participants: int,
        observers: int,
        folder: Path,
        *,
        cfg: Mapping[str, ConfigValue] | None = None,
        ports: Sequence[int] | None = None,
        hosts: Sequence[str] | None = None,
    ) -> None:
        total = participants + observers
        self.hosts = list(hosts) if hosts is not None else ["127.0.0.1"] * total
        numbers = list(ports) if ports is not None else free_ports(4 * total)
        if len(numbers) < 4 * total:
            raise ServerError(f"{total} members need {4 * total} ports, not {len(numbers)}")
        self.members: dict[int, ServerProcess] = {}
        self.observer_ids = list(range(participants + 1, total + 1))
        lines = {
            f"server.{sid}": self._line(sid, numbers[4 * sid - 4 : 4 * sid]) for sid in range(1, total + 1)
        }
        for sid in range(1, total + 1):
            own = member_config(sid, numbers[4 * sid - 4 : 4 * sid], sid in self.observer_ids)
            self.members[sid] = make_server(sid, {**own, **(cfg or {}), **lines}, folder / f"member-{sid}")

    def _line(self, sid: int, ports: Sequence[int]) -> str:
        role = "observer" if sid in self.observer_ids else "participant"
        return f"{self.hosts[sid - 1]}:{ports[1]}:{ports[2]}:{role}"

    @property
    def connect_string(self) -> str:
        """All client addresses, comma separated."""
        return ",".join(member.address for member in self.members.values())

    def start(self, timeout_s: float = 90.0) -> None:
        """Starts all members and waits until all serve."""
        for member in self.members.values():
            member.launch()
        for member in self.members.values():
            member.wait_serving(timeout_s)

    def leader(self) -> int | None:
        """Server id of the member that says it leads, or None."""
        for sid, member in self.members.items():
            if member.running and member.mode() == "leader":
                return sid
        return None

    def wait_leader(self, timeout_s: float = 60.0) -> int:
        """Waits for a leader and returns its id."""
        return poll("a leader", timeout_s, self.leader)

    def stop(self) -> None:
        """Stops all members; the signal goes to all of them before the first wait."""
        for member in self.members.values():
            if member.running:
                member.signal(signal.SIGTERM)
        for member in self.members.values():
            member.stop()

    def kill(self) -> None:
        """Kills all members."""
        for member in self.members.values():
            member.kill()

    def __enter__(self) -> Ensemble:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def member_config(sid: int, ports: Sequence[int], observer: bool) -> dict[str, ConfigValue]:
    """The part of a member's zoo.cfg that is its own; timings are upstream's sample configuration."""
    own: dict[str, ConfigValue] = {
        "myid": sid,
        "tickTime": 2000,
        "initLimit": 10,
        "syncLimit": 5,
        "clientPort": ports[0],
        "admin.serverPort": ports[3],
        "4lw.commands.whitelist": "*",
    }
    if observer:
        own["peerType"] = "observer"
    return own
