"""The feed's own HTTP door.

It runs in a process of its own beside the server (``process``), which sends it every committed txn over a
socket (``server_end``, ``link``), so that nothing that subscribers do can slow the server.  There, ``hub``
gives each txn to those who want it and may see it; ``connection`` speaks HTTP and WebSocket.
"""
