"""Recorded results by target, suite and cluster in JSON files, and docs/conformance.md made of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from tests.conformance import differences
from tests.conformance.suites import SUITES, Results
from tests.conformance.tools import HERE, ROOT

FILES = {"apache": HERE / "baseline.json", "zabra": HERE / "zabra.json"}
DOCUMENT = ROOT / "docs" / "conformance.md"

_HEAD = """# Conformance: other people's clients and their tests

<!-- Made by tests/conformance/run.py: do not edit. -->

Every suite below was written for Apache ZooKeeper by others, or drives a client that others wrote.  It is
run unmodified, once against Apache ZooKeeper (the baseline) and then against Zabra.  Suites that start their
servers themselves as `java ... QuorumPeerMain zoo.cfg` get Zabra through a stand-in for `java`.

`make conformance` runs all of it; `python -m tests.conformance.run --help` shows how to run a part.
It fails when a test ends on Zabra otherwise than on Apache and no reason stands here.
"""


def load(target: str) -> dict[str, Any]:
    """Recorded results of a target by ``suite/cluster``."""
    path = FILES[target]
    recorded: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return recorded


def store(target: str, key: str, versions: str, server: str, seconds: float, results: Results) -> None:
    """Keeps the results of one run of one suite.  Details of failures are kept, those of skips not."""
    recorded = load(target)
    failed = {name: detail for name, (status, detail) in results.items() if status == "failed"}
    recorded[key] = {
        "versions": versions,
        "server": server,
        "seconds": round(seconds),
        "passed": sorted(name for name, (status, _) in results.items() if status == "passed"),
        "skipped": sorted(name for name, (status, _) in results.items() if status == "skipped"),
        "failed": dict(sorted(failed.items())),
    }
    FILES[target].write_text(json.dumps(dict(sorted(recorded.items())), indent=1, ensure_ascii=False) + "\n")


def statuses(entry: dict[str, Any]) -> dict[str, str]:
    """Status by test name."""
    return {name: status for status in ("passed", "skipped", "failed") for name in entry.get(status, ())}


def baseline(recorded: dict[str, Any], key: str) -> dict[str, Any] | None:
    """What Apache did in the same place, or else alone with as many servers.

    Five servers, and members in one role, give the answers of any three, unless a record says otherwise: a
    suite that runs with local sessions does not find in a follower what it finds in a server alone.
    """
    suite, _, where = key.partition("/")
    cluster = where.partition("-")[0]
    found: dict[str, Any] | None = recorded.get(key, recorded.get(f"{suite}/{cluster}"))
    if found is None and cluster == "5":
        found = recorded.get(f"{suite}/3", recorded.get(f"{suite}/1"))
    return found


def compare(
    suite: str, where: str, apache: dict[str, str], zabra: dict[str, str], whole: bool = True
) -> dict[str, tuple[str, str]]:
    """(what happened, reason or "") of every test that does not end alike; ``whole``: all were to run."""
    out = {}
    for name in sorted(set(apache) - set(zabra)):
        why = differences.reason(suite, where, name)
        if whole or why is not None:
            out[name] = (f"{apache[name]} on Apache, not run on Zabra", why or "")
    for name, mine in sorted(zabra.items()):
        theirs = apache.get(name, "not there")
        # Where Apache fails, as by the pace of the machine, passing is no difference to explain.
        if mine != theirs and not (mine == "passed" and theirs == "failed"):
            why = differences.reason(suite, where, name)
            out[name] = (f"{theirs} on Apache, {mine} on Zabra", why or "")
    return out


def unexplained(key: str) -> list[str]:
    """Differences of the recorded runs that have no reason."""
    apache, zabra = baseline(load("apache"), key), load("zabra").get(key)
    if apache is None or zabra is None:
        return []
    suite, _, where = key.partition("/")
    told = compare(suite, where, statuses(apache), statuses(zabra))
    return [f"{key}::{name}: {what}" for name, (what, why) in told.items() if not why]


def where_in_words(where: str) -> str:
    """The column that says which servers: 3-apache-1,2 is "3; 1 and 2 are Apache's"."""
    mixed = re.match(r"(\d+)-apache-([\d,]+)$", where)
    if mixed:
        ids = mixed[2].split(",")
        text = " and ".join(filter(None, [", ".join(ids[:-1]), ids[-1]]))
        return f"{mixed[1]}; {text} {'is' if len(ids) == 1 else 'are'} Apache's"
    via = re.match(r"(\d+)-via-(\w+)$", where)
    return f"{via[1]}, through the {via[2]}s" if via else where


def _count(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return "not run yet"
    return f"{len(entry['passed'])} / {len(entry['failed'])} / {len(entry['skipped'])}"


def write_document() -> None:
    """Writes docs/conformance.md."""
    apache, zabra = load("apache"), load("zabra")
    servers = sorted({entry["server"] for entry in apache.values()})
    lines = [_HEAD, f"Baseline: {', '.join(servers) or 'none'}.  Numbers are passed / failed / skipped.\n"]
    lines += [
        "| suite | what it is | servers | Apache | Zabra | explained | unexplained |",
        "|---|---|---|---|---|---|---|",
    ]
    details: list[str] = []
    for suite in SUITES:
        for key in sorted({key for key in (*apache, *zabra) if key.startswith(f"{suite.name}/")}):
            where = key.partition("/")[2]
            told = {}
            theirs = baseline(apache, key)
            if theirs and key in zabra:
                told = compare(suite.name, where, statuses(theirs), statuses(zabra[key]))
            explained = sum(1 for _, why in told.values() if why)
            about = f"{suite.about} ({(apache.get(key) or zabra[key])['versions']})"
            cells = [suite.name, about, where_in_words(where), _count(theirs), _count(zabra.get(key))]
            lines.append(f"| {' | '.join([*cells, str(explained), str(len(told) - explained)])} |")
            details += _details(key, told, apache.get(key))
    DOCUMENT.write_text("\n".join([*lines, "", *details]).rstrip() + "\n")


def _details(key: str, told: dict[str, tuple[str, str]], apache: dict[str, Any] | None) -> list[str]:
    out = []
    if told:
        out += [f"## Differences in {key}\n", "| tests | what | reason |", "|---|---|---|"]
        groups = Counter((what, why) for what, why in told.values())
        for (what, why), count in sorted(groups.items()):
            names = [name for name, entry in told.items() if entry == (what, why)]
            shown = ", ".join(f"`{name}`" for name in names[:6]) + (
                f" and {count - 6} more" if count > 6 else ""
            )
            out.append(f"| {shown} | {what} | {why or '**none yet**'} |")
        out.append("")
    if apache and apache["failed"]:
        out += [f"## What fails on Apache itself in {key}\n"]
        for name, message in apache["failed"].items():
            why = differences.why_apache_fails(key, name) or " ".join(message.split()) or "no message"
            out.append(f"* `{name}`: {why}")
        out.append("")
    return out


def summary(path: Path) -> str:
    """One line about a results file."""
    recorded = json.loads(path.read_text()) if path.exists() else {}
    total = Counter(status for entry in recorded.values() for status in statuses(entry).values())
    return (
        f"suites={len(recorded)} passed={total['passed']} failed={total['failed']} skipped={total['skipped']}"
    )
