"""Checks of publishers, for whoever writes one: see docs/publishers.md."""

from zabra.plugins.conformance.check import Checked, Subject, check_publisher, check_run
from zabra.plugins.conformance.faults import AWAY, ERROR, KILL, POWER, TARGET, Faults, TargetError
from zabra.plugins.conformance.judge import (
    ConformanceError,
    Published,
    Told,
    ToldSnapshot,
    json_data,
    told,
    told_json,
)

__all__ = [
    "AWAY",
    "ERROR",
    "KILL",
    "POWER",
    "TARGET",
    "Checked",
    "ConformanceError",
    "Faults",
    "Published",
    "Subject",
    "TargetError",
    "Told",
    "ToldSnapshot",
    "check_publisher",
    "check_run",
    "json_data",
    "told",
    "told_json",
]
