"""Faults of links: slow, lossy, standing still, broken, cut off."""

from typing import Final

from zabra.proto import codes
from zabra.sim.clock import US_PER_MS
from zabra.sim.gate import ACKLD, SNAPSHOT_END
from zabra.sim.trouble import Action, Faults

# Behind what a connection may break: each is a step of synchronisation, or of what follows.
_CUT_BEHIND: Final = (
    *[SNAPSHOT_END] * 4,
    codes.PACKET_LEADERINFO,
    codes.PACKET_ACKEPOCH,
    codes.PACKET_DIFF,
    codes.PACKET_TRUNC,
    codes.PACKET_NEWLEADER,
    ACKLD,
    codes.PACKET_UPTODATE,
    codes.PACKET_PROPOSAL,
    codes.PACKET_COMMIT,
    codes.PACKET_INFORM,
    codes.PACKET_REQUEST,
)


class LinkFaults(Faults):
    """What goes wrong between two hosts."""

    def actions(self) -> dict[str, Action]:
        return {
            "delay": self._delay,
            "client delay": self._client_delay,
            "loss": self._loss,
            "clog": self._clog,
            "swizzle clog": self._swizzle_clog,
            "cut": self._cut,
            "cut at a packet": self._cut_at_packet,
            "one-way partition": self._one_way,
            "partition": self._partition,
            "isolate leader": self._isolate_leader,
            "flapping": self._flapping,
            "client partition": self._client_partition,
        }

    def _delay(self) -> bool:
        source, target = self.trouble.pair()
        network = self.cluster.network
        network.slow_pair(source, target, 1 + self.prng.below(300_000))
        self.trouble.later(self.trouble.span_ms(), lambda: network.slow_pair(source, target, 0))
        return True

    def _client_delay(self) -> bool:
        sid = self.prng.pick(self.trouble.sids())
        network = self.cluster.network
        extra = 1 + self.prng.below(300_000)
        outward = self.prng.chance(0.5)
        pairs = [(sid, host) if outward else (host, sid) for host in self.trouble.client_hosts()]
        for source, target in pairs:
            network.slow_pair(source, target, extra)

        def undo() -> None:
            for source, target in pairs:
                network.slow_pair(source, target, 0)

        self.trouble.later(self.trouble.span_ms(), undo)
        return True

    def _loss(self) -> bool:
        network = self.cluster.network
        network.loss_chance = self.prng.log_between(0.002, 0.3)

        def undo() -> None:
            network.loss_chance = 0.0

        self.trouble.later(self.trouble.span_ms(), undo)
        return True

    def _clog(self) -> bool:
        source, target = self.trouble.pair()
        until = self.cluster.scheduler.now_us + self.trouble.span_ms() * US_PER_MS // 2
        self.cluster.network.clog(source, target, until)
        return True

    def _swizzle_clog(self) -> bool:
        now = self.cluster.scheduler.now_us
        network = self.cluster.network
        chosen = self.prng.sample(self.trouble.sids(), 1 + self.prng.below(len(self.trouble.sids())))
        for sid in chosen:
            until = now + self.prng.below(4_000_000)
            for other in self.trouble.sids():
                if other != sid:
                    network.clog(sid, other, until)
                    network.clog(other, sid, until)
        return True

    def _cut_at_packet(self) -> bool:
        if self.trouble.cutter is None:
            return False
        self.trouble.cutter.kind = self.prng.pick(_CUT_BEHIND)
        self.trouble.cutter.skip = self.prng.below(3)
        return True

    def _cut(self) -> bool:
        open_now = self.cluster.network.connections()
        if not open_now:
            return False
        for end in self.prng.sample(open_now, 1 + self.prng.below(3)):
            self.cluster.network.cut_connection(end)
        return True

    def _one_way(self) -> bool:
        self.trouble.block([self.trouble.pair()])
        return True

    def _partition(self) -> bool:
        sids = self.prng.shuffled(self.trouble.sids())
        if len(sids) < 2:
            return False
        cut = 1 + self.prng.below(len(sids) - 1)
        part, rest = sids[:cut], sids[cut:]
        pairs = [(a, b) for a in part for b in rest]
        self.trouble.block(pairs + [(b, a) for a, b in pairs])
        return True

    def _isolate_leader(self) -> bool:
        leader = self.trouble.leader()
        if leader is None:
            return False
        others = [sid for sid in self.trouble.sids() if sid != leader.sid]
        outward = [(leader.sid, sid) for sid in others]
        inward = [(sid, leader.sid) for sid in others]
        self.trouble.block(self.prng.pick([outward, inward, outward + inward]))
        return True

    def _flapping(self) -> bool:
        source, target = self.trouble.pair()
        network = self.cluster.network
        for i in range(2 + self.prng.below(6)):
            start = i * 400 + self.prng.below(300)
            self.cluster.scheduler.after(
                start * US_PER_MS, self._flap, (source, target, 50 + self.prng.below(300))
            )
        network.count("flaps")
        return True

    def _flap(self, what: tuple[int, int, int]) -> None:
        if self.trouble.active:
            source, target, ms = what
            network = self.cluster.network
            network.block(source, target)
            self.trouble.later(ms, lambda: network.unblock(source, target))

    def _client_partition(self) -> bool:
        sid = self.prng.pick(self.trouble.sids())
        hosts = self.trouble.client_hosts()
        self.trouble.block([(sid, host) for host in hosts] + [(host, sid) for host in hosts])
        return True
