"""``zabra server`` as a process: what it says, how it stops, and upstream's exit codes."""

import contextlib
import functools
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.java_files import log_of, unpack
from tests.interop.members import zabra_environment
from tests.interop.processes import four_letter, poll
from tests.interop.session import Session

from zabra.cli.plan import plan_of
from zabra.cli.server import say
from zabra.client import calls
from zabra.config.load import default_config
from zabra.jute.primitives import Writer
from zabra.proto.records import ConnectRequest
from zabra.runtime import assembly
from zabra.runtime.os_disk import OsDisk
from zabra.storage import txnlog_format as fmt
from zabra.storage.log_reader import LogFileReader

PATIENCE_S = 60.0


def set_limits(limits: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


class Server:
    """One run of ``zabra server``; ``lines`` is what it has said so far."""

    def __init__(self, folder: Path, *arguments: str, limits: tuple[int, int] | None = None) -> None:
        self.lines: list[str] = []
        # Soft and hard limit of open files.
        begin = None if limits is None else functools.partial(set_limits, limits)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "zabra", "server", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=zabra_environment(),
            preexec_fn=begin,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def text(self) -> str:
        """Everything said."""
        return "".join(self.lines)

    def wait_line(self, pattern: str) -> re.Match[str]:
        """Waits until it has said so."""

        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.text)
            assert match or self.process.poll() is None, self.text
            return match

        return poll(pattern, PATIENCE_S, found)

    def end(self, number: signal.Signals | None = None) -> int:
        """Its exit code, after a signal if there is one to send."""
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


StartServer = Callable[..., Server]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StartServer]:
    """``server(*arguments)`` starts one in the test's folder; killed afterwards."""
    started: list[Server] = []

    def start(*arguments: str, limits: tuple[int, int] | None = None) -> Server:
        started.append(Server(tmp_path, *arguments, limits=limits))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


def write_cfg(folder: Path, *lines: str) -> str:
    path = folder / "zoo.cfg"
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


LOCAL = ("clientPort=0", "clientPortAddress=127.0.0.1")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_line_when_it_serves_and_a_clean_end(
    server: StartServer, tmp_path: Path, number: signal.Signals
) -> None:
    cfg = write_cfg(tmp_path, "dataDir=./d", *LOCAL)
    line = r"serving on 127\.0\.0\.1:(\d+)  data \./d  zxid 0x(\w+)  (\d+) nodes"
    first = server(cfg)
    match = first.wait_line(line)
    assert match.groups()[1:] == ("0", "5")
    session = Session().connect(f"127.0.0.1:{match[1]}")
    session.do(calls.create("/kept", b"x"))
    assert first.end(number) == 0
    session.drop()
    again = server(cfg)
    match = again.wait_line(line)
    assert match.groups()[1:] == ("2", "6")
    assert again.end(number) == 0


def test_without_a_file_there_is_a_default(server: StartServer, tmp_path: Path) -> None:
    started = server("--set", "clientPort=0")
    match = started.wait_line(r"serving on 127\.0\.0\.1:(\d+)  data zabra-data ")
    assert four_letter("127.0.0.1", int(match[1]), "ruok") == "imok"
    assert started.end(signal.SIGTERM) == 0
    assert (tmp_path / "zabra-data" / "version-2").is_dir()


def test_upstreams_arguments_in_place_of_a_file(server: StartServer, tmp_path: Path) -> None:
    started = server("0", "./data", "500")
    started.wait_line(r"serving on \S+:\d+  data \./data ")
    assert started.end(signal.SIGTERM) == 0
    assert (tmp_path / "data" / "version-2").is_dir()
    wrong = server("0", "./data", "soon")
    assert wrong.end() == 2
    assert wrong.text == "error: command line:3: tickTime: 'soon' is not a whole number\n"


