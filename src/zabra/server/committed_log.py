"""CommittedLog: the last committed txns, kept in memory so that learners can be synced by DIFF.

Source: upstream ``ZKDatabase.addCommittedProposal``.
"""


from mypy_extensions import i64

from zabra.fifo import Fifo
from zabra.proto.txn import TxnEntry


class CommittedLog:
    """At most ``limit`` entries, without gaps, oldest first."""

    __slots__ = ("_entries", "limit")

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self._entries: Fifo[TxnEntry] = Fifo()

    def __len__(self) -> int:
        return len(self._entries)

    def min_zxid(self, last_processed: i64) -> i64:
        """The oldest zxid kept; ``last_processed`` when nothing is."""
        return last_processed if self._entries.is_empty() else self._entries.first().header.zxid

    def max_zxid(self, last_processed: i64) -> i64:
        """The newest zxid kept; ``last_processed`` when nothing is."""
        return last_processed if self._entries.is_empty() else self._entries.last().header.zxid

    def add(self, entry: TxnEntry) -> None:
        """Adds the txn committed next.

        A gap would make a later DIFF skip txns (ZK-4925), so it is asserted away: the counter grows by
        one within an epoch, and a new epoch starts at one.
        """
        entries = self._entries
        if not entries.is_empty():
            last = entries.last().header.zxid
            zxid = entry.header.zxid
            assert zxid == last + 1 or (zxid >> 32 > last >> 32 and zxid & 0xFFFFFFFF == 1), (
                f"gap in committed txns: 0x{zxid:x} after 0x{last:x}"
            )
        entries.append(entry)
        if len(entries) > self.limit:
            entries.take()

    def entries(self) -> list[TxnEntry]:
        """All entries, oldest first."""
        return self._entries.items()

    def clear(self) -> None:
        """Forgets everything (the tree was replaced)."""
        self._entries.clear()
