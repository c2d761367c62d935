"""A share of the machine: cgroups (v1 or v2) that bound the CPU time of some of the processes.

On one machine everybody's CPU is everybody's; with bounds, servers are as slow as on machines of their own.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000


class Share:
    """A cgroup; ``percent`` of one core for all of its processes together."""

    def __init__(self, name: str, percent: int) -> None:
        v1 = ROOT / "cpu"
        self.path = (v1 if v1.is_dir() else ROOT) / f"zabra-{os.getpid()}-{name}"
        self.path.mkdir()
        quota = PERIOD_US * percent // 100
        if v1.is_dir():
            (self.path / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self.path / "cpu.cfs_quota_us").write_text(str(quota))
            # Only the quota counts, not what else the machine does.
            (self.path / "cpu.shares").write_text("100000")
        else:
            (self.path / "cpu.max").write_text(f"{quota} {PERIOD_US}")
            (self.path / "cpu.weight").write_text("10000")

    def add(self, pid: int) -> None:
        """From now on this process (and what it starts) is bound."""
        (self.path / "cgroup.procs").write_text(str(pid))

    def close(self) -> None:
        """When its processes are gone."""
        self.path.rmdir()