def test_everything_wrong_and_doubtful_is_said_at_once(server: StartServer, tmp_path: Path) -> None:
    cfg = write_cfg(tmp_path, "dataDir=./d", "tickTime=soon", "clientPrt=2181", "maxClientCnxns=-1")
    started = server(cfg)
    assert started.end() == 2
    assert [line.removeprefix(f"warning: {cfg}").removeprefix(f"error: {cfg}") for line in started.lines] == [
        ":3: clientPrt: unknown key, ignored (did you mean clientPort?)\n",
        ":2: tickTime: 'soon' is not a whole number\n",
        ":4: maxClientCnxns: -1 is not between 0 and 2147483647\n",
    ]


def test_an_unknown_key_is_an_error_where_that_is_asked_for(server: StartServer, tmp_path: Path) -> None:
    cfg = write_cfg(tmp_path, "dataDir=./d", "snapcount=5", *LOCAL)
    lenient = server(cfg)
    lenient.wait_line(r"warning: \S+:2: snapcount: unknown key, ignored \(did you mean snapCount\?\)")
    lenient.wait_line("serving on")
    assert lenient.end(signal.SIGTERM) == 0
    strict = server("--strict", cfg)
    assert strict.end() == 2
    assert strict.text == f"error: {cfg}:2: snapcount: unknown key (did you mean snapCount?)\n"


@pytest.mark.parametrize("arguments", [["no.cfg"], ["a.cfg", "b.cfg"], ["1", "d", "2", "3", "4"], ["--what"]])
def test_a_bad_invocation(server: StartServer, arguments: list[str]) -> None:
    assert server(*arguments).end() == 2


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["dataDir=./file"], "./file cannot be made"),
        (["dataDir=./d", "dataLogDir=./file/below"], "./file/below cannot be made"),
        (["dataDir=./d", "datadir.autocreate=false"], "./d is no folder, and datadir.autocreate is false"),
        (["dataDir=./there", "datadir.autocreate=false"], "missing folder version-2"),
    ],
)
def test_folders_that_cannot_be_used(
    server: StartServer, tmp_path: Path, lines: list[str], says: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "there").mkdir()
    started = server(write_cfg(tmp_path, *lines, *LOCAL))
    assert started.end() == 3
    assert says in started.text


