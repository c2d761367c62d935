"""Metrics: upstream's names, upstream's arithmetic, bounded memory."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zabra.metrics import (
    GAUGE_SETS,
    GAUGES,
    OVERFLOW_KEY,
    RESERVOIR_SIZE,
    SET_KEYS_MAX,
    Counter,
    CounterSet,
    Metric,
    Metrics,
    PercentileSummary,
    PercentileSummarySet,
    Summary,
    SummarySet,
    mntr_text,
)

# Names that a leader, a follower and an observer of Apache ZooKeeper 3.9.4 printed for mntr, without those of
# keyed sets and the texts (version, server_state, ...).
APACHE_NAMES = (Path(__file__).parent / "data/mntr_names_3.9.4.txt").read_text().split()

KINDS: dict[str, type[Metric]] = {
    "counter": Counter,
    "summary": Summary,
    "summary with percentiles": PercentileSummary,
    "counter by key": CounterSet,
    "summary by key": SummarySet,
    "summary with percentiles by key": PercentileSummarySet,
}


def dumped(metric: Metric) -> dict[str, int | float]:
    out: dict[str, int | float] = {}
    metric.dump_into(out)
    return out


def test_every_name_of_apache_is_dumped() -> None:
    names = Metrics().dump({gauge.name: 0 for gauge in GAUGES})
    assert sorted(set(APACHE_NAMES) - set(names)) == []


def test_names_beyond_apache_3_9_are_those_of_3_10() -> None:
    names = Metrics().dump({gauge.name: 0 for gauge in GAUGES})
    extra = set(names) - set(APACHE_NAMES)
    ours = {"lag_txns", "lag_ms"}
    assert all(name.startswith(("op_count_", "ttl_node_")) for name in extra - ours)
    assert len(extra - ours) == 26


def test_each_row_is_an_attribute_of_its_kind() -> None:
    metrics = Metrics()
    assert len({row.name for row in metrics.rows}) == len(metrics.rows) == 148
    for row in metrics.rows:
        assert type(getattr(metrics, row.name)) is KINDS[row.kind], row.name
        assert row.doc
        assert row.unit


def test_gauges_are_documented_once() -> None:
    names = [gauge.name for gauge in (*GAUGES, *GAUGE_SETS)]
    assert len(set(names)) == len(names)
    assert all(gauge.doc and gauge.unit and gauge.role for gauge in (*GAUGES, *GAUGE_SETS))


def test_dump_puts_gauges_and_keyed_gauges_under_their_names() -> None:
    out = Metrics().dump({"znode_count": 5}, {"quota_count_limit_per_namespace": {"app": 7}})
    assert out["znode_count"] == 5
    assert out["app_quota_count_limit_per_namespace"] == 7


def test_reset_clears_all_kinds() -> None:
    metrics = Metrics()
    before = metrics.dump()
    metrics.commit_count.add(2)
    metrics.fsynctime.add(3)
    metrics.readlatency.add(4)
    metrics.quota_exceeded_error_per_namespace.add("a", 1)
    metrics.write_per_namespace.add("a", 1)
    metrics.ack_latency.add("1", 9)
    changed = metrics.dump()
    assert changed["commit_count"] == 2
    assert changed["max_fsynctime"] == 3
    assert changed["p99_readlatency"] == 4
    assert changed["a_quota_exceeded_error_per_namespace"] == 1
    assert changed["sum_a_write_per_namespace"] == 1
    assert changed["p50_1_ack_latency"] == 9
    metrics.reset()
    after = metrics.dump()
    assert {name: after[name] for name in before} == before
    assert after["p50_1_ack_latency"] == 0


def test_summary_values() -> None:
    summary = Summary("x")
    assert dumped(summary) == {"avg_x": 0.0, "min_x": 0, "max_x": 0, "cnt_x": 0, "sum_x": 0}
    for value in (4, -3, 9):
        summary.add(value)
    assert dumped(summary) == {"avg_x": 3.3333, "min_x": -3, "max_x": 9, "cnt_x": 3, "sum_x": 10}
    summary.reset_maximum()
    assert dumped(summary)["max_x"] == -3


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1))
def test_summary_agrees_with_the_list(values: list[int]) -> None:
    summary = Summary("x")
    for value in values:
        summary.add(value)
    assert (summary.minimum, summary.maximum) == (min(values), max(values))
    assert (summary.count, summary.total) == (len(values), sum(values))
    assert summary.average() == pytest.approx(sum(values) / len(values), abs=0.0001, rel=1e-9)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, 0),
        ([7], 0.999, 7),
        ([1, 2], 0.5, 2),  # 1.5, half up
        ([-1, -2], 0.5, -1),  # -1.5, half up
        ([1, 2, 3], 0.5, 2),
        (list(range(1, 101)), 0.95, 96),  # 95.95
        (list(range(1, 101)), 0.999, 100),
        (list(range(1, 101)), 0.001, 1),
    ],
)
def test_percentile(values: list[int], share: float, expected: int) -> None:
    summary = PercentileSummary("x")
    for value in values:
        summary.add(value)
    assert summary.percentile(share) == expected


def test_percentile_sample_is_bounded_uniform_and_repeatable() -> None:
    def run() -> PercentileSummary:
        summary = PercentileSummary("x")
        for value in range(20 * RESERVOIR_SIZE):
            summary.add(value)
        return summary

    summary = run()
    size = 20 * RESERVOIR_SIZE
    # The standard error of a sampled median of 4096 is below 0.8 % of the range; 5 % is six of them.
    assert abs(summary.percentile(0.5) - size / 2) < 0.05 * size
    assert abs(summary.percentile(0.95) - 0.95 * size) < 0.05 * size
    assert dumped(summary) == dumped(run())


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 3 * RESERVOIR_SIZE)), max_size=6))
def test_many_at_once_are_many_one_by_one(values: list[tuple[int, int]]) -> None:
    at_once, one_by_one = PercentileSummary("x"), PercentileSummary("x")
    for value, times in values:
        at_once.add_many(value, times)
        for _ in range(times):
            one_by_one.add(value)
    assert dumped(at_once) == dumped(one_by_one)


def test_keyed_set_bounds_its_keys() -> None:
    counters = CounterSet("c")
    for index in range(SET_KEYS_MAX + 10):
        counters.add(str(index), 1)
    out = dumped(counters)
    assert len(out) == SET_KEYS_MAX + 1
    assert out[f"{OVERFLOW_KEY}_c"] == 10


@pytest.mark.parametrize("kind", [SummarySet, PercentileSummarySet])
def test_keyed_summaries(kind: type[SummarySet] | type[PercentileSummarySet]) -> None:
    summaries = kind("s")
    summaries.add("a", 5)
    summaries.add("a", 7)
    summaries.add("b", 1)
    out = dumped(summaries)
    assert (out["sum_a_s"], out["cnt_a_s"], out["max_b_s"]) == (12, 2, 1)
    summaries.reset_maximum()
    assert dumped(summaries)["max_a_s"] == 5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-1, "-1"),
        (2**62, "4611686018427387904"),
        (0.0, "0.0"),
        (3.3333, "3.3333"),
        (0.001, "0.001"),
        (0.0005, "5.0E-4"),
        (9999999.0, "9999999.0"),
        (10000000.0, "1.0E7"),
        (-12345678.5, "-1.23456785E7"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
    ],
)
def test_numbers_print_as_java_prints_them(value: float, text: str) -> None:
    assert mntr_text(value) == text
