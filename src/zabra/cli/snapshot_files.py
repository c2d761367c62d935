"""``zabra snapshot``: shows, checks, compares and sums up snapshot files, ours and Apache ZooKeeper's.

Does what upstream's SnapshotFormatter, SnapshotComparer and SnapshotRecursiveSummary do.
"""

import argparse
import base64
import json
import os
import time
from typing import Final

from zabra.cli.txnlog_files import Problem, acl_text, split_path, time_text
from zabra.jute.primitives import JuteError
from zabra.runtime.os_disk import OsDisk
from zabra.storage.errors import SnapshotError
from zabra.storage.names import split_snapshot_name
from zabra.storage.snapshot_format import ZxidDigest
from zabra.storage.snapshots import SnapshotFile, SnapshotReader
from zabra.tree.datatree import DataTree
from zabra.tree.node import DataNode
from zabra.tree.snapshot_walk import TreeLoader

# Object numbers in the JSON form start here, as upstream's do.
_FIRST_INODE: Final = 1001


class LoadedSnapshot:
    """A snapshot read to its end: the tree, and what stands behind it."""

    def __init__(self, zxid: int, tree: DataTree, digest: ZxidDigest | None, last_zxid: int) -> None:
        self.zxid = zxid
        self.tree = tree
        self.digest = digest
        self.last_zxid = last_zxid

    def children(self, path: str) -> list[str]:
        """Paths of the children, sorted."""
        return [join(path, name) for name in sorted(self.tree.children(path))]


def join(path: str, name: str) -> str:
    """A child's path."""
    return f"{path}{name}" if path == "/" else f"{path}/{name}"


def open_snapshot(path: str) -> tuple[OsDisk, SnapshotFile]:
    """A file by any name: the zxid is 0 and the ending decides about compression if it is not ours."""
    disk, name = split_path(path)
    zxid, method = split_snapshot_name(name)
    if zxid < 0:
        zxid = 0
        method = next((m for m in ("gz", "snappy") if name.endswith(f".{m}")), "")
    return disk, SnapshotFile("", name, zxid, method, disk.size(name))


def load(path: str) -> LoadedSnapshot:
    """Reads a whole snapshot.  Raises SnapshotError or Problem, naming the file."""
    disk, file = open_snapshot(path)
    reader = SnapshotReader(disk, file)
    loader = TreeLoader()
    try:
        while not loader.done:
            piece = reader.more()
            loader.feed(piece)
            reader.used(len(piece) - len(loader.leftover), loader.done)
        reader.finish()
    except JuteError as error:
        raise Problem(f"{path}: {error}") from error
    except SnapshotError as error:
        raise SnapshotError(path, error.offset, error.reason) from error
    return LoadedSnapshot(file.zxid, loader.tree, reader.digest, reader.last_zxid)


# dump


def dump(options: argparse.Namespace) -> int:
    """Prints every node, then the sessions; or the nodes as JSON in ncdu's form."""
    if options.data and options.json:
        raise Problem("--data and --json do not go together")
    snapshot = load(options.file)
    if options.json:
        print_json(snapshot)
    else:
        print_text(snapshot, options.data)
    return 0


def node_lines(path: str, node: DataNode, snapshot: LoadedSnapshot, with_data: bool) -> list[str]:
    """One node as text."""
    data = node.data or b""
    acl = ", ".join(acl_text(acl) for acl in snapshot.tree.acl_of(node))
    return [
        "----",
        path,
        f"  cZxid = 0x{node.czxid:016x}",
        f"  ctime = {time_text(node.ctime)}",
        f"  mZxid = 0x{node.mzxid:016x}",
        f"  mtime = {time_text(node.mtime)}",
        f"  pZxid = 0x{node.pzxid:016x}",
        f"  cversion = {node.cversion}",
        f"  dataVersion = {node.version}",
        f"  aclVersion = {node.aversion}",
        f"  acl = {acl}",
        f"  ephemeralOwner = 0x{node.ephemeral_owner & 0xFFFFFFFFFFFFFFFF:016x}",
        f"  data = {base64.b64encode(data).decode()}" if with_data else f"  dataLength = {len(data)}",
    ]


