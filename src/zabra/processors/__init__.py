"""From request to txn to reply: one row per operation (``ops``), prepared, applied and answered here."""
