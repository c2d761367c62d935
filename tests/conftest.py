"""For all tests: how Hypothesis runs, which build is tested, and the reliability report.

``ZABRA_COMPILED=require`` in the environment makes a run fail at once that is not on the compiled modules.

A test that counts toward a row of the reliability scoreboard takes the fixture ``reliability`` and calls it
with the row and its counters.  The lines are shown at the end of the run and kept in
``build/reliability.txt``, one per row, the newest run of a row replacing the older one::

    R7 crash-points states=12345 sites=31 violations=0
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from zabra._mode import is_compiled

# Never by the clock: machines are shared, and a slow one must not fail a test.  HYPOTHESIS_PROFILE=thorough
# looks longer; derandomized runs are the default, so that a red run is red for everybody.
hypothesis.settings.register_profile("default", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=2000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

Report = Callable[..., None]

REPORT_FILE = Path(__file__).resolve().parent.parent / "build" / "reliability.txt"
_lines: dict[str, str] = {}


def pytest_configure(config: pytest.Config) -> None:
    """Refuses to test the wrong build."""
    if os.environ.get("ZABRA_COMPILED") == "require" and not is_compiled():
        raise pytest.UsageError("ZABRA_COMPILED=require, but zabra's modules are interpreted: make compiled")


def pytest_report_header(config: pytest.Config) -> str:
    """Which build is tested."""
    return f"zabra: {'compiled' if is_compiled() else 'interpreted'} modules"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need interpreted modules are skipped on compiled ones."""
    if is_compiled():
        skip = pytest.mark.skip(reason="needs interpreted modules")
        for item in items:
            if item.get_closest_marker("interpreted"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def reliability() -> Report:
    """``reliability("R7", "crash-points", states=10, violations=0)`` adds a line to the report."""

    def report(row: str, name: str, **counters: int) -> None:
        numbers = " ".join(f"{key}={value}" for key, value in counters.items())
        _lines[f"{row} {name}"] = f"{row} {name} {numbers}"

    return report


def _row(line: str) -> tuple[int, str]:
    """Sorts R7 before R10."""
    number = line.split(" ", 1)[0][1:]
    return (int(number) if number.isdigit() else 0, line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands its lines to the process that reports."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["reliability"] = _lines


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes over a worker's lines."""
    _lines.update(getattr(node, "workeroutput", {}).get("reliability", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows the lines and files them."""
    if not _lines:
        return
    terminalreporter.section("reliability")
    for line in sorted(_lines.values(), key=_row):
        terminalreporter.line(line)
    kept = dict(_lines)
    if REPORT_FILE.exists():
        for line in REPORT_FILE.read_text().splitlines():
            kept.setdefault(" ".join(line.split(" ")[:2]), line)
    REPORT_FILE.parent.mkdir(exist_ok=True)
    REPORT_FILE.write_text("".join(f"{line}\n" for line in sorted(kept.values(), key=_row)))