def walk(snapshot: LoadedSnapshot, root: str = "/") -> list[str]:
    """Every path below and including ``root``, parents first, siblings sorted."""
    out: list[str] = []
    todo = [root]
    while todo:
        path = todo.pop()
        out.append(path)
        todo.extend(reversed(snapshot.children(path)))
    return out


def print_text(snapshot: LoadedSnapshot, with_data: bool) -> None:
    """Nodes, sessions, digest, last zxid."""
    tree = snapshot.tree
    print(f"ZNode Details (count={len(tree.nodes)}):")
    highest = snapshot.zxid
    for path in walk(snapshot):
        node = tree.nodes[path]
        highest = max(highest, node.mzxid, node.pzxid)
        print("\n".join(node_lines(path, node, snapshot, with_data)))
    print("----")
    print("Session Details (sid, timeout, ephemeralCount):")
    for session, timeout in tree.sessions.items():
        count = len(tree.ephemerals.paths_of(session))
        print(f"0x{session & 0xFFFFFFFFFFFFFFFF:016x}, {timeout}, {count}")
    if snapshot.digest is not None and snapshot.digest.zxid > 0:
        print(f"Target zxid digest is: {snapshot.digest.zxid:x}, {snapshot.digest.digest}")
    print("----")
    print(f"Last zxid: 0x{max(highest, snapshot.last_zxid):x}")


def print_json(snapshot: LoadedSnapshot) -> None:
    """The form that the disk-usage browser ncdu reads: an array per inner node, itself first."""
    head = {"progname": "zabra", "progver": "1", "timestamp": int(time.time())}
    print(f"[1,0,{json.dumps(head)}", end="")
    numbers = {path: _FIRST_INODE + i for i, path in enumerate(walk(snapshot))}
    # A path to open, or the bracket that closes what was opened.
    todo = ["/"]
    while todo:
        path = todo.pop()
        if path == "]":
            print("]", end="")
            continue
        node = snapshot.tree.nodes[path]
        size = len(node.data or b"")
        name = path if path == "/" else path.rpartition("/")[2]
        entry = {"name": name, "asize": size, "dsize": size, "dev": 0, "ino": numbers[path]}
        children = snapshot.children(path)
        print(f",{'[' if children else ''}{json.dumps(entry, ensure_ascii=False)}", end="")
        if children:
            todo.append("]")
            todo.extend(reversed(children))
    print("]")


# verify


def verify(options: argparse.Namespace) -> int:
    """Reads each file to its end and checks seals, tree and digest; 1 if any is damaged."""
    bad = 0
    for path in snapshot_paths(options.files):
        try:
            snapshot = load(path)
        except (Problem, SnapshotError) as error:
            print(error)
            bad += 1
            continue
        tree = snapshot.tree
        print(f"{path}: {len(tree.nodes)} nodes, {len(tree.sessions)} sessions{_digest_text(snapshot)}")
        if _digest_differs(snapshot):
            bad += 1
    return 1 if bad else 0


def snapshot_paths(paths: list[str]) -> list[str]:
    """The files given, and for a folder its snapshots (or those in its version-2)."""
    out: list[str] = []
    for path in paths:
        if not os.path.isdir(path):
            out.append(path)
            continue
        inner = os.path.join(path, "version-2")
        folder = inner if os.path.isdir(inner) else path
        named = [(split_snapshot_name(name)[0], name) for name in os.listdir(folder)]
        found = [os.path.join(folder, name) for zxid, name in sorted(named) if zxid >= 0]
        if not found:
            raise Problem(f"{folder}: no snapshots here")
        out.extend(found)
    return out


def _exact_digest(snapshot: LoadedSnapshot) -> ZxidDigest | None:
    """The stored digest, if it is of the very state that the snapshot holds (not fuzzy)."""
    digest = snapshot.digest
    return digest if digest is not None and 0 < digest.zxid == snapshot.zxid else None


def _digest_differs(snapshot: LoadedSnapshot) -> bool:
    digest = _exact_digest(snapshot)
    return digest is not None and digest.version == 2 and digest.digest != snapshot.tree.digest