def test_a_port_in_use(server: StartServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        started = server("--set", f"clientPort={other.getsockname()[1]}")
        assert started.end() == 1
        assert "address already in use" in started.text


def test_an_election_port_in_use(server: StartServer, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "myid").write_text("1\n")
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        members = [f"server.{sid}=127.0.0.1:{sid}:{taken if sid == 1 else sid + 10}" for sid in (1, 2, 3)]
        limits = ["initLimit=5", "syncLimit=2", "electionPortBindRetry=1"]
        started = server(write_cfg(tmp_path, "dataDir=./d", *limits, *members, *LOCAL))
        assert started.end() == 14
        assert f"cannot listen on 127.0.0.1:{taken}" in started.text


def test_a_log_with_a_rotten_middle(server: StartServer, tmp_path: Path) -> None:
    data = unpack("java39-killed", tmp_path / "d")
    log = data / "version-2" / "log.86"
    with log.open("r+b") as file:
        file.seek(300)
        file.write(b"\xff")
    started = server(write_cfg(tmp_path, "dataDir=./d", *LOCAL))
    assert started.end() == 10
    assert re.search(r"error: cannot recover the data in \./d: \S*log\.86, byte \d+: ", started.text)


def alter_data(log: Path, before: bytes, after: bytes) -> None:
    """Another history under right checksums: only the digests can tell."""
    reader = LogFileReader(OsDisk(log.parent), log.name)
    kept = []
    while reader.tail is None:
        kept += [entry.raw.replace(before, after) for entry in reader.next_slice()]
    log.write_bytes(fmt.encode_file_header() + fmt.encode_entries(kept))


@pytest.mark.parametrize("alone", [True, False])
def test_a_log_that_its_digests_contradict(server: StartServer, tmp_path: Path, alone: bool) -> None:
    data = unpack("java39-killed", tmp_path / "d")
    last = max((data / "version-2").glob("log.*"), key=lambda path: int(path.suffix[1:], 16))
    assert last != log_of(data)
    alter_data(last, b"value", b"valu3")
    members = [] if alone else [f"server.{sid}=127.0.0.1:{sid}:{sid + 10}" for sid in (1, 2, 3)]
    (data / "myid").write_text("1\n")
    cfg = write_cfg(tmp_path, "dataDir=./d", "initLimit=5", "syncLimit=2", *members, *LOCAL)
    started = server(cfg, "--set", "4lw.commands.whitelist=mntr")
    if alone:
        # Nobody else has the data: the operator is told, and the server serves, as upstream's.
        started.wait_line("WARNING replaying the log gives another tree than [1-9]")
        port = int(started.wait_line(r"serving on 127\.0\.0\.1:(\d+)")[1])
        assert re.search(r"zk_digest_mismatches_count\t[1-9]", four_letter("127.0.0.1", port, "mntr"))
        assert started.end(signal.SIGTERM) == 0
    else:
        assert started.end() == 10
        assert "With an empty folder this server gets its data from the others" in started.text


def test_a_damaged_snapshot_that_is_passed_over_is_named(server: StartServer, tmp_path: Path) -> None:
    data = unpack("java39-killed", tmp_path / "d")
    newest = data / "version-2" / "snapshot.84"
    with newest.open("r+b") as file:
        file.seek(3000)
        file.write(b"\xff\xff")
    started = server(write_cfg(tmp_path, "dataDir=./d", *LOCAL))
    started.wait_line(r"WARNING passed over \S*snapshot\.84: ")
    started.wait_line("serving on")
    assert started.end(signal.SIGTERM) == 0


def test_a_long_recovery_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unpack("java39-killed", tmp_path)
    monkeypatch.setattr(assembly, "PROGRESS_EVERY_MS", 0)
    plan = plan_of(default_config(str(tmp_path)))
    data, logs = assembly.open_disks(plan)
    assembly.recover_store(plan, assembly.open_plan_store(plan, data, logs), logs, say)
    said = capsys.readouterr().out
    assert re.search(r"^loading \S*snapshot\.84: \d+ nodes, 0 of 0 MiB$", said, re.MULTILINE)
    assert re.search(r"^replayed \d+ txns$", said, re.MULTILINE)


def open_sessions(address: tuple[str, int], count: int) -> tuple[int, list[socket.socket]]:
    """How many of so many clients get a session, and their connections."""
    w = Writer()
    ConnectRequest(0, 0, 30_000, 0, bytes(16), False).encode(w)
    hello = len(w.getvalue()).to_bytes(4, "big") + w.getvalue()
    sockets = [socket.create_connection(address, timeout=PATIENCE_S) for _ in range(count)]
    answers = 0
    for one in sockets:
        with contextlib.suppress(ConnectionError):
            one.sendall(hello)
            answers += len(one.recv(100)) == 41
    return answers, sockets


@pytest.mark.parametrize(("limits", "served"), [((64, 1000), 140), ((256, 256), 128)])
def test_clients_do_not_take_the_descriptors_that_the_log_needs(
    server: StartServer, tmp_path: Path, limits: tuple[int, int], served: int
) -> None:
    """Once a hundred clients of a process with 64 descriptors ended it at its next log file."""
    cfg = write_cfg(tmp_path, "dataDir=./d", "snapCount=10", "maxClientCnxns=0", *LOCAL)
    started = server(cfg, limits=limits)
    port = int(started.wait_line(r"serving on 127\.0\.0\.1:(\d+)")[1])
    answers, sockets = open_sessions(("127.0.0.1", port), 140)
    assert answers == served
    for one in sockets:
        one.close()

    def snapshots() -> bool:
        return len(list((tmp_path / "d" / "version-2").glob("snapshot.*"))) > 1

    poll("another snapshot", PATIENCE_S, snapshots)
    assert started.end(signal.SIGTERM) == 0
    assert ("128 clients at most" in started.text) == (served == 128)
