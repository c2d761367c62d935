"""IDL module ``proto``: what clients and servers say to each other."""

from zabra.proto.schema.data import ACL, ClientInfo, Stat
from zabra.proto.schema.types import Record, boolean, buffer, int_, long_, nullable, ustring, vector


class ConnectRequest(Record):
    protocol_version: int_
    last_zxid_seen: long_
    time_out: int_
    session_id: long_
    passwd: buffer
    read_only: boolean


class ConnectResponse(Record):
    protocol_version: int_
    time_out: int_
    session_id: long_
    passwd: buffer
    read_only: boolean


class SetWatches(Record):
    relative_zxid: long_
    data_watches: vector(ustring)
    exist_watches: vector(ustring)
    child_watches: vector(ustring)


class SetWatches2(Record):
    relative_zxid: long_
    data_watches: vector(ustring)
    exist_watches: vector(ustring)
    child_watches: vector(ustring)
    persistent_watches: vector(ustring)
    persistent_recursive_watches: vector(ustring)


class RequestHeader(Record):
    xid: int_
    type: int_


class MultiHeader(Record):
    type: int_
    done: boolean
    err: int_


class AuthPacket(Record):
    type: int_
    scheme: ustring
    auth: buffer


class ReplyHeader(Record):
    xid: int_
    zxid: long_
    err: int_


class GetDataRequest(Record):
    path: ustring
    watch: boolean


class SetDataRequest(Record):
    path: ustring
    data: buffer
    version: int_


class ReconfigRequest(Record):
    joining_servers: nullable(ustring)
    leaving_servers: nullable(ustring)
    new_members: nullable(ustring)
    cur_config_id: long_


class SetDataResponse(Record):
    stat: Stat


class GetSASLRequest(Record):
    token: buffer


class SetSASLRequest(Record):
    token: buffer


class SetSASLResponse(Record):
    token: buffer


class CreateRequest(Record):
    path: ustring
    data: buffer
    acl: vector(ACL)
    flags: int_


class CreateTTLRequest(Record):
    path: ustring
    data: buffer
    acl: vector(ACL)
    flags: int_
    ttl: long_


class DeleteRequest(Record):
    path: ustring
    version: int_


class GetChildrenRequest(Record):
    path: ustring
    watch: boolean


class GetAllChildrenNumberRequest(Record):
    path: ustring


class GetChildren2Request(Record):
    path: ustring
    watch: boolean


class CheckVersionRequest(Record):
    path: ustring
    version: int_


class GetMaxChildrenRequest(Record):
    path: ustring


class GetMaxChildrenResponse(Record):
    max: int_


class SetMaxChildrenRequest(Record):
    path: ustring
    max: int_


class SyncRequest(Record):
    path: ustring


class SyncResponse(Record):
    path: ustring


class GetACLRequest(Record):
    path: ustring


class SetACLRequest(Record):
    path: ustring
    acl: vector(ACL)
    version: int_


class SetACLResponse(Record):
    stat: Stat


class AddWatchRequest(Record):
    path: ustring
    mode: int_


class WatcherEvent(Record):
    type: int_
    state: int_
    path: ustring


class ErrorResponse(Record):
    err: int_


class CreateResponse(Record):
    path: ustring


class Create2Response(Record):
    path: ustring
    stat: Stat


class ExistsRequest(Record):
    path: ustring
    watch: boolean


class ExistsResponse(Record):
    stat: Stat


class GetDataResponse(Record):
    data: buffer
    stat: Stat


class GetChildrenResponse(Record):
    children: vector(ustring)


class GetAllChildrenNumberResponse(Record):
    total_number: int_


class GetChildren2Response(Record):
    children: vector(ustring)
    stat: Stat


class GetACLResponse(Record):
    acl: vector(ACL)
    stat: Stat


class CheckWatchesRequest(Record):
    path: ustring
    type: int_


class RemoveWatchesRequest(Record):
    path: ustring
    type: int_


class GetEphemeralsRequest(Record):
    prefix_path: ustring


class GetEphemeralsResponse(Record):
    ephemerals: vector(ustring)


class WhoAmIResponse(Record):
    client_info: vector(ClientInfo)
