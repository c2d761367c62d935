"""From a logged txn to the changes it makes, in the words of ``publisher``."""

from zabra.jute.primitives import JuteError
from zabra.plugins.publisher import Change, CommittedTxn
from zabra.proto import codes
from zabra.proto.records import (
    CloseSessionTxn,
    CreateContainerTxn,
    CreateSessionTxn,
    CreateTTLTxn,
    CreateTxn,
    DeleteTxn,
    MultiTxn,
    SetACLTxn,
    SetDataTxn,
)
from zabra.proto.txn import TxnEntry, TxnRecord
from zabra.tree.datatree import decode_part
from zabra.tree.ephemerals import CONTAINER_OWNER, ttl_owner


def committed_txn(entry: TxnEntry) -> CommittedTxn:
    """The txn as publishers see it.  Raises JuteError for a multi with a part that cannot be read."""
    header = entry.header
    changes: list[Change] = []
    if isinstance(entry.record, MultiTxn):
        _add_parts(entry.record, int(header.client_id), changes)
    else:
        _add(header.type, entry.record, int(header.client_id), changes, 0)
    return CommittedTxn(
        int(header.zxid),
        int(header.time),
        int(header.client_id),
        int(header.cxid),
        codes.OP_NAMES.get(header.type, str(header.type)),
        tuple(changes),
        entry.raw,
    )


def _add_parts(multi: MultiTxn, session_id: int, changes: list[Change]) -> None:
    """A multi's parts: none of them happened if one was refused.  A check counts, and changes nothing."""
    if any(part.type == codes.OP_ERROR for part in multi.txns):
        return
    for index, part in enumerate(multi.txns):
        _add(part.type, decode_part(part.type, part.data), session_id, changes, index)


def _add(kind: int, record: TxnRecord, session_id: int, changes: list[Change], index: int) -> None:
    if isinstance(record, CreateTxn):
        owner = session_id if record.ephemeral else 0
        changes.append(Change(index, "create", record.path, record.data, 0, tuple(record.acl), owner))
    elif isinstance(record, CreateContainerTxn):
        changes.append(
            Change(index, "create", record.path, record.data, 0, tuple(record.acl), CONTAINER_OWNER)
        )
    elif isinstance(record, CreateTTLTxn):
        owner = int(ttl_owner(record.ttl))
        changes.append(Change(index, "create", record.path, record.data, 0, tuple(record.acl), owner))
    elif isinstance(record, DeleteTxn):
        changes.append(Change(index, "delete", record.path))
    elif isinstance(record, SetDataTxn):
        op = "reconfig" if kind == codes.OP_RECONFIG else "setData"
        changes.append(Change(index, op, record.path, record.data, int(record.version)))
    elif isinstance(record, SetACLTxn):
        changes.append(Change(index, "setACL", record.path, None, int(record.version), tuple(record.acl)))
    elif isinstance(record, CreateSessionTxn):
        changes.append(Change(index, "createSession", "", None, -1, None, session_id))
    elif kind == codes.OP_CLOSE_SESSION:
        _add_close_session(record, session_id, changes)


def _add_close_session(record: TxnRecord, session_id: int, changes: list[Change]) -> None:
    """The ephemerals go, in the order in which they are listed, and then the session.

    Servers with closeSessionTxn.enabled=false, and Apache's before 3.6, list none.
    """
    if isinstance(record, CloseSessionTxn):
        for path in record.paths2_delete:
            changes.append(Change(len(changes), "delete", path))
    elif record is not None:
        raise JuteError("a closeSession with another record")
    changes.append(Change(len(changes), "closeSession", "", None, -1, None, session_id, record is None))
