"""R18: data folders change hands.  Apache opens what we wrote, and we open what Apache wrote, after crashes.

Also upstream's own tools on our files.
"""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from tests.conftest import Report
from tests.interop import apache
from tests.interop.clients import client_at
from tests.interop.processes import free_ports
from tests.storage import record
from tests.storage.folders import Applied, log_txns, new_store, options, save_snapshot
from tests.storage.test_java_folders import view

from zabra.runtime.os_disk import OsDisk
from zabra.server.recovery import open_store, recover
from zabra.tree.datatree import DataTree
from zabra.tree.snapshot_walk import SnapshotWalk

pytestmark = [pytest.mark.java, pytest.mark.slow]
ROUNDS = 20
FLAGS = [
    *apache.DEFAULT_JVM_FLAGS,
    "-Dzookeeper.preAllocSize=16",
    "-Dzookeeper.extendedTypesEnabled=true",
    "-Dzookeeper.DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
]
ROUND_FLAGS = {
    0: [],
    1: ["-Dzookeeper.snapshot.compression.method=gz"],
    2: ["-Dzookeeper.snapshot.compression.method=snappy"],
}


@pytest.fixture
def java() -> Iterator[Any]:
    """``java(folder, flags)`` starts Apache ZooKeeper standalone on a data folder."""
    apache.require_java("3.9")
    started = []

    def start(folder: Path, *flags: str) -> apache.ApacheServer:
        cfg = {
            "clientPort": free_ports(1, 12620, 12699)[0],
            "dataDir": str(folder / "data"),
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "*",
        }
        server = apache.ApacheServer("3.9", cfg, folder, jvm_flags=[*FLAGS, *flags])
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.kill()


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Paths that differ, with what differs; the reserved nodes of quotas and configuration are local."""
    out = []
    for path in sorted(ours.keys() | theirs.keys()):
        if path.startswith("/zookeeper/config"):
            continue
        if ours.get(path) != theirs.get(path):
            out.append(f"{path}: ours {ours.get(path)}, theirs {theirs.get(path)}")
    return out


def our_writes(folder: Path, applied: Applied, seed: int, crash: bool) -> DataTree:
    """Goes on with a folder as our server would: more txns, rolls, snapshots; maybe dies in a write.

    ``applied`` makes the txns, all below /a, /b and /c, where the other server changes nothing; it ends with
    every session closed, so that none can expire over there.
    """
    disk = OsDisk(folder)
    method = ("", "gz", "snappy")[seed % 3]
    store = open_store(disk, disk, preallocate_bytes=16384, compression_method=method)
    found = recover(store, disk, options())
    tree = found.tree
    assert tree.digest_mismatches == 0
    applied.tree = tree
    applied.leader.zxid = found.last_zxid
    draws = random.Random(seed)
    for batch in range(4):
        entries = []
        while len(entries) < 15:
            entry = applied.propose(*[draws.randrange(bound) for bound in (12, 17, 11, 4)])
            if entry is not None:
                entries.append(entry)
        while batch == 3 and applied.leader.open:
            entry = applied.propose(10, 0, 0, 0)
            assert entry is not None
            entries.append(entry)
        log_txns(store, entries)
        if draws.random() < 0.5:
            store.roll()
        if draws.random() < 0.5:
            walk = SnapshotWalk(tree)
            store.snaps.save(walk.zxid, _body(walk), tree.last_processed_zxid, tree.digest)
    store.log.close()
    if crash:
        _tear(folder, draws)
    return tree


def _body(walk: SnapshotWalk) -> Iterator[bytes]:
    while (chunk := walk.step(7)) is not None:
        yield chunk


def _tear(folder: Path, draws: random.Random) -> None:
    """Appends a piece of a txn to the newest log, as a power cut in a write leaves it."""
    names = [p for p in (folder / "version-2").iterdir() if p.name.startswith("log.")]
    newest = max(names, key=lambda p: int(p.name[4:], 16))
    content = newest.read_bytes()
    used = len(content.rstrip(b"\0"))
    torn = (12345).to_bytes(8, "big") + (4000).to_bytes(4, "big") + bytes([7]) * 4000
    boundary = (used + 512 * draws.randrange(1, 6)) // 512 * 512
    if boundary <= used + 20:
        boundary += 512
    with newest.open("r+b") as file:
        file.seek(used)
        file.write(torn[: boundary - used])
        file.seek(0, 2)


def test_folders_change_hands(java: Any, tmp_path: Path, reliability: Report) -> None:
    """Twenty times each way: Apache writes and dies, we read, write and die, Apache reads."""
    folder = tmp_path / "data"
    found: list[str] = []
    written_by_java = written_by_us = torn = 0
    previous: dict[str, Any] | None = None
    applied = Applied()
    draws = random.Random(18)
    for turn in range(ROUNDS):
        server = java(tmp_path, *ROUND_FLAGS[turn % 3], f"-Dzookeeper.snapCount={20 + turn}")
        with client_at(server.address, 60) as client:
            theirs = record.seen(client)
            if previous is not None:
                found += [f"turn {turn}, read by Apache: {d}" for d in differences(previous, theirs)]
            _more_by_java(client, turn)
            theirs = record.seen(client)
            # Before the session ends: its ephemerals have to be in the files.
            if turn % 2:
                server.kill()
            else:
                server.stop()
        written_by_java += 1
        disk = OsDisk(folder)
        tree = recover(open_store(disk, disk), disk, options()).tree
        found += [f"turn {turn}, read by us: {d}" for d in differences(view(tree), theirs)]
        found += ["digest mismatch"] * int(tree.digest_mismatches)
        if "Digests are not matching" in server.log_path.read_text():
            found.append(f"turn {turn}: Apache says that digests do not match")
        crash = draws.random() < 0.5
        torn += crash
        previous = view(our_writes(folder, applied, turn, crash))
        written_by_us += 1
    reliability(
        "R18",
        "disk-compat",
        written_by_apache=written_by_java,
        written_by_us=written_by_us,
        torn=torn,
        differences=len(found),
    )
    assert found == []


def _more_by_java(client: KazooClient, turn: int) -> None:
    base = f"/java{turn}"
    client.create(base, b"x" * turn)
    for i in range(25):
        client.create(f"{base}/n", str(i).encode(), sequence=True)
        client.set(base, f"{turn} {i}".encode())
        if i % 5 == 0:
            client.create(f"{base}/eph{i}", b"", ephemeral=True)


@pytest.mark.parametrize("method", ["", "gz", "snappy"])
def test_upstreams_tools_read_our_files(method: str, tmp_path: Path) -> None:
    apache.require_java("3.9")
    disk = OsDisk(tmp_path)
    store = open_store(disk, disk, preallocate_bytes=16384, compression_method=method)
    recover(store, disk, options())
    applied = Applied()
    log_txns(store, applied.some(40))
    snapshot = save_snapshot(store, applied.tree)
    flags = ["-Dzookeeper.extendedTypesEnabled=true"]
    package = "org.apache.zookeeper.server"
    log = str(tmp_path / "version-2" / "log.100000001")
    tool = apache.java_command("3.9", f"{package}.persistence.TxnLogToolkit", log, flags=flags)
    said = subprocess.run(tool, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "EOF reached after 40 txns." in said
    assert "CRC ERROR" not in said
    formatter = apache.java_command(
        "3.9", f"{package}.SnapshotFormatter", str(tmp_path / snapshot), flags=flags
    )
    said = subprocess.run(formatter, capture_output=True, text=True, timeout=60, check=True).stdout
    for path, node in applied.tree.nodes.items():
        at = said.index(f"\n{path}\n")
        assert f"cZxid = 0x{node.czxid:014x}" in said[at : at + 400]
    assert f"Last zxid: 0x{applied.tree.last_processed_zxid:x}" in said


def test_a_store_of_ours_opens_empty_for_apache(java: Any, tmp_path: Path) -> None:
    """snapshot.0 and nothing else."""
    disk = OsDisk(tmp_path / "data")
    recover(new_store(disk), disk, options())
    with client_at(java(tmp_path).address, 60) as client:
        assert sorted(client.get_children("/")) == ["zookeeper"]
