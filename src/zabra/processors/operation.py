"""Operation: what the server knows about one opcode, as one object.

``ops.OPS`` holds a row per opcode.  Every place that would ask "which op is this?" reads a column here
instead: ``kind`` decides the route, ``prep`` makes a write's txn, ``read`` answers a read, ``reply``
answers an applied write.
"""

from typing import Final

from mypy_extensions import i64

from zabra.jute.primitives import Reader, Writer
from zabra.processors.context import ReadContext
from zabra.processors.prep import Prep
from zabra.proto.request import Request
from zabra.proto.txn import TxnRecord
from zabra.tree.datatree import DataTree, TxnResult

# Where a request goes.
KIND_READ: Final = 0  # answered here, behind the session's own writes
KIND_WRITE: Final = 1  # becomes a txn
KIND_SYNC: Final = 2  # travels to the leader and back, no txn
KIND_SESSION: Final = 3  # becomes a txn; made by the server, or closes the session
KIND_CONNECTION: Final = 4  # about the connection itself: ping, auth, sasl
KIND_INTERNAL: Final = 5  # never accepted from a client


class Operation:
    """One row; subclasses override the columns that their kind uses."""

    __slots__ = ("code", "fires", "kind", "name")

    def __init__(self, code: i64, name: str, kind: i64) -> None:
        self.code: i64 = code
        self.name: str = name
        self.kind: i64 = kind
        # A read that may fire watch events at once (setWatches); they go out before its reply.
        self.fires: bool = False

    def makes_txn(self) -> bool:
        """Whether ``prep`` is there: what a learner may ask of its leader, beside sync."""
        return self.kind == KIND_WRITE or self.kind == KIND_SESSION or self.kind == KIND_INTERNAL

    def validate(self, body: bytes) -> None:
        """Raises JuteError unless ``body`` decodes as this operation's request record."""

    def makes_ephemeral(self, body: bytes) -> bool:
        """Whether ``body`` asks for an ephemeral node.  Raises JuteError for a bad body."""
        return False

    def prep(self, prep: Prep, request: Request, r: Reader) -> TxnRecord:
        """The txn that carries out ``request``.  Raises KeeperError (refused) or JuteError (a bad body)."""
        raise AssertionError(f"{self.name} makes no txn")

    def read(self, context: ReadContext, r: Reader, w: Writer) -> None:
        """Writes the reply's body.  Raises KeeperError with the refusal, JuteError for a bad body."""
        raise AssertionError(f"{self.name} is no read")

    def reply(self, tree: DataTree, result: TxnResult, w: Writer) -> None:
        """Writes the body that answers this write, just applied with ``result``; most have none."""
