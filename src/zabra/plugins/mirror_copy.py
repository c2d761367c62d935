"""Makes a subtree of a target like a snapshot of the source, touching only what is different."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from zabra.client import calls
from zabra.client.calls import Call, Part, part_of
from zabra.plugins.mirror_plan import COPY, Choices, is_reserved, is_session
from zabra.plugins.mirror_session import Session, multi
from zabra.plugins.publisher import SnapNode
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import ACL, Stat

# Nodes looked at together.
_LOOK_NODES: Final = 200
_EXAMPLES: Final = 5


@dataclass(slots=True)
class Counts:
    """What was done, or would be."""

    creates: int = 0
    sets: int = 0
    acls: int = 0
    deletes: int = 0
    same: int = 0
    left_out: int = 0
    examples: list[str] = field(default_factory=list)

    def text(self) -> str:
        """In a line."""
        said = (
            f"{self.creates} created, {self.sets} set, {self.acls} ACLs set, {self.deletes} deleted, "
            f"{self.same} the same, {self.left_out} left out"
        )
        return said + (f" ({', '.join(self.examples)}, …)" if self.examples else "")

    def note(self, what: str, path: str) -> None:
        """One example more, where there are few."""
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{what} {path}")


@dataclass(frozen=True, slots=True)
class Found:
    """A node of the target."""

    data: bytes | None
    acl: tuple[ACL, ...]
    stat: Stat


class Copy:
    """One copy: ``add`` for each node, parents first, then ``finish``.

    ``fence`` goes with everything that is written: it fails when the mirror is not ours any more.
    """

    def __init__(
        self, session: Session, choices: Choices, fence: Part, max_bytes: int, dry_run: bool
    ) -> None:
        self._session = session
        self._choices = choices
        self._fence = fence
        self._max_bytes = max_bytes
        self._dry_run = dry_run
        self._waiting: list[SnapNode] = []
        self._wanted: dict[str, None] = {}
        self._parts: list[Part] = []
        self._size = 0
        self.counts = Counts()

    async def add(self, node: SnapNode) -> None:
        """A node that is to be there."""
        if self._choices.leaves_out(node.path, node.owner):
            self.counts.left_out += 1
            return
        self._wanted[self._choices.target_path(node.path)] = None
        self._waiting.append(node)
        if len(self._waiting) >= _LOOK_NODES:
            await self._compare()

    async def finish(self) -> Counts:
        """Removes what is not to be there; returns what was done."""
        await self._compare()
        await self._flush()
        await self._remove(self._choices.target)
        await self._flush()
        return self.counts

    async def _compare(self) -> None:
        nodes, self._waiting = self._waiting, []
        paths = [self._choices.target_path(node.path) for node in nodes]
        found = await asyncio.gather(*[look(self._session, path) for path in paths])
        for node, path, there in zip(nodes, paths, found, strict=True):
            if there is not None and is_session(int(there.stat.ephemeral_owner)):
                # Somebody's ephemeral node stands where an ordinary one belongs.
                self.counts.note("delete", path)
                self.counts.deletes += 1
                await self._put(calls.delete(path))
                there = None
            await self._make(node, path, there)

    async def _make(self, node: SnapNode, path: str, there: Found | None) -> None:
        counts = self.counts
        acl = self._choices.acl(node.acl)
        if there is None:
            counts.creates += 1
            counts.note("create", path)
            await self._put(calls.create(path, node.data, acl))
            return
        same = True
        if there.data != node.data:
            same = False
            counts.sets += 1
            counts.note("set", path)
            await self._put(calls.set_data(path, node.data))
        if self._choices.acls == COPY and acl_key(there.acl) != acl_key(acl):
            same = False
            counts.acls += 1
            counts.note("setACL", path)
            if not self._dry_run:
                await self._flush()
                await self._session.call(calls.set_acl(path, acl, int(there.stat.aversion)))
        counts.same += same

    async def _remove(self, path: str) -> None:
        """Every node below ``path`` that is not wanted, children first."""
        if is_reserved(path):
            return
        try:
            names = await self._session.call(calls.get_children(path))
        except KeeperError as error:
            if error.code == codes.ERR_NO_NODE:
                return
            raise
        below = "" if path == "/" else path
        for name in sorted(names):
            await self._remove(f"{below}/{name}")
        if path not in self._wanted and path != "/":
            self.counts.deletes += 1
            self.counts.note("delete", path)
            await self._put(calls.delete(path))

    async def _put(self, call: Call[Any]) -> None:
        if self._dry_run:
            return
        part = part_of(call)
        size = len(part.body) + 64
        if self._parts and self._size + size > self._max_bytes:
            await self._flush()
        self._parts.append(part)
        self._size += size

    async def _flush(self) -> None:
        parts, self._parts, self._size = self._parts, [], 0
        if parts:
            await multi(self._session, [self._fence, *parts])


async def look(session: Session, path: str) -> Found | None:
    """The node with its ACL; None where there is none."""
    try:
        data, stat = await session.call(calls.get_data(path))
        acl, _ = await session.call(calls.get_acl(path))
    except KeeperError as error:
        if error.code == codes.ERR_NO_NODE:
            return None
        raise
    return Found(data, tuple(acl), stat)


def acl_key(acl: Sequence[ACL]) -> list[tuple[str, str, int]]:
    """The order of the entries means nothing."""
    return sorted((entry.id.scheme, entry.id.id, int(entry.perms)) for entry in acl)
