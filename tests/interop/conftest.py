"""Fixtures that start Apache ZooKeeper and clean it up: ``apache_server``, ``apache_ensemble``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.interop import apache
from tests.interop.processes import ConfigValue, Ensemble, ServerProcess, free_ports

StartServer = Callable[..., ServerProcess]
StartEnsemble = Callable[..., Ensemble]


@pytest.fixture(params=["3.9", "3.8"])
def apache_line(request: pytest.FixtureRequest) -> str:
    """Runs the test once per supported line of Apache ZooKeeper."""
    line = str(request.param)
    apache.require_java(line)
    return line


@pytest.fixture
def apache_server(tmp_path: Path) -> Iterator[StartServer]:
    """``apache_server(version="3.9", **cfg)`` starts a standalone server and stops it after the test.

    Dots in keys of zoo.cfg are written as two underscores, for instance ``admin__enableServer="false"``.
    """
    started: list[ServerProcess] = []

    def start(version: str = "3.9", **cfg: ConfigValue) -> ServerProcess:
        apache.require_java(version)
        client, admin = free_ports(2)
        whole: dict[str, ConfigValue] = {
            "clientPort": client,
            "admin.serverPort": admin,
            "tickTime": 2000,
            "4lw.commands.whitelist": "*",
        }
        whole.update({key.replace("__", "."): value for key, value in cfg.items()})
        server = apache.ApacheServer(version, whole, tmp_path / f"apache-{len(started)}")
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def apache_ensemble(tmp_path: Path) -> Iterator[StartEnsemble]:
    """``apache_ensemble(participants, observers, version="3.9", **cfg)``: serves until the test ends."""
    started: list[Ensemble] = []

    def start(participants: int, observers: int = 0, version: str = "3.9", **cfg: ConfigValue) -> Ensemble:
        apache.require_java(version)
        extra = {key.replace("__", "."): value for key, value in cfg.items()}
        folder = tmp_path / f"ensemble-{len(started)}"
        ensemble = apache.ApacheEnsemble(participants, observers, folder, version=version, cfg=extra)
        started.append(ensemble)
        ensemble.start()
        return ensemble

    yield start
    for ensemble in started:
        ensemble.stop()
