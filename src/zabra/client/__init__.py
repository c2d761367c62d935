"""The client's end of the wire: calls, watches and session re-binding without I/O, and an asyncio shell."""
