"""Every number of the wire: operations, errors, packets, events, permissions, create modes.

Plain ``Final`` integers, so that compiled code compares machine words; ``*_NAMES`` turn them back into
upstream's words.  Source: upstream ``ZooDefs``, ``KeeperException.Code``, ``Leader``, ``Watcher.Event``.
"""

from typing import Final

# Operations (RequestHeader.type and TxnHeader.type).
OP_NOTIFICATION: Final = 0
OP_CREATE: Final = 1
OP_DELETE: Final = 2
OP_EXISTS: Final = 3
OP_GET_DATA: Final = 4
OP_SET_DATA: Final = 5
OP_GET_ACL: Final = 6
OP_SET_ACL: Final = 7
OP_GET_CHILDREN: Final = 8
OP_SYNC: Final = 9
OP_PING: Final = 11
OP_GET_CHILDREN2: Final = 12
OP_CHECK: Final = 13
OP_MULTI: Final = 14
OP_CREATE2: Final = 15
OP_RECONFIG: Final = 16
OP_CHECK_WATCHES: Final = 17
OP_REMOVE_WATCHES: Final = 18
OP_CREATE_CONTAINER: Final = 19
OP_DELETE_CONTAINER: Final = 20
OP_CREATE_TTL: Final = 21
OP_MULTI_READ: Final = 22
OP_AUTH: Final = 100
OP_SET_WATCHES: Final = 101
OP_SASL: Final = 102
OP_GET_EPHEMERALS: Final = 103
OP_GET_ALL_CHILDREN_NUMBER: Final = 104
OP_SET_WATCHES2: Final = 105
OP_ADD_WATCH: Final = 106
OP_WHO_AM_I: Final = 107
OP_CREATE_SESSION: Final = -10
OP_CLOSE_SESSION: Final = -11
OP_ERROR: Final = -1

OP_NAMES: Final[dict[int, str]] = {
    OP_NOTIFICATION: "notification",
    OP_CREATE: "create",
    OP_DELETE: "delete",
    OP_EXISTS: "exists",
    OP_GET_DATA: "getData",
    OP_SET_DATA: "setData",
    OP_GET_ACL: "getACL",
    OP_SET_ACL: "setACL",
    OP_GET_CHILDREN: "getChildren",
    OP_SYNC: "sync",
    OP_PING: "ping",
    OP_GET_CHILDREN2: "getChildren2",
    OP_CHECK: "check",
    OP_MULTI: "multi",
    OP_CREATE2: "create2",
    OP_RECONFIG: "reconfig",
    OP_CHECK_WATCHES: "checkWatches",
    OP_REMOVE_WATCHES: "removeWatches",
    OP_CREATE_CONTAINER: "createContainer",
    OP_DELETE_CONTAINER: "deleteContainer",
    OP_CREATE_TTL: "createTTL",
    OP_MULTI_READ: "multiRead",
    OP_AUTH: "auth",
    OP_SET_WATCHES: "setWatches",
    OP_SASL: "sasl",
    OP_GET_EPHEMERALS: "getEphemerals",
    OP_GET_ALL_CHILDREN_NUMBER: "getAllChildrenNumber",
    OP_SET_WATCHES2: "setWatches2",
    OP_ADD_WATCH: "addWatch",
    OP_WHO_AM_I: "whoAmI",
    OP_CREATE_SESSION: "createSession",
    OP_CLOSE_SESSION: "closeSession",
    OP_ERROR: "error",
}

# Special xids.
XID_NOTIFICATION: Final = -1
XID_PING: Final = -2
XID_AUTH: Final = -4
XID_SET_WATCHES: Final = -8

# Errors (ReplyHeader.err, ErrorTxn.err).
OK: Final = 0
ERR_SYSTEM: Final = -1
ERR_RUNTIME_INCONSISTENCY: Final = -2
ERR_DATA_INCONSISTENCY: Final = -3
ERR_CONNECTION_LOSS: Final = -4
ERR_MARSHALLING: Final = -5
ERR_UNIMPLEMENTED: Final = -6
ERR_OPERATION_TIMEOUT: Final = -7
ERR_BAD_ARGUMENTS: Final = -8
ERR_UNKNOWN_SESSION: Final = -12
ERR_NEW_CONFIG_NO_QUORUM: Final = -13
ERR_RECONFIG_IN_PROGRESS: Final = -14
ERR_API: Final = -100
ERR_NO_NODE: Final = -101
ERR_NO_AUTH: Final = -102
ERR_BAD_VERSION: Final = -103
ERR_NO_CHILDREN_FOR_EPHEMERALS: Final = -108
ERR_NODE_EXISTS: Final = -110
ERR_NOT_EMPTY: Final = -111
ERR_SESSION_EXPIRED: Final = -112
ERR_INVALID_CALLBACK: Final = -113
ERR_INVALID_ACL: Final = -114
ERR_AUTH_FAILED: Final = -115
ERR_SESSION_MOVED: Final = -118
ERR_NOT_READ_ONLY: Final = -119
ERR_EPHEMERAL_ON_LOCAL_SESSION: Final = -120
ERR_NO_WATCHER: Final = -121
ERR_REQUEST_TIMEOUT: Final = -122
ERR_RECONFIG_DISABLED: Final = -123
ERR_SESSION_CLOSED_REQUIRE_SASL_AUTH: Final = -124
ERR_QUOTA_EXCEEDED: Final = -125
ERR_THROTTLED_OP: Final = -127

