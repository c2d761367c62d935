"""The text of the static file, once a dynamic one has taken its place."""

from __future__ import annotations

import pytest

from zabra.server.reconfig import dynamic_file_name, edit_static_config

STATIC = """\
# What a person wrote stays.
tickTime=2000
server.1=a:1:2 \\
  :participant
group.1=1
weight.1=1
peerType=observer
clientPort=2181
clientPortAddress=a
dataDir=/d
dynamicConfigFile=/old
"""


@pytest.mark.parametrize("erase", [False, True])
def test_the_static_file_points_to_the_dynamic_one(erase: bool) -> None:
    expected = ["# What a person wrote stays.", "tickTime=2000"]
    expected += [] if erase else ["clientPort=2181", "clientPortAddress=a"]
    expected += ["dataDir=/d", "dynamicConfigFile=/conf/zoo.cfg.dynamic.10000000a", ""]
    path = f"/conf/{dynamic_file_name('zoo.cfg', 0x10000000A)}"
    edited = edit_static_config(STATIC, path, erase)
    assert edited.split("\n") == expected
    assert edit_static_config(edited, path, erase) == edited
