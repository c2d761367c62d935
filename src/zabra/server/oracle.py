"""Oracle: what decides, for an ensemble of two voters, whether one of them may go on alone.

The oracle itself is a file (``oraclePath``) that someone outside keeps; a driver reads it and says what it
says.  Here are the verifiers that ask it: one for each view and kept, so that what they know of followers is
the same for everyone who counts acks.  Source: upstream ``QuorumOracleMaj``.
"""

from mypy_extensions import i64

from zabra.config.ensemble import EnsembleConfig
from zabra.zab.quorum import QuorumOracleMaj, QuorumVerifier, verifier_of


class Oracle:
    """``says``: this server may go on alone.  False until the file was read."""

    __slots__ = ("_verifiers", "says")

    def __init__(self) -> None:
        self.says: bool = False
        self._verifiers: list[QuorumOracleMaj] = []

    def hear(self, says: bool) -> None:
        """The file says something else."""
        self.says = says
        for verifier in self._verifiers:
            verifier.oracle = says

    def count_followers(self, followers: i64) -> bool:
        """Tells to how many followers a leader forwards; returns whether the oracle lets it go on alone."""
        overrides = False
        for verifier in self._verifiers:
            overrides = verifier.update_need_oracle(followers) and self.says
        return overrides

    def verifier(self, config: EnsembleConfig) -> QuorumVerifier:
        """The verifier of a view; a hierarchical one asks no oracle, as upstream."""
        if config.groups:
            return verifier_of(config)
        voters = config.voters()
        for known in self._verifiers:
            if known.version == config.version and known.voters == voters:
                return known
        made = QuorumOracleMaj(voters, config.version, self.says)
        # Of a view that is over nobody asks any more; two may be in force at a time.
        self._verifiers = [*self._verifiers[-1:], made]
        return made
