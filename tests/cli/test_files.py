"""The command lines of the file tools: usage, errors, pipes."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.java_files import Output, log_of

from zabra.cli.files import guarded
from zabra.cli.txnlog_files import Problem


@pytest.mark.parametrize("tool", ["txnlog", "snapshot"])
def test_help_lists_the_commands(tool: str, zabra: Output) -> None:
    with pytest.raises(SystemExit) as caught:
        zabra.run(tool, "--help")
    assert caught.value.code == 0
    said = zabra.capsys.readouterr().out
    verbs = ["dump", "verify", "repair", "chop"] if tool == "txnlog" else ["dump", "compare", "summary"]
    assert all(verb in said for verb in verbs)


@pytest.mark.parametrize(
    "words", [["txnlog"], ["snapshot"], ["txnlog", "dump"], ["snapshot", "compare", "one"]]
)
def test_incomplete_invocations_exit_with_2(words: list[str], zabra: Output) -> None:
    with pytest.raises(SystemExit) as caught:
        zabra.run(*words)
    assert caught.value.code == 2


def test_problems_are_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(_: object) -> int:
        raise Problem("the file is blue")

    assert guarded(fails)(None) == 1  # type: ignore[arg-type]
    assert capsys.readouterr().err == "error: the file is blue\n"


def test_a_reader_that_has_seen_enough(java_folder: Path) -> None:
    """``zabra txnlog dump ... | head -1`` ends without a traceback."""
    code = "import sys; from zabra.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "txnlog", "dump", "--full", *[str(log_of(java_folder))] * 40]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"session" in process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(120) == 1
    assert said == b""
