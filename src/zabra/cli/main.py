"""The ``zabra`` command."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from zabra.cli.version import version_text

# Modules with a ``register(subparsers)``, in the order in which help lists them.
COMMANDS = ("server", "up", "watch", "mirror", "files", "bench", "sim", "config")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="zabra", description="Apache ZooKeeper in Python, with observers that publish."
    )
    parser.add_argument("--version", action="version", version=version_text())
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        try:
            module = importlib.import_module(f"zabra.cli.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"zabra.cli.{name}":
                raise
            continue
        module.register(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one sub-command; returns its exit code."""
    if not __debug__:
        print("error: zabra relies on its assertions: do not run it with python -O", file=sys.stderr)
        return 2
    parsed = build_parser().parse_args(arguments)
    code: int = parsed.run(parsed)
    return code
