"""Phase 0: FastLeaderElection, as an object that is told things and answers with what to do.

Votes travel in Notifications; a server adopts any better vote it hears of (``vote.supersedes``), and a vote
that a quorum shares decides.  A server that is not LOOKING answers those that are with the vote it decided
on, so that a late one finds the established leader.  Nothing here is needed for safety: discovery and
synchronization refuse a wrong leader.  What this phase owes is an end, soon, with a leader that the others
will find worth following.

Time is an argument (monotonic ms).  Departures from upstream ``FastLeaderElection`` are recorded in
docs/adr/0030: they never change what is sent to whom for good, only how soon it is decided or said again.
"""

from typing import Final

from mypy_extensions import i64

from zabra.config.ensemble import EnsembleConfig, EnsembleError
from zabra.proto.notification import NOTIFICATION_VERSION, Notification
from zabra.zab.phases import FOLLOWING, LEADING, LOOKING, OBSERVING, SERVER_STATES
from zabra.zab.quorum import AckSet, QuorumOracleMaj, QuorumVerifier, verifier_of
from zabra.zab.vote import Vote, supersedes
from zabra.zab.zxid import LONG_MIN, NO_ZXID

# No deadline.
NEVER: Final = -1

# Rounds above this come from no election: whoever took one over would soon have no next round (64 bits).
ROUND_MAX: Final[int] = 1 << 62

# An answer that says the same to the same question is not repeated within this time (ms): two servers that
# each hold the other for a non-voter would otherwise answer each other for ever.
REPEATED_ANSWER_MS: Final = 100

# How often, while LOOKING, those to whom no connection stands are dialled (ms): notifications are repeated
# up to a minute apart, and one that nobody could be reached with must not wait so long for the next.
REDIAL_MS: Final = 1000
# So many decisions in a row that were deserted, and the next is not early.
DESERTIONS_MAX: Final = 2


class ElectionTiming:
    """How long the election waits, in ms.

    ``finalize_wait_ms`` is how long a quorum waits for a better vote before it decides
    (fastleader.finalizeWaitMs); with ``early_decision`` it does not wait where nothing better can come.
    Notifications are repeated after ``min_notification_ms``, then twice that, up to ``max_notification_ms``.
    """

    __slots__ = ("early_decision", "finalize_wait_ms", "max_notification_ms", "min_notification_ms")

    def __init__(
        self,
        finalize_wait_ms: i64 = 200,
        min_notification_ms: i64 = 200,
        max_notification_ms: i64 = 60000,
        early_decision: bool = True,
    ) -> None:
        self.finalize_wait_ms: i64 = finalize_wait_ms
        self.min_notification_ms: i64 = min_notification_ms
        self.max_notification_ms: i64 = max_notification_ms
        self.early_decision: bool = early_decision


class Outcome:
    """The election has ended: ``state`` is the role to take, ``vote`` names the leader."""

    __slots__ = ("state", "vote")

    def __init__(self, state: i64, vote: Vote) -> None:
        self.state: i64 = state
        self.vote: Vote = vote

    def __repr__(self) -> str:
        return f"Outcome({SERVER_STATES[self.state]}, {self.vote!r})"


class ElectionStep:
    """What one call asks for.

    ``sends`` are (sid, Notification), newest last; ``connect_all``: dial every voter that has no connection;
    ``newer_config``: a configuration heard of that should be adopted and the election started anew;
    ``abandoned``: the leadership decided on is being left by those it needs, so a role that is still in
    DISCOVERY should go back to LOOKING; ``actions`` are names of the TLA+ specification, for the trace;
    ``notes`` are for the log.
    """

    __slots__ = ("abandoned", "actions", "connect_all", "newer_config", "notes", "outcome", "sends")

    def __init__(self) -> None:
        self.sends: list[tuple[int, Notification]] = []
        self.connect_all: bool = False
        self.outcome: Outcome | None = None
        self.newer_config: EnsembleConfig | None = None
        self.abandoned: bool = False
        self.actions: list[str] = []
        self.notes: list[str] = []


