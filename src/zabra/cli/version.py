"""What ``zabra --version`` says."""

import platform
from importlib.metadata import PackageNotFoundError, version

import zabra
from zabra._mode import is_compiled
from zabra.runtime.loop import loop_name


def librt_version() -> str:
    """The version of librt, which the codecs are written on."""
    try:
        return version("librt")
    except PackageNotFoundError:
        return "unknown"


def version_text() -> str:
    """Version, compiled or not, librt, event loop, Python."""
    compiled = "yes" if is_compiled() else "no"
    return (
        f"zabra {zabra.__version__}  compiled: {compiled}  librt: {librt_version()}  loop: {loop_name()}  "
        f"Python {platform.python_version()}"
    )
