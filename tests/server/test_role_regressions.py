"""What real ensembles have shown to be wrong once, at the smallest scale that shows it: simulated members."""

from __future__ import annotations

import pytest

from zabra.jute.primitives import JuteError, Writer
from zabra.proto import codes
from zabra.proto.records import ErrorTxn, TxnHeader
from zabra.server.roles.learning import entry_of
from zabra.server.settings import Settings
from zabra.sim.cluster import Cluster, Shape
from zabra.sim.monitor import ClusterMonitor
from zabra.sim.prng import Prng


def cluster(shape: Shape, seed: int = 1) -> Cluster:
    """A simulated ensemble with short ticks, started."""
    settings = Settings()
    settings.tick_ms = 200
    made = Cluster(shape, settings, Prng(seed, "cluster"), ClusterMonitor())
    made.start()
    return made


def modes(made: Cluster) -> dict[int, str]:
    """What each server says it is, once it serves."""
    return {int(process.server.settings.server_id): process.server.role.name() for process in made.serving()}


def test_a_follower_may_have_sid_0() -> None:
    """It was never told the epoch: 0 was taken for a learner that has not said who it is."""
    made = cluster(Shape([0, 1, 2]))
    made.run_ms(3000)
    assert sorted(modes(made)) == [0, 1, 2]
    assert sorted(modes(made).values()) == ["follower", "follower", "leader"]


def test_an_observer_may_have_sid_0() -> None:
    made = cluster(Shape([1, 2, 3], observers=[0]))
    made.run_ms(3000)
    assert modes(made)[0] == "observer"


def test_a_txn_under_another_zxid_than_its_packets_is_refused() -> None:
    """Taken at its word it stopped the server: the log would have had a hole."""
    w = Writer()
    TxnHeader(1, 1, 7, 1, codes.OP_ERROR).encode(w)
    ErrorTxn(-101).encode(w)
    raw = w.getvalue()
    assert entry_of(7, raw).header.zxid == 7
    with pytest.raises(JuteError, match="the txn 0x7 in a packet of 0x8"):
        entry_of(8, raw)
