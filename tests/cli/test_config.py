"""zabra config show and check."""

from pathlib import Path

import pytest

from zabra.cli.config import flags_of_environment, read_file
from zabra.cli.main import main
from zabra.config.options import HONOURED, OPTIONS


@pytest.fixture
def zoo_cfg(tmp_path: Path) -> Path:
    path = tmp_path / "zoo.cfg"
    path.write_text(f"dataDir={tmp_path}\nclientPort=2181\n")
    return path


def test_show_prints_what_is_set_and_derived(zoo_cfg: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", str(zoo_cfg), "-Dzookeeper.snapCount=9", "--set", "maxCnxns=3"]) == 0
    out, err = capsys.readouterr()
    lines = dict(line.split("  # ", 1) for line in out.splitlines())
    rows = {setting.strip(): origin for setting, origin in lines.items()}
    assert err == ""
    assert rows["clientPort=2181"] == f"{zoo_cfg}:2"
    assert rows["snapCount=9"] == "command line"
    assert rows["maxCnxns=3"] == "command line"
    assert rows["minSessionTimeout=6000"] == "2 ticks"
    assert not any(row.startswith("forceSync") for row in rows)


def test_show_all_prints_every_honoured_option(zoo_cfg: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--all", str(zoo_cfg)]) == 0
    shown = {line.split("=", 1)[0] for line in capsys.readouterr().out.splitlines()}
    fields_of = {option.key: option.field for option in OPTIONS}
    honoured = {option.field for option in OPTIONS if option.status == HONOURED and not option.prefix}
    assert {fields_of[key] for key in shown} >= honoured - {"ensemble"}


def test_shown_values_load_again(zoo_cfg: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["config", "show", str(zoo_cfg)])
    text = capsys.readouterr().out
    again = tmp_path / "again.cfg"
    again.write_text("".join(line.split("  # ")[0].rstrip() + "\n" for line in text.splitlines()))
    assert main(["config", "check", "--strict", str(again)]) == 0


def test_flags_of_the_environment_lose_against_the_command_line(
    zoo_cfg: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZABRA_FLAGS", "-Dzookeeper.snapCount=7 '-Dzookeeper.maxCnxns=8'")
    assert main(["config", "show", str(zoo_cfg), "-D", "snapCount=9"]) == 0
    out = capsys.readouterr().out
    assert "snapCount=9 " in out
    assert "maxCnxns=8 " in out
    monkeypatch.setenv("ZABRA_FLAGS", "'open")
    assert main(["config", "check", str(zoo_cfg)]) == 2
    assert capsys.readouterr().err == "error: environment: ZABRA_FLAGS: No closing quotation\n"
    assert flags_of_environment({}) == []


def test_check_of_a_good_file(zoo_cfg: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", str(zoo_cfg)]) == 0
    assert capsys.readouterr().out == f"{zoo_cfg}: good for a standalone server\n"


def test_check_of_a_member(zoo_cfg: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zoo_cfg.open("a") as file:
        file.write("initLimit=5\nsyncLimit=2\n" + "".join(f"server.{n}=h{n}:1:2\n" for n in (1, 2, 3)))
    assert main(["config", "check", str(zoo_cfg)]) == 2
    assert "myid: is missing" in capsys.readouterr().err
    (tmp_path / "myid").write_text("2\n")
    assert main(["config", "check", str(zoo_cfg)]) == 0
    assert capsys.readouterr().out == f"{zoo_cfg}: good for server 2 of an ensemble\n"


def test_check_prints_warnings_and_all_errors(zoo_cfg: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zoo_cfg.open("a") as file:
        file.write("snapcount=5\n")
    assert main(["config", "check", str(zoo_cfg)]) == 0
    assert "warning: " in capsys.readouterr().err
    assert main(["config", "check", "--strict", "-DtickTime=x", str(zoo_cfg)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"error: {zoo_cfg}:3: snapcount: unknown key (did you mean snapCount?)\n"
        "error: command line: tickTime: 'x' is not a whole number\n"
    ) or err == (
        "error: command line: tickTime: 'x' is not a whole number\n"
        f"error: {zoo_cfg}:3: snapcount: unknown key (did you mean snapCount?)\n"
    )


def test_check_of_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "none.cfg"
    assert main(["config", "check", str(path)]) == 2
    assert capsys.readouterr().err == f"error: {path}: does not exist\n"


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"a=\xc3\xa9", "a=é"), (b"a=\xe9", "a=é"), (b"\xef\xbb\xbfa=b", "a=b"), (b"", "")],
)
def test_encodings(tmp_path: Path, raw: bytes, text: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(raw)
    assert read_file(str(path)) == text
    assert read_file(str(tmp_path / "none")) is None


def test_a_folder_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", str(tmp_path)]) == 2
    assert f"error: {tmp_path}: cannot be read: " in capsys.readouterr().err
