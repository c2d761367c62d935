"""Members of ensembles that mix implementations, and what their logs tell of how they were synchronised.

``make_member("zabra" | "apache-3.9" | "apache-3.8", ...)`` makes a server process; ``Mixed`` is an ensemble
with a kind per member.  A member may change its kind: ``Mixed.become`` puts another implementation on the
same folder, which is how an ensemble migrates.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.interop import apache
from tests.interop.processes import ConfigValue, Ensemble, ServerProcess, free_ports

ROOT = Path(__file__).resolve().parents[2]
FIRST_PORT, END_PORT = 13500, 13900

ZABRA = "zabra"
APACHE_39 = "apache-3.9"
APACHE_38 = "apache-3.8"

CFG: dict[str, ConfigValue] = {
    # Short ticks: what is waited for in ticks (a leader without a quorum, a silent learner) ends soon.
    "tickTime": 500,
    "initLimit": 20,
    "syncLimit": 10,
    "maxClientCnxns": 0,
    "admin.enableServer": "false",
    "maxSessionTimeout": 60000,
}
"""What tests of ensembles use unless they say otherwise; valid for every implementation."""

_LOGBACK = """<configuration>
  <statusListener class="ch.qos.logback.core.status.NopStatusListener"/>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} [%thread] %-5level %logger{36}: %msg%n</pattern></encoder>
  </appender>
  <logger name="org.apache.zookeeper.server.quorum.Learner" level="INFO"/>
  <logger name="org.apache.zookeeper.server.quorum.LearnerHandler" level="INFO"/>
  <root level="WARN"><appender-ref ref="OUT"/></root>
</configuration>
"""

# How a learner that has been synchronised says so, by implementation; upstream's Learner and ours.
_SYNCED = {
    "DIFF": re.compile(r"Getting a diff from the leader|synchronised by DIFF"),
    "TRUNC": re.compile(r"Truncating log to get in sync with the leader|synchronised by TRUNC"),
    "SNAP": re.compile(r"Getting a snapshot from leader|synchronised by SNAP"),
}


def zabra_command() -> list[str]:
    """The command that runs one server: ZABRA_SERVER from the environment, or this checkout's."""
    given = os.environ.get("ZABRA_SERVER")
    return shlex.split(given) if given else [sys.executable, "-m", "zabra", "server"]


def zabra_environment() -> dict[str, str]:
    """The environment of a server of this checkout: what the tests run on, it runs on."""
    path = [part for part in (os.environ.get("PYTHONPATH"), str(ROOT / "src")) if part]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def make_member(
    kind: str,
    sid: int,
    cfg: Mapping[str, ConfigValue],
    folder: Path,
    *,
    prefix: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    host: str = "127.0.0.1",
) -> ServerProcess:
    """One member, not started.  ``prefix`` is put before the command, ``env`` added to its environment."""
    name = f"{kind} {sid}"
    if kind == ZABRA:
        argv = [*prefix, *zabra_command(), "{config}"]
        whole = {**zabra_environment(), **(env or {})}
        return ServerProcess(argv, cfg, folder, name=name, env=whole, host=host)
    folder.mkdir(parents=True, exist_ok=True)
    logback = folder / "logback.xml"
    logback.write_text(_LOGBACK)
    flags = [*apache.DEFAULT_JVM_FLAGS, f"-Dlogback.configurationFile={logback}"]
    version = kind.removeprefix("apache-")
    environment = {**os.environ, **(env or {})}
    return apache.ApacheServer(
        version, cfg, folder, jvm_flags=flags, name=name, prefix=prefix, env=environment, host=host
    )


class Mixed(Ensemble):
    """An ensemble with a kind per member: ``kinds[0]`` is that of member 1; observers come last."""

    def __init__(
        self,
        kinds: Sequence[str],
        folder: Path,
        *,
        observers: int = 0,
        cfg: Mapping[str, ConfigValue] | None = None,
        ports: Sequence[int] | None = None,
        hosts: Sequence[str] | None = None,
        prefixes: Mapping[int, Sequence[str]] | None = None,
        environments: Mapping[int, Mapping[str, str]] | None = None,
    ) -> None:
        self.kinds = dict(enumerate(kinds, 1))
        self._prefixes = dict(prefixes or {})
        self._environments = dict(environments or {})
        if ports is None:
            ports = free_ports(4 * len(kinds), FIRST_PORT, END_PORT)
        whole = {**CFG, **(cfg or {})}
        super().__init__(
            self._make, len(kinds) - observers, observers, folder, cfg=whole, ports=ports, hosts=hosts
        )

    def _make(self, sid: int, cfg: dict[str, ConfigValue], folder: Path) -> ServerProcess:
        return make_member(
            self.kinds[sid],
            sid,
            cfg,
            folder,
            prefix=self._prefixes.get(sid, ()),
            env=self._environments.get(sid),
            host=self.hosts[sid - 1],
        )

    def start_led_by(self, leader: int, timeout_s: float = 60.0) -> None:
        """Starts all members so that ``leader``, the largest voter where all are empty, leads.

        It and as many others as a quorum needs come first: whoever is slow to start, no other quorum can
        form.  Observers come last.
        """
        others = [sid for sid in self.voters() if sid != leader]
        quorum = len(self.voters()) // 2
        early, late = [leader, *others[:quorum]], [*others[quorum:], *self.observer_ids]
        for sids in (early, late):
            for sid in sids:
                self.members[sid].launch()
            for sid in sids:
                self.members[sid].wait_serving(timeout_s)
        assert self.wait_leader() == leader, f"{self.leader()} leads, not {leader}"

    def become(self, sid: int, kind: str) -> ServerProcess:
        """The stopped member ``sid`` is of another ``kind`` from now on; configuration and data stay."""
        old = self.members[sid]
        assert not old.running, f"{old.name} still runs"
        cfg = dict(old.cfg)
        if old.myid is not None:
            cfg["myid"] = old.myid
        self.kinds[sid] = kind
        self.members[sid] = self._make(sid, cfg, old.folder)
        return self.members[sid]

    def running_members(self) -> dict[int, ServerProcess]:
        """Those whose process is alive."""
        return {sid: member for sid, member in self.members.items() if member.running}

    def voters(self) -> list[int]:
        """Ids of the participants."""
        return [sid for sid in self.members if sid not in self.observer_ids]


def syncs(member: ServerProcess) -> dict[str, int]:
    """How often this member, as a learner, was synchronised by DIFF, TRUNC and SNAP, by its log."""
    text = member.log_path.read_text(errors="replace") if member.log_path.exists() else ""
    return {kind: len(pattern.findall(text)) for kind, pattern in _SYNCED.items()}


def monitor(member: ServerProcess) -> dict[str, str]:
    """``mntr`` as a dictionary, without the prefix ``zk_``; empty while nothing is served."""
    answer = member.four_letter("mntr") or ""
    rows = [line.split("\t", 1) for line in answer.splitlines() if "\t" in line]
    return {name.removeprefix("zk_"): value for name, value in rows}


def zxid_of(member: ServerProcess) -> int | None:
    """The zxid ``srvr`` tells, or None."""
    answer = member.four_letter("srvr") or ""
    found = re.search(r"^Zxid: 0x([0-9a-f]+)", answer, re.MULTILINE)
    return int(found.group(1), 16) if found else None
