"""The text scenarios do what their files say, and the language says what is wrong with a file."""

from pathlib import Path

import pytest
from tests.sim.planted import Plant, planted

from zabra.sim.scenario import Player, ScenarioError, parse

FOLDER = Path(__file__).parent.parent / "scenarios"
# Those of upstream's bugs, and its traces, are played by test_zk_regressions.
FILES = sorted(path for path in FOLDER.glob("*.txt") if not path.name.startswith(("zk_", "tla_")))
# Bugs of our own: the scenario that must fail with each.
OWN_BUGS = {
    "acks_of_a_former_life": Plant(
        "zabra.server.roles.leading:Leading.forward_to",
        "            broadcast.forget_acks(handler.sid, handler.last_zxid)\n",
        "",
    ),
    "outgrown_leader": Plant(
        "zabra.server.roles.leading:Leading.learner_info",
        "        if not handler.is_observer and self.is_outgrown",
        "        if handler.is_observer and self.is_outgrown",
    ),
    "trunc_behind_the_only_snapshot": Plant(
        "zabra.server.disk_worker:DiskWorker._carry_out",
        "            command.refused = not self._store.truncate(command.zxid)\n",
        "            if not self._store.truncate(command.zxid):\n"
        "                raise ValueError(command.zxid)\n",
    ),
}


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_scenario_does_what_its_file_says(path: Path) -> None:
    """``make rewrite`` regenerates the outputs, for review."""
    text = path.read_text()
    assert Player().play(text) == text


@pytest.mark.interpreted
@pytest.mark.parametrize("name", OWN_BUGS)
def test_a_scenario_fails_with_its_bug(name: str) -> None:
    with planted(OWN_BUGS[name]), pytest.raises((AssertionError, ScenarioError)):
        Player().play((FOLDER / f"{name}.txt").read_text())


def test_blocks_are_comments_commands_and_outputs() -> None:
    text = "# why\n\ncluster voters=1\nstart 1\n----\nold output\n\n# then\nrun 5\n"
    assert list(parse(text)) == [(["# why", ""], ["cluster voters=1", "start 1"]), (["# then"], ["run 5"])]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("run 5", "no cluster yet"),
        ("cluster voters=1,2,3\njump 5", "unknown command: jump 5"),
        ("cluster voters=1,2,3\nhold 1", "a link is written"),
        ("cluster voters=1\nstart 1\nclient c at=1\nc fly /a", "unknown operation fly"),
        ("cluster voters=1,2,3\nstart 1\nsettle", "do not settle"),
    ],
)
def test_mistakes_are_named(text: str, why: str) -> None:
    with pytest.raises(ScenarioError, match=why):
        Player().play(text)


def test_a_lone_server_and_its_client() -> None:
    text = "cluster voters=1\nstart 1\nclient c at=1\nc create /a v\nc getData /a\nc getData /b\ntrees\n"
    played = Player().play(text)
    assert played.split("----\n")[1].split("\n")[:4] == [
        "c create: /a",
        "c getData /a: v version=0",
        "c getData /b: NONODE",
        "1 0x2 /a=v",
    ]
