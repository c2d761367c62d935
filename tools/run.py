"""Runs ``zabra`` from the checkout, on compiled modules where they have been built.

``python tools/run.py up``: what ``make run`` does.  It never waits for the compiler: the first time it starts
interpreted and has the modules compiled in the background, for the next start.  ``make compiled`` waits.
"""

import os
import subprocess
import sys
from pathlib import Path

import build_compiled

ROOT = Path(__file__).resolve().parent.parent
LOG = ROOT / ".zabra" / "compile.log"


def say(line: str) -> None:
    """One line for the person at the terminal."""
    print(line, file=sys.stderr)


def compiled_tree() -> Path | None:
    """The folder with the compiled package; None, and a line that says why, when there is none yet."""
    if os.environ.get("ZABRA_PURE", "0") not in ("", "0"):
        return None
    try:
        build_compiled.find_compiler()
    except build_compiled.BuildError as error:
        say(f"running interpreted, several times slower: {str(error).splitlines()[0].rstrip(':')}")
        return None
    tree = build_compiled.built(ROOT)
    if tree is None:
        build_in_background()
    return tree


def build_in_background() -> None:
    """Starts the compiler, politely; its lock keeps a second one waiting."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("w") as log:
        subprocess.Popen(
            ["nice", sys.executable, str(ROOT / "tools" / "build_compiled.py")],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    say(f"running interpreted this time; faster modules are being compiled for the next ({LOG})")


def main() -> None:
    """Replaces this process by the command."""
    environment = dict(os.environ)
    tree = compiled_tree()
    if tree is not None:
        paths = [str(tree), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    os.execve(sys.executable, [sys.executable, "-m", "zabra", *sys.argv[1:]], environment)


if __name__ == "__main__":
    main()
