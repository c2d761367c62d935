"""Agreement: Zab's phases in the paper's words.  Txns are opaque bytes; no tree and no socket here."""
