"""What clients do to a cluster: move, die, fall silent, watch everything, change its membership."""

from typing import Any, Final

from zabra.client import calls
from zabra.client.calls import Call
from zabra.client.connection import WatchFired
from zabra.proto import codes
from zabra.sim.client import SimClient
from zabra.sim.cluster import server_line
from zabra.sim.trouble import Action, Faults

SUPER_USER: Final = b"super:sim"
SUPER_ID: Final = "super:OQE4e2t0sFWx1D8wtuq5+F0J9nQ="


class Operator:
    """The program of a client that changes the ensemble's membership, one request at a time."""

    def __init__(self) -> None:
        self.stopping = False
        self.succeeded = 0
        self.refused = 0

    def connected(self, client: SimClient) -> None:
        """Waits to be told."""

    def answered(self, client: SimClient, call: Call[Any]) -> None:
        """Counts."""
        if call.op == codes.OP_RECONFIG and call.answered:
            if call.err == codes.OK:
                self.succeeded += 1
            else:
                self.refused += 1

    def fired(self, client: SimClient, event: WatchFired) -> None:
        """It watches nothing."""

    def over(self, client: SimClient, expired: bool) -> None:
        """Begins again."""
        if not self.stopping:
            client.renew()

    def wake(self, client: SimClient, tag: Any) -> None:
        """It waits for nothing."""


class ClientFaults(Faults):
    """Clients that behave badly, and the operator."""

    def actions(self) -> dict[str, Action]:
        return {
            "reconfig": self.reconfig,
            "mass watch": self._mass_watch,
            "clients move": self._clients_move,
            "clients die": self._clients_die,
            "client freeze": self._client_freeze,
        }

    def reconfig(self) -> bool:
        """The operator asks for another view."""
        client, view = self.trouble.operator, self.trouble.view()
        if client is None or view is None or not client.is_connected() or client.pending():
            return False
        voters, prng = view.voters(), self.prng
        outside = [sid for sid in self.trouble.sids() if sid not in view.servers]
        if outside and prng.chance(0.6):
            line = server_line(prng.pick(outside), prng.chance(0.4))
        else:
            sid = prng.pick(list(view.servers))
            observer = view.servers[sid].observer
            if not observer and len(voters) <= 2:
                return False
            if prng.chance(0.5):
                client.ask(calls.reconfig(None, str(sid), None))
                return True
            line = server_line(sid, not observer)
        client.ask(calls.reconfig(f"server.{line.sid}={line.format()}", None, None))
        return True

    def _clients_move(self) -> bool:
        near = self.cluster.shape.observers
        sid = self.prng.pick(near if len(near) > 1 and self.prng.chance(0.5) else self.trouble.sids())
        if self.prng.chance(0.3):
            return self._move_clients(sid) > 0
        # What they asked last is still on its way, to their server or from there on, when they are somewhere
        # else: below the same relay, if there is one.
        network = self.cluster.network
        extra = 50_000 + self.prng.below(600_000)
        clients = [one.host for one in self.cluster.clients if one.server == sid]
        if self.prng.chance(0.5):
            pairs = [(sid, other) for other in self.trouble.sids() if other != sid]
        else:
            pairs = [(host, sid) for host in clients]
        for source, target in pairs:
            network.slow_pair(source, target, extra)

        def undo() -> None:
            for source, target in pairs:
                network.slow_pair(source, target, 0)

        self.trouble.later(1_000, undo)
        self.cluster.scheduler.after(self.prng.below(100_000), self._move_later, sid)
        return True

    def _move_later(self, sid: int) -> None:
        self._move_clients(sid)

    def _move_clients(self, sid: int) -> int:
        moved = [one for one in self.cluster.clients if one.server == sid and one.is_connected()]
        near = [one for one in self.cluster.shape.observers if one != sid]
        for client in moved:
            client.move(self.prng.pick(near) if near and self.prng.chance(0.5) else 0)
        return len(moved)

    def _mass_watch(self) -> bool:
        asked = False
        for client in self.cluster.clients:
            if client is self.trouble.operator or not client.is_connected() or client.pending() > 20:
                continue
            asked = True
            for path in ("/w", "/e", "/w/0", "/w/1"):
                client.ask(calls.exists(path, 1))
                client.ask(calls.get_children(path, 1))
                client.ask(calls.add_watch(path, 1, path == "/w"))
        return asked

    def _clients_die(self) -> bool:
        clients = [client for client in self.cluster.clients if client is not self.trouble.operator]
        chosen = [client for client in clients if self.prng.chance(0.5)]
        for client in chosen:
            client.forget_session()
        return bool(chosen)

    def _client_freeze(self) -> bool:
        client = self.prng.pick(self.cluster.clients)
        hosts = self.trouble.sids()
        self.trouble.block([(client.host, sid) for sid in hosts])
        return True
