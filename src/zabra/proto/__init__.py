"""Records, messages and numbers of the wire and the disk."""
