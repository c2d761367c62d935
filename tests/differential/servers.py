"""The servers that the differential and the bad-input suites start: Apache ZooKeeper and Zabra, alike.

Both get one configuration; what upstream takes only as a JVM property, Zabra takes as a setting of that
name.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.differential.generate import SUPER_DIGEST
from tests.interop import apache
from tests.interop.processes import ConfigValue, ServerProcess, free_ports

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


def start_pair(names: str, folder: Path) -> list[NamedServer]:
    """Starts "apache-zabra", "apache-apache" or "zabra-zabra"; the left server first."""
    makers = {"apache": apache_server, "zabra": zabra_server}
    ports = free_ports(2, 12900, 13000)
    servers = []
    for place, (name, port) in enumerate(zip(names.split("-"), ports, strict=True)):
        servers.append(makers[name](folder / f"{place}-{name}", port))
    for server in servers:
        server.launch()
    for server in servers:
        server.wait_serving()
    return servers
