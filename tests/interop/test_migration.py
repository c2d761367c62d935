"""Rolling migration under load: three Apache servers become Zabra, then Apache again, on the same disks.

Clients are kazoo's, as applications have them, and the crowd, whose history the members' logs explain.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Report
from tests.interop import apache, crowds
from tests.interop.clients import forget
from tests.interop.live import Crowd
from tests.interop.members import APACHE_38, APACHE_39, ZABRA, Mixed
from tests.interop.processes import poll

kazoo_client = pytest.importorskip("kazoo.client")
kazoo_exceptions = pytest.importorskip("kazoo.exceptions")

SESSION_TIMEOUT_S = 30.0


class Application(threading.Thread):
    """A kazoo client that writes as fast as it is answered, and keeps an ephemeral node all the while."""

    def __init__(self, number: int, hosts: str) -> None:
        super().__init__(name=f"application {number}", daemon=True)
        self.number = number
        self.base = f"/app-{number}"
        self.acknowledged: list[int] = []
        self.states: list[str] = []
        self.failure: BaseException | None = None
        self.done = threading.Event()
        self.client: Any = kazoo_client.KazooClient(hosts, timeout=SESSION_TIMEOUT_S)
        self.client.add_listener(lambda state: self.states.append(str(state)))

    def connect(self) -> None:
        """Makes its nodes."""
        self.client.start(timeout=30)
        self.session = self.client.client_id[0]
        self.client.create(self.base, b"")
        self.client.create(f"{self.base}-here", b"", ephemeral=True)

    def run(self) -> None:
        """One node after another; a write whose answer was lost is tried until it is known to be there."""
        try:
            number = 0
            while not self.done.is_set():
                number += 1
                self._until_done(self.client.create, f"{self.base}/{number}", str(number).encode())
                self._until_done(self.client.set, self.base, str(number).encode())
                self.acknowledged.append(number)
        except (kazoo_exceptions.KazooException, OSError) as error:
            self.failure = error

    def _until_done(self, what: Callable[..., Any], *arguments: Any) -> None:
        while True:
            try:
                what(*arguments)
            except kazoo_exceptions.NodeExistsError:
                return
            except (kazoo_exceptions.ConnectionLoss, kazoo_exceptions.OperationTimeoutError):
                continue
            return

    def close(self) -> None:
        """Ends it, whatever has become of it."""
        self.done.set()
        forget(self.client)
        if self.is_alive():
            self.join(30)

    def check(self) -> None:
        """The session is the one it was, and everything acknowledged is there."""
        assert self.failure is None, self.failure
        assert "LOST" not in self.states, self.states
        assert self.client.client_id[0] == self.session
        self.client.sync("/")
        stat = self.client.exists(f"{self.base}-here")
        assert stat is not None
        assert stat.owner_session_id == self.session
        last = self.acknowledged[-1]
        names = {int(name) for name in self.client.get_children(self.base)}
        missing = [number for number in self.acknowledged if number not in names]
        assert not missing, f"{len(missing)} acknowledged nodes are gone: {missing[:5]}"
        assert int(self.client.get(self.base)[0]) >= last


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.interpreted
def test_apache_becomes_zabra_becomes_apache(tmp_path: Path, reliability: Report) -> None:
    for line in ("3.8", "3.9"):
        apache.require_java(line)
    ensemble = Mixed([APACHE_38] * 3, tmp_path)
    applications: list[Application] = []
    try:
        ensemble.start()
        applications = [Application(number, ensemble.connect_string) for number in range(3)]
        for application in applications:
            application.connect()
            application.start()
        programs = crowds.busy_programs(4, 1, apache_lines=["3.8", "3.9"])
        crowd = crowds.crowd_on(ensemble, programs, 1, timeout_ms=int(1000 * SESSION_TIMEOUT_S))
        crowd.start()
        swaps = _migrate(ensemble, ZABRA, crowd, applications)
        swaps += _migrate(ensemble, APACHE_39, crowd, applications)
        for application in applications:
            application.done.set()
            application.join(30)
            application.check()
        crowds.settle(crowd)
        until = crowds.level(ensemble)
        nodes = crowds.compare_trees(ensemble)
        crowds.check_digests(ensemble)
        history = crowd.finish()
    finally:
        for application in applications:
            application.close()
        ensemble.stop()
    crowds.keep(history, tmp_path)
    sessions = [application.session for application in applications]
    members = list(ensemble.members.values())
    # 3.8 sends events without a zxid: they cannot be placed.
    judgement = crowds.verdict(members, history, until, watches=False, strangers=sessions)
    assert not judgement.violations, judgement.violations[:5]
    assert crowds.early_expiries(history) == []
    writes = sum(len(application.acknowledged) for application in applications)
    reliability(
        "R17",
        "rolling-migration",
        swaps=swaps,
        kazoo_writes=2 * writes,
        crowd_ops=sum(one.answered for one in history.invocations),
        nodes=nodes,
        sessions_lost=0,
        digest_mismatches=0,
        violations=len(judgement.violations),
    )


def _migrate(ensemble: Mixed, kind: str, crowd: Crowd, applications: list[Application]) -> int:
    """Every member becomes ``kind``, the leader last, while everybody goes on writing."""
    leader = ensemble.wait_leader()
    order = [sid for sid in ensemble.members if sid != leader] + [leader]
    for sid in order:
        ensemble.members[sid].stop()
        ensemble.become(sid, kind).start()
        _everybody_goes_on(crowd, applications)
        crowds.check_digests(ensemble)
    assert all(member.mode() in ("leader", "follower") for member in ensemble.members.values())
    return len(order)


def _everybody_goes_on(crowd: Crowd, applications: list[Application]) -> None:
    answered = crowd.answered() + 50
    counts = [len(application.acknowledged) + 3 for application in applications]

    def reached() -> bool | None:
        crowd.check_alive()
        assert all(application.failure is None for application in applications)
        pairs = zip(applications, counts, strict=True)
        return (crowd.answered() >= answered and all(len(a.acknowledged) >= n for a, n in pairs)) or None

    poll("everybody goes on", 60, reached)
