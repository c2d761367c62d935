"""IDL module ``txn``: what is proposed, logged and applied."""

from zabra.proto.schema.data import ACL
from zabra.proto.schema.types import Record, boolean, buffer, int_, long_, ustring, vector


class TxnDigest(Record):
    version: int_
    tree_digest: long_


class TxnHeader(Record):
    client_id: long_
    cxid: int_
    zxid: long_
    time: long_
    type: int_


class CreateTxnV0(Record):
    path: ustring
    data: buffer
    acl: vector(ACL)
    ephemeral: boolean


class CreateTxn(Record):
    java_names = {"parent_cversion": "parentCVersion"}
    path: ustring
    data: buffer
    acl: vector(ACL)
    ephemeral: boolean
    parent_cversion: int_


class CreateTTLTxn(Record):
    java_names = {"parent_cversion": "parentCVersion"}
    path: ustring
    data: buffer
    acl: vector(ACL)
    parent_cversion: int_
    ttl: long_


class CreateContainerTxn(Record):
    java_names = {"parent_cversion": "parentCVersion"}
    path: ustring
    data: buffer
    acl: vector(ACL)
    parent_cversion: int_


class DeleteTxn(Record):
    path: ustring


class SetDataTxn(Record):
    path: ustring
    data: buffer
    version: int_


class CheckVersionTxn(Record):
    path: ustring
    version: int_


class SetACLTxn(Record):
    path: ustring
    acl: vector(ACL)
    version: int_


class SetMaxChildrenTxn(Record):
    path: ustring
    max: int_


class CreateSessionTxn(Record):
    time_out: int_


class CloseSessionTxn(Record):
    paths2_delete: vector(ustring)


class ErrorTxn(Record):
    err: int_


class Txn(Record):
    type: int_
    data: buffer


class MultiTxn(Record):
    txns: vector(Txn)
