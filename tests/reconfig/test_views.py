"""Views that change while clients write: who votes, who leads, what every server and client is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from zabra.client.aio import AsyncClient
from zabra.config.ensemble import EnsembleConfig
from zabra.config.load import load_config
from zabra.proto import codes
from zabra.proto.errors import KeeperError
from zabra.server.peer import Peer
from zabra.testing import AsyncEnsemble
from zabra.testing.ports import give_back, take_ports

OPTIONS = {"reconfigEnabled": "true", "skipACL": "yes"}


def ensemble_of(participants: int = 3, observers: int = 0, **options: object) -> AsyncEnsemble:
    """An ensemble that may be changed by anybody."""
    return AsyncEnsemble(participants, observers, options={**OPTIONS, **options})


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Runs a scenario on a loop of its own."""

    async def main() -> None:
        await scenario()

    asyncio.run(main())


def view_of(ensemble: AsyncEnsemble, sid: int) -> EnsembleConfig:
    """The view a running server holds to be active."""
    running = ensemble.members[sid].running
    assert running is not None
    assert running.server.peer is not None
    return running.server.peer.config


async def wait_voters(ensemble: AsyncEnsemble, voters: list[int], *sids: int) -> None:
    """Waits until the servers named have the view with these voters, and serve."""
    await ensemble.wait(
        f"{sids} know that {voters} vote",
        lambda: all(view_of(ensemble, sid).voters() == voters for sid in sids),
    )
    await ensemble.wait_ready(*sids)


class Writer:
    """A client that writes all the time: every write that was answered must be there in the end."""

    def __init__(self, ensemble: AsyncEnsemble) -> None:
        self.client = ensemble.client(timeout_ms=30_000)
        self.written: list[str] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Writer:
        await self.client.start()
        await self.client.create("/w", b"")
        self._task = asyncio.get_running_loop().create_task(self._write())
        return self

    async def _write(self) -> None:
        while True:
            try:
                self.written.append(
                    await self.client.create("/w/n-", b"", flags=codes.MODE_PERSISTENT_SEQUENTIAL)
                )
            except KeeperError as error:
                assert error.code == codes.ERR_CONNECTION_LOSS, error  # noqa: PT017 - others are failures
                await self.client.wait_connected()

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        results = await asyncio.gather(self._task, return_exceptions=True)
        await self.client.close()
        assert isinstance(results[0], asyncio.CancelledError), results[0]

    async def more(self, ensemble: AsyncEnsemble) -> None:
        """Returns when writes have been answered after this call."""
        target = len(self.written) + 3
        await ensemble.wait("writes go on", lambda: len(self.written) >= target)


async def check_written(client: AsyncClient, writer: Writer) -> None:
    """Everything that was answered is there (the writer may go on meanwhile)."""
    written = list(writer.written)
    await client.sync("/w")
    there = set(await client.get_children("/w"))
    missing = [path for path in written if path.removeprefix("/w/") not in there]
    assert not missing
    assert writer.written


def refusal(code: int) -> pytest.RaisesExc[KeeperError]:
    """An expected refusal."""
    return pytest.raises(KeeperError, check=lambda error: error.code == code)


def test_everything_is_off_unless_enabled() -> None:
    async def scenario() -> None:
        async with AsyncEnsemble(3, options={"skipACL": "yes"}) as ensemble, ensemble.client() as client:
            config, stat = await client.get_config()
            assert config is not None
            assert config.endswith(b"version=0")
            assert stat.version == -1
            with refusal(codes.ERR_RECONFIG_DISABLED):
                await client.reconfig(leaving="1")

    run(scenario)


def test_the_first_view_gets_the_version_of_its_epoch() -> None:
    async def scenario() -> None:
        async with ensemble_of(3, 1) as ensemble, ensemble.client(4) as client:
            config, stat = await client.get_config()
            assert config is not None
            view = EnsembleConfig.parse(config.decode())
            assert view.version == stat.mzxid == 1 << 32
            assert view.voters() == [1, 2, 3]
            assert view.observers() == [4]

    run(scenario)


def test_grows_from_one_to_five_and_shrinks_again_under_load() -> None:
    async def scenario() -> None:
        async with ensemble_of(1, 0, standaloneEnabled="false") as ensemble, Writer(ensemble) as writer:
            async with ensemble.client(1, timeout_ms=30_000) as admin:
                for size in range(2, 6):
                    sid = await ensemble.add()
                    await ensemble.wait_ready(sid)
                    writer.client.addresses.append(("127.0.0.1", ensemble.members[sid].client_port))
                    await admin.reconfig(joining=ensemble.members[sid].line)
                    everybody = list(range(1, size + 1))
                    await wait_voters(ensemble, everybody, *everybody)
                    await writer.more(ensemble)
            for sid in range(1, 5):
                async with ensemble.client(5, timeout_ms=30_000) as admin:
                    await admin.reconfig(leaving=str(sid))
                rest = list(range(sid + 1, 6))
                await wait_voters(ensemble, rest, *rest)
                assert await ensemble.wait_leader() in rest
                await ensemble.stop(sid)
                await writer.more(ensemble)
            async with ensemble.client(5) as client:
                await check_written(client, writer)

    run(scenario)


