"""The stand-in for java: which command it becomes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conformance import java_shim, shim_ensemble

MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
CALL = [
    "-cp",
    "x.jar",
    "-Dfile.encoding=UTF-8",
    "-Dreadonlymode.enabled=true",
    "-Xmx1g",
    "-Dempty",
    MAIN,
    "zoo.cfg",
]
SHIM = Path(java_shim.__file__).parent / "shim" / "java"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    path = tmp_path / "zoo.cfg"
    path.write_text(f"clientPort=1\n dataDir = {data}\n")
    return path


def test_split() -> None:
    properties, main_class, rest = java_shim.split(CALL)
    assert properties == {"file.encoding": "UTF-8", "readonlymode.enabled": "true", "empty": ""}
    assert (main_class, rest) == (MAIN, ["zoo.cfg"])


def test_properties_become_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZABRA_SHIM_SERVER", "zabra server")
    command = java_shim.zabra_command(java_shim.split(CALL)[0], "zoo.cfg")
    assert command == ["zabra", "server", "zoo.cfg", "--set", "readonlymode.enabled=true", "--set", "empty="]


def test_the_real_java_gets_our_class_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZABRA_SHIM_CLASSPATH", "ours")
    monkeypatch.setenv("ZABRA_SHIM_JAVA", "/real/java")
    monkeypatch.setenv("ZABRA_SHIM_JVM_FLAGS", "-Xmx9m")
    command = java_shim.java_command(CALL, True)
    assert command[:4] == ["/real/java", "-Xmx9m", "-cp", "ours"]
    assert command[-2:] == [MAIN, "zoo.cfg"]
    assert "x.jar" not in command


def test_chosen_ids_stay_on_java(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    monkeypatch.setenv("ZABRA_SHIM_JAVA_IDS", "1,3")
    assert not java_shim.run_on_java(str(config))
    (config.parent / "data" / "myid").write_text("3\n")
    assert java_shim.server_id(str(config)) == "3"
    assert java_shim.run_on_java(str(config))
    monkeypatch.setenv("ZABRA_SHIM_JAVA_IDS", "2")
    assert not java_shim.run_on_java(str(config))
    monkeypatch.setenv("ZABRA_SHIM_JAVA_IDS", "all")
    assert java_shim.run_on_java(str(config))


def test_the_server_takes_the_callers_process(config: Path, tmp_path: Path) -> None:
    """The suite that started ``java`` signals the server itself."""
    server = f"{sys.executable} -c 'import os, sys; print(os.getpid(), sys.argv[1:])'"
    logs = tmp_path / "logs"
    env = {"PATH": os.environ["PATH"], "ZABRA_SHIM_SERVER": server, "ZABRA_SHIM_LOGS": str(logs)}
    process = subprocess.Popen([str(SHIM), "-Da=b", MAIN, str(config)], env=env)
    assert process.wait(30) == 0
    (log,) = logs.iterdir()
    assert log.name == f"{process.pid}-standalone.log"
    assert f"{process.pid} {[str(config), '--set', 'a=b']}" in log.read_text()


def test_other_classes_go_to_the_real_java(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.write_text('#!/bin/sh\necho "$@"\n')
    real.chmod(0o755)
    env = {"PATH": os.environ["PATH"], "ZABRA_SHIM_JAVA": str(real), "ZABRA_SHIM_CLASSPATH": "ours"}
    command = [str(SHIM), "-cp", "theirs", "org.apache.zookeeper.ZooKeeperMain", "-server", "h:1", "ls", "/"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == [
        "-cp",
        "ours",
        "org.apache.zookeeper.ZooKeeperMain",
        "-server",
        "h:1",
        "ls",
        "/",
    ]


def test_a_server_without_a_configuration_file_is_refused(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "ZABRA_SHIM_SERVER": "true"}
    done = subprocess.run(
        [str(SHIM), MAIN, "2181", "/data"], env=env, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert "path of a zoo.cfg" in done.stderr


@pytest.mark.parametrize(("role", "own", "others"), [("follower", "1", ["2", "3"]), ("observer", "4", ["3"])])
def test_a_standalone_server_can_become_a_member(
    role: str, own: str, others: list[str], config: Path
) -> None:
    member, rest = shim_ensemble.lay_out(str(config), role)
    settings = shim_ensemble.read(member)
    assert settings["clientPort"] == "1"
    assert settings.get("peerType") == ("observer" if role == "observer" else None)
    assert (Path(settings["dataDir"]) / "myid").read_text().strip() == own
    lines = {key: value for key, value in settings.items() if key.startswith("server.")}
    assert sorted(lines) == sorted(f"server.{sid}" for sid in [own, *others])
    for path, sid in zip(rest, others, strict=True):
        theirs = shim_ensemble.read(path)
        assert "clientPort" not in theirs
        assert theirs["dataDir"] != settings["dataDir"]
        assert (Path(theirs["dataDir"]) / "myid").read_text().strip() == sid
        assert lines.items() <= theirs.items()


def test_members_on_the_real_java_get_configurations_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZABRA_SHIM_CLASSPATH", "ours")
    monkeypatch.setenv("ZABRA_SHIM_JAVA", "/real/java")
    standalone = [*CALL[:-2], java_shim.STANDALONE_CLASS, "zoo.cfg"]
    command = java_shim.java_member(standalone, "member/zoo.cfg")
    assert command[0] == "/real/java"
    assert command[-2:] == [MAIN, "member/zoo.cfg"]
    assert "-Dreadonlymode.enabled=true" in command


def test_the_other_members_data_is_kept_as_long_as_the_members_is(config: Path) -> None:
    member, rest = shim_ensemble.lay_out(str(config), "follower")
    mark = Path(rest[0]).parent / "version-2"
    mark.mkdir()
    own = Path(shim_ensemble.read(member)["dataDir"]) / "version-2"
    own.mkdir()
    shim_ensemble.lay_out(str(config), "follower")
    assert mark.exists()
    own.rmdir()
    shim_ensemble.lay_out(str(config), "follower")
    assert not mark.exists()
