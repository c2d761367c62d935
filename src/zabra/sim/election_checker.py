"""Elections: who takes the lead has the votes of a quorum, and votes are not exchanged for ever.

Votes are counted here as they are sent, each server's once whatever comes of it, and not by the code under
test.  (Whether a leader elected otherwise would do harm is for its followers to prevent.)
"""

import struct
from typing import Final

from zabra.sim.checkers import Judgement, is_quorum
from zabra.sim.machine import Process

# An election in which a server hears so many votes, and so many more for each second and member, goes round
# in circles.  Whoever cannot be reached is dialled, and told, about once a second.
VOTES_MAX: Final = 300
VOTES_PER_SECOND: Final = 4
# So many times within a second a server may begin to look for a leader.
SPELLS_MAX: Final = 20
# In a framed notification, behind its length: state, leader, zxid, round, peer epoch.
_STATE: Final = 4
_LEADER: Final = 8
_ZXID: Final = 16
_ROUND: Final = 24
_PEER_EPOCH: Final = 32
_VOTE_ENDS: Final = 40
_VOTE_FORMAT: Final = ">qqqq"
_LOOKING: Final = bytes(4)
# Before the leader and the round of somebody who follows or leads.
_IN_ROUND: Final = b"round"


class ElectionChecker:
    """Looks at the elections of one cluster."""

    def __init__(self) -> None:
        # Each vote, and who has ever sent it.  Votes of those that follow or lead agree where the leader and
        # the peer epoch do (upstream ZOOKEEPER-1805), or leader and round, so these pairs stand here too.
        self._voters: dict[bytes, dict[int, None]] = {}

    def voted(self, sid: int, data: bytes) -> None:
        """A server sends a vote, or, shorter than that, its initial message."""
        if len(data) < _VOTE_ENDS:
            return
        self._voters.setdefault(data[_LEADER:_VOTE_ENDS], {})[sid] = None
        if data[_STATE:_LEADER] != _LOOKING:
            leader = data[_LEADER:_ZXID]
            in_round, in_epoch = data[_ROUND:_PEER_EPOCH], data[_PEER_EPOCH:_VOTE_ENDS]
            self._voters.setdefault(_IN_ROUND + leader + in_round, {})[sid] = None
            self._voters.setdefault(leader + in_epoch, {})[sid] = None

    def look_at(self, process: Process, judgement: Judgement, now_us: int, members: int) -> None:
        """A server without a leader, or that has just found one, has had a turn."""
        self._check_leader(process, judgement)
        notes = process.notes
        looking = process.server.looking
        if looking is None or notes.get("looking") is not looking:
            notes["looking"] = looking
            notes["looking since"] = now_us
            process.votes_heard = 0
            if looking is not None:
                self.count_spell(process, judgement, now_us)
        if process.votes_heard > VOTES_MAX:
            took_us = now_us - notes["looking since"]
            if process.votes_heard > VOTES_MAX + took_us * VOTES_PER_SECOND * members // 1_000_000:
                judgement.complain(
                    "election",
                    f"server {process.sid} has heard {process.votes_heard} votes in {took_us // 1000} ms",
                )
                process.votes_heard = 0

    def _check_leader(self, process: Process, judgement: Judgement) -> None:
        """Who has been elected: by its own vote, too.  Whom a reconfiguration has named never sent one."""
        leads, peer = process.server.leading, process.server.peer
        if leads is None or peer is None or process.notes.get("elected") is leads:
            return
        process.notes["elected"] = leads
        vote = peer.election.current_vote
        raw = struct.pack(_VOTE_FORMAT, vote.leader, vote.zxid, vote.election_epoch, vote.peer_epoch)
        by_election = self._voters.get(raw, {})
        if process.sid not in by_election:
            return
        in_epoch = struct.pack(">qq", vote.leader, vote.peer_epoch)
        in_round = _IN_ROUND + struct.pack(">qq", vote.leader, vote.election_epoch)
        voters = [*by_election, *self._voters.get(in_epoch, {}), *self._voters.get(in_round, {})]
        judgement.count("elected")
        views = [view for view in (peer.config, peer.last_seen) if view is not None]
        if not all(is_quorum(view, voters) for view in views if view.version >= peer.config.version):
            judgement.complain(
                "election",
                f"server {process.sid} leads by {vote!r}, which only {sorted(set(voters))} have sent",
            )

    def count_spell(self, process: Process, judgement: Judgement, now_us: int) -> None:
        """One spell without a leader after the other: what is decided is deserted, over and over."""
        spells: list[int] = process.notes.setdefault("spells", [])
        spells.append(now_us)
        while spells[0] < now_us - 1_000_000:
            del spells[0]
        if len(spells) > SPELLS_MAX:
            judgement.complain(
                "election", f"server {process.sid} has begun to look {len(spells)} times within a second"
            )
            spells.clear()
