"""IDL module ``server.quorum``: what servers say to each other."""

from zabra.proto.schema.data import Id
from zabra.proto.schema.types import Record, buffer, int_, long_, nullable, vector


class LearnerInfo(Record):
    serverid: long_
    protocol_version: int_
    config_version: long_


class QuorumPacket(Record):
    type: int_
    zxid: long_
    data: buffer
    authinfo: nullable(vector(Id))


class QuorumAuthPacket(Record):
    magic: long_
    status: int_
    token: buffer
