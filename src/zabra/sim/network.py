"""Network: TCP-shaped connections between hosts, and everything that happens to them.

Within a connection bytes never reorder, vanish or come twice; connections do break.  What is sent arrives
later, in arbitrary cuts (``cut_chance``: half a record now, the rest with what follows), in order per
direction.  Packet loss shows as the delay of a retransmission.  Between two hosts, in each direction on its
own, delivery can be blocked (a partition, one-way or full), or clogged for a while.  A connection can be
closed in the middle of a record, a dial refused or left without an answer.

Hosts are small ints.  Whoever owns an end of a connection is told through ``Owner``.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol
from zlib import crc32

from mypy_extensions import mypyc_attr

from zabra.sim.events import Scheduler
from zabra.sim.prng import Prng

# Bytes on their way above which a sender is told that it is congested, and below which that it is not.
CONGESTED_BYTES: Final = 256 * 1024
DRAINED_BYTES: Final = 64 * 1024
# The longest that TCP waits before it sends again what may be lost.
_MAX_RETRANSMIT_US: Final = 400_000
# The same for dials, the first time (RFC 6298).
_FIRST_KNOCK_US: Final = 1_000_000
# The rest of a cut record follows this much later.
_MAX_CUT_DELAY_US: Final = 3_000
_HOST_SHIFT: Final = 16


class Taker(Protocol):
    """Whoever may hold up what is sent (``gate.Gate``)."""

    def sent(self, end: "End", data: bytes) -> bool:
        """Takes what ``end`` sends, to pass it to ``Network.send_on`` when it likes; False: it does not."""


class Owner(Protocol):
    """Whoever listens at a host: what the network reports to it."""

    def accepts(self, port: int) -> bool:
        """Whether somebody listens on ``port`` now."""

    def link_made(self, end: "End", port: int, dial_id: int) -> None:
        """A connection is open; ``dial_id`` is 0 for one that came in."""

    def dial_failed(self, dial_id: int) -> None:
        """A dial was refused or not answered in time."""

    def link_data(self, end: "End", data: bytes) -> None:
        """Bytes arrived."""

    def link_lost(self, end: "End") -> None:
        """The connection is gone; nothing more comes."""

    def link_congested(self, end: "End", congested: bool) -> None:
        """The peer takes too little, or has caught up."""


class End:
    """One end of a connection.  ``queue`` is what this end has sent and the other has not received."""

    __slots__ = (
        "alive",
        "congested",
        "conn_id",
        "host",
        "last_us",
        "owner",
        "paused",
        "peer",
        "peer_host",
        "port",
        "queue",
        "queued_bytes",
        "scheduled",
        "serial",
        "tag",
    )

    def __init__(self, serial: int, host: int, owner: Owner, peer_host: int, port: int) -> None:
        self.serial = serial
        self.host = host
        self.owner = owner
        self.peer_host = peer_host
        self.port = port
        self.peer: End | None = None
        # False once this end is closed or has been told that the connection is lost.
        self.alive = True
        self.queue: deque[tuple[int, bytes | None]] = deque()
        self.queued_bytes = 0
        self.last_us = 0
        self.scheduled = False
        # This end does not read.
        self.paused = False
        self.congested = False
        # The owner's own: its number for the connection, and anything else.
        self.conn_id = 0
        self.tag: object = None


class _Dial:
    """A dial on its way."""

    __slots__ = ("dial_id", "end", "host", "left_us", "owner", "port", "targets", "timeout_us", "wait_us")

    def __init__(
        self, host: int, owner: Owner, port: int, targets: list[int], dial_id: int, timeout_us: int
    ) -> None:
        self.host = host
        self.owner = owner
        self.port = port
        self.targets = targets
        self.dial_id = dial_id
        self.timeout_us = timeout_us
        # For the first target: what is left of the time, and when TCP knocks again.
        self.left_us = timeout_us
        self.wait_us = 0
        self.end: End | None = None


@mypyc_attr(allow_interpreted_subclasses=True)
class Network:
    """Delays are in microseconds; ``counts`` says what was done to the connections."""

    def __init__(self, scheduler: Scheduler, prng: Prng) -> None:
        self.scheduler = scheduler
        self.prng = prng
        self.base_us = 200
        self.jitter_us = 100
        # After a partition heals, TCP notices with its next retransmission: within this time.
        self.retransmit_us = _MAX_RETRANSMIT_US
        # How long it waits for the first answer to a dial before it tries again.
        self.knock_us = _FIRST_KNOCK_US
        # Whoever listens in: serial of the sending end, its host, the receiving host, port, bytes.
        self.tap: Callable[[int, int, int, int, bytes], None] | None = None
        self.gate: Taker | None = None
        self.cut_chance = 0.0
        self.loss_chance = 0.0
        self.slow_pairs: dict[int, int] = {}
        self.owners: dict[int, Owner] = {}
        self.bytes_delivered = 0
        # Over everything delivered and when: two runs that agree here have done the same.
        self.checksum = 0
        self.counts: dict[str, int] = {}
        self._blocked: dict[int, int] = {}
        self._clogged: dict[int, int] = {}
        self._stalled: dict[int, list[End]] = {}
        self._ends: dict[int, End] = {}
        self._serial = 0

    # Faults.

    def count(self, kind: str) -> None:
        """One more of ``kind``."""
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def block(self, source: int, target: int) -> None:
        """Nothing from ``source`` reaches ``target`` until as many ``unblock`` calls."""
        key = source << _HOST_SHIFT | target
        self._blocked[key] = self._blocked.get(key, 0) + 1

    def unblock(self, source: int, target: int) -> None:
        """Undoes one ``block``; what was held up follows with TCP's next retransmission."""
        key = source << _HOST_SHIFT | target
        left = self._blocked.get(key, 0) - 1
        if left > 0:
            self._blocked[key] = left
            return
        self._blocked.pop(key, None)
        self._release(key)

    def is_blocked(self, source: int, target: int) -> bool:
        """Whether a partition stands between them in this direction."""
        return (source << _HOST_SHIFT | target) in self._blocked

    def clog(self, source: int, target: int, until_us: int) -> None:
        """Delivery stops until ``until_us``, then goes on."""
        key = source << _HOST_SHIFT | target
        self._clogged[key] = max(self._clogged.get(key, 0), until_us)

    def slow_pair(self, source: int, target: int, extra_us: int) -> None:
        """Adds a delay in one direction (0: none)."""
        key = source << _HOST_SHIFT | target
        if extra_us > 0:
            self.slow_pairs[key] = extra_us
        else:
            self.slow_pairs.pop(key, None)

    def heal(self) -> None:
        """Ends every partition, clog and slow pair."""
        keys = list(self._blocked)
        self._blocked.clear()
        self._clogged.clear()
        self.slow_pairs.clear()
        for key in keys:
            self._release(key)

    def _release(self, key: int) -> None:
        for end in self._stalled.pop(key, []):
            self.scheduler.after(self.prng.below(self.retransmit_us), self._deliver, end)

    def newest_serial(self) -> int:
        """The serial of the newest connection's end."""
        return self._serial + 1

    def connections(self) -> list[End]:
        """One end of every open connection, in the order they were made."""
        return [end for end in self._ends.values() if end.alive and end.peer is not None]

    def cut_connection(self, end: End) -> None:
        """Breaks a connection: some of the bytes on their way arrive, then both sides lose it."""
        peer = end.peer
        assert peer is not None
        for one in (end, peer):
            on_way = b"".join(data for _, data in one.queue if data is not None)
            one.queue.clear()
            one.queued_bytes = 0
            if on_way:
                one.queue.append((self.scheduler.now_us, on_way[: self.prng.below(len(on_way) + 1)]))
            one.queue.append((self.scheduler.now_us, None))
            self._schedule(one, self.scheduler.now_us + self.prng.below(1000))

    def break_behind(self, end: End) -> None:
        """Breaks a connection; what was sent so far arrives, and then both sides lose it."""
        peer = end.peer
        assert peer is not None
        for one in (end, peer):
            when = max(one.last_us, self.scheduler.now_us)
            one.queue.append((when, None))
            self._schedule(one, when)

    # What owners ask for.

    def delay_us(self, source: int, target: int) -> int:
        """How long a packet takes now."""
        delay = self.base_us + int(self.prng.spread(self.jitter_us))
        if self.slow_pairs:
            delay += self.slow_pairs.get(source << _HOST_SHIFT | target, 0)
        if self.loss_chance > 0.0 and self.prng.chance(self.loss_chance):
            self.count("loss")
            delay += self.prng.below(self.retransmit_us)
        return delay

    def dial(
        self, host: int, owner: Owner, port: int, targets: list[int], dial_id: int, timeout_us: int
    ) -> None:
        """Tries the hosts in turn; ``owner`` hears ``link_made`` or ``dial_failed``."""
        dial = _Dial(host, owner, port, targets, dial_id, timeout_us)
        dial.wait_us = self.knock_us
        self._try_dial(dial)

    def _try_dial(self, dial: _Dial) -> None:
        if not dial.targets:
            dial.owner.dial_failed(dial.dial_id)
            return
        target = dial.targets[0]
        if self.is_blocked(dial.host, target) or self.is_blocked(target, dial.host):
            self._not_answered(dial)
            return
        self.scheduler.after(self.delay_us(dial.host, target), self._dial_arrives, dial)

    def _not_answered(self, dial: _Dial) -> None:
        """Nobody has heard it: TCP tries again, after twice as long each time, until the time is up."""
        if dial.wait_us >= dial.left_us:
            self.scheduler.after(dial.left_us, self._dial_refused, dial)
            return
        dial.left_us -= dial.wait_us
        self.scheduler.after(dial.wait_us, self._try_dial, dial)
        dial.wait_us *= 2

    def _dial_refused(self, dial: _Dial) -> None:
        del dial.targets[0]
        dial.left_us = dial.timeout_us
        dial.wait_us = self.knock_us
        self._try_dial(dial)

    def _dial_arrives(self, dial: _Dial) -> None:
        target = dial.targets[0]
        listener = self.owners.get(target)
        if listener is None:
            self._not_answered(dial)
            return
        if not listener.accepts(dial.port):
            self.scheduler.after(self.delay_us(target, dial.host), self._dial_refused, dial)
            return
        self._serial += 2
        near = End(self._serial, dial.host, dial.owner, target, dial.port)
        far = End(self._serial + 1, target, listener, dial.host, dial.port)
        near.peer = far
        far.peer = near
        # What the other side sends first waits until the dialler knows of the connection.
        near.paused = True
        self._ends[self._serial] = near
        listener.link_made(far, dial.port, 0)
        dial.end = near
        self.scheduler.after(self.delay_us(target, dial.host), self._dial_answered, dial)

    def _dial_answered(self, dial: _Dial) -> None:
        end = dial.end
        assert end is not None
        end.paused = False
        dial.owner.link_made(end, dial.port, dial.dial_id)
        peer = end.peer
        if peer is not None and peer.queue:
            self._schedule(peer, peer.queue[0][0])

    def send(self, end: End, data: bytes) -> None:
        """Bytes from ``end`` to its peer."""
        if not end.alive or (self.gate is not None and self.gate.sent(end, data)):
            return
        self.send_on(end, data)

    def send_on(self, end: End, data: bytes) -> None:
        """As ``send``, past the gate."""
        when = self.scheduler.now_us + self.delay_us(end.host, end.peer_host)
        if when < end.last_us:
            when = end.last_us
        else:
            end.last_us = when
        end.queue.append((when, data))
        end.queued_bytes += len(data)
        if not end.scheduled:
            end.scheduled = True
            self.scheduler.at(when, self._deliver, end)
        if end.queued_bytes > CONGESTED_BYTES and not end.congested:
            end.congested = True
            self.count("congestion")
            end.owner.link_congested(end, True)

    def close(self, end: End) -> None:
        """``end`` hears nothing more; its peer gets what was sent, then the loss."""
        if not end.alive:
            return
        end.alive = False
        when = max(self.scheduler.now_us + self.delay_us(end.host, end.peer_host), end.last_us)
        end.last_us = when
        end.queue.append((when, None))
        self._schedule(end, when)
        self._forget(end)

    def vanish(self, end: End) -> None:
        """The end's machine lost power: nothing more comes from it, not even a close."""
        end.alive = False
        end.queue.clear()
        end.queued_bytes = 0
        self._forget(end)

    def pause(self, end: End, paused: bool) -> None:
        """``end`` stops reading, or goes on."""
        end.paused = paused
        peer = end.peer
        if not paused and peer is not None and peer.queue:
            self._schedule(peer, peer.queue[0][0])

    def _forget(self, end: End) -> None:
        if end.peer is None or not end.peer.alive:
            self._ends.pop(end.serial & ~1, None)

    def _schedule(self, end: End, when_us: int) -> None:
        if not end.scheduled:
            end.scheduled = True
            self.scheduler.at(when_us, self._deliver, end)

    def _held_up(self, end: End) -> bool:
        """Whether a partition or clog keeps this direction from delivering now; then it is taken care of."""
        key = end.host << _HOST_SHIFT | end.peer_host
        if key in self._blocked:
            # It counts as scheduled until the partition heals.
            end.scheduled = True
            self._stalled.setdefault(key, []).append(end)
            return True
        until = self._clogged.get(key)
        if until is not None:
            if until > self.scheduler.now_us:
                end.scheduled = True
                self.scheduler.at(until, self._deliver, end)
                return True
            del self._clogged[key]
        return False

    def _deliver(self, end: End) -> None:
        """Hands over what has arrived by now in one piece, or, at random, only a part of it."""
        end.scheduled = False
        peer = end.peer
        assert peer is not None
        if not peer.alive:
            self._deliver_to_closed(end)
            return
        if peer.paused or ((self._blocked or self._clogged) and self._held_up(end)):
            return
        queue = end.queue
        if not queue:
            return
        now = self.scheduler.now_us
        if queue[0][0] > now:
            self._schedule(end, queue[0][0])
            return
        data = queue.popleft()[1]
        if data is not None:
            if queue and queue[0][0] <= now and queue[0][1] is not None:
                data = self._gather(queue, data, now)
            if self.cut_chance > 0.0 and len(data) > 1 and self.prng.chance(self.cut_chance):
                data = self._cut(end, data)
            self._hand_over(end, peer, data)
        else:
            peer.alive = False
            self._forget(peer)
            peer.owner.link_lost(peer)
            return
        if queue:
            self._schedule(end, queue[0][0])

    def _gather(self, queue: deque[tuple[int, bytes | None]], data: bytes, now: int) -> bytes:
        parts = [data]
        while queue and queue[0][0] <= now:
            part = queue[0][1]
            if part is None:
                break
            parts.append(part)
            queue.popleft()
        return b"".join(parts)

    def _cut(self, end: End, data: bytes) -> bytes:
        at = 1 + self.prng.below(len(data) - 1)
        later = self.scheduler.now_us + self.prng.below(_MAX_CUT_DELAY_US)
        if later > end.last_us:
            end.last_us = later
        end.queue.appendleft((later, data[at:]))
        self.count("cut")
        return data[:at]

    def _hand_over(self, end: End, peer: End, data: bytes) -> None:
        size = len(data)
        end.queued_bytes -= size
        self.bytes_delivered += size
        self.checksum = crc32(data, self.checksum ^ (self.scheduler.now_us & 0xFFFFFFFF))
        if self.tap is not None:
            self.tap(end.serial, end.host, peer.host, end.port, data)
        peer.owner.link_data(peer, data)
        if end.congested and end.queued_bytes < DRAINED_BYTES:
            end.congested = False
            if end.alive:
                end.owner.link_congested(end, False)

    def _deliver_to_closed(self, end: End) -> None:
        """The peer is not there any more: what was sent is answered by a reset, if anybody can answer."""
        end.queue.clear()
        end.queued_bytes = 0
        if end.alive and end.peer_host in self.owners and not self.is_blocked(end.peer_host, end.host):
            end.alive = False
            self._forget(end)
            end.owner.link_lost(end)
