"""What the two options of the thread cost is counted where it is sent."""

from __future__ import annotations

import pytest
from bench.inform import INFORM, PROPOSALS, run


@pytest.mark.parametrize(
    ("option", "to_observer", "from_observer", "by_leader"), [(INFORM, 1, 0, 4 + 2), (PROPOSALS, 2, 1, 4 + 4)]
)
def test_messages_per_write(option: str, to_observer: int, from_observer: int, by_leader: int) -> None:
    """Two followers get PROPOSAL and COMMIT; two more servers get what the option says."""
    row = run(option, 2, 100, 5)
    assert row["one_gets_messages"] == to_observer
    assert row["one_sends_messages"] == from_observer
    assert row["leader_sends_messages"] == by_leader
    assert isinstance(row["one_gets_bytes"], float)
    assert row["one_gets_bytes"] > 100
