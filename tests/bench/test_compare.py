"""The comparison's arithmetic and text, and one small comparison of the two Apache lines end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.interop import apache
from tests.interop.processes import ServerError

from bench import compare, systems


def row(system: str, number: int, rate: float, cpu: float = 1.0, errors: int = 0) -> dict[str, Any]:
    """A result row as ``run_round`` makes it."""
    result = {
        "ops_per_s": rate,
        "ops": 1_000_000,
        "server_cpu_s": [cpu, None],
        "rss_kib": [2048, 1024],
        "errors": errors,
        "disconnects": 0,
        "error_codes": {"-101": errors} if errors else {},
        "complete": True,
        "latency_us": {"p50": 1000.0, "p99": 2000.0, "p999": 3000.0},
    }
    place = {"system": system, "round": number, "cell": "closed get", "payload": 100}
    return {**place, "version": "v", "result": result}


def three_rounds() -> list[dict[str, Any]]:
    rates = {"zabra": [300.0, 100.0, 240.0], "apache": [100.0, 100.0, 80.0]}
    return [row(name, i + 1, rate) for name, own in rates.items() for i, rate in enumerate(own)]


def test_ratios_are_taken_within_rounds_and_medians_over_them() -> None:
    [entry] = compare.summarise(three_rounds(), ["zabra", "apache"])
    assert entry["ratios"] == [3.0, 1.0, 3.0]
    assert entry["systems"]["zabra"]["ops_per_s"] == 240.0
    assert entry["systems"]["apache"]["ops_per_s"] == 100.0
    assert entry["systems"]["apache"]["rss_mib"] == 3.0
    # One of the two processes could not be read: what is known counts.
    assert entry["systems"]["apache"]["cpu_us"] == pytest.approx(1.0)


def test_table_has_a_row_per_cell_and_shows_errors() -> None:
    rows = [*three_rounds(), row("zabra", 4, 0.0, errors=5)]
    text = compare.markdown(compare.summarise(rows, ["zabra", "apache"]), ["zabra", "apache"])
    head, rule, line = text.splitlines()
    assert head.count("|") == rule.count("|") == line.count("|")
    assert "1.00 / 2.00 / 3.00" in line
    assert "**3.00** (3.00, 1.00, 3.00)" in line
    only_errors = compare.markdown(compare.summarise(rows[-1:], ["zabra"]), ["zabra"])
    assert "(5 errors)" in only_errors
    assert "ERRORS {'-101': 5}" in compare.progress(rows[-1])


def test_a_system_without_results_is_a_dash() -> None:
    entries = compare.summarise([row("zabra", 1, 5.0)], ["zabra", "apache"])
    line = compare.markdown(entries, ["zabra", "apache"]).splitlines()[-1]
    assert line.endswith("| – | – | – | – | – |")


def test_sections_are_replaced_in_place_and_others_left_alone() -> None:
    text = compare.rewrite_section("# Performance\n\nWords.\n", "standalone", "old figures")
    text = compare.rewrite_section(text, "three", "others")
    again = compare.rewrite_section(text, "standalone", "new figures")
    assert "old figures" not in again
    assert again.index("Words.") < again.index("new figures") < again.index("others")
    assert compare.rewrite_section(again, "standalone", "new figures") == again


def test_more_in_flight_than_the_limit_raises_it_for_both() -> None:
    assert systems.in_flight_setting(1000) == {}
    assert systems.in_flight_setting(5000) == {"globalOutstandingLimit": 10000}
    args = compare.parse_arguments(["--systems", "zabra,apache", "--connections", "50", "--window", "100"])
    options, made = compare.prepare(args)
    assert options.cfg == {"maxClientCnxns": 0, "globalOutstandingLimit": 10000}
    assert [system.name for system in made] == ["zabra", "apache"]
    closed = compare.parse_arguments(["--cells", "closed get,closed set", "--connections", "50"])
    assert compare.prepare(closed)[0].cfg == {"maxClientCnxns": 0}


@pytest.mark.parametrize(
    ("words", "text"),
    [(["--cells", "closed delete"], "no such cell"), (["--systems", "etcd"], "is no system")],
)
def test_unknown_names_are_refused(words: list[str], text: str) -> None:
    with pytest.raises(SystemExit, match=text):
        compare.prepare(compare.parse_arguments(words))


def test_zabra_is_started_by_the_given_command(tmp_path: Path) -> None:
    # A command that ends at once: its output proves what was run, with which configuration.
    command = "{python} -c 'import sys;print(open(sys.argv[1]).read())' {config}"
    options = systems.Options(server_command=command, base_port=20000, cfg={"snapCount": 7})
    [server] = systems.System("zabra", options).standalone(tmp_path).members.values()
    with pytest.raises(ServerError, match="ended with 0"):
        server.start()
    said = server.log_tail()
    assert "clientPort=20000" in said
    assert "snapCount=7" in said
    assert "server.1=" not in said


def test_machine_is_described(tmp_path: Path) -> None:
    facts = systems.machine(tmp_path)
    assert facts["cores"] >= 1
    assert 0 < facts["fdatasync_us"]["median"] <= facts["fdatasync_us"]["p99"]
    assert f"{facts['cores']} cores" in systems.describe_machine(facts)
    assert list(tmp_path.iterdir()) == []


def test_work_folder_is_removed_unless_kept(tmp_path: Path) -> None:
    with systems.work_folder(str(tmp_path), keep=False) as folder:
        (folder / "data").write_text("x")
    assert not folder.exists()
    with systems.work_folder(str(tmp_path), keep=True) as kept:
        pass
    assert kept.exists()


@pytest.mark.java
@pytest.mark.slow
def test_two_systems_are_compared_end_to_end(tmp_path: Path) -> None:
    apache.require_java("3.9")
    apache.require_java("3.8")
    short = ["--rounds", "1", "--warmup", "0.1", "--duration", "0.5", "--burn-in", "0", "--connections", "4"]
    words = ["--systems", "apache,apache-3.8", "--cells", "closed get,pipelined set,watch fan-out", *short]
    places = ["--work", str(tmp_path / "work"), "--results", str(tmp_path / "results")]
    assert compare.main([*words, "--window", "10", "--jvm-flags=-Xmx256m", *places]) == 0
    [path] = (tmp_path / "results").iterdir()
    header, *rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(one["system"], one["cell"]) for one in rows] == [
        (name, cell)
        for name in ("apache", "apache-3.8")
        for cell in ("closed get", "pipelined set", "watch fan-out")
    ]
    assert all(one["result"]["ops"] > 0 and one["result"]["errors"] == 0 for one in rows)
    assert header["systems"]["apache-3.8"]["version"].startswith("3.8.")
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.java
@pytest.mark.slow
def test_load_can_go_to_one_role_of_an_ensemble(tmp_path: Path) -> None:
    apache.require_java()
    options = systems.Options(jvm_flags="-Xmx128m")
    with systems.System("apache", options).ensemble(3, 1, tmp_path) as group:
        everyone = compare.targets(group, "all").split(",")
        leader = compare.targets(group, "leader").split(",")
        followers = compare.targets(group, "followers").split(",")
        observers = compare.targets(group, "observers").split(",")
    assert (len(leader), len(followers), len(observers)) == (1, 2, 1)
    assert sorted(everyone) == sorted(leader + followers + observers)