def test_a_leader_that_is_removed_hands_over_and_stays_as_a_follower_without_a_vote() -> None:
    async def scenario() -> None:
        async with ensemble_of(3, 1) as ensemble, Writer(ensemble) as writer:
            old = ensemble.leader
            rest = [sid for sid in (1, 2, 3) if sid != old]
            rounds = [election_rounds(ensemble, sid) for sid in rest]
            async with ensemble.client(*rest) as client:
                await client.reconfig(leaving=str(old))
            assert await ensemble.wait_leader(*rest) in rest
            await wait_voters(ensemble, rest, 1, 2, 3, 4)
            assert ensemble.members[old].mode == "follower"
            assert ensemble.observers == [4]
            # Nobody was elected: the leader was named.
            assert [election_rounds(ensemble, sid) for sid in rest] == rounds
            await writer.more(ensemble)
            async with ensemble.client(old) as client:
                await check_written(client, writer)
            # It has no vote: what is left of the voters is no quorum with it.
            await ensemble.kill(rest[0])
            await ensemble.wait("nobody leads", lambda: "leader" not in modes(ensemble))

    run(scenario)


def modes(ensemble: AsyncEnsemble) -> list[str]:
    """What everybody does."""
    return [member.mode for member in ensemble.members.values()]


def election_rounds(ensemble: AsyncEnsemble, sid: int) -> int:
    """How many elections a server has begun or heard of."""
    running = ensemble.members[sid].running
    assert running is not None
    assert running.server.peer is not None
    return running.server.peer.election.logical_clock


def test_roles_change_both_ways() -> None:
    async def scenario() -> None:
        async with ensemble_of(3, 1) as ensemble, ensemble.client(3) as admin:
            follower = next(sid for sid in (1, 2) if sid in ensemble.followers)
            line = ensemble.members[follower].line.replace(":participant;", ":observer;")
            await admin.reconfig(joining=line)
            await ensemble.wait("it observes", lambda: sorted(ensemble.observers) == [follower, 4])
            await ensemble.wait_ready()
            # An observer cannot be counted for the new quorum, and need not.
            promoted = ensemble.members[4].line.replace(":observer;", ":participant;")
            await admin.reconfig(joining=promoted)
            await ensemble.wait("it follows", lambda: ensemble.members[4].mode == "follower")
            rest = sorted({1, 2, 3, 4} - {follower})
            await wait_voters(ensemble, rest, 1, 2, 3, 4)
            # It votes: with it, one of the others can be missed.
            await ensemble.kill(next(sid for sid in rest if sid not in (4, ensemble.leader)))
            await admin.create("/with-its-vote", b"")

    run(scenario)


def test_the_leader_becomes_an_observer() -> None:
    async def scenario() -> None:
        async with ensemble_of(3) as ensemble:
            old = ensemble.leader
            rest = [sid for sid in (1, 2, 3) if sid != old]
            async with ensemble.client(*rest) as admin:
                line = ensemble.members[old].line.replace(":participant;", ":observer;")
                await admin.reconfig(joining=line)
            await ensemble.wait_leader(*rest)
            await wait_voters(ensemble, rest, 1, 2, 3)
            assert ensemble.observers == [old]

    run(scenario)


def test_refusals_in_upstreams_order() -> None:
    async def scenario() -> None:
        async with ensemble_of(3, 1) as ensemble, ensemble.client() as client:
            version = view_of(ensemble, 1).version
            with refusal(codes.ERR_BAD_VERSION):
                await client.reconfig(members="not even this is looked at", from_config=version + 1)
            with refusal(codes.ERR_BAD_ARGUMENTS):
                await client.reconfig(members="server.1=nonsense")
            with refusal(codes.ERR_BAD_ARGUMENTS):
                await client.reconfig(joining="server.9=127.0.0.1:1:2:participant")
            with refusal(codes.ERR_BAD_ARGUMENTS):
                await client.reconfig(joining="server.9")
            with refusal(codes.ERR_MARSHALLING):
                await client.reconfig(leaving="one")
            with refusal(codes.ERR_BAD_ARGUMENTS):
                await client.reconfig(leaving="1,2")
            with refusal(codes.ERR_NEW_CONFIG_NO_QUORUM):
                await client.reconfig(members=",".join([*absent_lines(7, 8), ensemble.members[1].line]))
            assert view_of(ensemble, 1).version == version
            config, _ = await client.reconfig(leaving="4", from_config=version)
            assert config is not None
            assert b"server.4" not in config

    run(scenario)


