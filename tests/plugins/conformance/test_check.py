"""The check passes what is right, and finds each thing that is wrong, and says what it is."""

import pytest
from tests.plugins.conformance import targets

from zabra.plugins.conformance import (
    AWAY,
    ERROR,
    KILL,
    POWER,
    TARGET,
    ConformanceError,
    check_publisher,
    check_run,
)


def subject(kind):
    return lambda faults: targets.ListTarget(faults, kind)


@pytest.mark.campaign
@pytest.mark.parametrize(("kind", "exactly_once"), [(targets.Good, False), (targets.Exact, True)])
def test_every_point(kind, exactly_once):
    checked = check_publisher(subject(kind), exactly_once=exactly_once)
    assert checked.points > 100
    assert checked.runs > 5 * checked.points


@pytest.mark.parametrize(("kind", "exactly_once"), [(targets.Good, False), (targets.Exact, True)])
def test_some_points(kind, exactly_once):
    assert check_publisher(subject(kind), exactly_once=exactly_once, stride=23).runs > 30


@pytest.mark.parametrize(
    ("kind", "fault", "text"),
    [
        (targets.Loses, KILL, r"0x100000004 lost, or late"),
        (targets.LosesAfterAnError, ERROR, r"lost, or late"),
        (targets.Reorders, KILL, r"lost, or late"),
        (targets.AcknowledgesEarly, KILL, r"lost, or late|never arrived"),
        (targets.NeverFlushes, TARGET, r"lost, or late|never arrived"),
        (targets.Splits, KILL, r"1 of its 4 changes: it was split"),
        (targets.HalfSnapshots, AWAY, r"the snapshot, said to be as of 0x\w+, lacks /"),
        (targets.WrongAboutItsCursor, ERROR, r"lost, or late"),
        (targets.NeverComesBack, ERROR, r"does not catch up: .*RuntimeError: I have failed once"),
        (targets.Promises, POWER, r"does not catch up: .*was told nothing after"),
    ],
)
def test_what_is_wrong_is_found(kind, fault, text):
    with pytest.raises(ConformanceError, match=text):
        check_publisher(subject(kind), kinds=[fault], stride=3)


def test_at_least_once_is_not_exactly_once():
    with pytest.raises(ConformanceError, match=r"holds 0x\w+ twice, and exactly once was claimed") as caught:
        check_publisher(subject(targets.Good), kinds=[ERROR], exactly_once=True, stride=3)
    # The text says how to have that run again.
    assert "again: check_run(factory, 'from the beginning', 'an error'" in str(caught.value)


def test_the_same_run_twice_is_the_same():
    def passed():
        seen = []

        def factory(faults):
            seen.append(faults)
            return targets.ListTarget(faults, targets.Good)

        check_run(factory, "from the beginning", POWER, 40)
        return seen[0].passed

    assert passed() == passed()
