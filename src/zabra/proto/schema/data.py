"""IDL module ``data``: identities, ACLs and stats."""

from zabra.proto.schema.types import Record, int_, long_, ustring


class Id(Record):
    scheme: ustring
    id: ustring


class ACL(Record):
    perms: int_
    id: Id


class Stat(Record):
    czxid: long_
    mzxid: long_
    ctime: long_
    mtime: long_
    version: int_
    cversion: int_
    aversion: int_
    ephemeral_owner: long_
    data_length: int_
    num_children: int_
    pzxid: long_


class StatPersisted(Record):
    czxid: long_
    mzxid: long_
    ctime: long_
    mtime: long_
    version: int_
    cversion: int_
    aversion: int_
    ephemeral_owner: long_
    pzxid: long_


class ClientInfo(Record):
    auth_scheme: ustring
    user: ustring
