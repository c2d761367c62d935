"""Scripted command-line sessions: commands with the output that Apache ZooKeeper's answers gave.

A file in sessions/ is lines ``> command``, each followed by the expected output.  What changes from run to
run (zxids, session ids, times, ports) is written as ``#``.  A command whose output is what the file says
passes.
"""

from __future__ import annotations

import re
from pathlib import Path

SESSIONS = Path(__file__).with_name("sessions")

_VOLATILE = (
    (re.compile(r"0x[0-9a-f]+"), "0x#"),
    (re.compile(r"\b[A-Z][a-z]{2} [A-Z][a-z]{2} +\d+ [\d:]{8} (UTC |GMT )?\d{4}"), "#date"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T][\d:,.]{8,12}"), "#date"),
    # Times in milliseconds; a sequence number has ten digits and stays.
    (re.compile(r"\b\d{12,}\b"), "#"),
    (re.compile(r"zxid(: | ?= ?)[0-9a-f]+\b"), "zxid=#"),
    (re.compile(r"took [\d.]+ secs"), "took # secs"),
    (re.compile(r"time = \d+ msec"), "time = # msec"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:#"),
)


def clean(output: str) -> list[str]:
    """Lines without what differs from run to run, and without empty ones."""
    for pattern, instead in _VOLATILE:
        output = pattern.sub(instead, output)
    return [line.rstrip() for line in output.splitlines() if line.strip()]


def load(name: str) -> list[tuple[str, list[str]]]:
    """(command, expected output) of a session file."""
    out: list[tuple[str, list[str]]] = []
    for line in (SESSIONS / f"{name}.txt").read_text().splitlines():
        if line.startswith("> "):
            out.append((line[2:], []))
        elif out:
            out[-1][1].append(line)
    return out


def save(name: str, session: list[tuple[str, list[str]]]) -> None:
    """Writes a session file."""
    lines = []
    for command, output in session:
        lines += [f"> {command}", *output]
    (SESSIONS / f"{name}.txt").write_text("\n".join(lines) + "\n")


def judge(
    name: str, outputs: list[list[str]], record: bool, *, any_order: bool = False
) -> dict[str, tuple[str, str]]:
    """(status, what was printed instead) of every command, by number and command."""
    session = load(name)
    if len(outputs) != len(session):
        return {"session": ("failed", f"{len(outputs)} outputs for {len(session)} commands: {outputs[-1:]}")}
    if record:
        session = [(command, output) for (command, _), output in zip(session, outputs, strict=True)]
        save(name, session)
    told: dict[str, tuple[str, str]] = {}
    for number, ((command, expected), output) in enumerate(zip(session, outputs, strict=True), 1):
        same = sorted(expected) == sorted(output) if any_order else expected == output
        told[f"{number:02d} {command}"] = ("passed", "") if same else ("failed", " | ".join(output)[:300])
    return told
