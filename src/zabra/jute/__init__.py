"""Jute: the encoding of ZooKeeper's wire and disk."""
