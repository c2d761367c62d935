"""Compiled or interpreted: which of the two runs, and how to insist on one.

The pure layers may be compiled by mypyc from the same sources (docs/adr/0006); an extension module then
lies beside its source and Python prefers it.  ``ZABRA_PURE=1`` in the environment makes Python take the
sources all the same, for tracebacks, debuggers and coverage.
"""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from types import ModuleType


class SourceFinder:
    """A finder of ``zabra.*`` that does not see extension modules."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The source of ``name``; None leaves it to the other finders."""
        if path is None or not name.startswith("zabra."):
            return None
        for folder in path:
            spec = FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec(name)
            if spec is not None:
                return spec
        return None


def apply_environment() -> None:
    """Obeys ``ZABRA_PURE``; called once, when the package is first imported."""
    if os.environ.get("ZABRA_PURE", "0") not in ("", "0"):
        sys.meta_path.insert(0, SourceFinder)


def is_compiled() -> bool:
    """Whether the pure layers run as machine code."""
    from zabra.jute import primitives

    return not str(primitives.__file__).endswith(".py")
