"""Bad inputs against Zabra; what Apache ZooKeeper does is recorded, so no Java is needed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.badinput import crowds
from tests.badinput.__main__ import (
    BAD_INPUT_CONFIG,
    BAD_INPUT_PROPERTIES,
    EXPECTED,
    compare,
    play_cases,
    server_under_test,
)
from tests.badinput.cases import table
from tests.badinput.deviations import DEVIATIONS
from tests.badinput.observe import prepare
from tests.conftest import Report
from tests.differential.servers import NamedServer, start_ensemble

RECORDED = json.loads(EXPECTED.read_text())["cases"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamedServer]:
    server = server_under_test(False, tmp_path_factory.mktemp("server"))
    with server:
        prepare(server.pair)
        yield server


def test_the_table_is_complete() -> None:
    """Names are unique; all that Apache was asked is still asked, and everything asked was recorded."""
    names = Counter(case.name for case in table())
    assert [name for name, count in names.items() if count > 1] == []
    recorded = {name for name in RECORDED if not name.startswith("resume: ")}
    assert recorded == {case.name for case in table() if not case.fatal_to_apache}
    assert len(names) >= 66


def test_every_deviation_is_one() -> None:
    assert [name for name, (outcome, _) in DEVIATIONS.items() if RECORDED.get(name) == outcome] == []
    assert set(DEVIATIONS) <= {case.name for case in table()}
    assert all(why for _, why in DEVIATIONS.values())


@pytest.mark.slow
def test_bad_inputs_are_answered_as_apache_does(server: NamedServer, reliability: Report) -> None:
    outcomes = play_cases(server.pair, on_apache=False)
    differences, deviations = compare(outcomes, RECORDED, on_apache=False)
    reliability(
        "R12",
        "bad-inputs",
        client_port=len(outcomes),
        as_apache=len(outcomes) - deviations - len(differences),
        deviations=deviations,
        violations=len(differences),
    )
    assert differences == []
    assert deviations == len(DEVIATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["leader", "follower", "observer"])
def test_every_member_of_an_ensemble_answers_alike(place: str, tmp_path: Path) -> None:
    ensemble, address = start_ensemble("zabra", tmp_path, place, BAD_INPUT_PROPERTIES, BAD_INPUT_CONFIG)
    try:
        outcomes = play_cases(address, on_apache=False)
    finally:
        ensemble.stop()
    assert compare(outcomes, RECORDED, on_apache=False)[0] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(crowds.crowds(True, 20.0)))
def test_a_crowd_does_not_stop_the_others(server: NamedServer, name: str) -> None:
    words, stood = crowds.play(name, crowds.crowds(True, 20.0)[name], server.pair, server.pid)
    assert stood, words
