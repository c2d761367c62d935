"""Declarations of every record on the wire and on disk, in the order of upstream's ``zookeeper.jute``."""
