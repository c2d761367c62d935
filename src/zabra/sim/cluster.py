"""Cluster: machines, their links and clients on one scheduler, and what may be done to them.

Any shape: participants, observers, observers under others, groups and weights; a cluster of one is a
standalone server.  Nothing here is random except through the ``Prng`` it is given.
"""

from collections.abc import Callable

from zabra.auth.registry import Providers, default_providers
from zabra.config.ensemble import EnsembleConfig, QuorumServer
from zabra.server.ready import PORT_CLIENT
from zabra.server.settings import Settings
from zabra.sim.client import CLIENT_PORT, Program, SimClient
from zabra.sim.clock import US_PER_MS
from zabra.sim.events import Scheduler
from zabra.sim.histories import History
from zabra.sim.machine import Machine, Monitor, Process, ServerPlan, host_address
from zabra.sim.network import Network
from zabra.sim.prng import Prng

QUORUM_PORT = 2888
ELECTION_PORT = 3888
OBSERVER_MASTER_PORT = 2191


# Observers under the leader; under followers (upstream's observer masters); under each other, two under each;
# the same, and in nobody's configuration.
RELAYS_NONE = 0
RELAYS_FOLLOWERS = 1
RELAYS_TREE = 2
RELAYS_UNLISTED = 3
RELAYS_WORDS = ("", "observer-masters", "relay-tree", "unlisted-relay-tree")


class Shape:
    """Who there is: sids of voters and observers, groups and weights of a hierarchical quorum.

    ``spares`` are machines outside the first configuration, for reconfigurations to add.  ``relays``: how
    observers find the leader (``RELAYS_*``).
    """

    def __init__(
        self,
        voters: list[int],
        observers: list[int] | None = None,
        groups: dict[int, list[int]] | None = None,
        weights: dict[int, int] | None = None,
        spares: list[int] | None = None,
        relays: int = 0,
    ) -> None:
        self.voters = voters
        self.observers = observers or []
        self.groups = groups or {}
        self.weights = weights or {}
        self.spares = spares or []
        self.relays = relays

    def sids(self) -> list[int]:
        """Every machine."""
        return [*self.voters, *self.observers, *self.spares]

    def is_standalone(self) -> bool:
        """A single server without an ensemble."""
        return len(self.voters) == 1 and not self.observers and not self.spares

    def describe(self) -> str:
        """In a line."""
        text = f"voters={','.join(map(str, self.voters))}"
        for name, sids in (("observers", self.observers), ("spares", self.spares)):
            if sids:
                text += f" {name}={','.join(map(str, sids))}"
        if self.groups:
            text += " groups=" + "|".join(":".join(map(str, group)) for group in self.groups.values())
        return text + f" {RELAYS_WORDS[self.relays]}".rstrip()


def server_line(sid: int, observer: bool) -> QuorumServer:
    """A member at its simulated address."""
    host = host_address(sid)
    return QuorumServer(sid, [(host, QUORUM_PORT, ELECTION_PORT)], observer, ("0.0.0.0", CLIENT_PORT))


def ensemble_of(shape: Shape) -> EnsembleConfig:
    """The first configuration."""
    servers = {sid: server_line(sid, False) for sid in shape.voters}
    if shape.relays != RELAYS_UNLISTED:
        servers |= {sid: server_line(sid, True) for sid in shape.observers}
    return EnsembleConfig(servers, 0, dict(shape.groups), dict(shape.weights))


