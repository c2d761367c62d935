"""The command line as a whole: version, help, usage errors, -O."""

import platform
import subprocess
import sys

import pytest

import zabra
from zabra.cli.main import build_parser, main


def test_version_says_what_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    words = capsys.readouterr().out.split()
    assert words[:3] == ["zabra", zabra.__version__, "compiled:"]
    assert words[3] in ("yes", "no")
    assert words[4] == "librt:"
    assert words[6:] == ["loop:", words[7], "Python", platform.python_version()]
    assert words[7] in ("uvloop", "asyncio")


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["config"], ["config", "check"], ["--what"]])
def test_bad_invocations_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: zabra" in capsys.readouterr().err


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    text = build_parser().format_help()
    for command in ("server", "config"):
        assert command in text
        with pytest.raises(SystemExit) as caught:
            main([command, "--help"])
        assert caught.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: zabra {command}")


def test_without_assertions_nothing_runs() -> None:
    done = subprocess.run([sys.executable, "-O", "-m", "zabra", "--version"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "do not run it with python -O" in done.stderr


def test_module_and_command_are_the_same() -> None:
    done = subprocess.run([sys.executable, "-m", "zabra", "--version"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith(f"zabra {zabra.__version__} ")
