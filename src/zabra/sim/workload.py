"""Workloads: client programs that want something, over every operation there is.

Each client runs ``BusyProgram``: it keeps a few requests in flight and chooses the next by the weights of
``Appetite``, which a seed draws, so that one run is full of multis and another of watches.  What a reply may
be is for the checkers to say; a program only remembers what makes its next requests likely to succeed.
"""

from typing import Any, Final

from mypy_extensions import mypyc_attr

from zabra.client import calls
from zabra.client.calls import Call, Part
from zabra.client.connection import WatchFired
from zabra.proto import codes
from zabra.proto.records import ACL, Id
from zabra.sim.client import SimClient
from zabra.sim.prng import Prng

USERS: Final = (b"alice:secret", b"bob:hush")
# base64(SHA-1("user:password")), as the digest scheme makes ids.
USER_IDS: Final = (
    Id("digest", "alice:aYXlLOpEooaV1cRAvUL1fp9Qt7E="),
    Id("digest", "bob:xA2Vy/n+epnjbCZvqljd3Co/Il4="),
)
FOLDERS: Final = ("/w", "/q", "/e", "/a", "/c", "/deep")

SET_DATA: Final = "setData"
CREATE: Final = "create"
DELETE: Final = "delete"
QUEUE: Final = "queue"
EPHEMERAL: Final = "ephemeral"
MULTI: Final = "multi"
READ: Final = "read"
WATCH: Final = "watch"
LASTING_WATCH: Final = "lastingWatch"
SYNC: Final = "sync"
ACLS: Final = "acl"
CONTAINER: Final = "container"
RARE: Final = "rare"
MOVE: Final = "move"
CLOSE: Final = "close"
ABANDON: Final = "abandon"
WANTS: Final = (
    SET_DATA,
    CREATE,
    DELETE,
    QUEUE,
    EPHEMERAL,
    MULTI,
    READ,
    WATCH,
    LASTING_WATCH,
    SYNC,
    ACLS,
    CONTAINER,
    RARE,
    MOVE,
    CLOSE,
    ABANDON,
)
_USUAL: Final[list[float]] = [
    *(10.0, 6.0, 4.0, 4.0, 5.0, 5.0, 14.0, 8.0),
    *(1.5, 3.0, 2.0, 3.0, 2.0, 0.7, 0.15, 0.15),
]


# Within this time a container is given another child.
_CONTAINER_US: Final = 600_000


class Appetite:
    """What clients want, how often, and how much of it; drawn from a seed."""

    def __init__(self, weights: list[float], keys: int, data_bytes: int, think_us: int, depth: int) -> None:
        self.weights = weights
        self.keys = keys
        self.data_bytes = data_bytes
        self.think_us = think_us
        self.depth = depth
        self.extended_types = False
        self.quotas = False

    def describe(self) -> str:
        """In a line."""
        most = sorted(zip(self.weights, WANTS, strict=True), reverse=True)[:4]
        likes = ",".join(f"{want}={weight:.1f}" for weight, want in most)
        pace = f"think={self.think_us // 1000}ms depth={self.depth}"
        return f"keys={self.keys} data={self.data_bytes} {pace} {likes}"


def draw_appetite(prng: Prng, think_us: int) -> Appetite:
    """Every want somewhere between rare and three times its usual weight; some are left out."""
    weights = [0.0 if prng.chance(0.08) else weight * prng.log_between(0.3, 3.0) for weight in _USUAL]
    weights[0] = max(weights[0], 1.0)
    return Appetite(weights, prng.between(2, 12), prng.pick([0, 10, 40, 300]), think_us, prng.between(1, 5))


