"""reconfig: changes the ensemble's membership.  Source: upstream ``PrepRequestProcessor`` (op 16)."""

from mypy_extensions import i64

from zabra.jute.primitives import Reader, Writer
from zabra.processors.operation import KIND_WRITE, Operation
from zabra.processors.prep import Prep
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import ReconfigRequest
from zabra.proto.request import Request
from zabra.proto.txn import TxnRecord
from zabra.tree.datatree import DataTree, TxnResult


class Reconfig(Operation):
    """The row; what a new membership needs to be accepted is asked of ``prep.membership``."""

    def __init__(self) -> None:
        code: i64 = codes.OP_RECONFIG
        super().__init__(code, "reconfig", KIND_WRITE)

    def validate(self, body: bytes) -> None:
        ReconfigRequest.decode(Reader(body))

    def prep(self, prep: Prep, request: Request, r: Reader) -> TxnRecord:
        # A body that cannot be read is malformed also where reconfig is off.
        ReconfigRequest.decode(r)
        if not prep.rules.reconfig_enabled:
            raise KeeperError(codes.ERR_RECONFIG_DISABLED)
        prep.check_session(request)
        # A server on its own has no membership to change.
        raise KeeperError(codes.ERR_UNIMPLEMENTED)

    def reply(self, tree: DataTree, result: TxnResult, w: Writer) -> None:
        raise AssertionError("a standalone server commits no reconfig")
