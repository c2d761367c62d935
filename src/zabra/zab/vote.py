"""Vote, and the order of votes that the election converges on.

Source: upstream ``Vote`` and ``FastLeaderElection.totalOrderPredicate``.
"""

from mypy_extensions import i64

from zabra.zab.phases import LOOKING, SERVER_STATES
from zabra.zab.zxid import hex_zxid


class Vote:
    """``leader`` is proposed, with its last ``zxid`` and ``peer_epoch`` (currentEpoch), in round
    ``election_epoch``, by a server in ``state`` that speaks notification format ``version``.
    """

    __slots__ = ("election_epoch", "leader", "peer_epoch", "state", "version", "zxid")

    def __init__(
        self,
        leader: i64,
        zxid: i64,
        election_epoch: i64,
        peer_epoch: i64,
        state: i64 = LOOKING,
        version: i64 = 0,
    ) -> None:
        self.leader: i64 = leader
        self.zxid: i64 = zxid
        self.election_epoch: i64 = election_epoch
        self.peer_epoch: i64 = peer_epoch
        self.state: i64 = state
        self.version: i64 = version

    def matches(self, other: "Vote") -> bool:
        """Whether both are votes for the same leadership.

        While one of them is LOOKING everything must agree.  Out of the election the zxid and the round may
        differ from server to server (upstream ZOOKEEPER-1805), and so may the peer epoch where exactly one
        of the two servers predates versions (ZOOKEEPER-1732).
        """
        if self.leader != other.leader:
            return False
        if self.state == LOOKING or other.state == LOOKING:
            return (
                self.zxid == other.zxid
                and self.election_epoch == other.election_epoch
                and self.peer_epoch == other.peer_epoch
            )
        if (self.version > 0) != (other.version > 0):
            return True
        return self.peer_epoch == other.peer_epoch

    def __repr__(self) -> str:
        return (
            f"Vote({SERVER_STATES[self.state]} leader={self.leader} zxid={hex_zxid(self.zxid)} "
            f"round={self.election_epoch} peer_epoch={self.peer_epoch})"
        )


def supersedes(
    leader: i64, zxid: i64, peer_epoch: i64, over_leader: i64, over_zxid: i64, over_peer_epoch: i64
) -> bool:
    """The total order: by peer epoch, then zxid, then sid (the epoch first: upstream ZOOKEEPER-1419)."""
    if peer_epoch != over_peer_epoch:
        return peer_epoch > over_peer_epoch
    if zxid != over_zxid:
        return zxid > over_zxid
    return leader > over_leader
