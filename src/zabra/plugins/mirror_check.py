"""Whether two subtrees are the same, by their hashes, and where they are not.

The hash of a node is made of its data, its ACL, and the names and hashes of its children: two subtrees with
the same hash are the same, and from a node whose hash differs it goes down only to children whose hashes
differ.  A source that is written meanwhile is ahead of its mirror: what differs is looked at again until it
does not, or the time is up.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from zabra.client import calls
from zabra.plugins.mirror_copy import acl_key
from zabra.plugins.mirror_plan import COPY, SKIP, Choices, is_reserved, is_session
from zabra.plugins.mirror_session import Session, multi
from zabra.plugins.publisher import SnapNode
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import Stat

# Nodes asked for together.
_LOOK_NODES: Final = 200
_AGAIN_S: Final = 0.3
# Whole readings at most, of a source that is written all the time.
_ROUNDS: Final = 3
# Nodes that are made and removed in one multi, to raise a counter.
_RAISE_PAIRS: Final = 2000
_RAISER: Final = "zabra-mirror-raises-this-counter"

ONLY_SOURCE: Final = "only at the source"
ONLY_TARGET: Final = "only at the target"
DATA: Final = "data differs"
ACLS: Final = "ACL differs"


_NO_STAT: Final = Stat(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(slots=True)
class Node:
    """One node: hashes of its data and ACL, its children, its stat."""

    data: bytes
    acl: bytes
    stat: Stat
    children: list[str]
    hash: bytes = b""

    @property
    def creates(self) -> int:
        """How many children were ever created: the number that the next sequential one gets."""
        return (int(self.stat.cversion) + int(self.stat.num_children)) // 2


@dataclass(frozen=True, slots=True)
class Difference:
    """A node at which the sides differ, by its path at the source; ``nodes`` below it that one side lacks."""

    path: str
    what: str
    nodes: int = 1


@dataclass(slots=True)
class Subtree:
    """A part of one side, by path below its top ("" for the top itself)."""

    nodes: dict[str, Node] = field(default_factory=dict)
    # Ephemeral nodes that were left out, by path, with their sessions.
    ephemerals: dict[str, int] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """Of the whole; empty where there is nothing."""
        return self.nodes[""].hash.hex() if "" in self.nodes else ""

    @property
    def newest(self) -> int:
        """The last zxid that made, set, or removed any of it."""
        stats = [node.stat for node in self.nodes.values()]
        return max([max(int(one.czxid), int(one.mzxid), int(one.pzxid)) for one in stats], default=0)


@dataclass(frozen=True, slots=True)
class Counter:
    """A parent whose next sequential child would get a lower number at the target."""

    path: str
    source: int
    target: int


class Side:
    """One of the two: a session and the top of the subtree."""

    def __init__(self, session: Session, top: str, choices: Choices, is_source: bool) -> None:
        self.session = session
        self.top = top
        self._choices = choices
        self._is_source = is_source

    def full(self, below: str) -> str:
        """The whole path of a node."""
        if self.top == "/":
            return below or "/"
        return self.top + below

    async def read(self, below: str = "") -> Subtree:
        """Everything at and under ``below``."""
        await self.session.call(calls.sync(self.full(below)))
        found = Subtree()
        level = [below]
        while level:
            following: list[str] = []
            for start in range(0, len(level), _LOOK_NODES):
                part = level[start : start + _LOOK_NODES]
                for path, node in zip(part, await asyncio.gather(*map(self._look, part)), strict=True):
                    if node is not None and not self._left_out(path, node, found):
                        found.nodes[path] = node
                        following += [f"{path}/{name}" for name in node.children]
            level = following
        hash_up(found)
        return found

    def _left_out(self, path: str, node: Node, found: Subtree) -> bool:
        if is_reserved(self.full(path)) or is_reserved(self._choices.source.rstrip("/") + path):
            return True
        owner = int(node.stat.ephemeral_owner)
        if not is_session(owner):
            return False
        if self._is_source:
            found.ephemerals[path] = owner
        return self._choices.ephemerals == SKIP

    async def _look(self, path: str) -> Node | None:
        full = self.full(path)
        try:
            data, stat = await self.session.call(calls.get_data(full))
            names = await self.session.call(calls.get_children(full))
            acl = b""
            if self._choices.acls == COPY:
                entries, _ = await self.session.call(calls.get_acl(full))
                acl = _digest(repr(acl_key(entries)).encode("utf-8"))
        except KeeperError as error:
            if error.code == codes.ERR_NO_NODE:
                return None
            raise
        return Node(_digest(b"-" if data is None else b"+" + data), acl, stat, sorted(names))


def subtree_of(nodes: Iterable[SnapNode], choices: Choices) -> Subtree:
    """What a target is to be like, by a snapshot of the source; parents come first."""
    found = Subtree()
    for node in nodes:
        if choices.leaves_out(node.path, node.owner):
            continue
        below = node.path[len(choices.source) :] if choices.source != "/" else node.path.rstrip("/")
        acl = b""
        if choices.acls == COPY:
            acl = _digest(repr(acl_key(node.acl)).encode("utf-8"))
        found.nodes[below] = Node(_digest(b"-" if node.data is None else b"+" + node.data), acl, _NO_STAT, [])
        parent, _, name = below.rpartition("/")
        if below:
            found.nodes[parent].children.append(name)
    for one in found.nodes.values():
        one.children.sort()
    hash_up(found)
    return found


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def hash_up(subtree: Subtree) -> None:
    """Fills in the hashes, children before their parents."""
    # Those read later are not above those read before.
    for path in reversed(list(subtree.nodes)):
        node = subtree.nodes[path]
        parts = [node.data, node.acl]
        node.children = [name for name in node.children if f"{path}/{name}" in subtree.nodes]
        for name in node.children:
            parts += [_digest(name.encode("utf-8", "surrogatepass")), subtree.nodes[f"{path}/{name}"].hash]
        node.hash = _digest(b"".join(parts))


def differences(source: Subtree, target: Subtree, top: str = "") -> Iterator[Difference]:
    """Where they differ, from the top down; where one side lacks a node, what is under it is not told."""
    one, other = source.nodes.get(top), target.nodes.get(top)
    if one is None or other is None:
        if one is not None:
            yield Difference(top or "/", ONLY_SOURCE, _count(source, top))
        elif other is not None:
            yield Difference(top or "/", ONLY_TARGET, _count(target, top))
        return
    if one.hash == other.hash:
        return
    if one.data != other.data:
        yield Difference(top or "/", DATA)
    if one.acl != other.acl:
        yield Difference(top or "/", ACLS)
    for name in sorted({**dict.fromkeys(one.children), **dict.fromkeys(other.children)}):
        yield from differences(source, target, f"{top}/{name}")


def _count(subtree: Subtree, top: str) -> int:
    return 1 + sum([_count(subtree, f"{top}/{name}") for name in subtree.nodes[top].children])


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both sides as they were read, and what differs for good."""

    source: Subtree
    target: Subtree
    differences: list[Difference]


