"""Targets for the tests of built-in publishers."""

from collections.abc import Iterator

import pytest
from tests.plugins.targets import kinds
from tests.plugins.targets.target import Target


@pytest.fixture(scope="session")
def targets() -> Iterator[None]:
    """Ends what was started."""
    yield
    kinds.close_all()


@pytest.fixture(params=list(kinds.KINDS))
def target(request: pytest.FixtureRequest, targets: None) -> Target:
    """A real server, running; once for each kind."""
    return kinds.get(request.param)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> str:
    """A name for where a test publishes to, of letters and digits."""
    return "".join([letter for letter in request.node.name.lower() if letter.isalnum()])[-40:].lstrip(
        "0123456789"
    )
