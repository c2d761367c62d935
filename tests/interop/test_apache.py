"""The Apache harness itself: what it starts serves, answers upstream's own client, and goes away."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
from tests.interop import apache
from tests.interop.conftest import StartEnsemble, StartServer
from tests.interop.processes import ConfigValue, ServerError, ServerProcess, free_ports, poll


@pytest.mark.java
def test_standalone_serves_and_stops(apache_line: str, apache_server: StartServer) -> None:
    server = apache_server(apache_line)
    assert server.mode() == "standalone"
    assert server.four_letter("ruok") == "imok"
    banner = server.four_letter("srvr")
    assert banner is not None
    assert apache.release(apache_line) in banner
    # A JVM that got SIGTERM ends with 128 + 15.
    assert server.stop() == 143
    assert server.mode() is None


@pytest.mark.java
def test_zkcli_of_each_line_works(apache_line: str, apache_server: StartServer) -> None:
    server = apache_server(apache_line)
    made = _zkcli(apache_line, server, "create", "/harness", "seen")
    assert "Created /harness" in made.stdout + made.stderr
    assert "seen" in _zkcli(apache_line, server, "get", "/harness").stdout


def _zkcli(line: str, server: ServerProcess, *command: str) -> subprocess.CompletedProcess[str]:
    argv = apache.zkcli_command(line, server.address, *command)
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)


@pytest.mark.java
@pytest.mark.slow
def test_ensemble_with_observer_survives_its_leader(apache_ensemble: StartEnsemble) -> None:
    ensemble = apache_ensemble(3, 1)
    modes = sorted(str(member.mode()) for member in ensemble.members.values())
    assert modes == ["follower", "follower", "leader", "observer"]
    first = ensemble.wait_leader()
    ensemble.members[first].kill()
    second = ensemble.wait_leader()
    assert second != first
    ensemble.members[first].start()
    assert ensemble.members[first].mode() == "follower"


@pytest.mark.java
def test_a_server_that_cannot_start_tells_its_log(tmp_path: Path) -> None:
    apache.require_java()
    cfg: dict[str, ConfigValue] = {"clientPort": free_ports(1)[0], "tickTime": "soon"}
    server = apache.ApacheServer("3.9", cfg, tmp_path / "bad")
    with pytest.raises(ServerError, match='For input string: "soon"'):
        server.start()
    assert not server.running


def test_a_taken_port_is_not_taken_for_a_server_of_ours(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = ServerProcess(["false"], {"clientPort": other.getsockname()[1]}, tmp_path)
        with pytest.raises(ServerError, match="somebody else listens"):
            server.start()


def test_poms_name_every_release_and_its_own_line_editor() -> None:
    for releases in apache.RELEASES.values():
        for version in releases:
            assert f"<artifactId>parent</artifactId><version>{version}</version>" in apache.pom(version)
    assert "<groupId>org.jline<" in apache.pom("3.9.5")
    assert "<groupId>jline<" in apache.pom("3.9.4")
    assert "<groupId>org.jline<" in apache.pom("3.8.6")
    assert "<groupId>jline<" in apache.pom("3.8.5")


def test_without_java_a_test_is_skipped_but_fails_on_a_build_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    apache.release.cache_clear()
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="java is not on PATH"):
        apache.require_java("3.9")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(apache.ApacheUnavailable, match="java is not on PATH"):
        apache.require_java("3.9")


def test_free_ports_are_distinct() -> None:
    ports = free_ports(12)
    assert len(set(ports)) == 12


def test_poll_names_what_did_not_happen() -> None:
    with pytest.raises(TimeoutError, match="the sun rises"):
        poll("the sun rises", 0, lambda: None)
