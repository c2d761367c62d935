"""From changes at a source to requests at a target: which nodes, under which paths, in which multis.

What is decided here, and why, is in docs/mirror.md: ephemeral nodes are left out or become ordinary ones,
containers and nodes with a TTL become ordinary ones, sequential nodes keep the names that they got.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from zabra.client import calls
from zabra.client.calls import Call, Part, part_of
from zabra.plugins.publisher import Change, CommittedTxn
from zabra.plugins.tree_snapshots import is_below
from zabra.proto.records import ACL

CURSOR_FOLDER: Final = "/zabra-mirrors"
# Nobody's to copy: a server's own nodes, and where mirrors are.
RESERVED: Final = ("/zookeeper", CURSOR_FOLDER)
# What a part of a multi costs beside its body.
_PART_BYTES: Final = 16
# A multi's own header and the cursor's part.
_MULTI_BYTES: Final = 1024

SKIP: Final = "skip"
PERSISTENT: Final = "persistent"
COPY: Final = "copy"
OPEN: Final = "open"


def is_reserved(path: str) -> bool:
    """Whether ``path`` is never mirrored."""
    return any(is_below(path, one) for one in RESERVED)


def is_session(owner: int) -> bool:
    """Whether an ephemeralOwner is a session: containers and TTLs are numbers below zero."""
    return owner > 0 or (owner < 0 and owner >> 56 not in (-1, -128))


@dataclass(frozen=True, slots=True)
class Choices:
    """What is mirrored, and as what.  ``ephemerals``: SKIP or PERSISTENT; ``acls``: COPY or OPEN."""

    source: str
    target: str
    ephemerals: str = SKIP
    acls: str = COPY

    def target_path(self, path: str) -> str:
        """Where the node at ``path`` of the source is at the target."""
        below = path[len(self.source) :] if self.source != "/" else path
        if self.target == "/":
            return below or "/"
        return self.target + below if below != "/" else self.target

    def source_path(self, path: str) -> str:
        """The reverse."""
        return Choices(self.target, self.source).target_path(path)

    def leaves_out(self, path: str, owner: int) -> bool:
        """Whether a node of the source has none at the target."""
        return is_reserved(path) or (self.ephemerals == SKIP and is_session(owner))

    def acl(self, acl: Iterable[ACL]) -> list[ACL]:
        """What its ACL is at the target."""
        return list(acl) if self.acls == COPY else calls.OPEN_ACL

    def text(self) -> str:
        """All of it in a line, to notice that something was changed."""
        return f"{self.source} {self.target} {self.ephemerals} {self.acls}"


@dataclass(frozen=True, slots=True)
class Cursor:
    """What the cursor node says.

    ``zxid``: everything up to it is there.  ``part``: of the txn behind it so many changes are there, where
    it was too large for one multi.  ``is_copying``: the target is in the middle of being made like a
    snapshot, and is nothing yet.
    """

    zxid: int
    choices: str
    part: int = 0
    is_copying: bool = False

    def encode(self) -> bytes:
        """JSON, to be read by people too."""
        state = "copying" if self.is_copying else "mirroring"
        row = {"mirror": 1, "state": state, "zxid": f"0x{self.zxid:x}", "choices": self.choices}
        if self.part:
            row["part"] = self.part
        return json.dumps(row).encode("utf-8")

    @staticmethod
    def decode(data: bytes | None) -> "Cursor":
        """Raises ValueError for what is none."""
        try:
            row = json.loads(data or b"")
            if row["mirror"] != 1:
                raise ValueError(f"format {row['mirror']}")
            is_copying = {"copying": True, "mirroring": False}[row["state"]]
            return Cursor(int(row["zxid"], 16), str(row["choices"]), int(row.get("part", 0)), is_copying)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{(data or b'')[:60]!r} is no mirror's cursor: {error}") from None


@dataclass(frozen=True, slots=True)
class Step:
    """The request for the ``place``-th change of a txn.  ``acl``: it is a setACL, which no multi can have."""

    place: int
    path: str
    part: Part
    size: int
    acl: tuple[ACL, ...] | None = None


@dataclass(slots=True)
class Bundle:
    """Steps that go together; afterwards the target is at ``cursor``."""

    steps: list[Step]
    cursor: Cursor
    size: int = _MULTI_BYTES


def _step(place: int, call: Call[Any]) -> Step:
    return Step(place, call.path, part_of(call), _PART_BYTES + len(call.body))


class Translator:
    """Makes steps of txns, and remembers which nodes it has left out."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        # Ephemeral nodes by path, those of which we know: left out, or to go with their session.
        self.ephemerals: dict[str, int] = {}

    def steps(self, txn: CommittedTxn) -> list[Step]:
        """The requests that do at the target what the txn did at the source."""
        found: list[Step] = []
        if any(change.unlisted for change in txn.changes):
            # Logged without a list of its nodes: those we have seen go.
            for path in [path for path, owner in self.ephemerals.items() if owner == txn.session_id]:
                self._add(0, Change(0, "delete", path), found)
        for place, change in enumerate(txn.changes):
            if change.path and is_below(change.path, self.choices.source):
                self._add(place, change, found)
        return found

    def _add(self, place: int, change: Change, found: list[Step]) -> None:
        path, choices = change.path, self.choices
        if change.op == "create" and is_session(change.owner):
            self.ephemerals[path] = change.owner
        known = self.ephemerals.get(path, 0)
        if change.op == "delete":
            self.ephemerals.pop(path, None)
        if choices.leaves_out(path, known):
            return
        there = choices.target_path(path)
        if change.op == "create":
            found.append(_step(place, calls.create(there, change.data, choices.acl(change.acl or ()))))
        elif change.op == "delete":
            found.append(_step(place, calls.delete(there)))
        elif change.op in ("setData", "reconfig"):
            found.append(_step(place, calls.set_data(there, change.data)))
        elif change.op == "setACL" and choices.acls == COPY:
            step = _step(place, calls.set_acl(there, list(change.acl or ())))
            found.append(replace(step, acl=tuple(change.acl or ())))


