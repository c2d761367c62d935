"""The compiled build: what goes in, that it is made once, and that it cannot be stale."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import build_compiled

PYPROJECT = """
[tool.zabra.compiled]
include = ["hot.py", "deep/**/*.py", "part/*_format.py"]
exclude = ["deep/raw/**", "**/__init__.py"]
opt_level = "0"
"""

HOT = '"""Hot."""\n\n\ndef twice(x: int) -> int:\n    """Doubles."""\n    return 2 * x\n'
CHECK = "from zabra import cold, hot; print(hot.__file__.endswith('.py'), hot.twice(4), cold.VALUE)"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository in small."""
    files = {
        "pyproject.toml": PYPROJECT,
        "src/zabra/__init__.py": '"""Package."""\n',
        "src/zabra/hot.py": HOT,
        "src/zabra/cold.py": '"""Cold."""\n\nVALUE = 1\n',
        "src/zabra/deep/__init__.py": "",
        "src/zabra/deep/a.py": "",
        "src/zabra/deep/b/__init__.py": "",
        "src/zabra/deep/b/c.py": "",
        "src/zabra/deep/raw/d.py": "",
        "src/zabra/part/x_format.py": "",
        "src/zabra/part/y.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_what_is_compiled(root: Path) -> None:
    assert [str(path) for path in build_compiled.compiled_sources(root)] == [
        "zabra/deep/a.py",
        "zabra/deep/b/c.py",
        "zabra/hot.py",
        "zabra/part/x_format.py",
    ]


def test_this_repository_compiles_the_pure_layers_only() -> None:
    sources = [str(path) for path in build_compiled.compiled_sources()]
    folders = {name.split("/")[1] for name in sources}
    assert "zabra/jute/primitives.py" in sources
    assert "zabra/proto/records.py" in sources
    assert not any("/schema/" in name or name.endswith("__init__.py") for name in sources)
    assert not folders & {"runtime", "plugins", "admin", "cli", "testing"}
    # What draws on its own names at run time, and what runs once, stays as it is.
    assert not {"zabra/sim/options.py", "zabra/sim/run.py", "zabra/client/aio.py"} & set(sources)


def test_the_name_of_a_build_changes_with_what_goes_in(root: Path) -> None:
    sources = build_compiled.compiled_sources(root)
    first = build_compiled.fingerprint(root, sources, "1", True)
    assert build_compiled.fingerprint(root, sources, "1", True) == first
    assert build_compiled.fingerprint(root, sources, "2", True) != first
    assert build_compiled.fingerprint(root, sources, "1", False) != first
    (root / "src/zabra/cold.py").write_text("VALUE = 2\n")
    assert build_compiled.fingerprint(root, sources, "1", True) == first
    (root / "src/zabra/hot.py").write_text(HOT + "\n")
    assert build_compiled.fingerprint(root, sources, "1", True) != first


def test_the_copy_follows_the_sources(root: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "zabra").mkdir(parents=True)
    build_compiled.synchronise(root, tree)
    (tree / "zabra" / "hot.x.so").write_bytes(b"")
    (root / "src/zabra/cold.py").write_text("VALUE = 2\n")
    (root / "src/zabra/new.py").write_text("")
    (root / "src/zabra/deep/a.py").unlink()
    build_compiled.synchronise(root, tree)
    assert (tree / "zabra/cold.py").read_text() == "VALUE = 2\n"
    assert (tree / "zabra/new.py").exists()
    assert not (tree / "zabra/deep/a.py").exists()
    assert (tree / "zabra/hot.x.so").exists()


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(build_compiled.BuildError, match="no C compiler found"):
        build_compiled.find_compiler()


def compiler_or_skip() -> None:
    try:
        build_compiled.find_compiler()
    except build_compiled.BuildError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_a_build_from_start_to_end(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compiler_or_skip()
    tree = build_compiled.build(root)
    assert "compiled in" in capsys.readouterr().err
    environment = {name: value for name, value in os.environ.items() if name != "ZABRA_PURE"}
    environment["PYTHONPATH"] = str(tree)

    def run() -> str:
        done = subprocess.run([sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True)
        return done.stdout or done.stderr

    assert run() == "False 8 1\n"
    # Sources that are not compiled are brought up to date without compiling anything.
    (root / "src/zabra/cold.py").write_text('"""Cold."""\n\nVALUE = 7\n')
    assert build_compiled.build(root) == tree
    assert capsys.readouterr().err == ""
    assert run() == "False 8 7\n"


@pytest.mark.slow
def test_a_build_that_fails_shows_why(root: Path) -> None:
    compiler_or_skip()
    (root / "src/zabra/hot.py").write_text("x: int = 'text'\n")
    with pytest.raises(build_compiled.BuildError, match=r"hot\.py:1: error: Incompatible types"):
        build_compiled.build(root)
