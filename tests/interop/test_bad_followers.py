"""Bad learners of a leader that has no epoch yet: one real member, the other two voters played by the test.

The real server, 1, is elected by the votes of 2 and 3.  Whoever then comes with an epoch or a history that
cannot be is refused with a reason in the log, raises no epoch and counts for no quorum; a sane follower
establishes the leader afterwards, in the epoch that would have been its anyway.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import Report
from tests.interop.bad_peers import HUGE, INT_MAX, Wire, framed, learner_info
from tests.interop.processes import poll
from tests.interop.test_bad_leaders import LOOKING, Prey

from zabra.proto import codes
from zabra.proto.notification import Notification, decode_notification
from zabra.proto.packets import encode_ack_epoch, encode_packet

FOLLOWER = codes.PACKET_FOLLOWERINFO


class Supporter:
    """A voter that wants what it hears the member vote for."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.wire.sock.settimeout(0.05)
        self._input = b""

    def agree(self) -> None:
        """Answers what has come, with the same words."""
        with contextlib.suppress(TimeoutError):
            self._input += self.wire.sock.recv(65536)
        while len(self._input) >= 4 and len(self._input) >= 4 + self._length():
            message, self._input = self._input[4 : 4 + self._length()], self._input[4 + self._length() :]
            heard = decode_notification(message)
            if isinstance(heard, Notification) and (heard.state, heard.leader) == (LOOKING, 1):
                self.wire.send(framed(message))

    def _length(self) -> int:
        return int.from_bytes(self._input[:4], "big")


class Candidate(Prey):
    """Server 1, which 2 and 3 want to lead; ``accepted`` is the epoch it has proposed last."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.accepted = 0

    def lead(self) -> None:
        """Has it lead: 2 and 3 say what it says itself, until it does."""
        before = len(self.log())
        peers = {sid: Supporter(self.election(sid)) for sid in (2, 3)}

        def attempt() -> bool | None:
            for supporter in peers.values():
                supporter.agree()
            return "LEADING, zxid" in self.log()[before:] or None

        poll("the member leads", 20, attempt)
        for supporter in peers.values():
            supporter.wire.close()

    def learner(self) -> Wire:
        """A connection to its quorum port."""
        return Wire(("127.0.0.1", self.ports[2]))

    def establish(self) -> None:
        """2 follows as it should, until the member serves."""
        with self.learner() as wire:
            wire.send(learner_info(2, self.accepted, FOLLOWER))
            info = wire.packet()
            assert info.type == codes.PACKET_LEADERINFO
            assert info.zxid == (self.accepted + 1) << 32, "somebody has raised the epoch"
            self.accepted += 1
            wire.send(encode_packet(codes.PACKET_ACKEPOCH, self.epoch << 32, encode_ack_epoch(self.epoch)))
            while wire.packet().type != codes.PACKET_NEWLEADER:
                continue
            wire.send(encode_packet(codes.PACKET_ACK, self.accepted << 32, None))
            assert wire.packet().type == codes.PACKET_UPTODATE
            self.epoch = self.accepted
            poll("the member leads and serves", 20, lambda: self.server.mode() == "leader" or None)
        poll("it gives up without followers", 20, lambda: self.server.mode() is None or None)


Move = Callable[[Candidate], None]


def _an_epoch_without_a_next(candidate: Candidate) -> None:
    with candidate.learner() as wire:
        wire.send(learner_info(2, INT_MAX, FOLLOWER))
        assert wire.closed()


def _ahead(epochs: int, txns: int) -> Move:
    """By so many of both."""

    def move(candidate: Candidate) -> None:
        with candidate.learner() as wire:
            wire.send(learner_info(2, candidate.accepted, FOLLOWER))
            assert wire.packet().type == codes.PACKET_LEADERINFO
            candidate.accepted += 1
            ack = encode_ack_epoch(candidate.epoch + epochs)
            wire.send(encode_packet(codes.PACKET_ACKEPOCH, (candidate.epoch << 32) + txns, ack))
            assert wire.closed()

    return move


def _an_observer_with(epoch: int) -> Move:
    def move(candidate: Candidate) -> None:
        with candidate.learner() as wire:
            wire.send(learner_info(77, epoch))
            if epoch == INT_MAX:
                assert wire.closed()
            else:
                candidate.establish()

    return move


def _a_stranger_that_follows(candidate: Candidate) -> None:
    with candidate.learner() as wire:
        wire.send(learner_info(99, 1000, FOLLOWER))
        candidate.establish()


CASES: list[tuple[str, Move, str]] = [
    ("an epoch without a next one", _an_epoch_without_a_next, "accepted epoch 2147483647 leaves no next one"),
    ("a later epoch", _ahead(1, 0), "server 2 .* is ahead of the leader"),
    ("a longer history", _ahead(0, 9), "server 2 .* is ahead of the leader"),
    ("a history beyond all epochs", _ahead(0, HUGE >> 1), "server 2 .* is ahead of the leader"),
    ("an observer's later epoch", _an_observer_with(1000), "observer, accepted epoch 1000"),
    ("an observer's last epoch", _an_observer_with(INT_MAX), "accepted epoch 2147483647 leaves no next one"),
    ("a stranger's later epoch", _a_stranger_that_follows, "learner 99 .*: follower, accepted epoch 1000"),
]


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Candidate]:
    made = Candidate(tmp_path_factory.mktemp("candidate"))
    yield made
    made.server.stop()
    made.door.close()


@pytest.fixture(scope="module")
def counted(reliability: Report) -> Iterator[dict[str, int]]:
    found = {"learners": 0}
    yield found
    reliability("R12", "bad-followers", **found)


@pytest.mark.slow
@pytest.mark.parametrize(("move", "reason"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_bad_learner_is_refused_and_the_next_one_counts(
    candidate: Candidate, move: Move, reason: str, counted: dict[str, int]
) -> None:
    before = len(candidate.log())
    candidate.lead()
    move(candidate)
    candidate.wait_log(reason, before)
    candidate.lead()
    candidate.establish()
    assert candidate.server.running, candidate.server.log_tail()
    counted["learners"] += 1
