"""The servers that the differential and the bad-input suites start: Apache ZooKeeper and Zabra, alike.

Both get one configuration; what upstream takes only as a JVM property, Zabra takes as a setting of that
name.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.differential.generate import SUPER_DIGEST
from tests.interop import apache
from tests.interop.processes import ConfigValue, Ensemble, ServerProcess, free_ports

Address = tuple[str, int]

CONFIG: dict[str, ConfigValue] = {
    "tickTime": 2000,
    "maxClientCnxns": 0,
    "admin.enableServer": "false",
    "4lw.commands.whitelist": "*",
    # Nothing expires in a run.
    "minSessionTimeout": 4000,
    "maxSessionTimeout": 7_200_000,
}
PROPERTIES: dict[str, str] = {
    "zookeeper.DigestAuthenticationProvider.superDigest": SUPER_DIGEST,
    "zookeeper.extendedTypesEnabled": "true",
    "zookeeper.enforceQuota": "true",
    "zookeeper.forceSync": "no",
    # Containers and TTL nodes are not removed in a run.
    "znode.container.checkIntervalMs": "86400000",
}


class NamedServer(ServerProcess):
    """A server process whose ``address`` is a pair."""

    @property
    def pair(self) -> tuple[str, int]:
        """(host, port) for clients."""
        return "127.0.0.1", self.client_port


def zabra_command() -> list[str]:
    """The command that starts Zabra: ZABRA_SERVER from the environment, or this checkout's."""
    given = os.environ.get("ZABRA_SERVER")
    return shlex.split(given) if given else [sys.executable, "-m", "zabra", "server"]


def apache_server(
    folder: Path,
    port: int,
    properties: Mapping[str, str] = PROPERTIES,
    cfg: Mapping[str, ConfigValue] = CONFIG,
    version: str = "3.9",
) -> NamedServer:
    """Apache ZooKeeper, standalone, not started."""
    flags = [*apache.DEFAULT_JVM_FLAGS, *(f"-D{name}={value}" for name, value in properties.items())]
    argv = apache.java_command(
        version, "org.apache.zookeeper.server.quorum.QuorumPeerMain", "{config}", flags=flags
    )
    own = {**cfg, "clientPort": port, "clientPortAddress": "127.0.0.1"}
    return NamedServer(argv, own, folder, name=f"Apache ZooKeeper on {port}")


def zabra_server(
    folder: Path,
    port: int,
    properties: Mapping[str, str] = PROPERTIES,
    cfg: Mapping[str, ConfigValue] = CONFIG,
) -> NamedServer:
    """Zabra, standalone, not started."""
    argv = [*zabra_command(), "{config}"]
    for name, value in properties.items():
        argv += ["--set", f"{name}={value}"]
    source = str(Path(__file__).resolve().parents[2] / "src")
    path = os.pathsep.join([part for part in (os.environ.get("PYTHONPATH"), source) if part])
    own = {**cfg, "clientPort": port, "clientPortAddress": "127.0.0.1"}
    env = {**os.environ, "PYTHONPATH": path}
    return NamedServer(argv, own, folder, name=f"Zabra on {port}", env=env)


MAKERS = {"apache": apache_server, "zabra": zabra_server}
PLACES = ("standalone", "leader", "follower", "observer")
VOTERS = 3


def start_pair(names: str, folder: Path) -> list[NamedServer]:
    """Starts "apache-zabra", "apache-apache" or "zabra-zabra"; the left server first."""
    ports = free_ports(2, 12900, 13000)
    servers = []
    for place, (name, port) in enumerate(zip(names.split("-"), ports, strict=True)):
        servers.append(MAKERS[name](folder / f"{place}-{name}", port))
    for server in servers:
        server.launch()
    for server in servers:
        server.wait_serving()
    return servers


def start_ensemble(
    name: str,
    folder: Path,
    place: str,
    properties: Mapping[str, str] = PROPERTIES,
    cfg: Mapping[str, ConfigValue] = CONFIG,
) -> tuple[Ensemble, Address]:
    """Starts three voters and an observer; also (host, port) of the member at ``place``.

    ``name`` is "apache", "zabra", or one of them for each of the four members, as "apache+zabra+zabra+zabra".
    """
    kinds = name.split("+") if "+" in name else [name] * (VOTERS + 1)

    def member(sid: int, own: dict[str, ConfigValue], home: Path) -> ServerProcess:
        return MAKERS[kinds[sid - 1]](home, int(own["clientPort"]), properties, {**own, **cfg})

    ports = free_ports(4 * (VOTERS + 1), 22600, 22999)
    ensemble = Ensemble(member, VOTERS, 1, folder, ports=ports, cfg={"standaloneEnabled": "false"})
    ensemble.start()
    leader = ensemble.wait_leader()
    follower = next(sid for sid in range(VOTERS, 0, -1) if sid != leader)
    chosen = {"leader": leader, "follower": follower, "observer": VOTERS + 1}[place]
    return ensemble, ("127.0.0.1", ensemble.members[chosen].client_port)


@contextlib.contextmanager
def running_pair(names: str, folder: Path, place: str) -> Iterator[tuple[list[ServerProcess], list[Address]]]:
    """Two servers or two ensembles: all processes, and the two addresses to compare."""
    stops: list[Callable[[], object]] = []
    try:
        if place == "standalone":
            servers = start_pair(names, folder)
            stops += [server.stop for server in servers]
            yield list(servers), [server.pair for server in servers]
        else:
            processes: list[ServerProcess] = []
            addresses = []
            for number, name in enumerate(names.split("-")):
                ensemble, address = start_ensemble(name, folder / f"{number}", place)
                stops.append(ensemble.stop)
                processes += ensemble.members.values()
                addresses.append(address)
            yield processes, addresses
    finally:
        for stop in stops:
            stop()
