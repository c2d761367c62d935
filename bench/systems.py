"""What is compared: how each system is started, its configuration, and the machine all of it runs on.

Both systems get the same zoo.cfg.  Apache ZooKeeper runs as an operator would run it: logging at WARN, a heap
of up to 2 GiB, every transaction forced to disk; nothing is turned off that is on by default.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.interop import apache
from tests.interop.processes import ConfigValue, Ensemble, ServerProcess, free_ports, member_config

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_SERVER_COMMAND = "{python} -m zabra server {config}"
DEFAULT_JVM_FLAGS = "-Xmx2g"
PORTS_PER_MEMBER = 4


class System:
    """One implementation under test: its name, how to make a server, and what it says about itself."""

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self._options = options
        self._line = name.partition("-")[2] or "3.9"
        if not (name == "zabra" or name.split("-")[0] == "apache"):
            raise SystemExit(f"'{name}' is no system: zabra, apache or apache-3.8")

    def make(self, sid: int, cfg: dict[str, ConfigValue], folder: Path) -> ServerProcess:
        """A server, not started."""
        label = f"{self.name} {sid}" if sid else self.name
        if self.name != "zabra":
            flags = shlex.split(self._options.jvm_flags)
            return apache.ApacheServer(self._line, cfg, folder, jvm_flags=flags, name=label)
        words = shlex.split(self._options.server_command)
        argv = [sys.executable if word == "{python}" else word for word in words]
        environment = dict(os.environ)
        environment["PYTHONPATH"] = self._options.python_path
        return ServerProcess(argv, cfg, folder, name=label, env=environment)

    def standalone(self, folder: Path) -> Ensemble:
        """A standalone server, in the shape of an ensemble of one."""
        return _Standalone(self, self._options.ports(1), folder, self._options.cfg)

    def ensemble(self, participants: int, observers: int, folder: Path) -> Ensemble:
        """An ensemble, not started."""
        ports = self._options.ports(participants + observers)
        return Ensemble(self.make, participants, observers, folder, cfg=self._options.cfg, ports=ports)

    def group(self, participants: int, observers: int, folder: Path) -> Ensemble:
        """Standalone for 0 participants, otherwise an ensemble."""
        return self.ensemble(participants, observers, folder) if participants else self.standalone(folder)

    def flags(self) -> str:
        """What it is run with beside zoo.cfg."""
        if self.name != "zabra":
            return self._options.jvm_flags
        return self._options.server_command + (" (compiled)" if self._options.compiled else "")


class _Standalone(Ensemble):
    """One server without server lines."""

    def __init__(
        self, system: System, ports: Sequence[int], folder: Path, cfg: Mapping[str, ConfigValue]
    ) -> None:
        own = member_config(0, ports, observer=False)
        del own["myid"]
        self.members = {1: system.make(0, {**own, **cfg}, folder / "standalone")}
        self.observer_ids = []


class Options:
    """What the command line says about systems; shared by the scripts of this folder."""

    def __init__(
        self,
        *,
        server_command: str = DEFAULT_SERVER_COMMAND,
        jvm_flags: str = DEFAULT_JVM_FLAGS,
        base_port: int | None = None,
        compiled: bool = False,
        cfg: Mapping[str, ConfigValue] | None = None,
    ) -> None:
        self.server_command = server_command
        self.jvm_flags = jvm_flags
        self.compiled = compiled
        self.cfg: dict[str, ConfigValue] = {"maxClientCnxns": 0, **(cfg or {})}
        self.python_path = compiled_folder() if compiled else os.environ.get("PYTHONPATH", str(ROOT / "src"))
        self._base_port = base_port

    def ports(self, members: int) -> list[int]:
        """Ports for so many members: from the base port on, or free ones."""
        count = PORTS_PER_MEMBER * members
        if self._base_port is None:
            return free_ports(count)
        return list(range(self._base_port, self._base_port + count))


def compiled_folder() -> str:
    """What to put on PYTHONPATH for the compiled build."""
    command = [sys.executable, str(ROOT / "tools" / "build_compiled.py")]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def in_flight_setting(in_flight: int) -> dict[str, ConfigValue]:
    """The larger globalOutstandingLimit that so many requests in flight need, for both systems; else nothing.

    The default of 1000 makes a server stop reading from its clients: that would measure the limit.
    """
    return {"globalOutstandingLimit": 2 * in_flight} if in_flight > 1000 else {}


@contextmanager
def work_folder(base: str | None, keep: bool) -> Iterator[Path]:
    """A fresh folder for data and logs, below ``base`` or .zabra/bench, removed at the end."""
    parent = Path(base) if base else ROOT / ".zabra" / "bench"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield folder
    finally:
        if keep:
            print(f"kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def rss_kib(pid: int) -> tuple[int, int]:
    """Resident memory of a process and its peak, in KiB (VmRSS, VmHWM)."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    return int(fields["VmRSS"].split()[0]), int(fields["VmHWM"].split()[0])


def banner(server: ServerProcess) -> str:
    """The version line of a running server."""
    answer = server.four_letter("srvr") or ""
    return answer.splitlines()[0].removeprefix("Zookeeper version:").strip() if answer else "?"


def fsync_us(folder: Path, count: int = 200) -> dict[str, float]:
    """Time to append 4 KiB and fdatasync, in microseconds: median and 99th percentile of ``count`` tries."""
    times = []
    path = folder / "fsync-probe"
    block = os.urandom(4096)
    with path.open("wb", buffering=0) as file:
        for _ in range(count):
            start = time.perf_counter_ns()
            file.write(block)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter_ns() - start) / 1e3)
    path.unlink()
    return {
        "median": round(statistics.median(times), 1),
        "p99": round(statistics.quantiles(times, n=100)[98], 1),
    }


def machine(folder: Path) -> dict[str, Any]:
    """What a reader must know to judge the figures; ``folder`` is on the disk that is used."""
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    java = shutil.which("java")
    java_says = subprocess.run([java, "-version"], capture_output=True, text=True).stderr if java else "none"
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu[0].split(":", 1)[1].strip() if cpu else platform.machine(),
        "ram_gib": round(pages * page / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "java": java_says.splitlines()[0] if java_says else "?",
        "fdatasync_us": fsync_us(folder),
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def describe_machine(facts: Mapping[str, Any]) -> str:
    """The same for people, in one sentence."""
    sync = facts["fdatasync_us"]
    return (
        f"{facts['cores']} cores ({facts['cpu']}), {facts['ram_gib']} GiB RAM, Linux {facts['kernel']}, "
        f"append of 4 KiB and fdatasync {sync['median']:.0f} us (p99 {sync['p99']:.0f} us), "
        f"Python {facts['python']}, {facts['java']}; load average before {facts['load_average_before']}"
    )
