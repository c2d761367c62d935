"""Throttles: what the server takes in, and when it would rather not.

Three of them, each off unless the configuration asks for it: a token bucket for sessions
(``ConnectionThrottle``), a limit to the bytes of large requests under way (``LargeRequests``) and a queue of
requests that must wait because too many are under way (``HeldRequests``).  Source: upstream ``BlueThrottle``,
``RequestThrottler``, ``ZooKeeperServer``; docs/adr/0015.
"""

from collections import deque
from typing import Final

from mypy_extensions import i64

from zabra.proto import codes
from zabra.proto.request import Request
from zabra.server.client_connection import CONN_CLOSED, ClientConnection
from zabra.server.prng import SplitMix
from zabra.server.settings import Settings

# Chances are drawn as one of so many equal parts.
CHANCE_PARTS: Final = 1 << 30


class ConnectionThrottle:
    """A token bucket, and BLUE beside it: refuse some at random before the bucket is empty for all.

    A session costs one token, or (weights enabled) what its kind costs; the bucket's size and filling are
    then meant in global sessions.
    """

    __slots__ = (
        "_by_weight", "_decrease_below", "_drop_decrease", "_drop_increase", "_filled_ms", "_freeze_ms",
        "_frozen_ms", "_global_weight", "_local_weight", "_random", "_renew_weight", "drop_chance",
        "fill_count", "fill_time_ms", "max_tokens", "tokens",
    )  # fmt: skip

    def __init__(self, settings: Settings, random: SplitMix, now_ms: i64) -> None:
        self._random: SplitMix = random
        self._by_weight: bool = settings.connection_throttle_weight_enabled
        self._local_weight: i64 = settings.connection_throttle_local_session_weight
        # A global session and one that comes back never cost less than a local one.
        self._global_weight: i64 = max(
            settings.connection_throttle_global_session_weight, self._local_weight
        )
        self._renew_weight: i64 = max(settings.connection_throttle_renew_session_weight, self._local_weight)
        scale: i64 = self._global_weight if self._by_weight else 1
        self.max_tokens: i64 = settings.connection_throttle_tokens * scale
        self.fill_count: i64 = settings.connection_throttle_fill_count * scale
        self.fill_time_ms: i64 = settings.connection_throttle_fill_time_ms
        self.tokens: i64 = self.max_tokens
        self._filled_ms: i64 = now_ms
        self._freeze_ms: i64 = settings.connection_throttle_freeze_time_ms
        self._frozen_ms: i64 = now_ms
        self._drop_increase: float = settings.connection_throttle_drop_increase
        self._drop_decrease: float = settings.connection_throttle_drop_decrease
        self._decrease_below: float = settings.connection_throttle_decrease_ratio * float(self.max_tokens)
        self.drop_chance: float = 0.0

    def deficit(self) -> i64:
        """Tokens that are missing in the bucket."""
        return self.max_tokens - self.tokens

    def price(self, is_new: bool, is_local: bool) -> i64:
        """What a session of this kind costs, in tokens."""
        if not self._by_weight:
            return 1
        if not is_new:
            return self._renew_weight
        return self._local_weight if is_local else self._global_weight

    def admits(self, price: i64, now_ms: i64) -> bool:
        """Whether a session may come in at ``now_ms``; takes its price if so."""
        if self.max_tokens == 0:
            return True
        passed = now_ms - self._filled_ms
        if passed > self.fill_time_ms:
            filled = self.tokens + passed * self.fill_count // self.fill_time_ms
            self.tokens = min(filled, self.max_tokens)
            self._filled_ms = now_ms
        if self._freeze_ms != -1 and self._drops(now_ms):
            return False
        if self.tokens < price:
            return False
        self.tokens -= price
        return True

    def _drops(self, now_ms: i64) -> bool:
        """BLUE: whether chance refuses this one; the chance follows the bucket, once a freeze time."""
        if now_ms - self._frozen_ms > self._freeze_ms:
            self._frozen_ms = now_ms
            if self.tokens == 0:
                self.drop_chance = min(self.drop_chance + self._drop_increase, 1.0)
            elif float(self.deficit()) <= self._decrease_below:
                self.drop_chance = max(self.drop_chance - self._drop_decrease, 0.0)
        return self.drop_chance > 0.0 and self._random.below(CHANCE_PARTS) < int(
            self.drop_chance * CHANCE_PARTS
        )


