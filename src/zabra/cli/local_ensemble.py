"""A whole ensemble on this machine, as files: who is in it, on which ports, with which zoo.cfg.

The folder of an ensemble has one folder per server (``1``, ``2``, ...: zoo.cfg, myid, data, server.log) and
``ensemble.json``, which keeps the numbers and ports, so that starting it again finds the same servers.
"""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

DEFAULT_PARTICIPANTS: Final = 3
DEFAULT_OBSERVERS: Final = 1
DEFAULT_BASE_PORT: Final = 2181
SERVERS_MAX: Final = 200
HOST: Final = "127.0.0.1"
FILE_NAME: Final = "ensemble.json"
LOCK_NAME: Final = "lock"
# Where the search for free ports begins, counted from the first client port.
QUORUM_OFFSET: Final = 100
ELECTION_OFFSET: Final = 200
LAST_PORT: Final = 65535
FIRST_LOW_PORT: Final = 10000

ZOO_CFG = """\
# Written by zabra up.  Once a server has changed it (dynamicConfigFile), it is left as it is.
tickTime=2000
initLimit=10
syncLimit=5
dataDir={folder}
clientPort={port}
clientPortAddress={host}
4lw.commands.whitelist=*
admin.enableServer=false
"""


class LocalError(Exception):
    """The ensemble cannot be laid out or started like this; the text says why."""


class LocalServer:
    """One server: ``quorum_port`` and ``election_port`` are 0 for one that joins another ensemble."""

    __slots__ = ("client_port", "election_port", "folder", "is_observer", "quorum_port", "sid")

    def __init__(self, sid: int, is_observer: bool, folder: Path, client_port: int) -> None:
        self.sid = sid
        self.is_observer = is_observer
        self.folder = folder
        self.client_port = client_port
        self.quorum_port = 0
        self.election_port = 0

    @property
    def config_path(self) -> Path:
        """Its zoo.cfg."""
        return self.folder / "zoo.cfg"

    @property
    def log_path(self) -> Path:
        """What it says."""
        return self.folder / "server.log"

    @property
    def address(self) -> str:
        """host:port for clients."""
        return f"{HOST}:{self.client_port}"

    def line(self) -> str:
        """Its line in everybody's configuration."""
        role = "observer" if self.is_observer else "participant"
        return f"server.{self.sid}={HOST}:{self.quorum_port}:{self.election_port}:{role}\n"

    def ports(self) -> list[tuple[int, str]]:
        """Every port it opens, and what for."""
        found = [(self.client_port, "clients")]
        if self.quorum_port:
            found += [(self.quorum_port, "learners"), (self.election_port, "elections")]
        return found


class LocalEnsemble:
    """All servers, participants first.  ``join`` is the ensemble they observe, "" for one of their own."""

    __slots__ = ("folder", "join", "servers")

    def __init__(self, folder: Path, servers: list[LocalServer], join: str) -> None:
        self.folder = folder
        self.servers = servers
        self.join = join

    @property
    def connect_string(self) -> str:
        """For clients."""
        return ",".join([server.address for server in self.servers])

    def config_text(self, server: LocalServer) -> str:
        """The zoo.cfg of one of them."""
        text = ZOO_CFG.format(folder=server.folder, port=server.client_port, host=HOST)
        if self.join:
            return f"{text}zabra.join={self.join}\n"
        if len(self.servers) == 1:
            return text
        voters = [one for one in self.servers if not one.is_observer]
        if len(voters) == 1:
            text += "standaloneEnabled=false\n"
        if server.is_observer:
            text += "peerType=observer\n"
        return text + "".join([one.line() for one in self.servers])

    def write(self) -> None:
        """Makes folders and files.  Raises LocalError."""
        try:
            for server in self.servers:
                server.folder.mkdir(parents=True, exist_ok=True)
                if not self.join:
                    (server.folder / "myid").write_text(f"{server.sid}\n")
                if not is_changed_by_server(server.config_path):
                    server.config_path.write_text(self.config_text(server))
            draft = self.folder / f"{FILE_NAME}.new"
            draft.write_text(json.dumps(self.to_json(), indent=1) + "\n")
            os.replace(draft, self.folder / FILE_NAME)
        except OSError as error:
            raise LocalError(f"cannot write to {self.folder}: {error}") from error

    def to_json(self) -> dict[str, object]:
        """What ``ensemble.json`` keeps."""
        ports = {str(one.sid): [one.quorum_port, one.election_port] for one in self.servers}
        voters = len([one for one in self.servers if not one.is_observer])
        return {
            "participants": voters,
            "observers": len(self.servers) - voters,
            "base_port": self.servers[0].client_port,
            "join": self.join,
            "ports": ports,
        }

    def check_ports(self) -> None:
        """Raises LocalError that names every port somebody else has."""
        taken = [
            f"port {port} (server {server.sid}, {purpose})"
            for server in self.servers
            for port, purpose in server.ports()
            if not is_free(port)
        ]
        if taken:
            raise LocalError(f"in use already: {', '.join(taken)}; choose others with --base-port")


