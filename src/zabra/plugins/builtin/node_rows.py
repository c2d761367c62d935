"""What a batch of txns leaves of the nodes it touches: one row each, whatever happened in between."""

from collections.abc import Iterator
from dataclasses import dataclass

from zabra.plugins.publisher import Change, CommittedTxn
from zabra.proto.records import ACL


@dataclass(slots=True)
class NodeRow:
    """A node, as a target that keeps current state has it."""

    path: str
    data: bytes | None
    version: int
    acl: tuple[ACL, ...]
    owner: int
    czxid: int
    mzxid: int


@dataclass(slots=True)
class _Patch:
    """What changed of a node that was there before the batch."""

    data: tuple[bytes | None, int, int] | None = None
    acl: tuple[ACL, ...] | None = None


class NodeRows:
    """The net effect of the txns that were applied, by path."""

    def __init__(self) -> None:
        # A row: made in the batch.  None: deleted in it.
        self._nodes: dict[str, NodeRow | _Patch | None] = {}
        self._ended: list[int] = []

    def apply(self, txn: CommittedTxn) -> None:
        """The next txn."""
        for change in txn.changes:
            if change.path:
                self._apply(change, txn.zxid)
            elif change.op == "closeSession":
                self._end(change.owner)

    def _end(self, session_id: int) -> None:
        """What is left of a session goes with it: not every server writes down what that was."""
        self._ended.append(session_id)
        for path, node in self._nodes.items():
            if isinstance(node, NodeRow) and node.owner == session_id:
                self._nodes[path] = None

    def _apply(self, change: Change, zxid: int) -> None:
        path = change.path
        if change.op == "create":
            acl = change.acl or ()
            self._nodes[path] = NodeRow(path, change.data, 0, acl, change.owner, zxid, zxid)
            return
        if change.op == "delete":
            self._nodes[path] = None
            return
        node = self._nodes.setdefault(path, _Patch())
        if node is None:
            # Its creation was not told, as it is where only some ops are wanted.
            return
        if change.op == "setACL":
            node.acl = change.acl or ()
        elif isinstance(node, NodeRow):
            node.data, node.version, node.mzxid = change.data, change.version, zxid
        else:
            node.data = (change.data, change.version, zxid)

    def removed(self) -> list[str]:
        """Paths of which a row from before the batch has to go, if there is one."""
        return [path for path, node in self._nodes.items() if not isinstance(node, _Patch)]

    def ended(self) -> list[int]:
        """Sessions of which no row from before the batch may stay."""
        return self._ended

    def made(self) -> list[NodeRow]:
        """Rows that are new."""
        return [node for node in self._nodes.values() if isinstance(node, NodeRow)]

    def data_changes(self) -> list[tuple[str, bytes | None, int, int]]:
        """(path, data, version, mzxid) for rows that stay."""
        return [(path, *patch.data) for path, patch in self._patches() if patch.data is not None]

    def acl_changes(self) -> list[tuple[str, tuple[ACL, ...]]]:
        """(path, ACL) for rows that stay."""
        return [(path, patch.acl) for path, patch in self._patches() if patch.acl is not None]

    def _patches(self) -> Iterator[tuple[str, _Patch]]:
        for path, node in self._nodes.items():
            if isinstance(node, _Patch):
                yield path, node