def absent_lines(*sids: int) -> list[str]:
    """Lines of servers that are not there."""
    return [f"server.{sid}=127.0.0.1:{sid}:1{sid}:participant;127.0.0.1:2{sid}" for sid in sids]


def test_a_standalone_server_has_no_membership() -> None:
    async def scenario() -> None:
        async with ensemble_of(1) as ensemble, ensemble.client() as client:
            with refusal(codes.ERR_UNIMPLEMENTED):
                await client.reconfig(leaving="1")

    run(scenario)


def test_it_takes_the_right_to_write_the_config_node() -> None:
    async def scenario() -> None:
        options = {"reconfigEnabled": "true"}
        async with AsyncEnsemble(3, options=options) as ensemble, ensemble.client() as client:
            with refusal(codes.ERR_NO_AUTH):
                await client.reconfig(leaving="1")
            config, _ = await client.get_config()
            assert config is not None
            assert b"server.1" in config

    run(scenario)


def test_the_watch_of_the_config_node_fires_everywhere() -> None:
    async def scenario() -> None:
        async with ensemble_of(3, 1) as ensemble, ensemble.client(3) as admin:
            fired: list[tuple[int, int, str]] = []
            clients = [ensemble.client(sid) for sid in (3, 4)]
            for number, client in enumerate(clients):
                await client.start()
                await client.get_config(
                    lambda kind, path, number=number: fired.append((number, kind, path))
                )
            await admin.reconfig(leaving="1" if ensemble.leader != 1 else "2")
            await ensemble.wait("both are told", lambda: len(fired) == 2)
            event = (codes.EVENT_NODE_DATA_CHANGED, "/zookeeper/config")
            assert sorted(fired) == [(0, *event), (1, *event)]
            for client in clients:
                await client.close()

    run(scenario)


def test_both_quorums_are_needed() -> None:
    """A joiner that dies half way holds the reconfiguration up; the old quorum alone must not commit it."""

    async def scenario() -> None:
        async with ensemble_of(2, 0, standaloneEnabled="false") as ensemble:
            joiner = await ensemble.add()
            await ensemble.wait_ready(joiner)
            leader = ensemble.leader
            follower = 3 - leader
            async with ensemble.client(leader, timeout_ms=30_000) as client:
                # The new view is {leader, joiner}; of the old one {1, 2} both are needed, of the new one too.
                await ensemble.lag(joiner, None)
                lines = f"{ensemble.members[leader].line},{ensemble.members[joiner].line}"
                asked = asyncio.create_task(client.reconfig(members=lines))
                await ensemble.wait(
                    "the old follower has seen the proposal",
                    lambda: peer_of(ensemble, follower).last_seen is not None,
                )
                with refusal(codes.ERR_RECONFIG_IN_PROGRESS):
                    # Prepared behind the first; its refusal commits behind it, too.
                    second = asyncio.create_task(client.reconfig(leaving="2"))
                    assert not asked.done()
                    assert not second.done()
                    await ensemble.lag(joiner, 0.0)
                    config, _ = await asked
                    await second
                assert config is not None
                assert EnsembleConfig.parse(config.decode()).voters() == sorted([leader, joiner])
            await wait_voters(ensemble, sorted([leader, joiner]), 1, 2, joiner)

    run(scenario)


def peer_of(ensemble: AsyncEnsemble, sid: int) -> Peer:
    """A test's look inside."""
    running = ensemble.members[sid].running
    assert running is not None
    assert running.server.peer is not None
    return running.server.peer


def test_a_joiner_that_dies_half_way_does_not_lose_the_ensemble() -> None:
    async def scenario() -> None:
        async with ensemble_of(3) as ensemble, Writer(ensemble) as writer:
            joiner = await ensemble.add()
            await ensemble.wait_ready(joiner)
            async with ensemble.client(1, 2, 3, timeout_ms=30_000) as admin:
                await ensemble.lag(joiner, None)
                asked = asyncio.create_task(admin.reconfig(joining=ensemble.members[joiner].line))
                await ensemble.kill(joiner)
                # Three of four are a quorum of the new view as well.
                await asked
            await wait_voters(ensemble, [1, 2, 3, 4], 1, 2, 3)
            await writer.more(ensemble)
            await ensemble.start(joiner)
            await wait_voters(ensemble, [1, 2, 3, 4], joiner)
            async with ensemble.client(joiner) as client:
                await check_written(client, writer)

    run(scenario)


