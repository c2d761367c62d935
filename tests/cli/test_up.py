"""``zabra up`` as a process: ready, restarted with its data, one that dies, ports in use, signals, --join."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from tests.interop.clients import client_at
from tests.interop.members import zabra_environment
from tests.interop.processes import four_letter, free_block, poll

from zabra.cli.local_ensemble import LocalError, LocalServer
from zabra.cli.up import NOT_SERVING, Member, connect_string

FAST = ["-D", "tickTime=500"]
# What is waited for takes a second or two; on a machine that does ten other things, much longer.
PATIENCE_S = 120.0
PORTS = 24


class Up:
    """One run of ``zabra up`` without a terminal; ``lines`` is what it has said."""

    def __init__(self, folder: Path, *arguments: str, base_port: int) -> None:
        command = [sys.executable, "-m", "zabra", "up", "--data-dir", str(folder), *FAST]
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [*command, "--base-port", str(base_port), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=zabra_environment(),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def wait_line(self, pattern: str, timeout_s: float = PATIENCE_S) -> re.Match[str]:
        """Waits until a line matches."""

        def found() -> re.Match[str] | None:
            for line in list(self.lines):
                match = re.search(pattern, line)
                if match:
                    return match
            assert self.process.poll() is None, "".join(self.lines)
            return None

        try:
            return poll(pattern, timeout_s, found)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{''.join(self.lines)}") from None

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Stops it; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.ended()
        self._reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def ended(self) -> int:
        """Waits for its end; the exit code.  One that does not end is killed, and its servers with it."""
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


StartUp = Callable[..., Up]


@pytest.fixture
def base() -> int:
    """The first of some free ports in a row."""
    return free_block(PORTS)


@pytest.fixture
def up(tmp_path: Path, base: int) -> Iterator[StartUp]:
    """``up(*arguments)`` starts one in the test's folder; stopped afterwards."""
    started: list[Up] = []

    def start(*arguments: str, folder: str = "e", base_port: int = base) -> Up:
        started.append(Up(tmp_path / folder, *arguments, base_port=base_port))
        return started[-1]

    yield start
    for one in started:
        one.stop(signal.SIGTERM)


def with_client(address: str, do: Callable[[KazooClient], object]) -> object:
    with client_at(address, timeout=10) as client:
        return do(client)


def test_data_survives_a_restart_and_ctrl_c_is_no_failure(up: StartUp, tmp_path: Path, base: int) -> None:
    first = up()
    address = first.wait_line(r"ready in .* s: clients connect to (\S+)").group(1)
    assert address == ",".join(f"127.0.0.1:{base + i}" for i in range(4))
    modes = modes_of(base, 4)
    assert sorted(modes[:3]) == ["follower", "follower", "leader"]
    assert modes[3] == "observer"
    with_client(address.split(",")[3], lambda client: client.create("/kept", b"data"))
    assert first.stop(signal.SIGINT) == 0
    assert all(mode_of(base + i) is None for i in range(4))
    assert (tmp_path / "e" / "1" / "version-2").is_dir()
    second = up()
    second.wait_line("ready in")
    for port in range(base, base + 4):
        found = with_client(f"127.0.0.1:{port}", lambda client: client.retry(client.get, "/kept"))
        assert isinstance(found, tuple)
        assert found[0] == b"data"
    assert second.stop(signal.SIGTERM) == 0


def modes_of(first: int, count: int) -> list[str]:
    """What each says it is, once all serve at the same time."""

    def all_serve() -> list[str] | None:
        modes = [mode for port in range(first, first + count) if (mode := mode_of(port))]
        return modes if len(modes) == count else None

    return poll("all serve", PATIENCE_S, all_serve)


def mode_of(port: int) -> str | None:
    answer = four_letter("127.0.0.1", port, "srvr", PATIENCE_S) or ""
    match = re.search(r"^Mode: (\w+)", answer, re.MULTILINE)
    return match.group(1) if match else None


def pid_of(folder: Path) -> int | None:
    """The server on this folder, by what Linux tells of processes."""
    wanted = str(folder / "zoo.cfg").encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                # It has ended meanwhile.
                continue
            if wanted in words and b"server" in words:
                return int(entry.name)
    return None


def test_a_server_that_dies_is_reported_and_started_again(up: StartUp, tmp_path: Path, base: int) -> None:
    running = up("--participants", "1", "--observers", "0")
    running.wait_line("ready in")
    pid = pid_of(tmp_path / "e" / "1")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    running.wait_line(r"server 1 ended by SIGKILL: starting it again in 0\.5 s")
    poll("it serves again", PATIENCE_S, lambda: mode_of(base))
    assert pid_of(tmp_path / "e" / "1") != pid


def test_servers_end_with_a_supervisor_that_is_killed(up: StartUp, tmp_path: Path) -> None:
    running = up("--participants", "1", "--observers", "0")
    running.wait_line("ready in")
    assert pid_of(tmp_path / "e" / "1") is not None
    running.process.kill()
    poll("its server has ended", PATIENCE_S, lambda: True if pid_of(tmp_path / "e" / "1") is None else None)


