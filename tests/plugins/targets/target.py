"""A target for publishers: the real server of its kind, started on loopback, killed and started again.

``each`` reads what it holds in the words of ``jsontext``, as the lines of ``jsonl`` are: a dictionary for
each txn, ``{"snapshot": …}``, ``{"node": …}`` and ``{"snapshotEnd": …}`` around each snapshot.  So all
targets are compared with a server's log by the same code.

Where the server's program is missing the test is skipped, with the name of the Debian package; with CI=true
in the environment it fails, so that a build server cannot lose these tests unseen.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.interop.processes import free_ports, poll

START_S = 180
FIRST_PORT, END_PORT = 15000, 16000

Row = dict[str, Any]

_running: dict[int, Target] = {}


def _kill_leftovers() -> None:
    for target in list(_running.values()):
        target.close()


atexit.register(_kill_leftovers)


class TargetUnavailable(Exception):
    """The server cannot be run here; the text says what is missing."""


def require(program: str, package: str, folders: Sequence[str] = ("/usr/sbin",)) -> str:
    """The path of a program.  Raises TargetUnavailable, which names the Debian package."""
    path = shutil.which(program) or next(
        (found for folder in folders if (found := shutil.which(program, path=folder))), None
    )
    if path is None:
        raise TargetUnavailable(f"{program} is not installed (Debian package {package})")
    return path


def children(pid: int) -> list[int]:
    """Processes that ``pid`` has started (each thread has those that it started)."""
    found: list[int] = []
    with suppress(FileNotFoundError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(one) for one in (task / "children").read_text().split()]
    return found


def is_alive(pid: int) -> bool:
    """Whether it runs; one that is only waited for does not."""
    try:
        # "pid (name) state ...", where the name may hold anything.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Target:
    """One server of a kind.  ``folder`` is its own, and goes with ``close``."""

    kind = ""
    """What ``publisher.<name>.class`` says."""
    exact = True
    """Whether each txn is there once, whatever is killed."""
    has_refusals = True
    """Whether txns that changed nothing are there."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"zabra-{self.kind}-"))
        (self.port,) = free_ports(1, FIRST_PORT, END_PORT)
        self._process: subprocess.Popen[bytes] | None = None

    # --- life ---------------------------------------------------------------------------------------------

    def command(self) -> list[str]:
        """What is run."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """In which environment."""
        return os.environ

    def user(self) -> str | None:
        """As whom, if not as oneself."""
        return None

    def prepare(self) -> None:
        """Once, before the first start."""

    def is_ready(self) -> bool:
        """Whether it serves; asked until it does."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def start(self) -> None:
        """Starts it, again after ``kill`` with all that it had, and waits until it serves."""
        if self._process is None:
            self.prepare()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.environment(),
                user=self.user(),
                start_new_session=True,
            )
        _running[id(self)] = self
        poll(f"{self.kind} serves", START_S, lambda: self._look() or None)

    def _look(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            log = (self.folder / "log").read_text(errors="replace")[-3000:]
            raise RuntimeError(f"{self.kind} ended with {self._process.returncode}:\n{log}")
        return self.is_ready()

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """To the process and all its children, for instance SIGSTOP."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL to it and all its children."""
        if self._process is not None and self.running:
            self.signal(signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """Kills it and removes its folder."""
        _running.pop(id(self), None)
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- content ------------------------------------------------------------------------------------------

    def options(self, place: str) -> dict[str, str]:
        """What ``publisher.<name>.`` needs to publish to ``place`` (letters and digits, one a test)."""
        raise NotImplementedError

    def each(self, place: str) -> Iterator[Row]:
        """Everything that ``place`` holds, in order, a part at a time: there may be millions."""
        raise NotImplementedError

    def rows(self, place: str) -> list[Row]:
        """All of it."""
        return list(self.each(place))
