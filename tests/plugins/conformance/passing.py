"""Time passes, on a loop where it takes none."""

import asyncio


async def virtual(seconds: float) -> None:
    """Only for ``run_virtual``."""
    await asyncio.sleep(seconds)
