"""Reconfiguration among both implementations: a member of either kind joins, leads and leaves."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionLoss, KazooException
from tests.interop import apache
from tests.interop.clients import Clients, client_at
from tests.interop.members import APACHE_39, CFG, ZABRA, make_member
from tests.interop.processes import ConfigValue, ServerProcess, free_ports, poll

pytestmark = [pytest.mark.java, pytest.mark.slow]

CHANGEABLE: dict[str, ConfigValue] = {
    "reconfigEnabled": "true",
    "skipACL": "yes",
    "4lw.commands.whitelist": "*",
}
SKIP_ACL = {"JVMFLAGS": "", "JDK_JAVA_OPTIONS": "-Dzookeeper.skipACL=yes"}


class Changing:
    """Members of any kind, each with a folder; the first ones form the ensemble, others join it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.members: dict[int, ServerProcess] = {}
        self.lines: dict[int, str] = {}
        self.clients = Clients()
        # Taken at once: a follower does not listen on its quorum port, which then looks free.
        self.ports = free_ports(9, 14200, 14499)

    def make(self, kinds: Sequence[tuple[int, str]]) -> None:
        """Makes members that list each other, and those that are there."""
        for sid, _ in kinds:
            client, quorum, election = self.ports[3 * sid - 3 : 3 * sid]
            self.lines[sid] = f"127.0.0.1:{quorum}:{election}:participant;127.0.0.1:{client}"
        for sid, kind in kinds:
            lines = {f"server.{one}": line for one, line in self.lines.items()}
            cfg = {**CFG, **CHANGEABLE, "myid": sid, **lines}
            self.members[sid] = make_member(kind, sid, cfg, self.folder / f"member-{sid}", env=SKIP_ACL)

    def start(self, *sids: int) -> None:
        """Starts members and waits until they serve."""
        for sid in sids:
            self.members[sid].launch()
        for sid in sids:
            self.members[sid].wait_serving(60)

    def leader(self) -> int | None:
        """Who says that it leads."""
        for sid, member in self.members.items():
            if member.running and member.mode() == "leader":
                return sid
        return None

    def wait_leader(self, *among: int) -> int:
        """Waits until one of these leads."""

        def found() -> int | None:
            sid = self.leader()
            return sid if sid in among else None

        return poll(f"one of {among} leads", 60, found)

    def hosts(self, *sids: int) -> str:
        """Where clients find these members."""
        return ",".join(self.members[sid].address for sid in sids)

    def client(self, *sids: int) -> KazooClient:
        """A client of these members, until the test ends."""
        return self.clients(self.hosts(*sids))

    def wait_view(self, sid: int, voters: set[int]) -> None:
        """Waits until a member has a view with these voters."""

        def has_view() -> bool | None:
            with client_at(self.hosts(sid)) as client:
                try:
                    text = client.get("/zookeeper/config")[0].decode()
                except KazooException:
                    return None
            return voters_in(text) == voters or None

        poll(f"{sid} knows that {voters} vote", 60, has_view)


def voters_in(text: str) -> set[int]:
    """Sids of the participants in a configuration."""
    return {
        int(line.split("=")[0].removeprefix("server."))
        for line in text.splitlines()
        if line.startswith("server.") and ":participant" in line
    }


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[Changing]:
    """Stops every member after the test."""
    apache.require_java("3.9")
    made = Changing(tmp_path)
    with made.clients:
        yield made
    for member in made.members.values():
        member.kill()


def remove(client: KazooClient, sid: int) -> None:
    """Removes a member; a leader that leaves may take the answer with it."""
    # The view says whether it happened: callers wait for it.
    with contextlib.suppress(ConnectionLoss):
        client.reconfig(joining=None, leaving=str(sid), new_members=None)


@pytest.mark.parametrize(("residents", "joiner"), [(APACHE_39, ZABRA), (ZABRA, APACHE_39)])
def test_one_of_the_other_kind_joins_and_becomes_the_leader(
    changing: Changing, residents: str, joiner: str
) -> None:
    changing.make([(1, residents), (2, residents)])
    changing.start(1, 2)
    client = changing.client(1, 2)
    client.create("/before", b"1")
    changing.make([(3, joiner)])
    changing.start(3)
    assert changing.members[3].mode() == "follower"
    line = f"server.3={changing.lines[3]}"
    text = client.reconfig(joining=line, leaving=None, new_members=None)[0].decode()
    assert voters_in(text) == {1, 2, 3}
    for sid in (1, 2, 3):
        changing.wait_view(sid, {1, 2, 3})
    # Both residents leave, the leader last: the joiner is all that can lead with the one that stays behind.
    leader = changing.wait_leader(1, 2, 3)
    others = [sid for sid in (1, 2) if sid != leader]
    client.create("/with-three", b"1")
    if leader != 3:
        remove(changing.client(*others, 3), leader)
        rest = {1, 2, 3} - {leader}
        changing.wait_view(3, rest)
        if changing.wait_leader(*rest) != 3:
            # Named by what it had acked: let the joiner be elected, by its number.
            for sid in rest:
                changing.members[sid].stop()
            changing.start(*sorted(rest))
    assert changing.wait_leader(3) == 3
    client = changing.client(3)
    client.create("/led-by-the-joiner", b"1")
    assert sorted(client.get_children("/")) == ["before", "led-by-the-joiner", "with-three", "zookeeper"]


@pytest.mark.parametrize("first", [APACHE_39, ZABRA])
def test_a_leader_that_leaves_names_one_of_the_other_kind(changing: Changing, first: str) -> None:
    other = ZABRA if first == APACHE_39 else APACHE_39
    changing.make([(1, other), (2, other), (3, first)])
    changing.members[3].launch()
    poll("3 answers", 60, lambda: changing.members[3].four_letter("srvr") or None)
    changing.start(1, 2)
    changing.members[3].wait_serving(60)
    leader = changing.wait_leader(1, 2, 3)
    rest = {1, 2, 3} - {leader}
    client = changing.client(*rest)
    client.create("/a", b"1")
    remove(client, leader)
    for sid in rest:
        changing.wait_view(sid, rest)
    assert changing.wait_leader(*rest) in rest
    client.retry(client.create, "/b", b"2")
    # It is a follower without a vote now, and hears what is written.
    poll("it follows", 60, lambda: changing.members[leader].mode() == "follower" or None)
    removed = changing.client(leader)
    removed.sync("/")
    assert removed.exists("/b") is not None


def test_apaches_own_client_drives_it(changing: Changing) -> None:
    changing.make([(1, ZABRA), (2, ZABRA), (3, ZABRA)])
    changing.start(1, 2, 3)
    leader = changing.wait_leader(1, 2, 3)
    others = [sid for sid in (1, 2, 3) if sid != leader]
    hosts = changing.members[leader].address
    removed = zkcli(hosts, "reconfig", "-remove", str(others[0]))
    assert "Committed new configuration" in removed
    assert voters_in(removed) == {leader, others[1]}
    assert voters_in(zkcli(hosts, "config")) == {leader, others[1]}
    line = f"server.{others[0]}={changing.lines[others[0]]}"
    assert voters_in(zkcli(hosts, "reconfig", "-add", line)) == {1, 2, 3}


def zkcli(hosts: str, *command: str) -> str:
    """What Apache's command-line client prints."""
    argv = apache.zkcli_command("3.9", hosts, *command)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout
