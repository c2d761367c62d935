"""Quorum verifiers, and the acks that are counted against one or two of them.

A verifier numbers its voters, so that a set of acks is one integer with a bit per voter: counting an ack
costs no set.  Source: upstream ``quorum/flexible/*`` and ``SyncedLearnerTracker``.
"""

from mypy_extensions import i64, mypyc_attr

from zabra.config.ensemble import EnsembleConfig


class QuorumVerifier:
    """Which sets of voters are quorums; ``version`` is that of the configuration it stands for."""

    __slots__ = ("_bits", "version", "voters")

    def __init__(self, voters: list[int], version: i64) -> None:
        self.voters: list[int] = sorted(voters)
        self.version: i64 = version
        self._bits: dict[int, int] = {}
        bit = 1
        for sid in self.voters:
            self._bits[sid] = bit
            bit = bit << 1
        if len(self._bits) != len(self.voters):
            raise ValueError(f"a voter is listed twice: {self.voters}")

    def is_voter(self, sid: i64) -> bool:
        """Whether ``sid`` votes under this configuration."""
        return sid in self._bits

    def bit(self, sid: i64) -> int:
        """The voter's bit in a mask; 0 for anybody else."""
        return self._bits.get(sid, 0)

    def mask(self, sids: list[int]) -> int:
        """The mask of those of ``sids`` that vote."""
        mask = 0
        for sid in sids:
            mask |= self._bits.get(sid, 0)
        return mask

    def contains_quorum(self, sids: list[int]) -> bool:
        """Whether the voters among ``sids`` are a quorum."""
        return self.contains_mask(self.mask(sids))

    def contains_mask(self, mask: int) -> bool:
        """Whether the voters of ``mask`` are a quorum."""
        raise NotImplementedError

    def weight(self, sid: i64) -> i64:
        """A voter of weight 0 never wins an election."""
        return 1

    def sids(self, mask: int) -> list[int]:
        """The voters of ``mask``, ascending."""
        return [sid for sid in self.voters if mask & self._bits[sid]]


class QuorumMaj(QuorumVerifier):
    """More than half of the voters."""

    __slots__ = ("_half",)

    def __init__(self, voters: list[int], version: i64) -> None:
        super().__init__(voters, version)
        self._half: int = len(voters) // 2

    def contains_mask(self, mask: int) -> bool:
        """More than half."""
        return mask.bit_count() > self._half


class QuorumHierarchical(QuorumVerifier):
    """More than half of the groups have more than half of their weight; weightless groups do not count."""

    __slots__ = ("_group_weights", "_groups", "_weights")

    def __init__(
        self, voters: list[int], version: i64, groups: dict[int, list[int]], weights: dict[int, int]
    ) -> None:
        super().__init__(voters, version)
        self._weights: dict[int, int] = {}
        self._groups: list[list[int]] = []
        self._group_weights: list[int] = []
        grouped: dict[int, int] = {}
        for gid in sorted(groups):
            members = groups[gid]
            total = 0
            for sid in members:
                if sid in grouped:
                    raise ValueError(f"server {sid} is in multiple groups")
                grouped[sid] = gid
                self._weights[sid] = weights.get(sid, 1)
                total += self._weights[sid]
            if total > 0:
                self._groups.append(members)
                self._group_weights.append(total)
        for sid in self.voters:
            if sid not in grouped:
                raise ValueError(f"server {sid} is not in a group")

    def contains_mask(self, mask: int) -> bool:
        """More than half of the weight in more than half of the groups."""
        if mask == 0:
            return False
        majorities = 0
        for index in range(len(self._groups)):
            weight = 0
            for sid in self._groups[index]:
                if mask & self._bits.get(sid, 0):
                    weight += self._weights[sid]
            if weight > self._group_weights[index] // 2:
                majorities += 1
        return majorities > len(self._groups) // 2

    def weight(self, sid: i64) -> i64:
        """As configured; 0 for who is in no group."""
        return self._weights.get(sid, 0)