class LargeRequests:
    """How many bytes of large requests are under way.  ``threshold`` -1: no request is large."""

    __slots__ = ("bytes_under_way", "max_bytes", "threshold")

    def __init__(self, threshold: i64, max_bytes: i64) -> None:
        self.threshold: i64 = threshold
        self.max_bytes: i64 = max_bytes
        self.bytes_under_way: i64 = 0

    def admits(self, size: i64) -> bool:
        """Whether a request of ``size`` bytes may be taken in now."""
        if self.threshold < 0 or size <= self.threshold:
            return True
        return self.bytes_under_way + size <= self.max_bytes

    def begun(self, size: i64) -> None:
        """A request of this size waits for its answer."""
        if 0 <= self.threshold < size:
            self.bytes_under_way += size

    def ended(self, size: i64) -> None:
        """It is answered, or given up."""
        if 0 <= self.threshold < size:
            self.bytes_under_way -= size


class Held:
    """One request that waits, and whose it is."""

    __slots__ = ("conn", "request")

    def __init__(self, conn: ClientConnection, request: Request) -> None:
        self.conn: ClientConnection = conn
        self.request: Request = request


class HeldRequests:
    """Requests held back, oldest first over all connections, because ``max_requests`` are under way.

    The order is that in which they came: while one waits, everything behind it does, reads and pings
    included, as upstream.  ``max_requests`` 0: none is ever held back.
    """

    __slots__ = (
        "_check_connection", "_check_latency", "_drop_stale", "_queue", "_throttled_op_wait_ms",
        "max_requests", "stall_ms",
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self.max_requests: i64 = settings.request_throttle_max_requests
        self.stall_ms: i64 = settings.request_throttle_stall_time_ms
        self._drop_stale: bool = settings.request_throttle_drop_stale
        self._check_connection: bool = settings.request_stale_connection_check
        self._check_latency: bool = settings.request_stale_latency_check
        self._throttled_op_wait_ms: i64 = settings.throttled_op_wait_ms
        self._queue: deque[Held] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def must_wait(self, in_flight: i64) -> bool:
        """Whether a request that comes now is to be held back."""
        return self.max_requests > 0 and (len(self._queue) > 0 or in_flight >= self.max_requests)

    def add(self, conn: ClientConnection, request: Request) -> None:
        """Holds a request back."""
        self._queue.append(Held(conn, request))

    def next(self, in_flight: i64, now_ms: i64) -> Held | None:
        """The oldest one, if it need not wait any longer: there is room, or it is to be dropped."""
        if not self._queue:
            return None
        head = self._queue[0]
        if in_flight >= self.max_requests and not self.is_dropped(head, now_ms):
            return None
        return self._queue.popleft()

    def is_stale(self, held: Held, now_ms: i64) -> bool:
        """Whether nobody can be waiting for its answer any more; the end of a session is never stale."""
        if held.request.op == codes.OP_CLOSE_SESSION:
            return False
        if self._check_connection and held.conn.state == CONN_CLOSED:
            return True
        return self._check_latency and now_ms - held.request.created_ms > held.conn.timeout_ms

    def is_dropped(self, held: Held, now_ms: i64) -> bool:
        """Whether it is not to be carried out at all."""
        return self._drop_stale and self.is_stale(held, now_ms)

    def waited_too_long(self, request: Request, now_ms: i64) -> bool:
        """Whether it is answered THROTTLEDOP rather than carried out."""
        if self._throttled_op_wait_ms <= 0 or request.op == codes.OP_PING:
            return False
        if request.op == codes.OP_CLOSE_SESSION or request.op == codes.OP_CREATE_SESSION:
            return False
        return now_ms - request.created_ms > self._throttled_op_wait_ms

    def clear(self) -> None:
        """Every connection is closed: nobody waits any more."""
        self._queue.clear()
