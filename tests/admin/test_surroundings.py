"""What the process and the machine tell."""

import os
from pathlib import Path

import pytest

from zabra.admin import surroundings

# Apache ZooKeeper 3.9.4's envi.
UPSTREAM_KEYS = [
    "zookeeper.version", "host.name", "java.version", "java.vendor", "java.home", "java.class.path",
    "java.library.path", "java.io.tmpdir", "java.compiler", "os.name", "os.arch", "os.version", "user.name",
    "user.home", "user.dir", "os.memory.free", "os.memory.max", "os.memory.total",
]  # fmt: skip


def test_environment_has_upstreams_keys_first() -> None:
    rows = surroundings.environment("1.2.3")
    keys = [key for key, _ in rows]
    assert keys[: len(UPSTREAM_KEYS)] == UPSTREAM_KEYS
    assert len(set(keys)) == len(keys)
    values = dict(rows)
    assert values["zookeeper.version"] == "1.2.3"
    assert values["user.dir"] == os.getcwd()
    for key in ("os.memory.free", "os.memory.max", "os.memory.total"):
        assert values[key].endswith("MB")
        assert int(values[key][:-2]) > 0
    assert all("\n" not in value for value in values.values())


def test_a_value_stays_on_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/a\nzookeeper.version=9")
    assert dict(surroundings.environment("1"))["user.home"] == "/a zookeeper.version=9"


def test_descriptors() -> None:
    before = surroundings.open_descriptors()
    assert before > 0
    with open(os.devnull) as first, open(os.devnull) as second:
        assert first.fileno() != second.fileno()
        assert surroundings.open_descriptors() == before + 2
    assert surroundings.descriptor_limit() >= before or surroundings.descriptor_limit() == -1


def test_folder_size(tmp_path: Path) -> None:
    assert surroundings.folder_size(str(tmp_path / "none")) == 0
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_bytes(b"123")
    (tmp_path / "loop").symlink_to(tmp_path)
    link_size = (tmp_path / "loop").lstat().st_size
    assert surroundings.folder_size(str(tmp_path)) == 8 + link_size
    assert surroundings.folder_size(str(tmp_path / "a")) == 0


def test_folder_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "FILES_MAX", 3)
    for number in range(5):
        (tmp_path / str(number)).write_bytes(b"1")
    assert surroundings.folder_size(str(tmp_path)) == 3
