"""Verifiers against definitions written out naively; acks against two configurations."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.config.ensemble import EnsembleConfig
from zabra.zab.quorum import (
    AckSet,
    QuorumHierarchical,
    QuorumMaj,
    QuorumOracleMaj,
    QuorumVerifier,
    verifier_of,
)


def subsets(items: list[int]) -> list[list[int]]:
    return [list(c) for size in range(len(items) + 1) for c in itertools.combinations(items, size)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7])
def test_majority_exhaustively(count: int) -> None:
    voters = [10 * n for n in range(1, count + 1)]
    verifier = QuorumMaj(voters, 0)
    for chosen in subsets(voters):
        assert verifier.contains_quorum(chosen) is (2 * len(chosen) > count)
        assert verifier.contains_quorum([*chosen, 999, 1000, 1001]) is (2 * len(chosen) > count)
        assert verifier.sids(verifier.mask(chosen)) == chosen


@pytest.mark.parametrize("count", [1, 3, 4, 5])
def test_any_two_quorums_intersect(count: int) -> None:
    # Zab paper, section III: the property everything rests on.
    voters = list(range(count))
    verifier = QuorumMaj(voters, 0)
    quorums = [set(q) for q in subsets(voters) if verifier.contains_quorum(q)]
    assert all(a & b for a, b in itertools.product(quorums, quorums))


def naive_hierarchical(chosen: list[int], groups: dict[int, list[int]], weights: dict[int, int]) -> bool:
    counted = 0
    won = 0
    for members in groups.values():
        total = sum(weights.get(sid, 1) for sid in members)
        if total == 0:
            continue
        counted += 1
        if 2 * sum(weights.get(sid, 1) for sid in members if sid in chosen) > total:
            won += 1
    return bool(chosen) and 2 * won > counted


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=7), st.lists(st.integers(0, 3), min_size=7, max_size=7)
)
def test_hierarchical_against_its_definition(group_of: list[int], weight_of: list[int]) -> None:
    groups: dict[int, list[int]] = {}
    for sid, gid in enumerate(group_of):
        groups.setdefault(gid, []).append(sid)
    voters = list(range(len(group_of)))
    weights = {sid: weight_of[sid] for sid in voters if weight_of[sid] != 1}
    verifier = QuorumHierarchical(voters, 0, groups, weights)
    quorums = []
    for chosen in subsets(voters):
        # In integers, "more than half" of an odd total is upstream's "more than total / 2 rounded down".
        assert verifier.contains_quorum(chosen) is naive_hierarchical(chosen, groups, weights)
        if verifier.contains_quorum(chosen):
            quorums.append(set(chosen))
    assert all(a & b for a, b in itertools.product(quorums, quorums))
    for sid in voters:
        assert verifier.weight(sid) == weight_of[sid]
    assert verifier.weight(99) == 0


def test_hierarchical_refuses_what_it_cannot_count() -> None:
    with pytest.raises(ValueError, match="multiple groups"):
        QuorumHierarchical([1, 2], 0, {1: [1, 2], 2: [2]}, {})
    with pytest.raises(ValueError, match="not in a group"):
        QuorumHierarchical([1, 2], 0, {1: [1]}, {})
    with pytest.raises(ValueError, match="listed twice"):
        QuorumMaj([1, 1], 0)


def test_an_observer_in_a_group_has_weight_and_no_vote() -> None:
    verifier = QuorumHierarchical([1, 2], 0, {1: [1, 2, 3]}, {3: 2})
    assert not verifier.contains_quorum([1, 2])
    assert not verifier.contains_quorum([1, 2, 3])


def test_oracle() -> None:
    verifier = QuorumOracleMaj([1, 2], 0, True)
    assert verifier.contains_quorum([1, 2])
    assert verifier.contains_quorum([1])
    assert not verifier.contains_quorum([])
    verifier.oracle = False
    assert not verifier.contains_quorum([1])
    verifier.oracle = True
    assert verifier.update_need_oracle(1) is False
    assert not verifier.contains_quorum([1])
    assert verifier.update_need_oracle(0) is True
    assert verifier.contains_quorum([2])
    three = QuorumOracleMaj([1, 2, 3], 0, True)
    assert three.update_need_oracle(0) is False
    assert not three.contains_quorum([1])


def test_the_verifier_a_configuration_asks_for() -> None:
    text = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\nversion=7"
    plain = verifier_of(EnsembleConfig.parse(text))
    assert type(plain) is QuorumMaj
    assert (plain.voters, plain.version) == ([1, 2], 7)
    assert not plain.is_voter(3)
    assert plain.weight(1) == 1
    assert type(verifier_of(EnsembleConfig.parse(text), oracle=False)) is QuorumOracleMaj
    grouped = verifier_of(EnsembleConfig.parse(text + "\ngroup.1=1:2\nweight.1=0"))
    assert type(grouped) is QuorumHierarchical
    assert grouped.weight(1) == 0


def test_the_base_class_decides_nothing() -> None:
    with pytest.raises(NotImplementedError):
        QuorumVerifier([1], 0).contains_mask(1)


@given(
    st.sets(st.integers(1, 9), min_size=1),
    st.sets(st.integers(1, 9), min_size=1),
    st.lists(st.integers(0, 10)),
)
def test_acks_against_two_configurations(old: set[int], new: set[int], acks: list[int]) -> None:
    tracker = AckSet([QuorumMaj(sorted(old), 1), QuorumMaj(sorted(new), 2)])
    heard: set[int] = set()
    for sid in acks:
        assert tracker.add(sid) is (sid in old or sid in new)
        heard.add(sid)
        expected = 2 * len(heard & old) > len(old) and 2 * len(heard & new) > len(new)
        assert tracker.has_all_quorums() is expected
        assert tracker.acked(0) == sorted(heard & old)
        assert tracker.acked(1) == sorted(heard & new)
        assert tracker.has_sid(sid) is (sid in old and sid in new)
    assert repr(tracker) == f"{sorted(heard & old)},{sorted(heard & new)}"


def test_a_changed_oracle_is_counted_anew() -> None:
    verifier = QuorumOracleMaj([1, 2], 0, False)
    acks = AckSet([verifier])
    acks.add(1)
    assert not acks.has_all_quorums()
    verifier.oracle = True
    assert not acks.has_all_quorums()
    assert acks.recount()
    assert acks.has_all_quorums()
    verifier.oracle = False
    assert not acks.recount()
