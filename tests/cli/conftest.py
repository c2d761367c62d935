"""Fixtures for the command line's tests."""

from pathlib import Path

import pytest
from tests.cli.java_files import Output, unpack


@pytest.fixture
def java_folder(tmp_path: Path) -> Path:
    """A folder of Apache's 3.9."""
    return unpack("java39-killed", tmp_path)


@pytest.fixture
def zabra(capsys: pytest.CaptureFixture[str]) -> Output:
    """Runs ``zabra`` in this process."""
    return Output(capsys)
