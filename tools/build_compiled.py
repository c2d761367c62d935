"""Compiles the pure layers with mypyc, as one unit, into a copy of the package.

``python tools/build_compiled.py`` prints the folder to put on ``PYTHONPATH``: a copy of ``src/zabra`` with
an extension module beside each source that ``[tool.zabra.compiled]`` in pyproject.toml names.  The checkout
itself never holds extension modules, so an editable install stays interpreted and cannot run stale machine
code: the folder is named by a hash of everything that goes into it, and the sources that are not compiled are
brought up to date on every call.

As one unit, because calls between modules are direct only inside one.  See docs/adr/0006.
"""

import argparse
import fcntl
import filecmp
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(".zabra") / "compiled"  # below the root
KEEP = 3  # builds kept in the cache

# Runs in the copy, in a process of its own: mypyc writes beside what it reads.
WORKER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from setuptools import setup
from setuptools.command.build_ext import build_ext
from mypyc.build import mypycify

jobs, opt_level, multi_file, *paths = sys.argv[1:]
jobs = int(jobs)


class ParallelBuild(build_ext):
    def build_extension(self, extension):
        # One extension holds all the C files; distutils would compile them one after another.
        compiler = self.compiler
        compile_all = compiler.compile

        def compile_in_parallel(sources, **options):
            with ThreadPoolExecutor(jobs) as pool:
                parts = list(pool.map(lambda source: compile_all([source], **options), sources))
            return [name for part in parts for name in part]

        compiler.compile = compile_in_parallel
        try:
            super().build_extension(extension)
        finally:
            compiler.compile = compile_all


extensions = mypycify(
    paths,
    opt_level=opt_level,
    debug_level="0",
    multi_file=multi_file == "1",
    group_name="zabra",
    target_dir="build",
)
setup(
    name="zabra",
    packages=[],
    ext_modules=extensions,
    cmdclass={"build_ext": ParallelBuild},
    script_args=["-q", "build_ext", "--inplace"],
)
"""


class BuildError(Exception):
    """The modules cannot be compiled here; the text says why."""


def settings(root: Path = ROOT) -> dict[str, object]:
    """``[tool.zabra.compiled]`` of pyproject.toml."""
    with (root / "pyproject.toml").open("rb") as file:
        table: dict[str, object] = tomllib.load(file)["tool"]["zabra"]["compiled"]
    return table


def _globbed(package: Path, patterns: object) -> dict[Path, None]:
    assert isinstance(patterns, list)
    return {path: None for pattern in patterns for path in sorted(package.glob(pattern)) if path.is_file()}


def compiled_sources(root: Path = ROOT) -> list[Path]:
    """The sources to compile, relative to ``src``, sorted."""
    package = root / "src" / "zabra"
    table = settings(root)
    excluded = _globbed(
        package, [f"{p}/*.py" if p.endswith("/**") else p for p in _strings(table["exclude"])]
    )
    included = _globbed(package, _strings(table["include"]))
    return sorted(path.relative_to(root / "src") for path in included if path not in excluded)


def _strings(value: object) -> list[str]:
    assert isinstance(value, list)
    return [str(item) for item in value]


def fingerprint(root: Path, sources: Sequence[Path], opt_level: str, multi_file: bool) -> str:
    """Changes with anything that goes into the machine code."""
    digest = hashlib.sha256()
    machine = f"{sys.version} {sysconfig.get_platform()} {version('mypy')} {version('librt')}"
    digest.update(f"{machine} {opt_level} {multi_file}".encode())
    digest.update(Path(__file__).read_bytes())
    for source in sources:
        digest.update(f"\n{source}\n".encode())
        digest.update((root / "src" / source).read_bytes())
    return digest.hexdigest()[:16]


def find_compiler() -> str:
    """The C compiler.  Raises BuildError where there is none, or no Python headers."""
    configured = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    found = shutil.which(configured) or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        raise BuildError("no C compiler found")
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        raise BuildError("Python's headers are not installed (python3-dev)")
    return found


def synchronise(root: Path, tree: Path) -> None:
    """Makes the Python files of the copy equal to the sources'."""
    source, target = root / "src" / "zabra", tree / "zabra"
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file() and _is_source(path)}
    present = {path.relative_to(target) for path in target.rglob("*") if path.is_file() and _is_source(path)}
    for name in present - wanted:
        (target / name).unlink()
    for name in wanted:
        if name in present and filecmp.cmp(source / name, target / name, shallow=False):
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def _is_source(path: Path) -> bool:
    return "__pycache__" not in path.parts and path.suffix not in (".so", ".pyc", ".pyd")


