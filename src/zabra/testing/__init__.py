"""Ensembles inside a test: real servers, in this process, ready at once.

``Ensemble`` and ``Server`` are context managers for ordinary code; ``AsyncEnsemble`` is the same on a loop of
your own.  With pytest there are the fixtures of ``zabra.testing.pytest_plugin``.  See docs/embedding.md.
"""

from zabra.testing.ensemble import AsyncEnsemble, Member
from zabra.testing.in_thread import Ensemble, Server

__all__ = ["AsyncEnsemble", "Ensemble", "Member", "Server"]
