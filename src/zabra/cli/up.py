"""``zabra up``: starts a whole ensemble on this machine, one process per server, and shows how it is doing.

On a terminal a table is kept up to date; otherwise every change is a line.  A server that ends is reported
and started again, later and later if it keeps ending; Ctrl-C and SIGTERM stop all of them.
"""

import argparse
import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TextIO

from zabra._mode import is_compiled
from zabra.cli.local_ensemble import (
    DEFAULT_BASE_PORT,
    DEFAULT_OBSERVERS,
    DEFAULT_PARTICIPANTS,
    HOST,
    FolderLock,
    LocalEnsemble,
    LocalError,
    LocalServer,
    lay_out,
)
from zabra.cli.table import Column, LiveTable
from zabra.config.kinds import Addresses
from zabra.runtime import loop

EXIT_OK: Final = 0
EXIT_CANNOT_START: Final = 1
EXIT_BAD_INVOCATION: Final = 2

DEFAULT_FOLDER: Final = "zabra-ensemble"
POLL_S: Final = 1.0
FIRST_POLL_S: Final = 0.05
WORD_TIMEOUT_S: Final = 2.0
STOP_TIMEOUT_S: Final = 10.0
# A server that ends is started again after this; doubled each time, until it has run for a while.
FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 30.0
GOOD_RUN_S: Final = 30.0
# Without a terminal: a line about everybody now and then.
SUMMARY_EVERY_S: Final = 60.0
LAST_WORDS: Final = 3

COLUMNS: Final = (
    Column("id", True),
    Column("role"),
    Column("address"),
    Column("zxid", True),
    Column("lag", True),
    Column("sessions", True),
    Column("ops/s", True),
    Column("pid", True),
    Column("up", True),
)
STARTING: Final = "starting"
NOT_SERVING: Final = "not serving"
DOWN: Final = "down"


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds ``zabra up``."""
    parser = subparsers.add_parser(
        "up",
        help="run a whole ensemble on this machine",
        description="Starts an ensemble, one process per server, and shows how it is doing.  Started again "
        "with the same folder it goes on with its data.  Ctrl-C stops it.",
    )
    parser.add_argument(
        "--participants", type=int, help=f"servers that vote (default {DEFAULT_PARTICIPANTS})"
    )
    parser.add_argument(
        "--observers", type=int, help=f"servers that do not vote (default {DEFAULT_OBSERVERS})"
    )
    parser.add_argument(
        "--base-port", type=int, help=f"client port of the first server (default {DEFAULT_BASE_PORT})"
    )
    parser.add_argument("--data-dir", default=DEFAULT_FOLDER, metavar="DIR", help=f"default {DEFAULT_FOLDER}")
    parser.add_argument(
        "--join",
        default="",
        metavar="CONNECT",
        help="start observers of the ensemble at host:port,host:port instead (Apache ZooKeeper's as well)",
    )
    parser.add_argument(
        "-D",
        "--set",
        dest="set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set an option on every server; wins over its zoo.cfg",
    )
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs until told to stop."""
    try:
        ensemble = lay_out(
            Path(arguments.data_dir),
            arguments.participants,
            arguments.observers,
            arguments.base_port,
            connect_string(arguments.join),
        )
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INVOCATION
    try:
        lock = FolderLock(ensemble.folder)
        ensemble.check_ports()
        ensemble.write()
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CANNOT_START
    options = ["--log-level", arguments.log_level]
    for setting in arguments.set:
        options += ["-D", setting]
    try:
        return loop.run(Supervisor(ensemble, options, screen_of(sys.stdout)).run())
    finally:
        lock.release()


def connect_string(text: str) -> str:
    """``--join`` as it goes into zoo.cfg.  Raises LocalError."""
    try:
        addresses = Addresses().parse(text)
    except ValueError as error:
        raise LocalError(f"--join: {error}") from error
    if text and not addresses:
        raise LocalError(f"--join: {text!r} names nobody")
    return Addresses().format(addresses)


class Screen:
    """Where things are shown: on a terminal a live table, elsewhere lines."""

    def __init__(self, out: TextIO, table: LiveTable | None) -> None:
        self._out = out
        self.table = table

    def say(self, line: str) -> None:
        """A line that stays."""
        if self.table is not None:
            self.table.say(line)
        else:
            print(line, file=self._out, flush=True)


def screen_of(out: TextIO) -> Screen:
    """For the terminal, or whatever else ``out`` is."""
    if not out.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return Screen(out, None)
    return Screen(out, LiveTable(out, COLUMNS, shutil.get_terminal_size().columns))


