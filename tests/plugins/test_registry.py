"""Publishers by name; every mistake in the configuration names its key."""

import dataclasses
import sys

import pytest

from zabra.plugins.builtin.jsonl import JsonlPublisher
from zabra.plugins.registry import PublisherError, available, camel, plan_publishers


def test_a_plan():
    (plan,) = plan_publishers(
        {"audit": {"class": "jsonl", "file": "/x", "fsync": "no", "path": "/a", "batchTxns": "7"}}
    )
    assert (plan.name, plan.kind, plan.options) == ("audit", "jsonl", {"file": "/x", "fsync": False})
    assert (plan.host.path, plan.host.batch_txns, plan.host.on_voters) == ("/a", 7, False)
    assert isinstance(plan.make(), JsonlPublisher)
    assert plan.make() is not plan.make()


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("a b", {"class": "jsonl"}, "publisher.a b: a name has letters"),
        ("p", {}, "publisher.p.class: is not set"),
        ("p", {"class": "carrier-pigeon"}, "publisher.p.class: there is no publisher 'carrier-pigeon'"),
        ("p", {"class": "jsonl"}, "publisher.p.file: is not set"),
        ("p", {"class": "jsonl", "file": ""}, "publisher.p: file is empty"),
        ("p", {"class": "jsonl", "file": "x", "fsync": "perhaps"}, "publisher.p.fsync: 'perhaps' is neither"),
        ("p", {"class": "jsonl", "file": "x", "flie": "x"}, "publisher.p.flie: 'jsonl' has no such option"),
        ("p", {"class": "jsonl", "file": "x", "batchTxns": "many"}, "publisher.p.batchTxns: 'many' is not a"),
        ("p", {"class": "jsonl", "file": "x", "batchTxns": "0"}, "publisher.p.batchTxns: is 0, must be"),
        ("p", {"class": "jsonl", "file": "x", "path": "a/"}, "publisher.p.path: 'a/' is not a path"),
        ("p", {"class": "jsonl", "file": "x", "ops": "break"}, "publisher.p.ops: there is no op 'break'"),
    ],
)
def test_mistakes(name, given, text):
    with pytest.raises(PublisherError) as caught:
        plan_publishers({name: given})
    assert str(caught.value).startswith(text)


def test_a_library_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    monkeypatch.delitem(sys.modules, "zabra.plugins.builtin.kafka", raising=False)
    with pytest.raises(PublisherError) as caught:
        plan_publishers({"p": {"class": "kafka", "servers": "a:1"}})
    text = str(caught.value)
    assert text.startswith("publisher.p.class: 'kafka' cannot be loaded: import of confluent_kafka halted")
    assert text.endswith("its library comes with: pip install 'zabra[kafka]'")


def test_every_built_in_can_be_loaded():
    for entry in available().values():
        assert dataclasses.is_dataclass(entry.load().Options)


def test_keys_are_in_the_style_of_zoo_cfg():
    assert camel("max_backoff_ms") == "maxBackoffMs"
