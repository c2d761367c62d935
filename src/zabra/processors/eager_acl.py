"""A look at the access list where a write comes in, before it is sent on its way (enableEagerACLCheck).

What is refused here costs the quorum nothing and no zxid; what passes is checked again, by the leader and
against what is then the newest state, so nothing is ever permitted here.  Source: upstream
``ZooKeeperServer.authWriteRequest``: plain creates, deletes, setData and setACL; the rest passes.
"""

from zabra.auth.registry import Providers
from zabra.jute.primitives import Reader
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.proto.records import ACL, CreateRequest, DeleteRequest, SetACLRequest, SetDataRequest
from zabra.proto.request import Request
from zabra.tree.datatree import DataTree


def eager_acl_error(tree: DataTree, providers: Providers, request: Request) -> int:
    """The error to answer ``request`` with, or OK.  Raises JuteError for a body that does not decode."""
    op = request.op
    new_acl: list[ACL] | None = None
    if op == codes.OP_CREATE or op == codes.OP_CREATE2:
        create = CreateRequest.decode(Reader(request.body))
        path = _parent(create.path)
        perm = codes.PERM_CREATE
        new_acl = create.acl or []
    elif op == codes.OP_DELETE:
        path = _parent(DeleteRequest.decode(Reader(request.body)).path)
        perm = codes.PERM_DELETE
    elif op == codes.OP_SET_DATA:
        path = SetDataRequest.decode(Reader(request.body)).path
        perm = codes.PERM_WRITE
    elif op == codes.OP_SET_ACL:
        change = SetACLRequest.decode(Reader(request.body))
        path = change.path
        perm = codes.PERM_ADMIN
        new_acl = change.acl or []
    else:
        return codes.OK
    if new_acl is not None:
        try:
            providers.fixup_acl(new_acl, request.ids)
        except KeeperError as error:
            return error.code
    node = tree.find(path)
    if node is None or providers.check_acl(tree.acl_of(node), perm, request.ids, path):
        return codes.OK
    return codes.ERR_NO_AUTH


def _parent(path: str) -> str:
    slash = path.rfind("/")
    return path[:slash] if slash > 0 else "/"
