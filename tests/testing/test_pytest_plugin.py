"""The fixtures of the pytest plugin."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.interop.clients import client_at

from zabra.testing import Ensemble, Server
from zabra.testing.pytest_plugin import make_zabra_ensemble, zabra_ensemble, zabra_server

__all__ = ["make_zabra_ensemble", "zabra_ensemble", "zabra_server"]


def test_a_standalone_server(zabra_server: Server) -> None:
    with client_at(zabra_server.connect_string) as client:
        assert client.create("/a", b"1") == "/a"
        assert client.get("/a")[0] == b"1"
    assert zabra_server.members[1].mode == "standalone"


def test_an_ensemble_serves_when_it_is_there(zabra_ensemble: Ensemble) -> None:
    assert sorted(member.mode for member in zabra_ensemble.members.values()) == [
        "follower",
        "follower",
        "leader",
        "observer",
    ]
    with client_at(zabra_ensemble.members[4].address) as client:
        client.create("/a", b"1")


def test_several_ensembles_side_by_side(make_zabra_ensemble: Callable[..., Ensemble]) -> None:
    one, other = make_zabra_ensemble(1), make_zabra_ensemble(3)
    assert set(one.connect_string.split(",")).isdisjoint(other.connect_string.split(","))
    assert one.leader == 1
    assert other.leader in (1, 2, 3)


def test_the_example_of_the_readme_can_be_pasted(zabra_ensemble: Ensemble) -> None:
    readme = Path(__file__).parents[2] / "README.md"
    (example,) = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
    names: dict[str, Callable[[Ensemble], None]] = {}
    exec(compile(example, str(readme), "exec"), names)
    names["test_a_session_survives_the_leader"](zabra_ensemble)
