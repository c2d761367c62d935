"""Joining without a line: who is asked, what is kept, and what an observer does while nobody answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.interop.members import ZABRA, Mixed, make_member
from tests.interop.processes import ServerProcess, free_ports, poll

from zabra.config.ensemble import EnsembleConfig
from zabra.jute.primitives import Writer
from zabra.proto import codes
from zabra.proto.packets import encode_leader_info, encode_packet
from zabra.runtime.assembly import Plan
from zabra.runtime.joining import (
    FILE_NAME,
    FIRST_SID,
    LAST_SID,
    JoinError,
    ask,
    join,
    keep_joined,
    read_joined,
    takes_learners,
)
from zabra.server.settings import Settings
from zabra.storage.errors import DataFolderError

FIRST_PORT, END_PORT = 14000, 14200
VIEW = "server.1=h1:1:2:participant\nserver.2=h2:1:2:participant\nserver.3=h3:1:2:observer\nversion=1a"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Address = tuple[str, int]


def with_server(serve: Serve, do: Callable[[Address], Awaitable[object]]) -> object:
    """Runs ``do`` beside a TCP server."""

    async def run() -> object:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        try:
            return await do((host, port))
        finally:
            server.close()
            # Connections that have just been made are taken up, and closed, in the loop's next turns.
            for turn in range(20):
                await asyncio.sleep(0)
                if turn == 10:
                    for task in asyncio.all_tasks() - {asyncio.current_task()}:
                        task.cancel()

    return asyncio.run(run())


async def as_client_port(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serves one session: ConnectRequest, getData of the config node, closeSession."""
    try:
        while True:
            size = int.from_bytes(await reader.readexactly(4), "big")
            if not 8 <= size < 1000:
                return
            body = await reader.readexactly(size)
            answer = Writer()
            answer.write_int(0)
            if size > 40 and body[:4] == bytes(4):
                answer.write_int(0)
                answer.write_int(10_000)
                answer.write_long(1)
                answer.write_buffer(bytes(16))
                answer.write_bool(False)
            else:
                op = int.from_bytes(body[4:8], "big")
                answer.write_raw(body[:4])
                answer.write_long(1)
                answer.write_int(0)
                if op == codes.OP_GET_DATA:
                    answer.write_buffer(as_client_port.view)  # type: ignore[attr-defined]
                    answer.write_raw(bytes(68))
            answer.patch_int(0, answer.size() - 4)
            writer.write(answer.getvalue())
    except (asyncio.IncompleteReadError, ConnectionError):
        # The client has all it wanted.
        return
    finally:
        writer.close()


