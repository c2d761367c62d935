"""Small kill campaigns; large ones are run by hand (docs/publishers.md)."""

import pytest
from tests.plugins.campaign import campaign, parse


@pytest.mark.campaign
@pytest.mark.parametrize("publisher", ["jsonl", "zookeeper"])
def test_what_is_there_is_what_was_committed(tmp_path, publisher):
    words = ["--publisher", publisher, "--txns", "2500", "--every", "2", "--writers", "3"]
    figures = campaign(parse(words), tmp_path)
    assert figures["txns"] >= 2500
    assert sum(figures["kills"].values()) >= 1
