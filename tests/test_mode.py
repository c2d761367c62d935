"""Compiled or interpreted: ZABRA_PURE=1 takes sources where both lie side by side."""

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from zabra._mode import SourceFinder, apply_environment, is_compiled


def test_sources_are_taken_where_an_extension_lies_beside_them(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("")
    (tmp_path / f"x{sysconfig.get_config_var('EXT_SUFFIX')}").write_bytes(b"")
    found = SourceFinder.find_spec("zabra.x", [str(tmp_path)])
    assert found is not None
    assert found.origin == str(tmp_path / "x.py")


def test_packages_are_found(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "__init__.py").write_text("")
    found = SourceFinder.find_spec("zabra.x", [str(tmp_path)])
    assert found is not None
    assert found.submodule_search_locations == [str(tmp_path / "x")]


@pytest.mark.parametrize(("name", "path"), [("json.x", ["."]), ("zabra.none", ["."]), ("zabra", None)])
def test_everything_else_is_left_to_others(name: str, path: list[str] | None) -> None:
    assert SourceFinder.find_spec(name, path) is None


@pytest.mark.parametrize(
    ("value", "applies"), [("1", True), ("yes", True), ("0", False), ("", False), (None, False)]
)
def test_environment(value: str | None, applies: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if finder is not SourceFinder])
    monkeypatch.delenv("ZABRA_PURE", raising=False)
    if value is not None:
        monkeypatch.setenv("ZABRA_PURE", value)
    apply_environment()
    assert (SourceFinder in sys.meta_path) == applies


def test_is_compiled_tells_what_was_imported() -> None:
    spec = importlib.util.find_spec("zabra.jute.primitives")
    assert spec is not None
    assert spec.origin is not None
    assert is_compiled() == (not spec.origin.endswith(".py"))


def test_pure_is_pure() -> None:
    code = "from zabra._mode import is_compiled; print(is_compiled())"
    environment = {**os.environ, "ZABRA_PURE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "False\n"