def is_changed_by_server(path: Path) -> bool:
    """Whether a server keeps its members in a file of its own by now."""
    try:
        return "dynamicConfigFile=" in path.read_text()
    except FileNotFoundError:
        return False


def is_free(port: int) -> bool:
    """Whether nobody listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def lay_out(
    folder: Path,
    participants: int | None = None,
    observers: int | None = None,
    base_port: int | None = None,
    join: str = "",
) -> LocalEnsemble:
    """The ensemble of ``folder``; what is None is as it was last time, or the default.  Raises LocalError."""
    folder = folder.resolve()
    known = read_known(folder)
    if known and "join" in known and known["join"] != join:
        was = f"observers of {known['join']}" if known["join"] else "an ensemble of its own"
        raise LocalError(f"{folder} holds {was}: choose another with --data-dir")
    voters = number(known, "participants", participants, 0 if join else DEFAULT_PARTICIPANTS)
    if known and voters != number(known, "participants", None, voters):
        raise LocalError(
            f"{folder} holds an ensemble of {known['participants']} participants, not {voters}: who votes is "
            "part of the data; choose another folder with --data-dir"
        )
    total = voters + number(known, "observers", observers, DEFAULT_OBSERVERS)
    first = number(known, "base_port", base_port, DEFAULT_BASE_PORT)
    check_numbers(voters, total, first, join)
    sids = range(1, total + 1)
    servers = [LocalServer(sid, sid > voters, folder / str(sid), first + sid - 1) for sid in sids]
    if not join and total > 1:
        choose_ports(servers, known, first)
    return LocalEnsemble(folder, servers, join)


def check_numbers(voters: int, total: int, first_port: int, join: str) -> None:
    """Raises LocalError for an ensemble that cannot be."""
    if join and voters:
        raise LocalError("--join makes observers: it does not go with --participants")
    if not join and voters < 1:
        raise LocalError("an ensemble needs a participant")
    if not 1 <= total <= SERVERS_MAX:
        raise LocalError(f"{total} servers: between 1 and {SERVERS_MAX} can be started")
    if not 1 <= first_port <= LAST_PORT - total:
        raise LocalError(f"--base-port {first_port}: {total} ports from there on are not to be had")


def number(known: dict[str, object], key: str, given: int | None, default: int) -> int:
    """What was asked for, else what was kept, else the default."""
    if given is not None:
        return given
    kept = known.get(key, default)
    return kept if isinstance(kept, int) else default


def read_known(folder: Path) -> dict[str, object]:
    """What ``ensemble.json`` keeps, empty without one.  Raises LocalError."""
    path = folder / FILE_NAME
    try:
        known = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise LocalError(f"{path} cannot be read: {error}") from error
    if not isinstance(known, dict):
        raise LocalError(f"{path} is not what zabra up writes")
    return known


def choose_ports(servers: list[LocalServer], known: dict[str, object], first: int) -> None:
    """Gives every server the ports it had, or free ones."""
    kept = known.get("ports")
    ports = kept if isinstance(kept, dict) else {}
    taken = {server.client_port: None for server in servers}
    new = []
    for server in servers:
        pair = ports.get(str(server.sid))
        if isinstance(pair, list) and len(pair) == 2 and all(pair):
            server.quorum_port, server.election_port = pair
            taken.update(dict.fromkeys(pair))
        else:
            new.append(server)
    quorum = free_ports(first + QUORUM_OFFSET, taken)
    election = free_ports(first + ELECTION_OFFSET, taken)
    for server in new:
        server.quorum_port = next(quorum)
        server.election_port = next(election)


def free_ports(first: int, taken: dict[int, None]) -> Iterator[int]:
    """Free ports from ``first`` on that are not in ``taken``; each is put there."""
    port = first
    for _ in range(LAST_PORT):
        if port > LAST_PORT:
            port = FIRST_LOW_PORT
        if port not in taken and is_free(port):
            taken[port] = None
            yield port
        port += 1
    raise LocalError("there are no free ports left")


class FolderLock:
    """Sees to it that an ensemble is started once.  Raises LocalError where it runs already."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / LOCK_NAME).open("a+")
        except OSError as error:
            raise LocalError(f"cannot use {folder}: {error}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            owner = self._file.read().strip()
            self._file.close()
            raise LocalError(f"{folder} is in use by another zabra up (process {owner})") from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Others may start it."""
        self._file.close()
