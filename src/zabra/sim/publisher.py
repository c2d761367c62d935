"""Publishers: what hears of commits beside a server must hear the committed log, every txn once, in order.

A publisher stands beside each server, as those of ``zabra.plugins`` do: it takes what the server informs of,
fetches from the server's log what it missed (a synchronisation, a restart), and where that log no longer
reaches back it begins anew behind the gap, and says so.  Its cursor is saved now and then; a crash takes it,
and what it published since, back to there.
"""

from collections.abc import Sequence
from typing import Final

from zabra.proto.txn import TxnEntry
from zabra.sim.checkers import Judgement
from zabra.sim.machine import Process
from zabra.storage.errors import StorageError

_SAVE_EVERY: Final = 16


class SimPublisher:
    """The publisher of one machine.  ``published``: zxid and bytes, in the order in which they went out."""

    def __init__(self, sid: int) -> None:
        self.sid = sid
        self.cursor = -1
        self.published: list[tuple[int, bytes]] = []
        # Places in ``published`` before which txns are missing, and said to be.
        self.gaps: dict[int, None] = {}
        self.fetched = 0
        self._saved = 0
        # Something was missed that the log did not have yet.
        self._behind = False

    def informed(self, process: Process, entries: Sequence[TxnEntry]) -> None:
        """The server says that these are committed."""
        if not self._behind and entries[0].header.zxid == self.cursor + 1:
            for entry in entries:
                if entry.header.zxid != self.cursor + 1:
                    # An epoch begins: only the log can tell whether something is missing before it.
                    self.fetch(process, int(entries[-1].header.zxid))
                    return
                self._publish(int(entry.header.zxid), entry.raw)
            return
        self.fetch(process, int(entries[-1].header.zxid))

    def _publish(self, zxid: int, raw: bytes) -> None:
        self.published.append((zxid, raw))
        self.cursor = zxid
        if len(self.published) - self._saved >= _SAVE_EVERY:
            self._saved = len(self.published)

    def fetch(self, process: Process, until: int) -> None:
        """Takes all up to ``until``, which is committed, from the log, once that has it."""
        if until <= self.cursor:
            return
        self._behind = True
        if process.server.last_synced_zxid < until:
            # An observer applies before it logs.  To ask over and over would take most of a run's time.
            return
        try:
            found = list(process.store.log.read_from(max(self.cursor, 0), until))
        except (StorageError, OSError):
            # Compacted so far that it cannot begin there.
            found = self._oldest(process, until)
        if not found or found[-1][0] != until:
            return
        self._behind = False
        if found[0][0] == self.cursor:
            del found[0]
        elif self.cursor >= 0:
            # The log proves nothing about what lies between.
            self.gaps[len(self.published)] = None
        for zxid, raw in found:
            self.fetched += 1
            self._publish(zxid, raw)

    def _oldest(self, process: Process, until: int) -> list[tuple[int, bytes]]:
        try:
            return [found for found in process.store.log.read_from(until, until) if found[0] == until]
        except (StorageError, OSError):
            return []

    def crashed(self) -> None:
        """What was not saved is done again."""
        del self.published[self._saved :]
        self.gaps = {place: None for place in self.gaps if place <= self._saved}
        self.cursor = self.published[-1][0] if self.published else -1
        self._behind = True

    def check(self, chain: Sequence[TxnEntry], judgement: Judgement) -> None:
        """Compares all that was published with the committed log."""
        place_of = {int(entry.header.zxid): place for place, entry in enumerate(chain)}
        before = -1
        for number, (zxid, raw) in enumerate(self.published):
            place = place_of.get(zxid, -1)
            if place < 0 or chain[place].raw != raw:
                judgement.complain("publisher", f"beside server {self.sid}: 0x{zxid:x} was never committed")
                return
            if number and (place <= before or (place != before + 1 and number not in self.gaps)):
                judgement.complain(
                    "publisher",
                    f"beside server {self.sid}: 0x{zxid:x} after 0x{self.published[number - 1][0]:x}",
                )
                return
            before = place
        judgement.count("published", len(self.published))
        judgement.count("published from the log", self.fetched)
        judgement.count("publisher gaps", len(self.gaps))