# QuorumPacket.type.
PACKET_REQUEST: Final = 1
PACKET_PROPOSAL: Final = 2
PACKET_ACK: Final = 3
PACKET_COMMIT: Final = 4
PACKET_PING: Final = 5
PACKET_REVALIDATE: Final = 6
PACKET_SYNC: Final = 7
PACKET_INFORM: Final = 8
PACKET_COMMIT_AND_ACTIVATE: Final = 9
PACKET_NEWLEADER: Final = 10
PACKET_FOLLOWERINFO: Final = 11
PACKET_UPTODATE: Final = 12
PACKET_DIFF: Final = 13
PACKET_TRUNC: Final = 14
PACKET_SNAP: Final = 15
PACKET_OBSERVERINFO: Final = 16
PACKET_LEADERINFO: Final = 17
PACKET_ACKEPOCH: Final = 18
PACKET_INFORM_AND_ACTIVATE: Final = 19

PACKET_NAMES: Final[dict[int, str]] = {
    PACKET_REQUEST: "REQUEST",
    PACKET_PROPOSAL: "PROPOSAL",
    PACKET_ACK: "ACK",
    PACKET_COMMIT: "COMMIT",
    PACKET_PING: "PING",
    PACKET_REVALIDATE: "REVALIDATE",
    PACKET_SYNC: "SYNC",
    PACKET_INFORM: "INFORM",
    PACKET_COMMIT_AND_ACTIVATE: "COMMITANDACTIVATE",
    PACKET_NEWLEADER: "NEWLEADER",
    PACKET_FOLLOWERINFO: "FOLLOWERINFO",
    PACKET_UPTODATE: "UPTODATE",
    PACKET_DIFF: "DIFF",
    PACKET_TRUNC: "TRUNC",
    PACKET_SNAP: "SNAP",
    PACKET_OBSERVERINFO: "OBSERVERINFO",
    PACKET_LEADERINFO: "LEADERINFO",
    PACKET_ACKEPOCH: "ACKEPOCH",
    PACKET_INFORM_AND_ACTIVATE: "INFORMANDACTIVATE",
}

# WatcherEvent.type.
EVENT_NONE: Final = -1
EVENT_NODE_CREATED: Final = 1
EVENT_NODE_DELETED: Final = 2
EVENT_NODE_DATA_CHANGED: Final = 3
EVENT_NODE_CHILDREN_CHANGED: Final = 4
EVENT_DATA_WATCH_REMOVED: Final = 5
EVENT_CHILD_WATCH_REMOVED: Final = 6
EVENT_PERSISTENT_WATCH_REMOVED: Final = 7

STATE_SYNC_CONNECTED: Final = 3

# WatcherType of checkWatches and removeWatches.
WATCHER_CHILDREN: Final = 1
WATCHER_DATA: Final = 2
WATCHER_ANY: Final = 3
WATCHER_PERSISTENT: Final = 4
WATCHER_PERSISTENT_RECURSIVE: Final = 5

# AddWatchMode of addWatch.
ADD_WATCH_PERSISTENT: Final = 0
ADD_WATCH_PERSISTENT_RECURSIVE: Final = 1

# Permissions (ACL.perms).
PERM_READ: Final = 1
PERM_WRITE: Final = 2
PERM_CREATE: Final = 4
PERM_DELETE: Final = 8
PERM_ADMIN: Final = 16
PERM_ALL: Final = 31

# CreateRequest.flags.
MODE_PERSISTENT: Final = 0
MODE_EPHEMERAL: Final = 1
MODE_PERSISTENT_SEQUENTIAL: Final = 2
MODE_EPHEMERAL_SEQUENTIAL: Final = 3
MODE_CONTAINER: Final = 4
MODE_PERSISTENT_WITH_TTL: Final = 5
MODE_PERSISTENT_SEQUENTIAL_WITH_TTL: Final = 6
