"""``zabra snapshot`` on folders that Apache ZooKeeper wrote, and on damaged ones."""

import json
import shutil
from pathlib import Path

import pytest
from tests.cli.java_files import Output, damage, log_of, snapshot_of, unpack
from tests.storage.folders import Applied, log_txns, new_store, options, save_snapshot

from zabra.runtime.os_disk import OsDisk
from zabra.server.recovery import recover


def test_dump_shows_nodes_and_sessions(java_folder: Path, zabra: Output) -> None:
    assert zabra.run("snapshot", "dump", snapshot_of(java_folder)) == 0
    lines = zabra.out.splitlines()
    assert lines[0] == "ZNode Details (count=76):"
    at = lines.index("/app/protected")
    assert "  acl = digest:anna:Wap/fLaD11BLJBT+7fkDcVxaT7c=:cdrwa" in lines[at : at + 13]
    assert "  dataLength = 1" in lines[at : at + 13]
    assert "Session Details (sid, timeout, ephemeralCount):" in lines
    assert lines[-1] == "Last zxid: 0x84"
    zabra.run("snapshot", "dump", "-d", snapshot_of(java_folder))
    assert "  data = cA==" in zabra.out


def test_dump_as_json_is_what_ncdu_reads(java_folder: Path, zabra: Output) -> None:
    assert zabra.run("snapshot", "dump", "--json", snapshot_of(java_folder)) == 0
    whole = json.loads(zabra.out)
    assert whole[:2] == [1, 0]
    assert whole[2]["progname"] == "zabra"
    root = whole[3]
    assert root[0]["name"] == "/"

    def count(entry: object) -> int:
        return 1 if isinstance(entry, dict) else sum(count(part) for part in entry)  # type: ignore[attr-defined]

    assert count(root) == 76
    assert zabra.run("snapshot", "dump", "--json", "-d", snapshot_of(java_folder)) == 1
    assert "do not go together" in zabra.err


@pytest.mark.parametrize("name", ["java39-gz", "java39-snappy", "java39-no-digest"])
def test_verify_reads_every_form(name: str, tmp_path: Path, zabra: Output) -> None:
    unpack(name, tmp_path)
    assert zabra.run("snapshot", "verify", tmp_path) == 0
    assert len(zabra.out.splitlines()) >= 3


def test_a_snapshot_of_upstreams_that_ended_while_a_txn_was_applied(tmp_path: Path, zabra: Output) -> None:
    """Its digest is one txn behind its nodes.  Recovery is content, since the next txn's digest agrees."""
    unpack("java38-killed", tmp_path)
    assert zabra.run("snapshot", "verify", tmp_path) == 1
    assert zabra.out.count("DIGEST DIFFERS") == 1
    assert "snapshot.5a: 54 nodes, 2 sessions, DIGEST DIFFERS" in zabra.out


def test_verify_names_the_damage_in_a_snapshot(java_folder: Path, zabra: Output) -> None:
    damage(snapshot_of(java_folder), 3000, b"\xff\xff\xff")
    assert zabra.run("snapshot", "verify", java_folder) == 1
    assert f"{snapshot_of(java_folder)}, byte" in zabra.out or "snapshot.84:" in zabra.out
    assert "snapshot.63: 58 nodes" in zabra.out


def test_verify_compares_the_digest(tmp_path: Path, zabra: Output) -> None:
    disk = OsDisk(tmp_path)
    store = new_store(disk)
    recover(store, disk, options())
    applied = Applied()
    log_txns(store, applied.some(10))
    path = tmp_path / save_snapshot(store, applied.tree)
    assert zabra.run("snapshot", "verify", path) == 0
    assert "digest agrees" in zabra.out
    applied.tree.digest += 1
    save_snapshot(store, applied.tree)
    assert zabra.run("snapshot", "verify", path) == 1
    assert "DIGEST DIFFERS" in zabra.out


def test_compare(java_folder: Path, zabra: Output) -> None:
    left, right = snapshot_of(java_folder, "63"), snapshot_of(java_folder)
    assert zabra.run("snapshot", "compare", left, right) == 0
    assert "  /app/item-0000000055: only right, 2 bytes, 0 nodes below" in zabra.out
    assert "  /app: +22 bytes, +12 nodes below" in zabra.out
    assert "/app/eph" not in zabra.out, "ephemerals are not compared"
    assert zabra.run("snapshot", "compare", "--bytes", "20", "--nodes", "5", left, right) == 0
    assert zabra.out.splitlines()[-1] == "2 differences larger than 20 bytes or 5 nodes"
    assert zabra.run("snapshot", "compare", "--depth", "1", left, right) == 0
    assert zabra.out.splitlines()[2:4] == ["depth 1", "  /app: +22 bytes, +12 nodes below"]
    assert zabra.run("snapshot", "compare", "--path", "/app/config", left, right) == 0
    assert all("/app/config/" in line for line in zabra.out.splitlines()[3:-1])
    assert zabra.run("snapshot", "compare", right, right) == 0
    assert zabra.out.splitlines()[-1].startswith("0 differences")


def test_summary(java_folder: Path, zabra: Output) -> None:
    assert zabra.run("snapshot", "summary", "--depth", "1", snapshot_of(java_folder)) == 0
    assert zabra.out.splitlines()[:6] == [
        " /",
        "   children: 75",
        "   data: 10352",
        "-- /app",
        "--   children: 71",
        "--   data: 10352",
    ]
    assert zabra.run("snapshot", "summary", snapshot_of(java_folder), "/app/config") == 0
    assert zabra.out.startswith(" /app/config\n")
    assert zabra.run("snapshot", "summary", snapshot_of(java_folder), "/nope") == 1
    assert "has no node /nope" in zabra.err


def test_a_snapshot_may_have_any_name(java_folder: Path, zabra: Output) -> None:
    copy = java_folder / "backup of monday"
    shutil.copy(snapshot_of(java_folder), copy)
    assert zabra.run("snapshot", "verify", copy) == 0
    assert zabra.run("snapshot", "dump", log_of(java_folder)) == 1
    assert "mismatching magic header" in zabra.err
