"""Where the suites are installed, and how the servers that they talk to are started."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tests.differential.servers import CONFIG, PROPERTIES, apache_server, zabra_command, zabra_server
from tests.interop import apache
from tests.interop.processes import ConfigValue, Ensemble, ServerProcess, poll

import zabra

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FIRST_PORT = 22300
"""Ports of servers started for a suite; foreign suites that start their own have theirs below."""
SERVER_PROPERTIES = {
    **PROPERTIES,
    "znode.container.checkIntervalMs": "100",
    "zookeeper.enforceQuota": "false",
}
INSTALL_S = 1200


class Unavailable(Exception):
    """A suite cannot run here; the text says what is missing."""


def cache() -> Path:
    """Folder outside the checkout for virtual environments, sources and builds."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "zabra" / "conformance"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run(
    command: Sequence[str],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a command and keeps its output; after ``timeout_s`` it is ended, and its group with it."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=None if env is None else dict(env),
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(stdin, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        out, _ = process.communicate()
        out += f"\nended after {timeout_s:g} s"
    return subprocess.CompletedProcess(command, process.returncode, out, "")


def must(command: Sequence[str], **more: object) -> str:
    """Runs an installation step; its output, or Unavailable."""
    done = run(command, timeout_s=INSTALL_S, **more)  # type: ignore[arg-type]
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(command)[:200]} failed: {done.stdout[-500:]}")
    return done.stdout


def venv(name: str, packages: Sequence[str]) -> Path:
    """The python of a virtual environment with these packages, made on first use."""
    folder = cache() / name
    stamp = folder / "complete"
    wanted = "\n".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        must([sys.executable, "-m", "venv", str(folder)])
        must([str(folder / "bin" / "pip"), "-q", "install", *packages])
        stamp.write_text(wanted)
    return folder / "bin" / "python"


def sdist(name: str, version: str) -> Path:
    """The unpacked source distribution of a Python package."""
    folder = cache() / f"{name}-{version}"
    if not folder.exists():
        must([sys.executable, "-m", "pip", "-q", "download", "--no-deps", "--no-binary", ":all:",
              "-d", str(cache() / "downloads"), f"{name}=={version}"])  # fmt: skip
        must(["tar", "-xzf", str(cache() / "downloads" / f"{name}-{version}.tar.gz"), "-C", str(cache())])
    return folder


def apt(packages: Mapping[str, str], install: bool) -> None:
    """Makes sure that files of Debian packages (path: package) are there."""
    missing = sorted({package for path, package in packages.items() if not Path(path).exists()})
    if missing and install and os.geteuid() == 0 and shutil.which("apt-get"):
        must(["apt-get", "-qq", "update"])
        must(["apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing])
        missing = sorted({package for path, package in packages.items() if not Path(path).exists()})
    if missing:
        raise Unavailable(f"Debian packages are missing (--install fetches them): {' '.join(missing)}")


def debian_version(package: str) -> str:
    """Version of an installed Debian package."""
    return run(["dpkg-query", "-W", "-f", "${Version}", package], timeout_s=30).stdout.strip()


def java_tool(name: str) -> str:
    """Path of a Java tool, not through the stand-in."""
    path = shutil.which(name)
    if path is None:
        raise Unavailable(f"{name} is not on PATH")
    return path


def shim_environment(target: str, logs: Path, mixed: str) -> dict[str, str]:
    """Environment in which ``java`` starts the target's servers; ``mixed`` are ids that stay on Java."""
    env = dict(os.environ)
    env["PATH"] = f"{HERE / 'shim'}{os.pathsep}{env['PATH']}"
    env["ZABRA_SHIM_JAVA"] = java_tool("java")
    env["ZABRA_SHIM_CLASSPATH"] = apache.classpath("3.9")
    env["ZABRA_SHIM_JVM_FLAGS"] = " ".join([*apache.DEFAULT_JVM_FLAGS, "-Xmx256m"])
    env["ZABRA_SHIM_JAVA_IDS"] = "all" if target == "apache" else mixed
    env["ZABRA_SHIM_LOGS"] = str(logs)
    env["ZABRA_SHIM_SERVER"] = shlex.join(["env", f"PYTHONPATH={ROOT / 'src'}", *zabra_command()])
    return env


def servers(
    target: str, cluster: int, folder: Path, mixed: str
) -> AbstractContextManager[ServerProcess | Ensemble]:
    """A standalone server (cluster 1) or an ensemble of three, or of three and two observers (cluster 5)."""
    make = apache_server if target == "apache" else zabra_server
    if cluster == 1:
        return make(folder, FIRST_PORT, SERVER_PROPERTIES)
    on_java = set() if target == "apache" else {int(word) for word in mixed.split(",") if word}

    def member(sid: int, own: dict[str, ConfigValue], home: Path) -> ServerProcess:
        maker = apache_server if target == "apache" or sid in on_java else zabra_server
        return maker(home, int(own["clientPort"]), SERVER_PROPERTIES, own)

    ports = range(FIRST_PORT, FIRST_PORT + 4 * cluster)
    cfg = {**CONFIG, "standaloneEnabled": "false"}
    return Ensemble(member, 3, cluster - 3, folder, ports=ports, cfg=cfg)


def connect_string(running: ServerProcess | Ensemble, via: str = "") -> str:
    """host:port,... of a server or an ensemble; ``via``: of its members in this role alone."""
    if not isinstance(running, Ensemble):
        return running.address
    if not via:
        return running.connect_string

    def found() -> str | None:
        return ",".join(one.address for one in running.members.values() if one.mode() == via) or None

    return poll(f"a {via}", 60, found)


def port_of(address: str) -> tuple[str, int]:
    """(host, port) of the first address of a connect string."""
    parts = urllib.parse.urlsplit("//" + address.split(",")[0])
    return parts.hostname or "127.0.0.1", parts.port or 2181


def zabra_version() -> str:
    """This checkout's."""
    return str(zabra.__version__)