def test_a_restarted_server_has_the_newest_view() -> None:
    async def scenario() -> None:
        async with ensemble_of(3) as ensemble:
            async with ensemble.client() as admin:
                await admin.reconfig(leaving="1")
            await wait_voters(ensemble, [2, 3], 2, 3)
            version = view_of(ensemble, 2).version
            await ensemble.stop(1)
            # All at once, so that nobody is there to ask.
            await ensemble.kill(2)
            await ensemble.kill(3)
            await ensemble.start(2)
            await ensemble.start(3)
            await ensemble.wait_ready()
            assert view_of(ensemble, 2).voters() == [2, 3]
            assert view_of(ensemble, 2).version == version

    run(scenario)


def test_files_are_upstreams() -> None:
    async def scenario() -> None:
        async with ensemble_of(3) as ensemble:
            folder = ensemble.members[3].folder
            before = (folder / "zoo.cfg.bak").read_text()
            async with ensemble.client(3) as admin:
                await admin.reconfig(leaving="1")
            await wait_voters(ensemble, [2, 3], 2, 3)
            version = view_of(ensemble, 3).version
            await ensemble.stop(3)
            check_files(folder, version, before)
            assert ensemble.members[2].line in (folder / f"zoo.cfg.dynamic.{version:x}").read_text()

    run(scenario)


def check_files(folder: Path, version: int, before: str) -> None:
    """The static file points to the active view: sorted lines, without version or last newline."""
    dynamic = folder / f"zoo.cfg.dynamic.{version:x}"
    lines = dynamic.read_text().split("\n")
    assert lines == sorted(lines)
    assert all(line.startswith("server.") for line in lines)
    static = (folder / "zoo.cfg").read_text()
    assert f"dynamicConfigFile={dynamic}\n" in static
    assert "server." not in static
    assert "server.1=" in before
    assert (folder / "zoo.cfg.bak").read_text() == before
    assert not (folder / "zoo.cfg.dynamic.next").exists()
    config, _ = load_config(str(folder / "zoo.cfg"), read=lambda path: Path(path).read_text())
    assert config.ensemble is not None
    assert config.ensemble.version == version
    assert config.ensemble.voters() == [2, 3]


def test_the_clients_port_moves_and_connections_stay() -> None:
    async def scenario() -> None:
        ports = take_ports(1)
        async with ensemble_of(3) as ensemble, ensemble.client(1) as client:
            member = ensemble.members[1]
            line = member.line.replace(f";127.0.0.1:{member.client_port}", f";127.0.0.1:{ports[0]}")
            await client.reconfig(joining=line)
            async with AsyncClient(f"127.0.0.1:{ports[0]}") as moved:
                await moved.create("/through-the-new-port", b"")
            # The old connection is still there.
            assert await client.exists("/through-the-new-port") is not None
            with pytest.raises(OSError, match=r"refused|Connect call failed"):
                await asyncio.open_connection("127.0.0.1", member.client_port)
        give_back(ports)

    run(scenario)


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_ports_between_servers_move(who: str) -> None:
    async def scenario() -> None:
        ports = take_ports(2)
        async with ensemble_of(3) as ensemble:
            sid = ensemble.leader if who == "leader" else ensemble.followers[0]
            member = ensemble.members[sid]
            others = [one for one in (1, 2, 3) if one != sid]
            old = f"{member.quorum_port}:{member.election_port}"
            async with ensemble.client(*others) as admin:
                await admin.reconfig(joining=member.line.replace(old, f"{ports[0]}:{ports[1]}"))
            await wait_voters(ensemble, [1, 2, 3], 1, 2, 3)
            # It can be elected, and led to, where it is now.
            await ensemble.kill(others[0])
            await ensemble.wait_leader()
            async with ensemble.client(sid) as client:
                await client.create("/moved", b"")
        give_back(ports)

    run(scenario)


def test_what_was_proposed_counts_after_a_restart() -> None:
    """A view may be in the log and nobody says that it is committed: all agree on it, or on the old one."""

    async def scenario() -> None:
        async with ensemble_of(3) as ensemble, ensemble.client(timeout_ms=30_000) as admin:
            line = ensemble.members[1].line.replace(":participant;", ":observer;")
            version = view_of(ensemble, 1).version
            asked = asyncio.create_task(admin.reconfig(joining=line))
            await ensemble.wait(
                "it is proposed",
                lambda: any(peer_of(ensemble, sid).newest_config().version > version for sid in (1, 2, 3)),
            )
            for sid in (1, 2, 3):
                await ensemble.kill(sid)
            asked.cancel()
            for sid in (1, 2, 3):
                await ensemble.start(sid)
            await ensemble.wait_ready()
            view = view_of(ensemble, ensemble.leader)
            assert view.voters() == ([1, 2, 3] if view.version == version else [2, 3])
            await ensemble.wait(
                "all have one view",
                lambda: all(view_of(ensemble, sid).version == view.version for sid in (1, 2, 3)),
            )
            async with ensemble.client() as client:
                await client.create("/afterwards", b"")

    run(scenario)