def test_a_configuration_that_is_refused_is_told(up: StartUp) -> None:
    running = up("--participants", "1", "--observers", "0", "-D", "tickTime=soon")
    running.wait_line("server 1 ended with code 2")
    running.wait_line("'soon' is not a whole number")
    assert running.stop() == 0


def test_ports_in_use_are_an_error_at_once(up: StartUp, base: int) -> None:
    first = up("--participants", "1", "--observers", "0")
    first.wait_line("ready in")
    second = up("--participants", "1", "--observers", "0", folder="other")
    assert second.ended() == 1
    second.stop()
    said = "".join(second.lines)
    assert f"error: in use already: port {base} (server 1, clients)" in said
    same = up("--participants", "1", "--observers", "0")
    assert same.ended() == 1
    same.stop()
    assert "in use by another zabra up" in "".join(same.lines)


def test_observers_join_an_ensemble_that_does_not_know_them(up: StartUp, base: int) -> None:
    up("--participants", "3", "--observers", "0").wait_line("ready in")
    connect = f"127.0.0.1:{base + 1}"
    joined = up("--join", connect, "--observers", "2", folder="joined", base_port=base + 10)
    joined.wait_line("ready in")
    ids = []
    for port in (base + 10, base + 11):
        assert modes_of(port, 1) == ["observer"]
        ids.append(
            with_client(
                f"127.0.0.1:{port}",
                lambda client: (client.create("/n-", sequence=True, ephemeral=True), client.client_id[0])[1],
            )
        )
    assert len(set(ids)) == 2
    assert joined.stop() == 0


def test_bad_arguments_are_refused(up: StartUp) -> None:
    for arguments in (["--participants", "0"], ["--join", "nowhere"], ["--join", ","]):
        refused = up(*arguments, folder="x")
        assert refused.ended() == 2
        refused.stop()
        assert "".join(refused.lines).startswith("error: ")


def test_on_a_terminal_there_is_a_table(tmp_path: Path, base: int) -> None:
    command = [sys.executable, "-m", "zabra", "up", "--data-dir", str(tmp_path / "e"), *FAST]
    command += ["--participants", "1", "--observers", "0", "--base-port", str(base)]
    ours, theirs = pty.openpty()
    environment = {**zabra_environment(), "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen = bytearray()

    def shown() -> bool | None:
        if select.select([ours], [], [], 0)[0]:
            seen.extend(os.read(ours, 4096))
        return True if b"standalone" in seen else None

    try:
        poll("the table shows that the server serves", PATIENCE_S, shown)
        assert b"\x1b[1mid  role" in seen
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


# --- what a server says -------------------------------------------------------------------------------------

SRVR = "Latency min/avg/max: 0/0.5/3\nReceived: {}\nSent: 9\nConnections: 3\nZxid: 0x{:x}\nMode: {}\n"


def member(mode: str, zxid: int, mntr: str = "") -> Member:
    one = Member(LocalServer(1, False, Path("x"), 2181))
    one.hear(SRVR.format(100, zxid, mode), mntr, 1.0, 2)
    return one


def test_rates_are_between_two_answers_without_the_questions() -> None:
    one = member("leader", 0x100000005)
    assert one.ops_per_s == -1
    one.hear(SRVR.format(302, 0x100000005, "leader"), "", 3.0, 2)
    assert one.ops_per_s == 100
    assert one.sessions == 2
    assert one.serves()


@pytest.mark.parametrize(
    ("zxid", "leader_zxid", "lag"),
    [
        (0x100000005, 0x100000007, "2"),
        (0x100000007, 0x100000005, "0"),
        (0x100000005, 0x200000000, "0"),
        (0x100000005, 0x200000003, "3"),
        (0x100000005, -1, ""),
    ],
)
def test_lag_is_counted_in_txns(zxid: int, leader_zxid: int, lag: str) -> None:
    assert member("follower", zxid).lag(leader_zxid) == lag


def test_what_an_observer_knows_of_its_lag_wins() -> None:
    one = member("observer", 0x100000005, "zk_version\t3\nzk_lag_txns\t7\nzk_lag_ms\t12\n")
    assert one.lag(0x100000005) == "7 (12 ms)"
    assert one.row(0x100000005, 1.0)[:5] == ["1", "observer", "127.0.0.1:2181", "0x100000005", "7 (12 ms)"]


def test_a_server_that_does_not_serve_has_nothing_else_to_say() -> None:
    one = member("leader", 5)
    one.hear("This ZooKeeper instance is not currently serving requests\n", "", 2.0, 2)
    assert one.role == NOT_SERVING
    assert not one.serves()
    assert one.row(5, 1.0) == ["1", NOT_SERVING, "127.0.0.1:2181", "", "", "", "", "", ""]


def test_connect_strings() -> None:
    assert connect_string("zk1:2181, zk2:2182") == "zk1:2181,zk2:2182"
    assert connect_string("") == ""
    with pytest.raises(LocalError, match="--join: 'zk1' is not host:port"):
        connect_string("zk1")
