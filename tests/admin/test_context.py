"""What commands are told of configuration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.admin.driver import Drive
from tests.admin.helpers import config_with

from zabra.admin.context import DEFAULT_TRACE_MASK, AdminContext


def test_doors_that_are_not_there_are_minus_one() -> None:
    context = AdminContext(config_with(client_port=None, secure_client_port=None), Drive().server)
    assert (context.client_port, context.secure_client_port) == (-1, -1)
    context = AdminContext(config_with(client_port=2181, secure_client_port=2281), Drive().server)
    assert (context.client_port, context.secure_client_port) == (2181, 2281)


def test_folders_are_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    context = AdminContext(config_with("data", data_log_dir="../logs"), Drive().server)
    assert context.data_folder == str(tmp_path / "data" / "version-2")
    assert context.log_folder == os.path.normpath(tmp_path / ".." / "logs" / "version-2")
    # The same folder unless another is named.
    assert (
        AdminContext(config_with("data", data_log_dir=""), Drive().server).log_folder == context.data_folder
    )


def test_sizes_are_those_of_the_folders(tmp_path: Path) -> None:
    for name, size in (("data", 5), ("logs", 7)):
        folder = tmp_path / name / "version-2"
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * size)
        (tmp_path / name / "myid").write_text("1")
    config = config_with(str(tmp_path / "data"), data_log_dir=str(tmp_path / "logs"))
    context = AdminContext(config, Drive().server)
    assert (context.data_size(), context.log_size()) == (5, 7)


def test_upstreams_trace_mask() -> None:
    assert AdminContext(config_with(), Drive().server).trace_mask == DEFAULT_TRACE_MASK == 306


def test_only_what_was_given_is_a_property() -> None:
    config = config_with(origins={"client_port": "zoo.cfg:1"})
    assert AdminContext(config, Drive().server).properties() == [("clientPort", "13100")]
