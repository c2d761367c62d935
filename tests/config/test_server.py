"""ServerConfig, and how problems read."""

import pytest

from zabra.config.load import default_config
from zabra.config.server import ConfigErrors, ConfigProblem, ConfigWarning


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (ConfigProblem("zoo.cfg:3", "tickTme", "unknown key", "tickTime"),
        "zoo.cfg:3: tickTme: unknown key (did you mean tickTime?)"),
        (ConfigProblem("/d/myid", "", "is missing"), "/d/myid: is missing"),
        (ConfigWarning("zoo.cfg:1", "a", "doubtful"), "zoo.cfg:1: a: doubtful"),
    ],
)  # fmt: skip
def test_problems_name_place_key_and_nearest(problem: ConfigProblem, text: str) -> None:
    assert str(problem) == text
    assert repr(problem) == f"{type(problem).__name__}({text!r})"


def test_errors_are_one_line_each() -> None:
    problems = [ConfigProblem("a:1", "k", "one"), ConfigProblem("a:2", "k", "two")]
    error = ConfigErrors(problems)
    assert str(error) == "a:1: k: one\na:2: k: two"
    assert error.problems == tuple(problems)


def test_configurations_are_equal_by_value_wherever_it_came_from() -> None:
    config = default_config("/d")
    assert not config.is_distributed()
    assert config == default_config("/d", tick_time_ms=3000)
    assert config != default_config("/d", tick_time_ms=3001)
