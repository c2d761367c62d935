"""Every module can be the first one imported, and the package says what it is."""

import importlib
import importlib.metadata
import os
import pkgutil
import sys
from pathlib import Path

import pytest

import zabra

NAMES = sorted(
    module.name
    for module in pkgutil.walk_packages(zabra.__path__, "zabra.")
    if not module.name.endswith(("__main__", "__mypyc"))
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("name", NAMES)
def test_module_can_be_imported_first(name: str) -> None:
    """In a child without any of our modules, so that a cycle of imports shows."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for loaded in [module for module in sys.modules if module.partition(".")[0] == "zabra"]:
                del sys.modules[loaded]
            importlib.import_module(name)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_version_is_that_of_the_distribution() -> None:
    assert importlib.metadata.version("zabra") == zabra.__version__


def test_the_package_is_typed() -> None:
    assert (Path(zabra.__path__[0]) / "py.typed").exists()
