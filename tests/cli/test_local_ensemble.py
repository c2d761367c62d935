"""The files of a local ensemble: numbers, ports, zoo.cfg; what is kept and what is refused."""

import json
import os
import socket
from pathlib import Path

import pytest

from zabra.cli.config import read_file
from zabra.cli.local_ensemble import FolderLock, LocalError, lay_out
from zabra.config.load import load_config
from zabra.config.server import ServerConfig

BASE_PORT = 13900


def config_of(folder: Path, sid: int) -> ServerConfig:
    config, warnings = load_config(str(folder / str(sid) / "zoo.cfg"), read=read_file, strict=True)
    assert [str(one) for one in warnings if "no failure" not in str(one)] == []
    return config


def test_participants_first_each_with_its_own_port_and_folder(tmp_path: Path) -> None:
    ensemble = lay_out(tmp_path, 3, 2, BASE_PORT)
    ensemble.write()
    for sid in range(1, 6):
        config = config_of(tmp_path, sid)
        assert config.server_id == sid
        assert config.client_port == BASE_PORT + sid - 1
        assert config.client_port_address == "127.0.0.1"
        assert config.data_dir == str(tmp_path / str(sid))
        assert config.peer_type == ("observer" if sid > 3 else "participant")
        assert config.ensemble is not None
        assert config.ensemble.voters() == [1, 2, 3]
        assert config.ensemble.observers() == [4, 5]
    ports = [port for server in ensemble.servers for port, _ in server.ports()]
    assert len(set(ports)) == 15
    addresses = [f"127.0.0.1:{BASE_PORT + i}" for i in range(5)]
    assert ensemble.connect_string == ",".join(addresses)


def test_a_second_start_keeps_numbers_and_ports(tmp_path: Path) -> None:
    lay_out(tmp_path, 3, 1, BASE_PORT).write()
    before = (tmp_path / "1" / "zoo.cfg").read_text()
    again = lay_out(tmp_path)
    again.write()
    assert (tmp_path / "1" / "zoo.cfg").read_text() == before
    assert [one.is_observer for one in again.servers] == [False, False, False, True]
    # More observers: the old servers stay where they are.
    more = lay_out(tmp_path, observers=3)
    assert [one.line() for one in more.servers[:4]] == [one.line() for one in again.servers]
    assert len(more.servers) == 6


def test_who_votes_cannot_be_changed_by_an_option(tmp_path: Path) -> None:
    lay_out(tmp_path, 3, 0, BASE_PORT).write()
    with pytest.raises(LocalError, match=r"holds an ensemble of 3 participants, not 5"):
        lay_out(tmp_path, 5)
    with pytest.raises(LocalError, match="holds an ensemble of its own"):
        lay_out(tmp_path, join="127.0.0.1:1")


def test_one_participant_without_observers_stands_alone(tmp_path: Path) -> None:
    lay_out(tmp_path, 1, 0, BASE_PORT).write()
    assert config_of(tmp_path, 1).ensemble is None


def test_one_participant_with_observers_is_an_ensemble(tmp_path: Path) -> None:
    lay_out(tmp_path, 1, 1, BASE_PORT).write()
    config = config_of(tmp_path, 1)
    assert config.ensemble is not None
    assert config.ensemble.voters() == [1]


def test_observers_that_join_have_no_line_and_no_number(tmp_path: Path) -> None:
    ensemble = lay_out(tmp_path, observers=2, base_port=BASE_PORT, join="127.0.0.1:1,127.0.0.1:2")
    ensemble.write()
    for sid in (1, 2):
        config = config_of(tmp_path, sid)
        assert config.join == (("127.0.0.1", 1), ("127.0.0.1", 2))
        assert config.peer_type == "observer"
        assert config.server_id == 0
        assert config.ensemble is not None
        assert config.ensemble.servers == {}
    with pytest.raises(LocalError, match="observers of 127"):
        lay_out(tmp_path)


def test_a_configuration_that_a_server_has_changed_is_left_alone(tmp_path: Path) -> None:
    lay_out(tmp_path, 3, 0, BASE_PORT).write()
    changed = "dataDir=/x\ndynamicConfigFile=zoo.cfg.dynamic.1\n"
    (tmp_path / "2" / "zoo.cfg").write_text(changed)
    lay_out(tmp_path).write()
    assert (tmp_path / "2" / "zoo.cfg").read_text() == changed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"participants": 0}, "needs a participant"),
        ({"participants": 3, "observers": 500}, "503 servers"),
        ({"base_port": 0}, "--base-port 0"),
        ({"base_port": 65534}, "--base-port 65534"),
        ({"participants": 3, "join": "127.0.0.1:1"}, "does not go with --participants"),
    ],
)
def test_what_cannot_be(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(LocalError, match=message):
        lay_out(tmp_path, **arguments)  # type: ignore[arg-type]  # as the command line passes them


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_spoilt_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "ensemble.json").write_text(text)
    with pytest.raises(LocalError, match=r"ensemble\.json"):
        lay_out(tmp_path)


def test_ports_in_use_are_all_named(tmp_path: Path) -> None:
    ensemble = lay_out(tmp_path, 3, 0, BASE_PORT)
    ensemble.check_ports()
    with (
        socket.create_server(("127.0.0.1", BASE_PORT + 1)),
        socket.create_server(("127.0.0.1", ensemble.servers[0].quorum_port)),
        pytest.raises(LocalError) as refusal,
    ):
        ensemble.check_ports()
    text = str(refusal.value)
    assert f"port {ensemble.servers[0].quorum_port} (server 1, learners)" in text
    assert f"port {BASE_PORT + 1} (server 2, clients)" in text
    assert "--base-port" in text


def test_ports_in_use_are_not_chosen(tmp_path: Path) -> None:
    first = lay_out(tmp_path, 3, 0, BASE_PORT).servers[0].quorum_port
    with socket.create_server(("127.0.0.1", first)):
        assert lay_out(tmp_path, 3, 0, BASE_PORT).servers[0].quorum_port == first + 1


def test_a_folder_is_used_by_one_at_a_time(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "new")
    with pytest.raises(LocalError, match=rf"another zabra up \(process {os.getpid()}\)"):
        FolderLock(tmp_path / "new")
    lock.release()
    FolderLock(tmp_path / "new").release()


def test_what_is_kept(tmp_path: Path) -> None:
    ensemble = lay_out(tmp_path, 1, 1, BASE_PORT)
    ensemble.write()
    kept = json.loads((tmp_path / "ensemble.json").read_text())
    assert kept["participants"] == kept["observers"] == 1
    assert kept["base_port"] == BASE_PORT
    assert kept["join"] == ""
    assert sorted(kept["ports"]) == ["1", "2"]
