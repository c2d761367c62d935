"""Zabra: Apache ZooKeeper in Python, with observers that publish.  See docs/ARCHITECTURE.md."""

from zabra import _mode

__version__ = "0.1.0"

_mode.apply_environment()
