"""Four-letter words: the text forms of the commands, byte for byte as Apache ZooKeeper 3.9 writes them.

A word is answered if the whitelist has it; ``srvr`` always is, and ``isro`` where the read-only mode is
enabled.  An answer is made within one turn of the loop, so what it may cost is bounded twice: in entries
shown (``ENTRIES_MAX``, then a last line says so) and in time over time (``Budget``): words that walk over
sessions, watches or metrics get a tenth of one core at most, however often they are asked for
(CVE-2017-5637).  Source: upstream ``server/command``, ``NIOServerCnxn``, ``ServerStats``.
"""

import logging
import time
from collections.abc import Callable

from zabra.admin.commands import BY_WORD, NOT_SERVING, Command
from zabra.admin.context import AdminContext, MoreGauges, Observable, no_more_gauges
from zabra.config.server import ServerConfig

log = logging.getLogger("zabra")

TOO_OFTEN = "is not executed because it is asked for too often."

# Sessions, connections, watches or ephemeral nodes that one answer shows.
ENTRIES_MAX = 20_000
# The time of costly words: a share of all time, and how much may be saved up.
COSTLY_SHARE = 0.1
COSTLY_BURST_MS = 1000.0

# Upstream writes answers in pieces of so many bytes, each of which counts as a packet.
_PACKET_BYTES = 8192

# Words that are answered by a server that serves nobody.
ALWAYS_ANSWERED = frozenset({"envi", "gtmk", "isro", "ruok", "stmk"})
# Words whose cost does not grow with anything; health checks live on them.
CHEAP = frozenset({"gtmk", "isro", "ruok", "srvr", "stmk"})


class Budget:
    """Time for costly words, in ms: ``share`` of what passes by, saved up to ``burst_ms``."""

    def __init__(self, clock_ms: Callable[[], float], share: float, burst_ms: float) -> None:
        self._clock_ms = clock_ms
        self._share = share
        self._burst_ms = burst_ms
        self._left_ms = burst_ms
        self._seen_ms = clock_ms()

    def has_some(self) -> bool:
        """Whether there is any left."""
        now = self._clock_ms()
        self._left_ms = min(self._burst_ms, self._left_ms + (now - self._seen_ms) * self._share)
        self._seen_ms = now
        return self._left_ms > 0

    def spend_since(self, start_ms: float) -> None:
        """Takes what has passed since ``start_ms``; may leave a debt."""
        self._left_ms -= self._clock_ms() - start_ms


def _monotonic_ms() -> float:
    return time.perf_counter() * 1000


class FourLetterWords:
    """Answers the words of one server.  ``context`` says what is told of configuration and version."""

    def __init__(
        self,
        config: ServerConfig,
        server: Observable,
        clock_ms: Callable[[], float] = _monotonic_ms,
        more_gauges: MoreGauges = no_more_gauges,
    ) -> None:
        self.context = AdminContext(config, server, more_gauges)
        self.enabled = enabled_words(config.four_letter_words, config.read_only_mode_enabled)
        self._clock_ms = clock_ms
        self._budget = Budget(clock_ms, COSTLY_SHARE, COSTLY_BURST_MS)

    def answer(self, word: str, rest: bytes) -> bytes:
        """The answer to ``word``, after which upstream closes; ``rest`` is what came behind it."""
        data = self._text(word, rest).encode("utf-8", "replace")
        # One packet at least: upstream counts the answers of words, and so do those who compare.
        self.context.server.note_packets_sent(max(1, -(-len(data) // _PACKET_BYTES)))
        return data

    def _text(self, word: str, rest: bytes) -> str:
        if word not in self.enabled:
            return f"{word} is not executed because it is not in the whitelist.\n"
        row = BY_WORD[word]
        if word in CHEAP:
            return self._run(word, row, rest)
        if not self._budget.has_some():
            return f"{word} {TOO_OFTEN}\n"
        start_ms = self._clock_ms()
        text = self._run(word, row, rest)
        self._budget.spend_since(start_ms)
        return text

    def _run(self, word: str, row: Command, rest: bytes) -> str:
        assert row.text is not None
        view = self.context.server.status(row.parts, ENTRIES_MAX)
        # An observer that is too far behind to serve says at least how far.
        tells_lag = word == "mntr" and view.role.has_lag
        if not view.role.serves and word not in ALWAYS_ANSWERED and not tells_lag:
            # Upstream's hash alone ends without a line feed.
            return NOT_SERVING if word == "hash" else NOT_SERVING + "\n"
        try:
            return row.text(self.context, view, rest)
        except OSError as error:
            # A folder that cannot be read is no reason to stop serving.
            log.warning("answering %s: %s", word, error)
            return f"{word} failed: {error}\n"


def enabled_words(whitelist: tuple[str, ...], read_only_mode: bool) -> frozenset[str]:
    """The words that are answered, for a whitelist (``*``: all)."""
    enabled = set(BY_WORD) if "*" in whitelist else set(BY_WORD).intersection(whitelist)
    enabled.add("srvr")
    if read_only_mode:
        enabled.add("isro")
    return frozenset(enabled)
