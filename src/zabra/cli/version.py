"""What ``zabra --version`` says."""

import platform

import zabra
from zabra.jute import primitives
from zabra.runtime.loop import loop_name


def is_compiled() -> bool:
    """Whether the pure layers run as machine code."""
    return not (primitives.__file__ or "").endswith(".py")


def version_text() -> str:
    """Version, compiled or not, event loop, Python."""
    compiled = "yes" if is_compiled() else "no"
    return f"zabra {zabra.__version__}  compiled: {compiled}  loop: {loop_name()}  Python {platform.python_version()}"
