"""Sessions: none expires before its time, none outlives it, and its ephemerals go with it.

What a server knows of a session it has from the session's txns and pings; the checker knows less, so it
asserts what must hold whatever the links did: a session lives at least its timeout after it was created, at
least its timeout after a new leader was established (every leader starts anew), and, once all faults are
over or clients only keep their sessions, for as long as its client is connected.  (That ephemerals go with
it is the model's business.)
"""

from typing import Final

from zabra.proto import codes
from zabra.proto.records import CreateSessionTxn
from zabra.sim import histories
from zabra.sim.checkers import Judgement
from zabra.sim.clock import US_PER_MS
from zabra.sim.cluster import Cluster
from zabra.sim.monitor import ClusterMonitor

# Clocks run up to 5 % too fast or too slow, two of them may be involved.
_CLOCK_SLACK: Final = 0.88
# So many times its mean three delays hardly ever come to.
_JITTERS: Final = 16


class SessionChecker:
    """Looks at every closeSession that no client asked for."""

    def __init__(
        self, monitor: ClusterMonitor, cluster: Cluster, judgement: Judgement, calms: list[tuple[int, int]]
    ) -> None:
        self.monitor = monitor
        self.cluster = cluster
        self.judgement = judgement
        # From when to when (us) nothing went wrong.
        self.calms = calms
        # Session -> (from, to) in us during which its client was connected.
        self._connected: dict[int, list[tuple[int, int]]] = {}

    def check(self) -> None:
        """All of them."""
        self._find_connections()
        created: dict[int, tuple[int, int]] = {}
        for entry in self.monitor.chain:
            header = entry.header
            seen_us = self.monitor.seen_us.get(header.zxid, -1)
            if isinstance(entry.record, CreateSessionTxn):
                made_us = self.monitor.proposed_us.get(header.zxid, -1)
                created[header.client_id] = (made_us, entry.record.time_out)
            elif header.type == codes.OP_CLOSE_SESSION and header.cxid == 0:
                made = created.get(header.client_id)
                closed_us = self.monitor.proposed_us.get(header.zxid, seen_us)
                if made is not None and closed_us >= 0:
                    self._check_expiry(header.client_id, header.zxid, closed_us, made[0], made[1])

    def _slowest_us(self) -> int:
        """How long a client's ping may take to the leader while nothing is wrong.

        Its server passes it on with the next of its own, half a tick later, and there are three delays on the
        way of which each may be many times the mean.
        """
        network = self.cluster.network
        tick_us = self.cluster.settings.tick_ms * US_PER_MS
        return tick_us // 2 + 3 * network.base_us + _JITTERS * network.jitter_us

    def _find_connections(self) -> None:
        since: dict[int, tuple[int, int]] = {}
        for entry in self.cluster.history.entries:
            if entry.kind == histories.CONNECTED:
                since[entry.client] = (entry.session_id, entry.at_us)
            elif entry.kind in (histories.DISCONNECTED, histories.EXPIRED, histories.CLOSED):
                started = since.pop(entry.client, None)
                if started is not None:
                    self._connected.setdefault(started[0], []).append((started[1], entry.at_us))
        now = self.cluster.scheduler.now_us
        for session_id, start in since.values():
            self._connected.setdefault(session_id, []).append((start, now))

    def _check_expiry(
        self, session_id: int, zxid: int, seen_us: int, created_us: int, timeout_ms: int
    ) -> None:
        self.judgement.count("expiries")
        least_us = int(timeout_ms * US_PER_MS * _CLOCK_SLACK)
        led_us = self.monitor.leader_since_us.get(zxid >> 32, -1)
        for what, start_us in (("was created", created_us), ("got a new leader", led_us)):
            if start_us >= 0 and seen_us - start_us < least_us:
                lived_ms = (seen_us - start_us) // US_PER_MS
                self.judgement.complain(
                    "expiry",
                    f"session 0x{session_id:x} expires {lived_ms} ms after it {what}, "
                    f"its timeout is {timeout_ms} ms",
                )
        if timeout_ms * US_PER_MS < self._slowest_us():
            return
        if not any(
            calm and calm + 3 * timeout_ms * US_PER_MS <= seen_us <= end for calm, end in self.calms
        ):
            return
        for start, end in self._connected.get(session_id, []):
            if start + timeout_ms * US_PER_MS // 2 < seen_us and seen_us < end - US_PER_MS:
                self.judgement.complain(
                    "expiry", f"session 0x{session_id:x} expires while its client is connected, in calm"
                )