def bundles(
    txns: Iterable[tuple[int, list[Step]]], choices: str, begin: Cursor, max_bytes: int, max_parts: int
) -> Iterator[Bundle]:
    """Gathers whole txns into multis; one that is too large for any is cut, and the cursor says where.

    A setACL is a bundle of its own.
    """
    bundle = Bundle([], begin)
    done = begin.part
    for zxid, steps in txns:
        steps, done = [step for step in steps if step.place >= done], 0
        size = sum([step.size for step in steps])
        is_acl = any(step.acl is not None for step in steps)
        too_large = size + _MULTI_BYTES > max_bytes or len(steps) > max_parts
        full = bundle.size + size > max_bytes or len(bundle.steps) + len(steps) > max_parts
        if bundle.steps and (full or is_acl or too_large):
            yield bundle
            bundle = Bundle([], bundle.cursor)
        before = bundle.cursor.zxid
        if too_large:
            for piece in _pieces(steps, max_bytes, max_parts):
                yield Bundle(piece, Cursor(before, choices, piece[-1].place + 1))
            bundle = Bundle([], Cursor(zxid, choices))
            yield bundle
            bundle = Bundle([], bundle.cursor)
            continue
        bundle.steps += steps
        bundle.size += size
        bundle.cursor = Cursor(zxid, choices)
        if is_acl:
            yield bundle
            bundle = Bundle([], bundle.cursor)
    if bundle.steps or bundle.cursor != begin:
        yield bundle


def _pieces(steps: list[Step], max_bytes: int, max_parts: int) -> Iterator[list[Step]]:
    piece: list[Step] = []
    size = _MULTI_BYTES
    for step in steps:
        if piece and (size + step.size > max_bytes or len(piece) >= max_parts):
            yield piece
            piece, size = [], _MULTI_BYTES
        piece.append(step)
        size += step.size
    if piece:
        yield piece