@mypyc_attr(allow_interpreted_subclasses=True)
class BusyProgram:
    """One client.

    ``stopping``: it asks for nothing more (the run winds down); ``resting``: nothing for now.
    """

    def __init__(self, appetite: Appetite, prng: Prng) -> None:
        self.appetite = appetite
        self.prng = prng
        self.stopping = False
        self.resting = False
        self.asked = 0
        self.done = 0
        self._versions: dict[str, int] = {}
        self._made: list[str] = []
        self._running = False
        self._next_watcher = 0

    # Program.

    def connected(self, client: SimClient) -> None:
        """Makes sure that the folders are there, and starts."""
        if self.stopping:
            return
        if self.asked == 0 or self.prng.chance(0.05):
            for folder in FOLDERS:
                self._ask(client, calls.create(folder, b""))
            if self.appetite.quotas:
                self._limit(client, "/q", 8)
                self._limit(client, "/w", 4)
        if not self._running:
            self._running = True
            client.after(int(self.prng.spread(self.appetite.think_us)))

    def _limit(self, client: SimClient, path: str, nodes: int) -> None:
        """A quota, as zkCli sets one: limits first, then what is kept of their use."""
        quota = "/zookeeper/quota" + path
        limits = b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=%d" % nodes
        self._ask(client, calls.create(quota, b""))
        self._ask(client, calls.create(quota + "/zookeeper_limits", limits))
        self._ask(client, calls.create(quota + "/zookeeper_stats", b""))

    def answered(self, client: SimClient, call: Call[Any]) -> None:
        """Remembers what it can use."""
        self.done += 1
        if call.err != codes.OK:
            return
        op = call.op
        value: Any = call.value
        if op == codes.OP_GET_DATA:
            self._versions[call.path] = value[1].version
        elif op == codes.OP_SET_DATA or op == codes.OP_EXISTS:
            self._versions[call.path] = value.version
        elif op == codes.OP_CREATE:
            self._made.append(value)
            self._versions[value] = 0
        elif op in (codes.OP_CREATE2, codes.OP_CREATE_CONTAINER, codes.OP_CREATE_TTL):
            self._made.append(value[0])
        elif op == codes.OP_GET_CHILDREN and call.path == "/q" and value:
            self._made.append("/q/" + min(value))

    def fired(self, client: SimClient, event: WatchFired) -> None:
        """Looks again at what changed, as programs do, and often keeps watching."""
        if self.stopping or self.resting or not self.prng.chance(0.7):
            return
        watcher = self._watcher() if self.prng.chance(0.6) else 0
        if event.type == codes.EVENT_NODE_CHILDREN_CHANGED:
            self._ask(client, calls.get_children(event.path, watcher))
        elif event.type == codes.EVENT_NODE_DELETED:
            self._ask(client, calls.exists(event.path, watcher))
        else:
            self._ask(client, calls.get_data(event.path, watcher))

    def over(self, client: SimClient, expired: bool) -> None:
        """Starts another session."""
        if not self.stopping:
            self._versions.clear()
            client.renew()

    def wake(self, client: SimClient, tag: Any) -> None:
        """Asks for the next thing; ``tag`` is a container to be used again, or a quota to be set."""
        if tag is not None:
            if self.stopping or not client.is_connected():
                return
            if isinstance(tag, str):
                self._ask(client, calls.create(tag, b""))
            else:
                self._limit(client, tag[0], tag[1])
            return
        if self.stopping:
            self._running = False
            return
        if client.is_connected() and client.pending() < self.appetite.depth and not self.resting:
            self._next(client)
        client.after(1 + int(self.prng.spread(self.appetite.think_us)))

    # Wants.

    def _ask(self, client: SimClient, call: Call[Any]) -> None:
        self.asked += 1
        client.ask(call)

    def _watcher(self) -> int:
        self._next_watcher += 1
        return self._next_watcher

    def _next(self, client: SimClient) -> None:
        want = WANTS[self.prng.weighted(self.appetite.weights)]
        if want == MOVE:
            client.move()
        elif want == CLOSE:
            client.close_session()
        elif want == ABANDON:
            client.forget_session()
        elif want == SYNC:
            self._ask(client, calls.sync("/"))
            self._ask(client, calls.get_data(self._key()))
        elif want == CONTAINER:
            self._container(client)
        elif want == RARE and self.appetite.quotas and self.prng.chance(0.4):
            # A quota is lifted and comes back, on nodes that came and went meanwhile.
            path = self.prng.pick(("/q", "/w"))
            self._ask(client, calls.delete(f"/zookeeper/quota{path}/zookeeper_limits"))
            client.after(int(self.prng.unit() * _CONTAINER_US), (path, 8))
        elif want == RARE:
            self._ask(client, self._rare())
        elif want == ACLS:
            self._acl(client)
        else:
            self._ask(client, self._common(want))

    def _common(self, want: str) -> Call[Any]:
        prng = self.prng
        if want == SET_DATA:
            path = self._key()
            return calls.set_data(path, self._data(), self._version(path))
        if want == CREATE:
            return self._create()
        if want == DELETE:
            path = self._some_made() if prng.chance(0.5) else self._key()
            return calls.delete(path, self._version(path))
        if want == QUEUE:
            if prng.chance(0.6):
                return calls.create2("/q/n-", self._data(), flags=codes.MODE_PERSISTENT_SEQUENTIAL)
            return calls.get_children("/q")
        if want == EPHEMERAL:
            flags = codes.MODE_EPHEMERAL if prng.chance(0.5) else codes.MODE_EPHEMERAL_SEQUENTIAL
            return calls.create(f"/e/{prng.below(self.appetite.keys)}", self._data(), flags=flags)
        if want == MULTI:
            return self._multi()
        if want == WATCH:
            return self._watch()
        if want == LASTING_WATCH:
            return self._lasting_watch()
        return self._read()

    def _key(self) -> str:
        return f"/w/{self.prng.below(self.appetite.keys)}"

    def _some_made(self) -> str:
        return self.prng.pick(self._made[-20:]) if self._made else "/q/n-0000000000"

    def _anything(self) -> str:
        kind = self.prng.below(8)
        if kind < 4:
            return self._key()
        if kind == 4:
            return self._some_made()
        if kind == 5:
            return f"/e/{self.prng.below(self.appetite.keys)}"
        if self.appetite.quotas and self.prng.chance(0.3):
            return self.prng.pick(
                ("/zookeeper/quota/q/zookeeper_stats", "/zookeeper/quota/w/zookeeper_stats")
            )
        return self.prng.pick(("/", "/w", "/q", "/e", "/a", "/deep/1/2", "/c"))

    def _data(self) -> bytes | None:
        prng = self.prng
        if prng.chance(0.05):
            return None
        return prng.data(prng.between(0, self.appetite.data_bytes))

    def _version(self, path: str) -> int:
        """Usually any; sometimes the one last seen, sometimes a wrong one."""
        kind = self.prng.below(10)
        if kind < 5:
            return -1
        return self._versions.get(path, 0) + (1 if kind == 9 else 0)

    def _create(self) -> Call[Any]:
        prng = self.prng
        kind = prng.below(10)
        if kind < 6:
            return calls.create(self._key(), self._data())
        if kind == 6:
            return calls.create2(self._key(), self._data())
        if kind == 7:
            return calls.create(f"/deep/{prng.below(3)}", b"")
        if kind == 8:
            return calls.create(f"/deep/{prng.below(3)}/{prng.below(3)}", self._data())
        return calls.create(f"/e/{prng.below(self.appetite.keys)}/under", b"")

    def _read(self) -> Call[Any]:
        kind = self.prng.below(9)
        path = self._anything()
        if kind < 4:
            return calls.get_data(path)
        if kind == 4:
            return calls.exists(path)
        if kind == 5:
            return calls.get_children2(path)
        if kind == 6:
            return calls.get_all_children_number(path)
        if kind == 7:
            return calls.get_ephemerals("/e/" if self.prng.chance(0.5) else "/")
        parts = [calls.part_of(calls.get_data(self._anything())) for _ in range(2)]
        parts.append(calls.part_of(calls.get_children(self._anything())))
        return calls.multi_read(parts)

    def _watch(self) -> Call[Any]:
        kind = self.prng.below(4)
        watcher = self._watcher()
        if kind == 0:
            return calls.get_data(self._key(), watcher)
        if kind == 1:
            return calls.exists(self._key(), watcher)
        if kind == 2:
            return calls.get_children(self.prng.pick(("/w", "/q", "/e", "/deep")), watcher)
        return calls.exists(f"/e/{self.prng.below(self.appetite.keys)}", watcher)

    def _lasting_watch(self) -> Call[Any]:
        prng = self.prng
        kind = prng.below(5)
        if kind < 2:
            return calls.add_watch(self._key(), self._watcher(), False)
        if kind == 2:
            return calls.add_watch(prng.pick(("/w", "/e", "/q", "/deep")), self._watcher(), False)
        if kind == 3:
            return calls.add_watch(prng.pick(("/w", "/e", "/deep")), self._watcher(), True)
        watcher_type = prng.pick((codes.WATCHER_ANY, codes.WATCHER_DATA, codes.WATCHER_CHILDREN))
        return calls.remove_watches(prng.pick(("/w", "/e", self._key())), watcher_type)

    def _part(self) -> Part:
        prng = self.prng
        kind = prng.below(8)
        path = self._key()
        if kind < 3:
            return calls.part_of(calls.set_data(path, self._data(), self._version(path)))
        if kind == 3:
            return calls.part_of(calls.create(path, self._data()))
        if kind == 4:
            return calls.part_of(calls.delete(path, self._version(path)))
        if kind == 5:
            return calls.part_of(calls.create2("/q/m-", b"", flags=codes.MODE_PERSISTENT_SEQUENTIAL))
        if kind == 6:
            return calls.part_of(calls.create("/e/m-", b"", flags=codes.MODE_EPHEMERAL_SEQUENTIAL))
        return calls.check_part(path, self._version(path))

    def _multi(self) -> Call[Any]:
        prng = self.prng
        if prng.chance(0.25):
            # A node made and removed, or made with its children, in one txn.
            parent = f"/deep/t{prng.below(4)}"
            parts = [
                calls.part_of(calls.create(parent, b"")),
                calls.part_of(calls.create(parent + "/x", b"")),
            ]
            if prng.chance(0.5):
                parts += [calls.part_of(calls.delete(parent + "/x")), calls.part_of(calls.delete(parent))]
            return calls.multi(parts)
        if prng.chance(0.25):
            # One node goes and others change: half replayed, they would be those of different times.
            parts = [calls.part_of(calls.delete(self._key()))]
            parts += [calls.part_of(calls.set_data(self._key(), self._data())) for _ in range(2)]
            return calls.multi(parts)
        return calls.multi([self._part() for _ in range(prng.between(1, 5))])

    def _container(self, client: SimClient) -> None:
        """A container has had a child, and is given another just when it may be collected."""
        prng = self.prng
        path = f"/c/{prng.below(4)}"
        child = f"{path}/{prng.below(2)}"
        for call in (calls.create_container(path, b""), calls.create(child, b""), calls.delete(child)):
            self._ask(client, call)
        client.after(int(prng.unit() * _CONTAINER_US), child)

    def _rare(self) -> Call[Any]:
        prng = self.prng
        kind = prng.below(4)
        if kind == 0:
            return calls.who_am_i()
        if kind == 1:
            return calls.create_ttl(f"/c/ttl{prng.below(3)}", b"", prng.between(1, 5000))
        if kind == 2:
            return calls.delete(prng.pick(("/w", "/zookeeper", "/", "/q", "no-slash")))
        return calls.create(prng.pick(("/w/../x", "/", "w", "/w//x", "/w/", "/a\x00b")), b"")

    def _acl(self, client: SimClient) -> None:
        prng = self.prng
        path = f"/a/{prng.below(4)}"
        kind = prng.below(7)
        if kind == 0 and prng.chance(0.3):
            who = prng.below(len(USERS))
            if USER_IDS[who] not in client.ids():
                client.add_auth("digest", USERS[who], USER_IDS[who])
                client.flush()
            return
        if kind < 2:
            self._ask(client, calls.create(path, self._data(), self._some_acl()))
        elif kind == 2:
            self._ask(client, calls.set_acl(path, self._some_acl(), -1 if prng.chance(0.7) else 0))
        elif kind == 3:
            self._ask(client, calls.get_acl(path))
        elif kind == 4:
            self._ask(client, calls.set_data(path, self._data()))
        elif kind == 5:
            self._ask(client, calls.delete(path))
        else:
            self._ask(client, calls.get_data(path))

    def _some_acl(self) -> list[ACL]:
        prng = self.prng
        kind = prng.below(6)
        if kind == 0:
            return calls.OPEN_ACL
        if kind == 1:
            return calls.CREATOR_ACL
        if kind == 2:
            return [ACL(codes.PERM_ALL, USER_IDS[0]), ACL(codes.PERM_READ, USER_IDS[1])]
        if kind == 3:
            return [ACL(codes.PERM_READ | codes.PERM_ADMIN, Id("world", "anyone"))]
        if kind == 4:
            return []
        return [ACL(prng.between(1, 31), Id("world", "anyone")), ACL(codes.PERM_ALL, USER_IDS[1])]
