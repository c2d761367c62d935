"""Runs ``zabra`` from the checkout, on compiled modules where this machine can compile them.

``python tools/run.py server conf/zoo.cfg``: what ``make run`` does.  With ``ZABRA_PURE=1``, without a C
compiler, or when compiling fails, it says so in one line and runs interpreted.
"""

import os
import sys
from pathlib import Path

import build_compiled

ROOT = Path(__file__).resolve().parent.parent


def compiled_tree() -> Path | None:
    """The folder with the compiled package; None, and a line that says why, when there is none."""
    if os.environ.get("ZABRA_PURE", "0") not in ("", "0"):
        return None
    try:
        return build_compiled.build(ROOT)
    except build_compiled.BuildError as error:
        reason = str(error).splitlines()
        detail = f" ({ROOT / build_compiled.CACHE / 'build.log'})" if len(reason) > 1 else ""
        print(f"running interpreted, several times slower: {reason[0].rstrip(':')}{detail}", file=sys.stderr)
        return None


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
