"""R4 histories: a cas-register on live ensembles, judged by the black-box checker."""

from __future__ import annotations

import asyncio

import pytest
from tests.chaos.live_histories import CLIENTS, OPS, LiveHistory, record
from tests.conftest import Report

from zabra.proto import codes
from zabra.testing import AsyncEnsemble

HISTORIES = 30
# Every so many histories the leader is killed in the middle of one.
KILL_EVERY = 5


async def histories(count: int, clients: int = CLIENTS, ops: int = OPS) -> list[LiveHistory]:
    """So many, one after the other, on one ensemble."""
    out: list[LiveHistory] = []
    async with AsyncEnsemble(3, observers=1) as ensemble:
        for i in range(count):
            kills = i % KILL_EVERY == 0
            out.append(await record(ensemble, f"/register-{i}", i, kills, clients, ops))
    return out


def test_a_live_history_is_linearizable_and_a_lie_in_it_is_found() -> None:
    found = asyncio.run(histories(1, clients=4, ops=30))[0]
    assert len(found.operations) == 120
    assert found.is_linearizable()
    # Two writers cannot both have made the same version.
    good = [one for one in found.operations if one.err == codes.OK]
    good[-1].version = good[0].version
    assert not found.is_linearizable()


@pytest.mark.campaign
def test_thirty_live_histories_are_linearizable(reliability: Report) -> None:
    found = asyncio.run(histories(HISTORIES))
    violations = sum(not one.is_linearizable() for one in found)
    reliability(
        "R4",
        "histories",
        histories=len(found),
        ops=sum(len(one.operations) for one in found),
        unknown=sum(one.unknown() for one in found),
        refused=sum(one.refused() for one in found),
        violations=violations,
    )
    assert violations == 0
    assert sum(one.unknown() for one in found) > 0
    assert sum(one.refused() for one in found) > 0
