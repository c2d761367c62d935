"""The op table: one row per operation.  Start here to find what the server knows about an opcode."""

from typing import Final

from mypy_extensions import i64

from zabra.jute.primitives import Reader
from zabra.processors.operation import KIND_CONNECTION, KIND_SYNC, Operation
from zabra.processors.prep import Prep, PrepareRecord
from zabra.processors.read_ops import read_rows
from zabra.processors.reconfig_op import Reconfig
from zabra.processors.write_ops import write_rows
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import SyncRequest
from zabra.proto.request import Request
from zabra.proto.txn import TxnRecord

# Opcodes run from -11 to 107; a list indexed by code plus this offset is faster than a dict.
_OFFSET: Final = 16
_SIZE: Final = 128


class Sync(Operation):
    """sync: travels to the leader and back behind everything committed there; answers with the path."""

    def validate(self, body: bytes) -> None:
        SyncRequest.decode(Reader(body))


class OpTable(PrepareRecord):
    """Rows by opcode."""

    def __init__(self) -> None:
        self._rows: list[Operation | None] = [None] * _SIZE
        rows: list[Operation] = [*write_rows(), *read_rows()]
        rows.append(Reconfig())
        rows.append(Sync(codes.OP_SYNC, "sync", KIND_SYNC))
        rows.append(Operation(codes.OP_PING, "ping", KIND_CONNECTION))
        rows.append(Operation(codes.OP_AUTH, "auth", KIND_CONNECTION))
        rows.append(Operation(codes.OP_SASL, "sasl", KIND_CONNECTION))
        for row in rows:
            self._rows[row.code + _OFFSET] = row

    def get(self, code: i64) -> Operation | None:
        """The row of ``code``, or None for a number that is no operation."""
        at = code + _OFFSET
        if at < 0 or at >= _SIZE:
            return None
        return self._rows[at]

    def rows(self) -> list[Operation]:
        """All rows, by code."""
        return [row for row in self._rows if row is not None]

    def record_for(self, prep: Prep, request: Request) -> TxnRecord:
        """The txn record of ``request``; see ``Operation.prep``."""
        row = self.get(request.op)
        if row is None:
            raise KeeperError(codes.ERR_UNIMPLEMENTED)
        return row.prep(prep, request, Reader(request.body))


OPS: Final = OpTable()