class FastLeaderElection:
    """The election of one server, over its whole life: LOOKING now and then, answering otherwise.

    ``participant`` is the server's own role (an observer's vote is no vote); ``config`` the current
    configuration.  Call ``start`` whenever the server becomes LOOKING.
    """

    __slots__ = (
        "_answered",
        "_config",
        "_config_text",
        "_desertions",
        "_down",
        "_finalize_at",
        "_gossip_text",
        "_gossip_version",
        "_in_step",
        "_initial",
        "_is_deserted",
        "_notify_at",
        "_notify_wait",
        "_oracle",
        "_out_of_election",
        "_proposal",
        "_received",
        "_redial_at",
        "_rounds_started",
        "_supporters",
        "_timing",
        "_verifiers",
        "_view",
        "current_vote",
        "logical_clock",
        "participant",
        "reconfig_enabled",
        "sid",
        "state",
    )

    def __init__(
        self,
        sid: i64,
        participant: bool,
        config: EnsembleConfig,
        timing: ElectionTiming,
        reconfig_enabled: bool = False,
        oracle: bool | None = None,
    ) -> None:
        self.sid: i64 = sid
        self.participant: bool = participant
        self.reconfig_enabled: bool = reconfig_enabled
        self.state: i64 = LOOKING
        self.logical_clock: i64 = 0
        self.current_vote: Vote = Vote(sid, 0, 0, 0)
        self._timing: ElectionTiming = timing
        self._initial: Vote = self.current_vote
        self._proposal: Vote = self.current_vote
        # Votes of this round; and votes of servers that already follow or lead, of any round.
        self._received: dict[int, Vote] = {}
        self._out_of_election: dict[int, Vote] = {}
        self._supporters: dict[int, None] = {}
        self._notify_wait: i64 = timing.min_notification_ms
        self._notify_at: i64 = NEVER
        self._finalize_at: i64 = NEVER
        self._redial_at: i64 = 0
        # Voters whose connection was lost, or could not be made, since it was last up.
        self._down: dict[int, None] = {}
        self._rounds_started: i64 = 0
        # The last decision was deserted; and how many in a row before this round were.
        self._is_deserted: bool = False
        self._desertions: i64 = 0
        # What was decided came to its end: the ensemble was in step.
        self._in_step: bool = False
        # Who was last told what, in answer to what, when.
        self._answered: dict[int, tuple[Notification, Notification, int]] = {}
        self._gossip_text: bytes = b""
        self._gossip_version: i64 = -1
        self._oracle: bool | None = oracle
        self._config: EnsembleConfig = config
        self._config_text: bytes = b""
        self._verifiers: list[QuorumVerifier] = []
        self._view: list[int] = []
        self.set_config(config, None)

    # Configuration and connections.

    def set_config(self, current: EnsembleConfig, last_seen: EnsembleConfig | None) -> None:
        """The current configuration, and the last seen one: votes count in both while that is newer."""
        self._config = current
        self._config_text = current.format().encode("utf-8")
        self._verifiers = [verifier_of(current, self._oracle)]
        voters = dict.fromkeys(current.voters())
        if last_seen is not None and last_seen.version > current.version:
            self._verifiers.append(verifier_of(last_seen, self._oracle))
            voters.update(dict.fromkeys(last_seen.voters()))
        self._view = sorted(voters)

    def set_oracle(self, oracle: bool) -> None:
        """What the oracle file says now (two voters with an oraclePath only)."""
        self._oracle = oracle
        for verifier in self._verifiers:
            if isinstance(verifier, QuorumOracleMaj):
                verifier.oracle = oracle

    def peer_up(self, sid: i64) -> None:
        """The election connection to ``sid`` stands."""
        self._down.pop(sid, None)

    def peer_down(self, sid: i64, now_ms: i64) -> ElectionStep:
        """The election connection to ``sid`` was lost, or could not be made."""
        step = ElectionStep()
        self._down[sid] = None
        if self.state == LOOKING and self._rounds_started > 0:
            self._check_quorum(step, now_ms)
        return step

    # The life of an election.

    def start(self, last_logged_zxid: i64, current_epoch: i64, now_ms: i64) -> ElectionStep:
        """Begins a round: this server is LOOKING, with this much history (zxid -1: not initialised)."""
        step = ElectionStep()
        self.state = LOOKING
        self.logical_clock += 1
        self._rounds_started += 1
        self._desertions = self._desertions + 1 if self._is_deserted and not self._in_step else 0
        self._is_deserted = self._in_step = False
        is_voter = self._verifiers[0].is_voter(self.sid)
        leader: i64 = self.sid if is_voter else LONG_MIN
        zxid: i64 = last_logged_zxid if self.participant else LONG_MIN
        epoch: i64 = current_epoch if self.participant else LONG_MIN
        self._initial = Vote(leader, zxid, self.logical_clock, epoch)
        self._received = {}
        self._out_of_election = {}
        self._supporters = {}
        self._answered = {}
        self._finalize_at = NEVER
        self._notify_wait = self._timing.min_notification_ms
        self._notify_at = now_ms + self._notify_wait
        self._redial_at = now_ms + REDIAL_MS
        self._propose(self._initial, step)
        self._check_quorum(step, now_ms)
        return step

    def adopt(self, leader: i64, zxid: i64, now_ms: i64) -> Outcome:
        """A reconfiguration names the next leader: it is taken without an election.

        Source: upstream ``QuorumPeer.updateVote`` and ``updateServerState``.
        """
        vote = Vote(leader, zxid, self.logical_clock, zxid >> 32)
        return self._leave(vote, [])

    def update_election_vote(self, new_epoch: i64) -> None:
        """Synchronised in ``new_epoch``: the vote given to late servers carries it (ZOOKEEPER-1732)."""
        self._in_step = True
        vote = self.current_vote
        self.current_vote = Vote(
            vote.leader, vote.zxid, vote.election_epoch, new_epoch, vote.state, vote.version
        )

    def next_deadline_ms(self) -> i64:
        """When ``tick`` must be called, or NEVER."""
        if self.state != LOOKING:
            return NEVER
        first = self._finalize_at if self._finalize_at != NEVER else self._notify_at
        return self._redial_at if self._down and self._redial_at < first else first

    def tick(self, now_ms: i64) -> ElectionStep:
        """Time has passed."""
        step = ElectionStep()
        if self.state != LOOKING:
            return step
        if self._down and now_ms >= self._redial_at:
            step.connect_all = True
            self._redial_at = now_ms + REDIAL_MS
        if self._finalize_at != NEVER:
            if now_ms >= self._finalize_at:
                step.actions.append("WaitNewNotmsg")
                self._decide_proposal(step)
        elif self._notify_at != NEVER and now_ms >= self._notify_at:
            step.actions.append("NotmsgTimeout")
            self._send_notifications(step)
            step.connect_all = True
            doubled: i64 = self._notify_wait * 2
            limit: i64 = self._timing.max_notification_ms
            self._notify_wait = doubled if doubled < limit else limit
            self._notify_at = now_ms + self._notify_wait
            # The oracle may have come round since the votes were counted.
            if self._oracle is not None and self._votes_for(self._received, self._proposal).has_all_quorums():
                self._decide_proposal(step)
        return step

    # What is heard.

    def receive(self, sid: i64, n: Notification, now_ms: i64) -> ElectionStep:
        """A notification from ``sid``."""
        step = ElectionStep()
        step.actions.append("ReceiveNotmsg")
        self.peer_up(sid)
        if n.election_epoch > ROUND_MAX:
            step.notes.append(f"ignoring a vote of {sid} in round {n.election_epoch}")
            return step
        if self.state == LOOKING and self.reconfig_enabled and self._is_newer_config(n, step):
            return step
        if sid not in self._view:
            self._answer(sid, n, step, now_ms)
        elif self.state != LOOKING:
            if n.state == LOOKING:
                self._answer(sid, n, step, now_ms)
                self._watch_desertion(sid, n, step)
        elif n.state == LOOKING and n.election_epoch < self.logical_clock:
            self._answer(sid, n, step, now_ms)
        elif n.leader not in self._view:
            step.notes.append(f"ignoring a vote of {sid} for {n.leader}, which is no voter")
        elif n.state == LOOKING:
            self._receive_looking(sid, n, step, now_ms)
        elif n.state != OBSERVING:
            self._receive_decided(sid, n, step, now_ms)
        return step

    def _receive_looking(self, sid: i64, n: Notification, step: ElectionStep, now_ms: i64) -> None:
        if self._initial.zxid == NO_ZXID or n.zxid == NO_ZXID:
            step.notes.append(f"ignoring a vote of {sid}: a database without zxid cannot vote")
            return
        step.actions.append("HandleNotmsg")
        proposal = self._proposal
        if n.election_epoch > self.logical_clock:
            self.logical_clock = n.election_epoch
            self._received = {}
            own = self._initial
            better = self._supersedes(n, own)
            self._propose(self._vote_of(n) if better else own, step)
        elif self._supersedes(n, proposal):
            self._propose(self._vote_of(n), step)
        elif self.participant and sid not in self._received and not self._vote_of(n).matches(proposal):
            # Its first word of this round is a worse vote: it may have missed ours, sent while it still
            # followed somebody.  Upstream leaves it to the timer, 200 ms later.
            self._answer(sid, n, step, now_ms)
        self._received[sid] = self._vote_of(n)
        self._check_quorum(step, now_ms)

    def _receive_decided(self, sid: i64, n: Notification, step: ElectionStep, now_ms: i64) -> None:
        """A voter that follows or leads: join its leader where a quorum follows and the leader says so."""
        step.actions.append("HandleNotmsg")
        vote = Vote(n.leader, n.zxid, n.election_epoch, n.peer_epoch, n.state, n.version)
        if n.election_epoch == self.logical_clock:
            # Votes of this round are counted with those of servers that have just left it.
            self._received[sid] = Vote(n.leader, n.zxid, n.election_epoch, n.peer_epoch, n.state)
            if self._is_led(self._received, vote):
                self._end(vote, self._received, step)
                return
        before = self._out_of_election.get(sid)
        self._out_of_election[sid] = vote
        if self._is_led(self._out_of_election, vote):
            self.logical_clock = n.election_epoch
            self._end(vote, self._out_of_election, step)
        elif n.state == LEADING and self._oracle_says_follow():
            step.notes.append("the oracle indicates to follow")
            self._end(vote, self._out_of_election, step)
        elif n.election_epoch == self.logical_clock:
            # It has decided before its vote, still LOOKING, could be heard here: the vote counts.
            self._check_quorum(step, now_ms)
        if step.outcome is None and (before is None or before.peer_epoch != vote.peer_epoch):
            self._ask_again(sid, vote, step)

    def _ask_again(self, sid: i64, vote: Vote, step: ElectionStep) -> None:
        """Whose word is from before its leader's epoch was established is asked for a newer one.

        Words from before and from after do not agree, and who has decided says no more of its own accord.
        Upstream leaves it to the timer, which may have come to a minute.
        """
        late: dict[int, None] = {}
        for other in sorted(self._out_of_election):
            known = self._out_of_election[other]
            if known.leader == vote.leader and known.peer_epoch != vote.peer_epoch:
                late[other if known.peer_epoch < vote.peer_epoch else sid] = None
        for one in late:
            step.sends.append((one, self._notification(self._proposal, self.logical_clock)))

    def _oracle_says_follow(self) -> bool:
        """Of two voters, the one that the oracle did not choose follows the one that leads."""
        verifier = self._verifiers[0]
        return isinstance(verifier, QuorumOracleMaj) and verifier.need_oracle and not verifier.oracle

    def _is_led(self, votes: dict[int, Vote], vote: Vote) -> bool:
        """A quorum agrees on ``vote`` and its leader has said that it leads (upstream checkLeader).

        Without the second half servers could elect a dead leader over and over.  A quorum of one view is
        enough to join it: one that was proposed here and not committed is nothing to those who went on.
        """
        supporters = self._votes_for(votes, vote)
        if vote.leader == self.sid:
            return supporters.has_all_quorums() and self.logical_clock == vote.election_epoch
        if not supporters.has_any_quorum():
            return False
        said = votes.get(vote.leader)
        return said is not None and said.state == LEADING

    def _watch_desertion(self, sid: i64, n: Notification, step: ElectionStep) -> None:
        """A server this decision rested on is LOOKING with another vote: it will not come."""
        vote = self.current_vote
        if n.election_epoch < vote.election_epoch:
            return
        if n.election_epoch == vote.election_epoch and n.leader == vote.leader:
            return
        if self.state == LEADING:
            if sid in self._supporters:
                self._supporters.pop(sid)
                step.abandoned = not self._count(list(self._supporters)).has_all_quorums()
        elif sid == vote.leader:
            step.abandoned = True
        if step.abandoned:
            self._is_deserted = True
            step.notes.append(f"{sid} is looking for another leader than {vote.leader}")

    def _is_newer_config(self, n: Notification, step: ElectionStep) -> bool:
        """Whether the sender's configuration is to be adopted before anything else is said."""
        text = n.config
        if text is None or text == self._config_text or text == self._gossip_text:
            return False
        try:
            config = EnsembleConfig.parse(text.decode("utf-8", "replace"))
        except EnsembleError as error:
            self._gossip_text = text
            step.notes.append(f"ignoring a configuration that cannot be read: {error}")
            return False
        # Whether a voter may be the only one was for those to say who agreed on it (standaloneEnabled).
        is_void = len(config.voters()) == 0 and config.problem() != ""
        if config.version <= self._config.version or is_void:
            self._gossip_text = text
            return False
        step.newer_config = config
        return not config.same_as(self._config)

    # Counting.

    def _votes_for(self, votes: dict[int, Vote], vote: Vote) -> AckSet:
        return self._count([sid for sid in sorted(votes) if vote.matches(votes[sid])])

    def _count(self, sids: list[int]) -> AckSet:
        acks = AckSet(self._verifiers)
        for sid in sids:
            acks.add(sid)
        return acks

    def _supersedes(self, n: Notification, vote: Vote) -> bool:
        verifier = self._verifiers[0]
        if verifier.weight(n.leader) == 0:
            return False
        if verifier.weight(vote.leader) == 0:
            # Who cannot be elected is for the best that can: by its own vote it would see nobody elected.
            return True
        return supersedes(n.leader, n.zxid, n.peer_epoch, vote.leader, vote.zxid, vote.peer_epoch)

    def _vote_of(self, n: Notification) -> Vote:
        return Vote(n.leader, n.zxid, n.election_epoch, n.peer_epoch)

    def _check_quorum(self, step: ElectionStep, now_ms: i64) -> None:
        """Decides, begins to wait for a better vote, or goes on looking."""
        if not self._votes_for(self._received, self._proposal).has_all_quorums():
            self._finalize_at = NEVER
        elif self._nothing_better_can_come():
            self._decide_proposal(step)
        elif self._finalize_at == NEVER:
            self._finalize_at = now_ms + self._timing.finalize_wait_ms

    def _nothing_better_can_come(self) -> bool:
        """Every voter has been heard in this round, or is known to be unreachable (docs/adr/0030).

        Whoever is unreachable from here may have a better vote that others go by: after two decisions in a
        row that were deserted, the wait is upstream's.
        """
        if self._timing.finalize_wait_ms <= 0:
            return True
        if not self._timing.early_decision or self._desertions >= DESERTIONS_MAX:
            return False
        # While the ensemble boots, a peer that cannot be dialled is more likely late than dead.
        trust_down = self._rounds_started > 1
        for sid in self._view:
            if sid == self.sid or sid in self._received:
                continue
            if not (trust_down and sid in self._down):
                return False
        return True

    # What is said.

    def _propose(self, vote: Vote, step: ElectionStep) -> None:
        """Takes ``vote`` as the proposal of the current round and tells every voter."""
        self._proposal = Vote(vote.leader, vote.zxid, self.logical_clock, vote.peer_epoch)
        if self.sid in self._view and self._initial.zxid != NO_ZXID and vote.leader in self._view:
            self._received[self.sid] = self._proposal
        self._send_notifications(step)

    def _send_notifications(self, step: ElectionStep) -> None:
        n = self._notification(self._proposal, self.logical_clock)
        for sid in self._view:
            if sid != self.sid:
                step.sends.append((sid, n))

    def _notification(self, vote: Vote, election_epoch: i64) -> Notification:
        return Notification(
            self.state,
            vote.leader,
            vote.zxid,
            election_epoch,
            vote.peer_epoch,
            NOTIFICATION_VERSION,
            self._config_text,
        )

    def _answer(self, sid: i64, question: Notification, step: ElectionStep, now_ms: i64) -> None:
        """Tells ``sid`` the vote this server holds; once, if it asks the same again at once."""
        if self.state == LOOKING:
            n = self._notification(self._proposal, self.logical_clock)
        else:
            n = self._notification(self.current_vote, self.current_vote.election_epoch)
        before = self._answered.get(sid)
        if before is not None:
            asked, said, at_ms = before
            if asked == question and said == n and now_ms - at_ms < REPEATED_ANSWER_MS:
                return
        self._answered[sid] = (question, n, now_ms)
        step.sends.append((sid, n))

    # The end.

    def _decide_proposal(self, step: ElectionStep) -> None:
        self._end(self._proposal, self._received, step)

    def _end(self, vote: Vote, votes: dict[int, Vote], step: ElectionStep) -> None:
        supporters = [sid for sid in sorted(votes) if vote.matches(votes[sid])]
        step.outcome = self._leave(vote, supporters)
        # Observers that asked meanwhile would otherwise ask again only when their timer runs out.
        n = self._notification(self.current_vote, self.current_vote.election_epoch)
        for sid in sorted(self._answered):
            if sid not in self._view:
                step.sends.append((sid, n))

    def _leave(self, vote: Vote, supporters: list[int]) -> Outcome:
        if vote.leader == self.sid:
            state: i64 = LEADING
        elif self.participant:
            state = FOLLOWING
        else:
            state = OBSERVING
        self.state = state
        self._supporters = dict.fromkeys(supporters)
        self._finalize_at = NEVER
        self._notify_at = NEVER
        self.current_vote = Vote(
            vote.leader, vote.zxid, vote.election_epoch, vote.peer_epoch, state, NOTIFICATION_VERSION
        )
        return Outcome(state, self.current_vote)