def _digest_text(snapshot: LoadedSnapshot) -> str:
    if _digest_differs(snapshot):
        return ", DIGEST DIFFERS (or a txn was being applied while it was taken: the log would tell)"
    if _exact_digest(snapshot) is not None:
        return ", digest agrees"
    if snapshot.digest is not None and snapshot.digest.zxid > snapshot.zxid:
        return f", fuzzy up to 0x{snapshot.digest.zxid:x}"
    return ""


# compare and summary


class Sizes:
    """Bytes and nodes of each subtree: ``bytes`` of the node and all below it, ``nodes`` below it."""

    def __init__(self, snapshot: LoadedSnapshot, ephemerals: bool = True) -> None:
        self.snapshot = snapshot
        self.bytes: dict[str, int] = {}
        self.nodes: dict[str, int] = {}
        tree = snapshot.tree
        for path in reversed(walk(snapshot)):
            node = tree.nodes[path]
            if not ephemerals and node.session_owner != 0:
                continue
            inner = [child for child in snapshot.children(path) if child in self.bytes]
            self.bytes[path] = len(node.data or b"") + sum(self.bytes[child] for child in inner)
            self.nodes[path] = len(inner) + sum(self.nodes[child] for child in inner)


def depth_of(path: str) -> int:
    """0 for the root."""
    return 0 if path == "/" else path.count("/")


def compare(options: argparse.Namespace) -> int:
    """Prints, per depth, the persistent nodes that only one side has or that differ by more than asked."""
    left = Sizes(load(options.left), ephemerals=False)
    right = Sizes(load(options.right), ephemerals=False)
    for side, sizes in (("left", left), ("right", right)):
        print(f"{side}: {len(sizes.bytes)} nodes, {sizes.bytes['/']} bytes")
    differing = 0
    paths = sorted(left.bytes.keys() | right.bytes.keys(), key=lambda path: (depth_of(path), path))
    shown = -1
    for path in paths:
        if options.path and path.rpartition("/")[0] != options.path.rstrip("/"):
            continue
        if options.depth is not None and depth_of(path) != options.depth:
            continue
        line = _difference(path, left, right, options.bytes, options.nodes)
        if line:
            if depth_of(path) != shown:
                shown = depth_of(path)
                print(f"depth {shown}")
            print(f"  {line}")
            differing += 1
    print(f"{differing} differences larger than {options.bytes} bytes or {options.nodes} nodes")
    return 0


def _difference(path: str, left: Sizes, right: Sizes, min_bytes: int, min_nodes: int) -> str:
    """One line about a path that differs by more than the thresholds; "" otherwise."""
    if path not in left.bytes or path not in right.bytes:
        side, sizes = ("left", left) if path in left.bytes else ("right", right)
        size, count = sizes.bytes[path], sizes.nodes[path]
        if size > min_bytes or count > min_nodes or (min_bytes < 0 or min_nodes < 0):
            return f"{path}: only {side}, {size} bytes, {count} nodes below"
        return ""
    size = right.bytes[path] - left.bytes[path]
    count = right.nodes[path] - left.nodes[path]
    if abs(size) > min_bytes or abs(count) > min_nodes:
        return f"{path}: {size:+d} bytes, {count:+d} nodes below"
    if _changed(path, left, right) and min_bytes <= 0:
        return f"{path}: same size, other content"
    return ""


def _changed(path: str, left: Sizes, right: Sizes) -> bool:
    return left.snapshot.tree.nodes[path].data != right.snapshot.tree.nodes[path].data


def summary(options: argparse.Namespace) -> int:
    """Nodes and bytes below a node, level by level."""
    snapshot = load(options.file)
    if options.path not in snapshot.tree.nodes:
        raise Problem(f"{options.file} has no node {options.path}")
    sizes = Sizes(snapshot)
    base = depth_of(options.path)
    for path in walk(snapshot, options.path):
        level = depth_of(path) - base
        if level > 0 and not snapshot.children(path):
            continue
        if options.depth == 0 or level <= options.depth:
            print(f"{'--' * level} {path}")
            print(f"{'--' * level}   children: {sizes.nodes[path]}")
            print(f"{'--' * level}   data: {sizes.bytes[path]}")
    return 0
