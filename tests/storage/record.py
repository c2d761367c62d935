"""Records data folders that Apache ZooKeeper wrote: ``python -m tests.storage.record``.

Each is a standalone server's dataDir, packed with ``expected.json``: what a client saw in it.  Run again only
to add folders; the recorded ones are the fixtures of test_java_folders.py.
"""

import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient
from kazoo.security import make_acl, make_digest_acl
from tests.interop import apache
from tests.interop.clients import connected, forget
from tests.interop.processes import ServerProcess

FIXTURES = Path(__file__).parent / "fixtures"
STAT_FIELDS = [
    *("czxid", "mzxid", "ctime", "mtime", "version", "cversion", "aversion"),
    *("ephemeralOwner", "dataLength", "numChildren", "pzxid"),
]
FLAGS = [
    *apache.DEFAULT_JVM_FLAGS,
    "-Dzookeeper.preAllocSize=16",
    "-Dzookeeper.snapCount=60",
    "-Dzookeeper.extendedTypesEnabled=true",
    "-Dzookeeper.DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
]
# Name, release line, extra JVM flags, killed or stopped.
RECORDINGS: list[tuple[str, str, list[str], bool]] = [
    ("java39-killed", "3.9", [], True),
    ("java39-gz", "3.9", ["-Dzookeeper.snapshot.compression.method=gz"], False),
    ("java39-snappy", "3.9", ["-Dzookeeper.snapshot.compression.method=snappy"], True),
    ("java39-no-digest", "3.9", ["-Dzookeeper.digest.enabled=false"], True),
    ("java38-killed", "3.8", [], True),
]


def load(client: KazooClient, rounds: int) -> None:
    """Writes of every kind that kazoo can ask for."""
    client.add_auth("digest", "anna:secret")
    client.ensure_path("/app/config")
    client.create("/app/protected", b"p", acl=[make_digest_acl("anna", "secret", all=True)])
    client.create("/app/readable", b"r", acl=[make_acl("world", "anyone", read=True, write=True, admin=True)])
    client.create("/app/ümlaut-日本", "größe".encode())
    client.create("/app/large", bytes(range(256)) * 40)
    for i in range(rounds):
        client.create("/app/item-", str(i).encode(), sequence=True)
        client.create(f"/app/eph{i}", b"e", ephemeral=True)
        client.set("/app/config", f"value {i}".encode())
        if i % 3 == 0:
            client.delete(f"/app/eph{i}")
        if i % 4 == 0:
            transaction = client.transaction()
            transaction.create(f"/app/config/multi{i}", b"m")
            transaction.check("/app/config", i + 1)
            transaction.set_data("/app/readable", b"again")
            transaction.commit()
    client.create("/app/empty", b"")


def seen(client: KazooClient) -> dict[str, Any]:
    """Every node as a client sees it, data in hex."""
    client.add_auth("digest", "super:test")
    nodes: dict[str, Any] = {}
    todo = ["/"]
    while todo:
        path = todo.pop()
        data, stat = client.get(path)
        nodes[path] = {"data": (data or b"").hex(), **{name: getattr(stat, name) for name in STAT_FIELDS}}
        todo.extend(f"{path.rstrip('/')}/{child}" for child in sorted(client.get_children(path)))
    return nodes


def record(name: str, line: str, flags: list[str], killed: bool, folder: Path) -> None:
    """Starts, loads, looks, stops and packs one folder."""
    cfg = {"clientPort": 12610, "admin.enableServer": "false", "4lw.commands.whitelist": "*"}
    server: ServerProcess = apache.ApacheServer(line, cfg, folder, jvm_flags=[*FLAGS, *flags])
    server.start()
    client, other = connected(server.address, 30), connected(server.address, 30)
    load(client, 40)
    other.create("/other", b"x", ephemeral=True)
    expected = {"nodes": seen(client), "sessions": sorted([client.client_id[0], other.client_id[0]])}
    if killed:
        server.kill()
    else:
        server.stop()
    forget(client)
    forget(other)
    (folder / "data" / "expected.json").write_text(json.dumps(expected))
    with tarfile.open(FIXTURES / f"{name}.tar.gz", "w:gz") as packed:
        packed.add(folder / "data", arcname=".")


def main() -> None:
    """Records all folders anew."""
    FIXTURES.mkdir(exist_ok=True)
    for name, line, flags, killed in RECORDINGS:
        with tempfile.TemporaryDirectory() as folder:
            record(name, line, flags, killed, Path(folder))
        print(f"{name}: {(FIXTURES / f'{name}.tar.gz').stat().st_size} bytes")


if __name__ == "__main__":
    main()
