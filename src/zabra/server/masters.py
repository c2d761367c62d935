"""Masters: whom an observer may stand under, other than the leader, and who is next.

Upstream's observers go round a shuffled list of the voters with observerMasterPort.  The option
``zabra.observerMasters`` names others, relaying observers among them, the one to prefer first.  Source:
upstream ``QuorumPeer.nextObserverMaster``; docs/adr/0076.
"""

from typing import Final

from mypy_extensions import i64

from zabra.config.ensemble import EnsembleConfig
from zabra.server.prng import SplitMix
from zabra.server.settings import Settings

# Stands where a server id would, and none is known.
NOBODY: Final = -1


class Master:
    """One that may take observers; ``sid`` is NOBODY where only its address is known."""

    __slots__ = ("addresses", "sid")

    def __init__(self, sid: i64, addresses: list[tuple[str, int]]) -> None:
        self.sid: i64 = sid
        self.addresses: list[tuple[str, int]] = addresses

    def describe(self) -> str:
        """For the log."""
        text = ", ".join([f"{host}:{port}" for host, port in self.addresses])
        return text if self.sid == NOBODY else f"{self.sid} ({text})"


class Masters:
    """A list that is gone round: voters in an order of this server's own, or those named, in their order.

    ``given_up``: nobody on it took this observer for too long, so the leader itself is asked next, once.
    A server that registered itself takes no part in elections: its leader is whoever opens a quorum port.
    """

    __slots__ = ("_config", "_leaders", "_list", "_next", "_random", "_settings", "given_up")

    def __init__(self, settings: Settings, random: SplitMix) -> None:
        self._settings: Settings = settings
        self._random: SplitMix = random
        self._config: EnsembleConfig | None = None
        self._list: list[Master] = []
        self._leaders: list[Master] = []
        self._next: int = 0
        self.given_up: bool = False

    def use(self, config: EnsembleConfig) -> None:
        """These are the members now."""
        if config is self._config or not self._settings.is_observer:
            return
        self._config = config
        self._next = 0
        self._list = self._find(config)
        if self._settings.is_self_registered:
            own = self._settings.server_id
            voters = [config.servers[sid] for sid in config.voters() if sid != own]
            self._leaders = self._shuffled([Master(one.sid, one.quorum_addresses()) for one in voters])
            if not self._list:
                self._list = self._leaders

    def _find(self, config: EnsembleConfig) -> list[Master]:
        settings = self._settings
        if settings.observer_masters:
            return [Master(sid_at(config, host), [(host, port)]) for host, port in settings.observer_masters]
        found: list[Master] = []
        port = settings.observer_master_port
        voters = config.voters()
        # With one voter there is no follower.
        if port > 0 and len(voters) > 1:
            for sid in voters:
                hosts = [(host, port) for host, _ in config.servers[sid].quorum_addresses()]
                found.append(Master(sid, hosts))
        return self._shuffled(found)

    def _shuffled(self, masters: list[Master]) -> list[Master]:
        index = len(masters) - 1
        while index > 0:
            other = self._random.below(index + 1)
            masters[index], masters[other] = masters[other], masters[index]
            index -= 1
        return masters

    def has_list(self) -> bool:
        """Whether there is anybody but the leader."""
        return len(self._list) > 0

    def has_any(self) -> bool:
        """Whether somebody other than an elected leader is to be asked now."""
        return len(self._list) > 0 and (not self.given_up or len(self._leaders) > 0)

    def round(self) -> list[Master]:
        """Everybody once, beginning with the one whose turn it is."""
        if self.given_up and self._leaders:
            return self._list + self._leaders
        return self._list[self._next :] + self._list[: self._next]

    def asked(self) -> None:
        """The one whose turn it was has been asked: next time it is the next one's."""
        if self._list:
            self._next = (self._next + 1) % len(self._list)

    def succeeded(self) -> None:
        """One of them, or the leader, has this observer in step: the preferred one is first next time."""
        self.given_up = False
        if self._settings.observer_masters:
            self._next = 0


def sid_at(config: EnsembleConfig, host: str) -> i64:
    """The member at ``host``, if there is only one; else NOBODY."""
    found: i64 = NOBODY
    for sid, server in config.servers.items():
        for address, _ in server.quorum_addresses():
            if address == host:
                if found != NOBODY and found != sid:
                    return NOBODY
                found = sid
    return found