def whole_program_flags(compiler: str) -> str:
    """Flags for optimising over all the C files at once, which inlines calls between modules; "" if it can't.

    Measured in docs/adr/0112: a quarter of the time a write takes.
    """
    jobs = os.cpu_count() or 1
    flags = f"-flto={jobs} -fno-semantic-interposition"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "trial.c"
        source.write_text("int twice(int x) { return 2 * x; }\n", encoding="utf-8")
        command = [*compiler.split(), *flags.split(), "-O2", "-fPIC", "-shared"]
        trial = subprocess.run(
            [*command, "-o", str(source.with_suffix(".so")), str(source)],
            check=False,
            capture_output=True,
        )
    return flags if trial.returncode == 0 else ""


def compile_tree(tree: Path, sources: Sequence[Path], opt_level: str, multi_file: bool, log: Path) -> None:
    """Compiles the copy in place.  Raises BuildError with the end of the compiler's output."""
    compiler = find_compiler()
    environment = dict(os.environ, MYPYPATH=str(tree), CC=compiler)
    if int(opt_level) > 1:
        flags = f"-O{opt_level} {whole_program_flags(compiler)}"
        for name in ("CFLAGS", "LDFLAGS"):
            environment[name] = f"{environment.get(name, '')} {flags}".strip()
    environment.pop("PYTHONPATH", None)
    jobs = str(os.cpu_count() or 1)
    command = [sys.executable, "-c", WORKER, jobs, opt_level, "1" if multi_file else "0"]
    (tree / "mypy.ini").write_text(
        "[mypy]\nstrict = True\nfollow_imports_for_stubs = True\n", encoding="utf-8"
    )
    with log.open("wb") as out:
        status = subprocess.call(
            [*command, *map(str, sources)], cwd=tree, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    if status != 0:
        tail = log.read_text("utf-8", "replace").splitlines()[-30:]
        raise BuildError("compiling failed:\n" + "\n".join(tail))
    shutil.rmtree(tree / "build", ignore_errors=True)


def built(root: Path = ROOT) -> Path | None:
    """The folder with the compiled package if it has been made, brought up to date; None if it has not."""
    opt_level = str(settings(root)["opt_level"])
    tree = root / CACHE / fingerprint(root, compiled_sources(root), opt_level, True)
    if not tree.exists():
        return None
    synchronise(root, tree)
    return tree


def build(
    root: Path = ROOT, *, opt_level: str | None = None, multi_file: bool = True, force: bool = False
) -> Path:
    """The folder with the compiled package, made if it does not exist.  Raises BuildError."""
    sources = compiled_sources(root)
    opt_level = opt_level if opt_level is not None else str(settings(root)["opt_level"])
    find_compiler()
    cache = root / CACHE
    cache.mkdir(parents=True, exist_ok=True)
    tree = cache / fingerprint(root, sources, opt_level, multi_file)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two builds at once would only slow each other down
        if force:
            shutil.rmtree(tree, ignore_errors=True)
        if not tree.exists():
            _build_new(root, tree, sources, opt_level, multi_file)
        synchronise(root, tree)
        os.utime(tree)
        _forget_old(tree)
    return tree


def _build_new(root: Path, tree: Path, sources: Sequence[Path], opt_level: str, multi_file: bool) -> None:
    scratch = tree.parent / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "zabra").mkdir(parents=True)
    synchronise(root, scratch)
    started = time.monotonic()
    print(f"compiling {len(sources)} modules with mypyc (once per change)...", file=sys.stderr, flush=True)
    compile_tree(scratch, sources, opt_level, multi_file, tree.parent / "build.log")
    print(f"compiled in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    scratch.rename(tree)


def _forget_old(current: Path) -> None:
    trees = [path for path in current.parent.iterdir() if path.is_dir() and path != current]
    for old in sorted(trees, key=lambda path: path.stat().st_mtime, reverse=True)[KEEP - 1 :]:
        shutil.rmtree(old, ignore_errors=True)


def main() -> int:
    """Command line.  Status 1 and a reason on stderr when nothing could be built."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--opt-level", choices="0123", help="the C compiler's optimisation level")
    parser.add_argument("--single-file", action="store_true", help="one C file instead of one per module")
    parser.add_argument("--force", action="store_true", help="compile again even when nothing changed")
    parser.add_argument("--list", action="store_true", help="only list the modules that would be compiled")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(map(str, compiled_sources())))
        return 0
    try:
        tree = build(
            opt_level=arguments.opt_level, multi_file=not arguments.single_file, force=arguments.force
        )
    except BuildError as error:
        print(f"not compiled: {error}", file=sys.stderr)
        return 1
    print(tree)
    return 0


if __name__ == "__main__":
    sys.exit(main())