class Cluster:
    """``settings_of`` copies come from ``settings``; ``super_digest`` gives one digest user all rights."""

    def __init__(
        self, shape: Shape, settings: Settings, prng: Prng, monitor: Monitor, super_digest: str = ""
    ) -> None:
        self.shape = shape
        self.settings = settings
        self.prng = prng
        self.monitor = monitor
        self.scheduler = Scheduler()
        self.network = Network(self.scheduler, prng.split("network"))
        self.history = History()
        self.clients: list[SimClient] = []
        self.machines: dict[int, Machine] = {}
        # Whoever wants to read along.
        self.trace: Callable[[str], None] | None = None
        # And a checker that reads along.
        self.overheard: Callable[[str], None] | None = None
        self.ensemble = None if shape.is_standalone() else ensemble_of(shape)
        self._super_digest = super_digest
        for sid in shape.sids():
            self.machines[sid] = self._machine(sid)

    def _machine(self, sid: int) -> Machine:
        settings = copy_settings(self.settings, sid)
        settings.is_observer = sid in self.shape.observers
        if settings.reconfig_enabled and sid not in (self.ensemble.servers if self.ensemble else {}):
            # In nobody's configuration: nothing to write views to.
            settings.config_file = ""
        if self.shape.relays:
            self._set_relays(sid, settings)
        providers = Providers(default_providers("SHA1", self._super_digest))
        plan = ServerPlan(settings, self.ensemble, providers)
        plan.ports[CLIENT_PORT] = PORT_CLIENT
        prng = self.prng.split(f"machine {sid}")
        machine = Machine(sid, self.scheduler, self.network, prng, self.monitor, plan, self.host_of, self.say)
        machine.write_config()
        return machine

    def _set_relays(self, sid: int, settings: Settings) -> None:
        """Whom this server may stand under, and that it takes observers itself."""
        shape = self.shape
        settings.observer_master_port = OBSERVER_MASTER_PORT
        if shape.relays == RELAYS_FOLLOWERS or sid not in shape.observers:
            return
        if shape.relays == RELAYS_UNLISTED:
            settings.is_self_registered = True
            settings.claims_session_ids = True
        place = shape.observers.index(sid)
        masters = shape.voters if place == 0 else [shape.observers[(place - 1) // 2], *shape.voters]
        settings.observer_masters = [(host_address(one), OBSERVER_MASTER_PORT) for one in masters]

    def host_of(self, address: str) -> int:
        """The host behind an address."""
        parts = address.split(".")
        if len(parts) != 4 or parts[0] != "10":
            raise ValueError(f"no host has the address {address!r}")
        return int(parts[1]) << 16 | int(parts[2]) << 8 | int(parts[3])

    # Servers.

    def start(self) -> None:
        """Starts every server of the first configuration, not quite at the same time."""
        for sid in [*self.shape.voters, *self.shape.observers]:
            self.scheduler.after(self.prng.below(200 * US_PER_MS), self._start_machine, sid)

    def _start_machine(self, sid: int) -> None:
        machine = self.machines[sid]
        if machine.process is None:
            machine.start()

    def say(self, text: str) -> None:
        """A line for whoever reads along."""
        if self.overheard is not None:
            self.overheard(text)
        if self.trace is not None:
            self.trace(f"{self.scheduler.now_us / 1_000_000:10.6f} {text}")

    def processes(self) -> list[Process]:
        """The servers that run."""
        return [machine.process for machine in self.machines.values() if machine.process is not None]

    def serving(self) -> list[Process]:
        """The servers that serve clients."""
        return [process for process in self.processes() if process.server.role.serves()]

    # Clients.

    def add_client(self, program: Program, timeout_ms: int, servers: list[int] | None = None) -> SimClient:
        """A client that connects to any of ``servers`` (all, unless given)."""
        number = len(self.clients)
        client = SimClient(
            number,
            self.scheduler,
            self.network,
            self.prng.split(f"client {number}"),
            self.history,
            program,
            servers or [*self.shape.voters, *self.shape.observers],
            timeout_ms,
        )
        self.clients.append(client)
        return client

    # Time.

    def run_ms(self, ms: int) -> None:
        """Lets ``ms`` simulated milliseconds pass."""
        self.scheduler.run_until(self.scheduler.now_us + ms * US_PER_MS)


def copy_settings(settings: Settings, sid: int) -> Settings:
    """The same settings for another server."""
    out = Settings()
    for name, value in vars(settings).items() if hasattr(settings, "__dict__") else _fields(settings):
        setattr(out, name, list(value) if isinstance(value, list) else value)
    out.server_id = sid
    return out


def _fields(settings: Settings) -> list[tuple[str, object]]:
    """The fields of a compiled Settings, which has no ``__dict__``."""
    names = [name for name in dir(settings) if not name.startswith("_")]
    return [(name, getattr(settings, name)) for name in names if not callable(getattr(settings, name))]
