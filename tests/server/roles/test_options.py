"""Options that change what a role does: leaderServes, syncEnabled, several addresses and all interfaces."""

from __future__ import annotations

import pytest
from tests.server.clusters import Asker, Busy, Ensemble

from zabra.auth.registry import Providers
from zabra.auth.schemes import IpProvider
from zabra.config.ensemble import EnsembleConfig
from zabra.server.ready import PORT_ELECTION
from zabra.server.recovery import Recovered
from zabra.server.server import Server
from zabra.server.settings import Settings
from zabra.sim.cluster import Shape
from zabra.tree.datatree import DataTree


def leader_of(ensemble: Ensemble) -> int:
    """Who leads, whether or not it serves."""
    found = [sid for sid, server in ensemble.servers().items() if server.role.name() == "leader"]
    assert len(found) == 1, found
    return found[0]


def test_a_leader_that_is_not_to_serve_leads_and_takes_no_clients() -> None:
    def change(sid: int, settings: Settings) -> None:
        settings.leader_serves = False

    ensemble = Ensemble(Shape([1, 2, 3]), change=change)
    ensemble.cluster.start()
    ensemble.until("the others serve", lambda: sorted(ensemble.modes().values()) == ["follower", "follower"])
    busy = Busy("/n")
    ensemble.client(ensemble.followers()[0], busy)
    ensemble.until("writes are acknowledged", lambda: busy.written > 20)
    refused = ensemble.cluster.add_client(Asker(), 10_000, [leader_of(ensemble)])
    refused.start()
    ensemble.cluster.run_ms(2000)
    assert not refused.is_connected()


def test_an_observer_without_a_disk_of_its_own_keeps_up_through_new_leaders_and_restarts() -> None:
    def change(sid: int, settings: Settings) -> None:
        settings.sync_enabled = sid != 4

    ensemble = Ensemble(Shape([1, 2, 3], [4]), change=change).start()
    busy = Busy("/n")
    ensemble.client(4, busy)

    def logs() -> list[str]:
        names = ensemble.cluster.machines[4].disk.list("version-2")
        return [name for name in names if name.startswith("log.")]

    for _ in range(3):
        written = busy.written
        ensemble.until("writes come through", lambda before=written: busy.written > before + 20, 60_000)
        assert logs() == []
        leader = ensemble.leader()
        ensemble.cluster.machines[leader].kill()
        ensemble.until("there is another leader", lambda: "leader" in ensemble.modes().values())
        ensemble.until("the observer serves", lambda: 4 in ensemble.modes())
        ensemble.start_one(leader)
    ensemble.cluster.machines[4].kill()
    ensemble.cluster.run_ms(300)
    ensemble.start_one(4)
    written = busy.written
    ensemble.until("writes come through", lambda: busy.written > written + 20, 60_000)
    assert logs() == []


TWO_ADDRESSES = "".join(
    f"server.{sid}=127.0.0.1:{sid}001:{sid}002|127.0.0.2:{sid}001:{sid}002:participant\n" for sid in (1, 2, 3)
)


@pytest.mark.parametrize(
    ("everywhere", "opened"),
    [(False, [("127.0.0.1", 1002), ("127.0.0.2", 1002)]), (True, [("0.0.0.0", 1002)])],
)
def test_a_member_with_two_addresses_listens_at_both_or_once_everywhere(
    everywhere: bool, opened: list[tuple[str, int]]
) -> None:
    """Once it opened the port twice on all interfaces, which cannot be, and ended."""
    settings = Settings()
    settings.server_id = 1
    settings.multi_address = True
    settings.listen_on_all_ips = everywhere
    recovered = Recovered(DataTree())
    recovered.last_zxid = recovered.accepted_epoch = recovered.current_epoch = 0
    config = EnsembleConfig.parse(TWO_ADDRESSES + "version=0")
    server = Server(settings, Providers([IpProvider()]), recovered, 1, 1000, 1000, config)
    server.begin_turn(1000, 1000)
    listens = {int(one.port): one.addresses for one in server.ready().listens}
    assert listens[PORT_ELECTION] == opened