async def compare(
    source: Side, target: Side, settle_s: float, pause: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> Comparison:
    """Reads both, and what differs again until it does not; for ``settle_s`` at most."""
    left_s = settle_s
    for _ in range(_ROUNDS):
        # The target first: whatever it has then, the source had before.
        there = await target.read()
        here = await source.read()
        open_points = list(differences(here, there))
        if not open_points:
            break
        while open_points and left_s > 0:
            await pause(_AGAIN_S)
            left_s -= _AGAIN_S
            open_points = await _look_again(source, target, open_points)
        if open_points:
            break
        # All has gone away: once more as a whole, for hashes of one moment.
    return Comparison(here, there, open_points)


async def _look_again(source: Side, target: Side, points: list[Difference]) -> list[Difference]:
    found: dict[Difference, None] = {}
    looked: dict[str, None] = {}
    for point in points:
        below = "" if point.path == "/" else point.path
        if below not in looked:
            looked[below] = None
            again = differences(await source.read(below), await target.read(below), below)
            found.update(dict.fromkeys(again))
    return list(found)


def counters_behind(compared: Comparison) -> list[Counter]:
    """Parents whose counter is lower at the target: a sequential node made there might come before others."""
    found = []
    for path, node in compared.source.nodes.items():
        other = compared.target.nodes.get(path)
        if other is not None and other.creates < node.creates:
            found.append(Counter(path or "/", node.creates, other.creates))
    return found


async def raise_counter(target: Side, counter: Counter) -> None:
    """Makes and removes nodes until the counter is as high as the source's."""
    parent = target.full("" if counter.path == "/" else counter.path)
    path = f"{'' if parent == '/' else parent}/{_RAISER}"
    left = counter.source - counter.target
    while left > 0:
        count = min(left, _RAISE_PAIRS)
        pair = [calls.part_of(calls.create(path, b"")), calls.part_of(calls.delete(path))]
        await multi(target.session, pair * count)
        left -= count
