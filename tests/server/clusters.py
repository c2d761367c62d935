"""Simulated ensembles for tests of roles: made with a shape, driven step by step, asked by clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zabra.client import calls
from zabra.client.calls import Call
from zabra.client.connection import WatchFired
from zabra.server.roles.observing import Observing
from zabra.server.server import Server
from zabra.server.settings import Settings
from zabra.sim.client import SimClient
from zabra.sim.cluster import Cluster, Shape
from zabra.sim.monitor import ClusterMonitor
from zabra.sim.prng import Prng

TICK_MS = 200


class Asker:
    """A client program that waits to be told what to ask."""

    def connected(self, client: SimClient) -> None:
        """Nothing of its own to do."""

    def answered(self, client: SimClient, call: Call[Any]) -> None:
        """Whoever asked looks at the call."""

    def fired(self, client: SimClient, event: WatchFired) -> None:
        """It watches nothing."""

    def over(self, client: SimClient, expired: bool) -> None:
        """It stays away."""

    def wake(self, client: SimClient, tag: object) -> None:
        """It never sleeps."""


class Busy(Asker):
    """Writes one node after another, with one write on its way."""

    def __init__(self, prefix: str, data: bytes = b"") -> None:
        self.prefix = prefix
        self.data = data
        self.written = 0

    def connected(self, client: SimClient) -> None:
        if client.pending() == 0:
            self._next(client)

    def answered(self, client: SimClient, call: Call[Any]) -> None:
        self.written += call.err == 0
        self._next(client)

    def _next(self, client: SimClient) -> None:
        client.ask(calls.create(f"{self.prefix}-{self.written}", self.data, flags=2))


class Ensemble:
    """A simulated cluster; ``settings`` are everybody's, ``change`` may change one server's."""

    def __init__(
        self,
        shape: Shape,
        *,
        seed: int = 1,
        settings: Settings | None = None,
        change: Callable[[int, Settings], None] | None = None,
    ) -> None:
        if settings is None:
            settings = Settings()
            settings.tick_ms = TICK_MS
        self.cluster = Cluster(shape, settings, Prng(seed, "cluster"), ClusterMonitor())
        self.monitor = self.cluster.monitor
        if change is not None:
            for sid, machine in self.cluster.machines.items():
                change(sid, machine.plan.settings)

    def start(self, within_ms: int = 10_000) -> Ensemble:
        """Starts everybody and waits until all serve."""
        self.cluster.start()
        everybody = [*self.cluster.shape.voters, *self.cluster.shape.observers]
        self.until("everybody serves", lambda: sorted(self.modes()) == sorted(everybody), within_ms)
        return self

    def start_in_order(self) -> Ensemble:
        """Starts the voters, then each observer when the one before it serves."""
        for sid in self.cluster.shape.voters:
            assert self.cluster.machines[sid].start()
        voters = self.cluster.shape.voters
        self.until("the voters serve", lambda: sorted(self.modes()) == sorted(voters))
        for sid in self.cluster.shape.observers:
            self.start_one(sid)
        return self

    def start_one(self, sid: int) -> None:
        """Starts a server and waits until it serves."""
        assert self.cluster.machines[sid].start()
        self.until(f"server {sid} serves", lambda: sid in self.modes())

    def until(self, what: str, condition: Callable[[], object], within_ms: int = 20_000) -> None:
        """Lets simulated time pass until ``condition`` holds."""
        deadline = self.cluster.scheduler.now_us + within_ms * 1000
        while not condition():
            if self.cluster.scheduler.now_us >= deadline:
                self.check()
                raise AssertionError(f"not within {within_ms} ms: {what}; {self.modes()}")
            self.cluster.run_ms(1)
        self.check()

    def check(self) -> None:
        """No server has failed, and all agree."""
        assert isinstance(self.monitor, ClusterMonitor)
        assert self.monitor.judgement.violations == []

    def server(self, sid: int) -> Server:
        """The running server of a machine."""
        process = self.cluster.machines[sid].process
        assert process is not None, f"server {sid} is down"
        return process.server

    def servers(self) -> dict[int, Server]:
        """Those that run."""
        return {process.sid: process.server for process in self.cluster.processes()}

    def modes(self) -> dict[int, str]:
        """What those that serve say they are."""
        return {process.sid: process.server.role.name() for process in self.cluster.serving()}

    def leader(self) -> int:
        """Who leads."""
        found = [sid for sid, mode in self.modes().items() if mode == "leader"]
        assert len(found) == 1, found
        return found[0]

    def followers(self) -> list[int]:
        """Who follows, and serves."""
        return [sid for sid, mode in self.modes().items() if mode == "follower"]

    def observing(self, sid: int) -> Observing:
        """The role of an observer."""
        role = self.server(sid).learning
        assert isinstance(role, Observing), f"server {sid} is {self.server(sid).role.name()}"
        return role

    def below(self, sid: int) -> list[int]:
        """Who learns from this server, in step with it."""
        server = self.server(sid)
        handlers: dict[int, Any] = {}
        relay = server.relay()
        if server.leading is not None:
            handlers = server.leading.handlers
        elif relay is not None:
            handlers = relay.handlers
        return sorted(int(one.sid) for one in handlers.values() if one.forwarding)

    def master_of(self, sid: int) -> int:
        """From whom this server learns, -1 for nobody."""
        found = [other for other in self.servers() if sid in self.below(other)]
        assert len(found) <= 1, f"{sid} learns from {found}"
        return found[0] if found else -1

    def client(self, sid: int, program: Asker | None = None) -> SimClient:
        """A client of one server, connected."""
        client = self.cluster.add_client(program or Asker(), 10_000, [sid])
        client.start()
        self.until(f"a client of {sid} is connected", client.is_connected)
        return client

    def ask(self, client: SimClient, call: Call[Any], within_ms: int = 20_000) -> Any:
        """The answer to one request.  Raises KeeperError."""
        client.ask(call)
        self.until(repr(call), lambda: call.done, within_ms)
        return call.result()
