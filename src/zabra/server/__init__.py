"""The server as an object that never waits: bytes, ticks and completions in, one Ready out."""