class Member:
    """One server, its process and what it last said of itself."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.process: asyncio.subprocess.Process | None = None
        self.began_s = 0.0
        self.backoff_s = FIRST_BACKOFF_S
        self.role = STARTING
        self.zxid = -1
        self.sessions = -1
        self.lag_txns = -1
        self.lag_ms = -1
        self.ops_per_s = -1.0
        self._received = -1
        self._received_at_s = 0.0

    def serves(self) -> bool:
        """Whether clients are served."""
        return self.role not in (STARTING, NOT_SERVING, DOWN)

    def forget(self, role: str) -> None:
        """Nothing is known any more but its ``role``."""
        self.role = role
        self.zxid = self.sessions = self.lag_txns = self.lag_ms = self._received = -1
        self.ops_per_s = -1.0

    def hear(self, srvr: str, mntr: str, now_s: float, asked: int) -> None:
        """Takes up what the server says; ``asked`` of its packets were our own questions."""
        words = dict(line.split(": ", 1) for line in srvr.splitlines() if ": " in line)
        if "Mode" not in words:
            self.forget(NOT_SERVING)
            return
        self.role = words["Mode"].strip()
        self.zxid = int(words["Zxid"], 16)
        # One of the connections is the question's own.
        self.sessions = max(0, int(words["Connections"]) - 1)
        received = int(words["Received"])
        if self._received >= 0 and now_s > self._received_at_s:
            rate = (received - self._received - asked) / (now_s - self._received_at_s)
            self.ops_per_s = max(0.0, rate)
        self._received = received
        self._received_at_s = now_s
        metrics = dict(line.split("\t", 1) for line in mntr.splitlines() if "\t" in line)
        self.lag_txns = int(metrics.get("zk_lag_txns", -1))
        self.lag_ms = int(metrics.get("zk_lag_ms", -1))

    def row(self, leader_zxid: int, now_s: float) -> list[str]:
        """Its line of the table."""
        alive = self.process is not None and self.process.returncode is None
        return [
            str(self.server.sid),
            self.role,
            self.server.address,
            f"0x{self.zxid:x}" if self.zxid >= 0 else "",
            self.lag(leader_zxid),
            str(self.sessions) if self.sessions >= 0 else "",
            f"{self.ops_per_s:.0f}" if self.ops_per_s >= 0 else "",
            str(self.process.pid) if self.process is not None and alive else "",
            f"{now_s - self.began_s:.0f}s" if alive else "",
        ]

    def lag(self, leader_zxid: int) -> str:
        """How far behind the leader: in txns, and in ms where the server knows."""
        txns = self.lag_txns
        if txns < 0 and leader_zxid >= 0 and self.zxid >= 0:
            # A server in step has nothing of the present epoch before its first txn.
            since = max(self.zxid, leader_zxid & ~0xFFFFFFFF)
            txns = max(0, leader_zxid - since)
        text = str(txns) if txns >= 0 else ""
        return f"{text} ({self.lag_ms} ms)" if self.lag_ms >= 0 else text


class Supervisor:
    """Starts the servers, watches them, shows them, and stops them."""

    def __init__(self, ensemble: LocalEnsemble, options: list[str], screen: Screen) -> None:
        self.ensemble = ensemble
        self.options = options
        self.screen = screen
        self.members = [Member(server) for server in ensemble.servers]
        self.stopping = asyncio.Event()
        self.began_s = time.monotonic()
        self.was_ready = False
        self.summary_at_s = self.began_s + SUMMARY_EVERY_S

    async def run(self) -> int:
        """From the first start to the last stop; the exit code."""
        running_loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            running_loop.add_signal_handler(number, self.stop)
        speed = "compiled" if is_compiled() else "interpreted"
        self.screen.say(f"{self.what()} in {self.ensemble.folder} ({speed}); Ctrl-C stops")
        keepers = [asyncio.create_task(self.keep(member)) for member in self.members]
        watcher = asyncio.create_task(self.watch())
        try:
            await self.stopping.wait()
            self.screen.say("stopping")
            await self.stop_all()
        finally:
            for task in (*keepers, watcher):
                task.cancel()
            await asyncio.gather(*keepers, watcher, return_exceptions=True)
        return EXIT_OK

    def what(self) -> str:
        """What is started, in words."""
        observers = len([one for one in self.ensemble.servers if one.is_observer])
        if self.ensemble.join:
            return f"{counted(observers, 'observer')} of {self.ensemble.join}"
        return f"{counted(len(self.members) - observers, 'participant')} and {counted(observers, 'observer')}"

    def stop(self) -> None:
        """Ends everything; a second time, at once."""
        if self.stopping.is_set():
            for member in self.members:
                self.signal(member, signal.SIGKILL)
        self.stopping.set()

    def signal(self, member: Member, number: signal.Signals) -> None:
        """Sends a signal to a server that runs."""
        process = member.process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def stop_all(self) -> None:
        """SIGTERM to all, SIGKILL to those who take too long."""
        for member in self.members:
            self.signal(member, signal.SIGTERM)
        waits = [one.process.wait() for one in self.members if one.process is not None]
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await asyncio.gather(*waits)
        except TimeoutError:
            for member in self.members:
                if member.process is not None and member.process.returncode is None:
                    self.screen.say(f"server {member.server.sid} does not stop: killing it")
                    self.signal(member, signal.SIGKILL)
                    await member.process.wait()

    # --- processes ------------------------------------------------------------------------------------------

    async def keep(self, member: Member) -> None:
        """Has the server running until everything stops."""
        while not self.stopping.is_set():
            await self.start(member)
            assert member.process is not None
            code = await member.process.wait()
            if self.stopping.is_set():
                return
            self.report_end(member, code)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(member.backoff_s):
                    await self.stopping.wait()
            member.backoff_s = min(2 * member.backoff_s, LONGEST_BACKOFF_S)

    async def start(self, member: Member) -> None:
        """One life of a server."""
        server = member.server
        member.forget(STARTING)
        member.began_s = time.monotonic()
        command = [sys.executable, "-m", "zabra", "server", str(server.config_path), *self.options]
        with server.log_path.open("ab") as log:
            member.process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is ours to pass on.
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def report_end(self, member: Member, code: int) -> None:
        """A server has ended by itself."""
        if time.monotonic() - member.began_s > GOOD_RUN_S:
            member.backoff_s = FIRST_BACKOFF_S
        member.forget(DOWN)
        how = f"with code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
        self.screen.say(
            f"server {member.server.sid} ended {how}: starting it again in {member.backoff_s:g} s; "
            f"{member.server.log_path} ends:"
        )
        for line in last_lines(member.server.log_path, LAST_WORDS):
            self.screen.say(f"    {line}")

    # --- what they say --------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Asks every server again and again, and shows the answers."""
        while not self.stopping.is_set():
            before = [member.role for member in self.members]
            await asyncio.gather(*[self.ask(member) for member in self.members])
            self.show(before)
            pause_s = POLL_S if self.was_ready else FIRST_POLL_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self.stopping.wait()

    async def ask(self, member: Member) -> None:
        """What one server says now."""
        process = member.process
        if process is None or process.returncode is not None:
            return
        srvr = await four_letter_word(member.server.client_port, "srvr")
        if member.process is not process or process.returncode is not None:
            return
        if srvr is None:
            member.forget(STARTING)
            return
        mntr = await four_letter_word(member.server.client_port, "mntr") or ""
        # A word is a packet received.
        member.hear(srvr, mntr, time.monotonic(), 2)

    def show(self, before: list[str]) -> None:
        """The table, or lines about what is new."""
        now_s = time.monotonic()
        table = self.screen.table
        if table is None:
            for member, role in zip(self.members, before, strict=True):
                if member.role != role:
                    self.screen.say(f"server {member.server.sid} on {member.server.address}: {member.role}")
        if not self.was_ready and all(member.serves() for member in self.members):
            self.was_ready = True
            self.say_ready(now_s)
        if table is not None:
            table.width = shutil.get_terminal_size().columns
            zxid = self.leader_zxid()
            table.draw([member.row(zxid, now_s) for member in self.members], self.summary())
        elif now_s >= self.summary_at_s:
            self.summary_at_s = now_s + SUMMARY_EVERY_S
            self.screen.say(self.summary())

    def say_ready(self, now_s: float) -> None:
        """Everybody serves for the first time."""
        took_s = now_s - self.began_s
        self.screen.say(f"ready in {took_s:.1f} s: clients connect to {self.ensemble.connect_string}")

    def leader_zxid(self) -> int:
        """Where the leader is, -1 if none of these leads."""
        return max([member.zxid for member in self.members if member.role == "leader"], default=-1)

    def summary(self) -> str:
        """Everybody in a line."""
        serving = [member for member in self.members if member.serves()]
        leaders = [str(member.server.sid) for member in serving if member.role == "leader"]
        sessions = sum([max(0, member.sessions) for member in serving])
        rate = sum([max(0.0, member.ops_per_s) for member in serving])
        leader = "" if self.ensemble.join else f"leader {', '.join(leaders) or 'none'}, "
        return f"{leader}{len(serving)} of {len(self.members)} serve, {sessions} sessions, {rate:.0f} ops/s"


async def four_letter_word(port: int, word: str) -> str | None:
    """The answer to a four-letter word; None while nobody answers."""
    try:
        async with asyncio.timeout(WORD_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(word.encode("ascii"))
                return (await reader.read(-1)).decode("utf-8", "replace")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None


def counted(number: int, what: str) -> str:
    """1 observer, 2 observers."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def last_lines(path: Path, count: int) -> list[str]:
    """The end of a log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            return file.read().decode("utf-8", "replace").splitlines()[-count:]
    except OSError as error:
        return [f"(cannot be read: {error})"]


PR_SET_PDEATHSIG: Final = 1


def _parent_death_signal() -> Callable[[], None] | None:
    """A function for a child of ours that has it end when we are gone, however; None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl

    def end_with_us() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return end_with_us


end_with_parent = _parent_death_signal()
