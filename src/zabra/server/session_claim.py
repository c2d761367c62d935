"""SessionClaim: session ids for an observer that nobody gave a number.

A server makes session ids from its id and the time it started, so ids are unique as long as numbers are.
An observer that registered itself has no number that others know of.  It claims a range of ids instead, by
a session: creating the first session of the range is a txn like any other, everybody sees those in one
order, and the first to create it has the range for as long as the session lives.  See docs/adr/0078.
"""

from typing import Final

from mypy_extensions import i64

from zabra.config.ensemble import EnsembleConfig
from zabra.server.prng import SplitMix

# Bits of an id below its range: a range is a second (1024 ms) of upstream's 65536 ids per ms.
RANGE_BITS: Final = 26
RANGE_IDS: Final = 1 << RANGE_BITS
# A new range is claimed when this many ids of the present one are used.
RENEW_IDS: Final = RANGE_IDS // 2
# Top bytes of ids to choose from.  255 belongs to TTL nodes, 0 to servers without a number.
FIRST_BYTE: Final = 64
LAST_BYTE: Final = 127
TIME_MASK: Final = (1 << 40) - 1
CXID_LIMIT: Final = 0x7FFFFFFF
TIMEOUT_SPREAD_MS: Final = 1 << 12


class SessionClaim:
    """The range one server holds or asks for.  ``first_id`` is the session that holds it, 0 for none."""

    __slots__ = ("_random", "_tries", "asked_cxid", "asked_id", "asked_timeout_ms", "first_id")

    def __init__(self, random: SplitMix) -> None:
        self._random: SplitMix = random
        self._tries: i64 = 0
        self.first_id: i64 = 0
        # What was asked for and not answered; cxid and timeout tell our txn from another's for the same
        # session: 43 bits that are drawn.
        self.asked_id: i64 = 0
        self.asked_cxid: i64 = 0
        self.asked_timeout_ms: i64 = 0

    def is_held(self) -> bool:
        """Whether there are ids to give out."""
        return self.first_id != 0

    def is_worn(self, last_session_id: i64) -> bool:
        """Whether it is time for another range: ids up to ``last_session_id`` are used."""
        return last_session_id - self.first_id > RENEW_IDS

    def choose(self, config: EnsembleConfig, wall_ms: i64, timeout_ms: i64) -> None:
        """Chooses the range to ask for: a second from now on, under a top byte that is no member's id.

        The session that holds it will have a timeout of ``timeout_ms`` or a little more.
        """
        taken = dict.fromkeys([sid & 0xFF for sid in config.servers])
        free = [byte for byte in range(FIRST_BYTE, LAST_BYTE + 1) if byte not in taken]
        if not free:
            free = [byte for byte in range(1, 255) if byte not in taken and byte != 0x80]
        byte = free[self._random.below(len(free))] if free else LAST_BYTE
        second = ((wall_ms & TIME_MASK) >> 10) + self._tries
        self._tries += 1
        self.asked_id = signed_id((byte << 56) | (((second << 10) & TIME_MASK) << 16))
        self.asked_cxid = 1 + self._random.below(CXID_LIMIT)
        self.asked_timeout_ms = timeout_ms + self._random.below(TIMEOUT_SPREAD_MS)

    def is_answer(self, session_id: i64, cxid: i64, timeout_ms: i64) -> bool:
        """Whether a createSession txn is the one asked for."""
        if self.asked_id == 0 or session_id != self.asked_id:
            return False
        return cxid == self.asked_cxid and timeout_ms == self.asked_timeout_ms

    def settle(self, sessions: dict[int, int]) -> bool:
        """The txn asked for is committed, and not applied yet: whether the range is ours.

        It is not if any session of it lives, of whoever was first.
        """
        asked = self.asked_id
        self.asked_id = 0
        for session_id in sessions:
            if session_id >> RANGE_BITS == asked >> RANGE_BITS:
                return False
        self.first_id = asked
        self._tries = 0
        return True

    def lose(self) -> None:
        """The session that held the range is over."""
        self.first_id = 0


def signed_id(value: int) -> i64:
    """An id of 64 bits as the wire has it."""
    return value - (1 << 64) if value >= 1 << 63 else value
