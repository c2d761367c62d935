"""Request: one client request on its way to a txn, and the REQUEST payload that carries it to the leader.

Source: upstream ``Request`` and ``Learner.request``.
"""

from typing import Final

from mypy_extensions import i64, mypyc_attr

from zabra.jute.primitives import hex64
from zabra.proto.records import Id

# Who forwarded a request to the leader, for the session-moved check (upstream's "owner").
OWNER_NONE: Final = 0
OWNER_LOCAL: Final = 1
# Connection ids start above the two reserved owners, so a learner's connection id can be its owner id.
FIRST_CONNECTION_ID: Final = 16


@mypyc_attr(acyclic=True)
class Request:
    """One request: ``body`` is the encoded record behind the RequestHeader.

    ``conn_id`` is the local client connection that waits for the reply (0: nobody here does);
    ``owner`` is OWNER_NONE, OWNER_LOCAL or the connection id of the learner that forwarded it.
    """

    __slots__ = (
        "body",
        "conn_id",
        "created_ms",
        "cxid",
        "done",
        "error",
        "ids",
        "is_local",
        "op",
        "owner",
        "session_id",
    )

    def __init__(
        self,
        session_id: i64,
        cxid: i64,
        op: i64,
        body: bytes,
        ids: list[Id],
        owner: i64,
        conn_id: i64,
        created_ms: i64,
    ) -> None:
        self.session_id: i64 = session_id
        self.cxid: i64 = cxid
        self.op: i64 = op
        self.body: bytes = body
        self.ids: list[Id] = ids
        self.owner: i64 = owner
        self.conn_id: i64 = conn_id
        self.created_ms: i64 = created_ms
        # Not 0: decided here, without a txn; waits only for its turn to be answered.
        self.error: i64 = 0
        # A sync that has come back from the leader.
        self.done: bool = False
        # A request of a local session, which the quorum must not see.
        self.is_local: bool = False

    def __repr__(self) -> str:
        return f"Request(session={hex64(self.session_id)}, cxid={self.cxid}, op={self.op})"
