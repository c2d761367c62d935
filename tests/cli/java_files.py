"""Folders that Apache ZooKeeper wrote, for the tests of the file tools."""

import tarfile
from pathlib import Path

import pytest

from zabra.cli.main import main

FIXTURES = Path(__file__).parent.parent / "storage" / "fixtures"


class Output:
    """Runs the command and keeps what it said."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.out = ""
        self.err = ""

    def run(self, *words: object) -> int:
        code = main([str(word) for word in words])
        self.out, self.err = self.capsys.readouterr()
        return code


def unpack(name: str, folder: Path) -> Path:
    with tarfile.open(FIXTURES / f"{name}.tar.gz") as packed:
        packed.extractall(folder, filter="data")
    return folder


def log_of(folder: Path) -> Path:
    """A log in the middle of java39-killed."""
    return folder / "version-2" / "log.25"


def snapshot_of(folder: Path, zxid: str = "84") -> Path:
    return folder / "version-2" / f"snapshot.{zxid}"


def damage(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)
