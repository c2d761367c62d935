"""Plays every scenario under tests/scenarios and writes its outputs as they are now, for review in the diff.

``--check`` writes nothing and fails where a file would change.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "scenarios"

sys.path.insert(0, str(ROOT / "src"))

from zabra.sim.scenario import Player  # noqa: E402


def main() -> int:
    """Rewrites or checks; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("files", nargs="*", type=Path)
    given = parser.parse_args()
    changed = 0
    for path in given.files or sorted(FOLDER.glob("*.txt")):
        before = path.read_text()
        after = Player().play(before)
        if after != before:
            changed += 1
            print(f"{'would change' if given.check else 'changed'}: {path}")
            if not given.check:
                path.write_text(after)
    return 1 if changed and given.check else 0


if __name__ == "__main__":
    sys.exit(main())
