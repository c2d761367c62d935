"""Fixtures: ``zabra_server``, ``zabra_ensemble``, and ``make_zabra_ensemble`` for anything else.

``@pytest.mark.zabra(participants=5, observers=2, options={...})`` says what ``zabra_ensemble`` is made of.
"""

from collections.abc import Callable, Iterator

import pytest

from zabra.testing.in_thread import Ensemble, Server


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line(
        "markers", "zabra(participants=3, observers=1, options=None): what zabra_ensemble is made of"
    )


@pytest.fixture
def zabra_server() -> Iterator[Server]:
    """A standalone server, new for each test."""
    with Server() as server:
        yield server


@pytest.fixture
def zabra_ensemble(request: pytest.FixtureRequest) -> Iterator[Ensemble]:
    """Three participants and an observer, or what the marker says; new for each test."""
    marker = request.node.get_closest_marker("zabra")
    arguments = {"participants": 3, "observers": 1} | (marker.kwargs if marker is not None else {})
    with Ensemble(**arguments) as ensemble:
        yield ensemble


@pytest.fixture
def make_zabra_ensemble() -> Iterator[Callable[..., Ensemble]]:
    """``make_zabra_ensemble(participants=1, observers=2)``: open until the test ends."""
    opened: list[Ensemble] = []

    def make(*arguments: int, **keywords: object) -> Ensemble:
        ensemble = Ensemble(*arguments, **keywords)  # type: ignore[arg-type]  # the caller's
        opened.append(ensemble)
        ensemble.open()
        return ensemble

    yield make
    for ensemble in opened:
        ensemble.close()
