"""Folders that Apache ZooKeeper wrote, stopped or killed: read by our code, node by node."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from zabra.runtime.os_disk import OsDisk
from zabra.server.recovery import RecoveryOptions, open_store, recover
from zabra.storage.names import VERSION_FOLDER
from zabra.tree.datatree import DataTree
from zabra.tree.ephemerals import EphemeralTypes

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = sorted(path.name.removesuffix(".tar.gz") for path in FIXTURES.glob("*.tar.gz"))


def options(name: str) -> RecoveryOptions:
    out = RecoveryOptions()
    out.types = EphemeralTypes(extended=True)
    out.digest_enabled = "no-digest" not in name
    return out


def unpack(name: str, folder: Path) -> tuple[OsDisk, dict[str, Any]]:
    with tarfile.open(FIXTURES / f"{name}.tar.gz") as packed:
        packed.extractall(folder, filter="data")
    return OsDisk(folder), json.loads((folder / "expected.json").read_text())


def view(tree: DataTree) -> dict[str, Any]:
    out = {}
    for path, node in tree.nodes.items():
        stat = node.to_stat()
        out[path] = {
            "data": (node.data or b"").hex(),
            "czxid": stat.czxid,
            "mzxid": stat.mzxid,
            "ctime": stat.ctime,
            "mtime": stat.mtime,
            "version": stat.version,
            "cversion": stat.cversion,
            "aversion": stat.aversion,
            "ephemeralOwner": stat.ephemeral_owner,
            "dataLength": stat.data_length,
            "numChildren": stat.num_children,
            "pzxid": stat.pzxid,
        }
    return out


def test_there_are_recordings() -> None:
    assert len(NAMES) >= 5


@pytest.mark.parametrize("name", NAMES)
def test_recovers_what_clients_saw(name: str, tmp_path: Path) -> None:
    disk, expected = unpack(name, tmp_path)
    store = open_store(disk, disk)
    found = recover(store, disk, options(name))
    assert view(found.tree) == expected["nodes"]
    assert found.tree.digest_mismatches == 0
    assert found.damaged == []
    assert found.fuzzy_zxid == 0
    assert found.txns_replayed > 0
    if "gz" not in name:
        # Killed, so its two sessions were open still; a stop closes none either, but a client may.
        assert sorted(found.tree.sessions) == expected["sessions"]


@pytest.mark.parametrize("name", NAMES)
def test_every_snapshot_leads_to_the_same_tree(name: str, tmp_path: Path) -> None:
    disk, expected = unpack(name, tmp_path)
    store = open_store(disk, disk)
    files = store.snaps.files()
    assert len(files) >= 3
    for file in files:
        assert store.snaps.problem(file) == ""
        found = recover(store, disk, options(name))
        assert found.snapshot_path == file.path
        assert found.tree.digest_mismatches == 0
        assert view(found.tree) == expected["nodes"]
        disk.delete(file.path)


@pytest.mark.parametrize("name", NAMES)
def test_opening_gives_back_the_padding_and_nothing_else(name: str, tmp_path: Path) -> None:
    disk, _ = unpack(name, tmp_path)
    before = list(open_store(disk, disk).log.read_from(1))
    store = open_store(disk, disk)
    store.log.open()
    assert list(store.log.read_from(1)) == before
    newest = max(n for n in disk.list(VERSION_FOLDER) if n.startswith("log."))
    assert disk.read(f"{VERSION_FOLDER}/{newest}").endswith(b"B")