class QuorumOracleMaj(QuorumMaj):
    """A majority; and, of two voters, one is enough while the oracle says so and nobody follows it.

    ``oracle`` is what the oracle file says, read by whoever may read files; ``need_oracle`` is whether the
    leader has nobody (upstream's needOracle, true until followers come).
    """

    __slots__ = ("need_oracle", "oracle")

    def __init__(self, voters: list[int], version: i64, oracle: bool) -> None:
        super().__init__(voters, version)
        self.oracle: bool = oracle
        self.need_oracle: bool = True

    def update_need_oracle(self, followers: i64) -> bool:
        """Tells how many followers the leader forwards to; returns whether the oracle decides."""
        self.need_oracle = followers == 0 and len(self.voters) == 2
        return self.need_oracle

    def contains_mask(self, mask: int) -> bool:
        """More than half; or one of two, where the oracle is needed and says so."""
        if mask.bit_count() > self._half:
            return True
        if len(self.voters) > 2 or mask == 0:
            return False
        return self.need_oracle and self.oracle


def verifier_of(config: EnsembleConfig, oracle: bool | None = None) -> QuorumVerifier:
    """The verifier a configuration asks for; ``oracle`` is None where no oraclePath is configured."""
    voters = config.voters()
    if config.groups:
        return QuorumHierarchical(voters, config.version, config.groups, config.weights)
    if oracle is not None:
        return QuorumOracleMaj(voters, config.version, oracle)
    return QuorumMaj(voters, config.version)


@mypyc_attr(acyclic=True)
class AckSet:
    """Acks counted against every one of ``verifiers``: the current configuration and, while a
    reconfiguration is under way, the next one (upstream ``SyncedLearnerTracker``).
    """

    __slots__ = ("_first", "_mask", "_reached", "_second", "_second_mask", "_second_reached", "verifiers")

    def __init__(self, verifiers: list[QuorumVerifier]) -> None:
        count = len(verifiers)
        assert 1 <= count <= 2, "acks are counted in the current configuration, and perhaps in the next"
        # One of these per proposal: two of everything is cheaper than lists of two.
        self.verifiers: list[QuorumVerifier] = verifiers
        self._first: QuorumVerifier = verifiers[0]
        self._mask: int = 0
        self._reached: bool = False
        self._second: QuorumVerifier | None = verifiers[1] if count > 1 else None
        self._second_mask: int = 0
        self._second_reached: bool = count == 1

    def add(self, sid: i64) -> bool:
        """Counts ``sid`` where it votes; False where it votes in none."""
        bit = self._first.bit(sid)
        counted = bit != 0
        if counted:
            mask = self._mask | bit
            if mask != self._mask:
                self._mask = mask
                if not self._reached:
                    self._reached = self._first.contains_mask(mask)
        second = self._second
        if second is not None:
            bit = second.bit(sid)
            if bit != 0:
                counted = True
                self._second_mask |= bit
                self._second_reached = second.contains_mask(self._second_mask)
        return counted

    def discard(self, sid: i64) -> None:
        """Takes the ack of ``sid`` back."""
        self._mask &= ~self._first.bit(sid)
        second = self._second
        if second is not None:
            self._second_mask &= ~second.bit(sid)
        self.recount()

    def has_all_quorums(self) -> bool:
        """Whether the acks are a quorum of every configuration."""
        return self._reached and self._second_reached

    def has_any_quorum(self) -> bool:
        """Whether the acks are a quorum of one of the configurations."""
        return self._reached or (self._second is not None and self._second_reached)

    def recount(self) -> bool:
        """``has_all_quorums`` anew, for a verifier whose oracle has changed its mind."""
        self._reached = self._first.contains_mask(self._mask)
        second = self._second
        self._second_reached = second is None or second.contains_mask(self._second_mask)
        return self._reached and self._second_reached

    def activate(self) -> None:
        """The next configuration has become the current one: the one before does not count any more."""
        second = self._second
        if second is not None:
            self.verifiers = [second]
            self._first = second
            self._mask = self._second_mask
            self._reached = self._second_reached
            self._second = None
            self._second_mask = 0
            self._second_reached = True

    def has_sid(self, sid: i64) -> bool:
        """Whether ``sid`` votes in every configuration."""
        second = self._second
        return self._first.bit(sid) != 0 and (second is None or second.bit(sid) != 0)

    def acked(self, index: i64) -> list[int]:
        """Who acked, of the voters of configuration ``index``, ascending."""
        return self.verifiers[index].sids(self._mask if index == 0 else self._second_mask)

    def __repr__(self) -> str:
        return ",".join([str(self.acked(index)) for index in range(len(self.verifiers))])
