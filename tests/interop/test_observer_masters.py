"""Observers under followers and observers, as processes: mixes with Apache, joiners, relays that die."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from tests.interop import apache
from tests.interop.clients import Clients
from tests.interop.members import (
    APACHE_38,
    APACHE_39,
    ZABRA,
    Mixed,
    make_member,
    monitor,
    syncs,
    zxid_of,
)
from tests.interop.processes import ConfigValue, ServerProcess, poll

FIRST_PORT = 13940
MASTER_PORT = 14199
HOSTS = [f"127.0.0.{number}" for number in range(1, 6)]
CFG: dict[str, ConfigValue] = {"observerMasterPort": MASTER_PORT}

ClientOf = Callable[[ServerProcess], KazooClient]


@pytest.fixture
def client_of() -> Iterator[ClientOf]:
    """``client_of(member)``: a connected client of this member alone."""
    with Clients() as clients:
        yield lambda member: clients(member.address)


def masters_ensemble(kinds: list[str], folder: Path, observers: int = 1) -> Mixed:
    """Members on loopback addresses of their own, so that all of them have one observer-master port."""
    if any(kind != ZABRA for kind in kinds):
        apache.require_java()
    ports = range(FIRST_PORT, FIRST_PORT + 4 * len(kinds))
    hosts = HOSTS[: len(kinds)]
    return Mixed(kinds, folder, observers=observers, cfg=CFG, ports=ports, hosts=hosts)


def master_of(observer: ServerProcess) -> int | None:
    """The sid it says it stands under."""
    value = monitor(observer).get("observer_master_id")
    return int(value) if value is not None else None


def check_observer(ensemble: Mixed, sid: int, client_of: ClientOf) -> None:
    """The observer stands under a follower, serves reads, writes and syncs, and survives its master."""
    observer = ensemble.members[sid]
    leader = ensemble.wait_leader()
    master = poll("the observer names its master", 20, lambda: master_of(observer))
    assert master not in (leader, sid)
    assert monitor(ensemble.members[master])["synced_observers"] == "1"
    assert monitor(ensemble.members[leader])["synced_observers"] == "0"

    client = client_of(observer)
    client.create("/a", b"0")
    client.create("/mine", b"", ephemeral=True)
    for number in range(1, 51):
        client.set("/a", b"%d" % number)
    elsewhere = client_of(ensemble.members[leader])
    elsewhere.sync("/a")
    assert elsewhere.get("/a")[0] == b"50"
    elsewhere.set("/a", b"from the leader")
    client.sync("/a")
    assert client.get("/a")[0] == b"from the leader"
    assert client.exists("/mine").ephemeralOwner == client.client_id[0]

    session_id = client.client_id[0]
    ensemble.members[master].kill()
    other = poll(
        "it stands under the other follower",
        30,
        lambda: found if (found := master_of(observer)) not in (None, -1, master) else None,
    )
    assert other not in (leader, master)
    assert client.retry(client.set, "/a", b"after")
    assert client.client_id[0] == session_id
    assert client.exists("/mine").ephemeralOwner == session_id
    # Nothing was thrown away on the way: the second time, all that was missing was the difference.
    assert syncs(observer)["DIFF"] >= 1
    assert syncs(observer)["TRUNC"] == 0
    poll(
        "both have everything",
        20,
        lambda: True if zxid_of(observer) == zxid_of(ensemble.members[leader]) else None,
    )


def test_an_observer_under_followers(tmp_path: Path, client_of: ClientOf) -> None:
    with masters_ensemble([ZABRA] * 4, tmp_path) as ensemble:
        check_observer(ensemble, 4, client_of)


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.parametrize("theirs", [APACHE_39, APACHE_38])
def test_our_observer_under_apache_followers(tmp_path: Path, client_of: ClientOf, theirs: str) -> None:
    with masters_ensemble([theirs, theirs, theirs, ZABRA], tmp_path) as ensemble:
        check_observer(ensemble, 4, client_of)


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.parametrize("theirs", [APACHE_39, APACHE_38])
def test_an_apache_observer_under_our_followers(tmp_path: Path, client_of: ClientOf, theirs: str) -> None:
    with masters_ensemble([ZABRA, ZABRA, ZABRA, theirs], tmp_path) as ensemble:
        check_observer(ensemble, 4, client_of)


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.parametrize("leader", [ZABRA, APACHE_39])
def test_observers_of_both_kinds_under_followers_of_both_kinds(
    tmp_path: Path, client_of: ClientOf, leader: str
) -> None:
    ensemble = masters_ensemble([ZABRA, APACHE_39, leader, ZABRA, APACHE_39], tmp_path, observers=2)
    try:
        ensemble.start_led_by(3)
        clients = [client_of(ensemble.members[sid]) for sid in (4, 5)]
        clients[0].create("/a", b"")
        for number in range(50):
            writer, reader = clients[number % 2], clients[1 - number % 2]
            writer.set("/a", b"%d" % number)
            reader.sync("/a")
            assert reader.get("/a")[0] == b"%d" % number
        for sid in (4, 5):
            assert master_of(ensemble.members[sid]) in (1, 2)
        # One follower after the other goes away and comes back: both observers find the other one.
        for sid in (1, 2):
            ensemble.members[sid].stop()
            for client in clients:
                assert client.retry(client.set, "/a", b"without %d" % sid)
            ensemble.members[sid].start()
    finally:
        ensemble.stop()


# --- observers under observers ------------------------------------------------------------------------------


def joiners(ensemble: Mixed, folder: Path, masters: list[str]) -> list[ServerProcess]:
    """Observers without a line anywhere, each under the address given for it."""
    made = []
    for number, address in enumerate(masters):
        cfg: dict[str, ConfigValue] = {
            "tickTime": 500,
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "*",
            "clientPort": FIRST_PORT + 40 + number,
            "zabra.join": ensemble.connect_string,
            "zabra.observerMasters": address,
            # Each relays as well, at a port of its own: they have no address of their own.
            "observerMasterPort": FIRST_PORT + 60 + number,
        }
        made.append(make_member(ZABRA, 0, cfg, folder / f"joiner-{number}"))
    return made


@pytest.mark.parametrize("kind", [ZABRA, pytest.param(APACHE_39, marks=[pytest.mark.java, pytest.mark.slow])])
def test_a_chain_of_observers_that_nobody_lists(tmp_path: Path, client_of: ClientOf, kind: str) -> None:
    """follower <- observer <- observer <- observer; each has session ids of its own, and all write."""
    with masters_ensemble([kind] * 3, tmp_path, observers=0) as ensemble:
        leader = ensemble.wait_leader()
        follower = next(sid for sid in ensemble.voters() if sid != leader)
        first_relay = f"127.0.0.1:{FIRST_PORT + 60}"
        second_relay = f"127.0.0.1:{FIRST_PORT + 61}"
        chain = joiners(
            ensemble, tmp_path, [f"{HOSTS[follower - 1]}:{MASTER_PORT}", first_relay, second_relay]
        )
        try:
            for one in chain:
                one.start(30)
            assert monitor(ensemble.members[leader])["learners"] == "2"
            assert monitor(ensemble.members[follower])["synced_observers"] == "1"
            assert [monitor(one)["synced_observers"] for one in chain] == ["1", "1", "0"]
            clients = [client_of(one) for one in chain]
            assert len({client.client_id[0] for client in clients}) == 3
            clients[2].create("/a", b"")
            for number in range(60):
                clients[number % 3].set("/a", b"%d" % number)
                reader = clients[(number + 1) % 3]
                reader.sync("/a")
                assert reader.get("/a")[0] == b"%d" % number
            # The middle one dies: nobody else would take the last one; it is back as soon as its relay is.
            chain[1].kill()
            poll("the last one serves nobody", 20, lambda: True if chain[2].mode() is None else None)
            chain[1].start(30)
            chain[2].wait_serving(30)
            assert clients[2].retry(clients[2].set, "/a", b"again")
            assert syncs(chain[2])["DIFF"] >= 1
        finally:
            for one in chain:
                one.stop()
