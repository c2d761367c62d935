"""Which event loop: uvloop when it can be imported, else asyncio's own."""

import asyncio
import os
from collections.abc import Coroutine
from typing import Any


def loop_name() -> str:
    """``uvloop`` or ``asyncio``; ``ZABRA_LOOP=asyncio`` forces the latter."""
    if os.environ.get("ZABRA_LOOP") == "asyncio":
        return "asyncio"
    try:
        import uvloop  # noqa: F401 - only whether it is there
    except ImportError:
        return "asyncio"
    return "uvloop"


def run(main: Coroutine[Any, Any, int]) -> int:
    """Runs ``main`` on the chosen loop and returns its result."""
    if loop_name() == "uvloop":
        import uvloop

        return uvloop.run(main)
    return asyncio.run(main)