async def as_leader(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers OBSERVERINFO; anything else is no learner's."""
    first = await reader.read(4)
    if int.from_bytes(first, "big") == codes.PACKET_OBSERVERINFO:
        writer.write(encode_packet(codes.PACKET_LEADERINFO, 1 << 32, encode_leader_info()))
        await reader.read(-1)
    writer.close()


async def as_somebody_else(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says something else."""
    writer.write(b"SSH-2.0-x\r\n" * 10)
    await reader.read(1)
    writer.close()


def set_view(text: str) -> None:
    as_client_port.view = text.encode()  # type: ignore[attr-defined]


def test_a_client_port_tells_the_view() -> None:
    set_view(VIEW)
    found = with_server(as_client_port, lambda address: ask(address, 77))
    assert isinstance(found, tuple)
    view, takes = found
    assert isinstance(view, EnsembleConfig)
    assert view.format() == VIEW
    assert not takes


def test_a_quorum_port_is_known_by_its_answer() -> None:
    assert with_server(as_leader, lambda address: ask(address, 77)) == (None, True)
    assert with_server(as_leader, lambda address: takes_learners(address, 77)) is True


def test_somebody_else_is_neither() -> None:
    assert with_server(as_somebody_else, lambda address: takes_learners(address, 77)) is False


def test_where_nobody_listens_there_is_nothing() -> None:
    (port,) = free_ports(1, FIRST_PORT, END_PORT)
    assert asyncio.run(ask(("127.0.0.1", port), 77)) == (None, False)


def test_a_server_on_its_own_cannot_be_joined() -> None:
    set_view("version=0")
    with pytest.raises(JoinError, match="is a server on its own"):
        with_server(as_client_port, lambda address: ask(address, 77))


def test_a_view_that_cannot_be_read_is_an_error() -> None:
    set_view("server.1=what")
    with pytest.raises(JoinError, match="cannot be read"):
        with_server(as_client_port, lambda address: ask(address, 77))


# --- what is kept -------------------------------------------------------------------------------------------


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "data" / FILE_NAME
    assert read_joined(path) == (0, None)
    keep_joined(path, 12345, EnsembleConfig.parse(VIEW))
    sid, view = read_joined(path)
    assert sid == 12345
    assert view is not None
    assert view.format() == VIEW
    keep_joined(path, 12345, EnsembleConfig({}))
    assert read_joined(path) == (12345, None)
    assert [one.name for one in path.parent.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("text", ["", "sid=\n", "sid=x\n", "id=1\n", "sid=1\nserver.1=what"])
def test_a_spoilt_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(text)
    with pytest.raises(DataFolderError, match=FILE_NAME):
        read_joined(path)


def plan_in(folder: Path) -> Plan:
    settings = Settings()
    settings.is_observer = True
    settings.is_self_registered = True
    return Plan(settings, str(folder))


def test_a_plan_is_completed_by_the_view_and_a_number_that_stays(tmp_path: Path) -> None:
    set_view(VIEW)
    plan = plan_in(tmp_path)
    with_server(as_client_port, lambda address: join(plan, [address], print))
    assert plan.ensemble is not None
    assert plan.ensemble.format() == VIEW
    assert FIRST_SID <= plan.settings.server_id < LAST_SID
    again = plan_in(tmp_path)
    with_server(as_client_port, lambda address: join(again, [address], print))
    assert again.settings.server_id == plan.settings.server_id


def test_a_number_that_was_given_is_kept(tmp_path: Path) -> None:
    set_view(VIEW)
    plan = plan_in(tmp_path)
    plan.settings.server_id = 9
    with_server(as_client_port, lambda address: join(plan, [address], print))
    assert plan.settings.server_id == 9


def test_with_a_leader_only_the_view_is_learned_later(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)

    async def run(address: Address) -> None:
        await join(plan, [address, ("127.0.0.1", 1)], print)
        assert plan.settings.observer_masters == [address, ("127.0.0.1", 1)]

    with_server(as_leader, run)
    assert plan.ensemble is not None
    assert plan.ensemble.servers == {}


def test_with_nobody_to_ask_the_last_view_counts(tmp_path: Path) -> None:
    keep_joined(tmp_path / FILE_NAME, 12345, EnsembleConfig.parse(VIEW))
    (port,) = free_ports(1, FIRST_PORT, END_PORT)
    plan = plan_in(tmp_path)
    said: list[str] = []
    asyncio.run(join(plan, [("127.0.0.1", port)], said.append))
    assert plan.ensemble is not None
    assert plan.ensemble.format() == VIEW
    assert plan.settings.server_id == 12345
    assert said == ["nobody can be asked for the view: going on with the last one known"]


def test_it_waits_for_somebody_to_ask(tmp_path: Path) -> None:
    set_view(VIEW)
    (port,) = free_ports(1, FIRST_PORT, END_PORT)
    plan = plan_in(tmp_path)

    async def run() -> None:
        waiting = asyncio.Event()
        joining = asyncio.create_task(join(plan, [("127.0.0.1", port)], lambda line: waiting.set()))
        await waiting.wait()
        async with await asyncio.start_server(as_client_port, "127.0.0.1", port):
            await joining

    asyncio.run(run())
    assert plan.ensemble is not None
    assert plan.ensemble.format() == VIEW


# --- a real one ---------------------------------------------------------------------------------------------


@pytest.fixture
def observer(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    started: list[ServerProcess] = []

    def make(port: int, **cfg: str | int) -> ServerProcess:
        whole = {key.replace("__", "."): value for key, value in cfg.items()}
        whole |= {"clientPort": port, "tickTime": 500, "admin.enableServer": "false"}
        started.append(make_member(ZABRA, 9, whole, tmp_path / f"observer-{len(started)}"))
        return started[-1]

    yield make
    for one in started:
        one.stop()


def test_a_process_waits_for_its_ensemble_and_finds_it_again(
    tmp_path: Path, observer: Callable[..., ServerProcess]
) -> None:
    ports = free_ports(13, FIRST_PORT, END_PORT)
    ensemble = Mixed([ZABRA] * 3, tmp_path / "ensemble", ports=ports[:12])
    joiner = observer(ports[12], zabra__join=ensemble.connect_string)
    joiner.launch()
    poll("it waits", 60, lambda: "waiting for an ensemble" in joiner.log_path.read_text() or None)
    with ensemble:
        assert joiner.wait_serving(30) == "observer"
        joiner.stop()
        joiner.start(30)
        assert joiner.mode() == "observer"


def test_a_process_says_when_there_is_no_ensemble(
    tmp_path: Path, observer: Callable[..., ServerProcess]
) -> None:
    ports = free_ports(2, FIRST_PORT, END_PORT)
    alone = make_member(ZABRA, 1, {"clientPort": ports[0], "admin.enableServer": "false"}, tmp_path / "alone")
    with alone:
        joiner = observer(ports[1], zabra__join=alone.address)
        joiner.launch()
        assert poll("it ends", 60, joiner.exit_code) == 1
        assert "is a server on its own: there is no ensemble to join" in joiner.log_path.read_text()


