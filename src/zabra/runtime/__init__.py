"""Driver one: asyncio (uvloop where present), one thread for the log and one for snapshots."""
