"""reconfig: changes the ensemble's membership.  Source: upstream ``PrepRequestProcessor`` (op 16)."""

from mypy_extensions import i64

from zabra.jute.primitives import Reader, Writer
from zabra.processors.membership import changed_view, check_voters, full_view
from zabra.processors.operation import KIND_WRITE, Operation
from zabra.processors.prep import Prep
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import ReconfigRequest, SetDataTxn
from zabra.proto.request import Request
from zabra.proto.txn import TxnRecord
from zabra.tree.datatree import CONFIG_NODE, DataTree, TxnResult

# The version a reconfig txn gives the config node.
CONFIG_NODE_VERSION = -1
ANY_CONFIG = -1


class Reconfig(Operation):
    """The row; what a new membership needs to be accepted is asked of ``prep.membership``."""

    def __init__(self) -> None:
        code: i64 = codes.OP_RECONFIG
        super().__init__(code, "reconfig", KIND_WRITE)

    def validate(self, body: bytes) -> None:
        ReconfigRequest.decode(Reader(body))

    def prep(self, prep: Prep, request: Request, r: Reader) -> TxnRecord:
        # A body that cannot be read is malformed also where reconfig is off.
        wanted = ReconfigRequest.decode(r)
        if not prep.rules.reconfig_enabled:
            raise KeeperError(codes.ERR_RECONFIG_DISABLED)
        prep.check_session(request)
        membership = prep.membership
        if membership is None:
            # A server on its own has no membership to change.
            raise KeeperError(codes.ERR_UNIMPLEMENTED)
        last_seen = membership.last_seen_config()
        if last_seen.version != membership.active_config().version:
            raise KeeperError(codes.ERR_RECONFIG_IN_PROGRESS)
        if wanted.cur_config_id != ANY_CONFIG and wanted.cur_config_id != last_seen.version:
            raise KeeperError(codes.ERR_BAD_VERSION)
        allows_standalone = membership.allows_standalone()
        if wanted.new_members is not None:
            config = full_view(wanted.new_members, allows_standalone)
        else:
            config = changed_view(last_seen, wanted.joining_servers, wanted.leaving_servers)
        config.version = prep.zxid
        check_voters(config, allows_standalone)
        if not membership.is_quorum_synced(config):
            raise KeeperError(codes.ERR_NEW_CONFIG_NO_QUORUM)
        node = prep.require(CONFIG_NODE)
        prep.require_acl(node.acl, codes.PERM_WRITE, request.ids, CONFIG_NODE)
        node.version = CONFIG_NODE_VERSION
        node.mtime = prep.now_ms
        node.mzxid = prep.zxid
        node.data = config.format().encode("utf-8")
        # The config node is no part of the digest.
        prep.outstanding.put(node)
        return SetDataTxn(CONFIG_NODE, node.data, CONFIG_NODE_VERSION)

    def reply(self, tree: DataTree, result: TxnResult, w: Writer) -> None:
        node = tree.find(CONFIG_NODE)
        assert node is not None, "the config node cannot be deleted"
        w.write_buffer(node.data)
        result.encode_stat(w)
