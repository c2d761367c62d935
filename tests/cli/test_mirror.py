"""``zabra mirror``: what is said of what cannot be done; with real ensembles see test_mirror_on_servers."""

import argparse

import pytest

from zabra.cli import mirror
from zabra.cli.main import build_parser

REPORT = {
    "source": {"path": "/x", "nodes": 3, "hash": "aa"},
    "target": {"path": "/y", "nodes": 0, "hash": ""},
    "differences": [
        {"path": "/a", "what": "only at the source", "nodes": 2},
        {"path": "/b", "what": "data differs", "nodes": 1},
    ],
}


def test_a_report_for_people(capsys):
    mirror._print(REPORT, argparse.Namespace(format="text", limit=1))
    assert capsys.readouterr().out.splitlines() == [
        "source  /x  3 nodes  aa",
        "target  /y  0 nodes  nothing there",
        "2 differences:",
        "  /a  only at the source (2 nodes)",
        "  … and 1 more (--limit 0 shows all)",
    ]


def test_a_cutover_for_people(capsys):
    out = {
        **REPORT,
        "differences": [],
        "raised": [{"path": "/q", "source": 9, "target": 2}],
        "counters": [{"path": "/p", "source": 7, "target": 0}],
        "writtenMeanwhile": True,
        "sessions": {"0x1": 2},
        "ready": False,
    }
    mirror._print(out, argparse.Namespace(format="text", limit=0))
    assert capsys.readouterr().out.splitlines()[2:] == [
        "the same",
        "raised the counter of /q from 2 to 9",
        "  /p: the next sequential node is number 7 at the source, 0 at the target (--raise-sequences)",
        "the source is still being written",
        "session 0x1 still holds 2 ephemeral nodes at the source",
        "not ready",
    ]


def test_what_cannot_be_done_is_said(capsys):
    code = build_parser().parse_args(["mirror", "check", "127.0.0.1:1/x", "a:b:c/y", "--timeout", "0.2"])
    assert code.run(code) == mirror.EXIT_ERROR
    arguments = build_parser().parse_args(["mirror", "status", "127.0.0.1:1", "--timeout", "0.2"])
    assert arguments.run(arguments) == mirror.EXIT_ERROR
    assert "error: no answer in time: cannot connect to 127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "path"), [("a:1", "/"), ("a:1/", "/"), ("a:1,b:2/x/y", "/x/y"), ("a:1/x/", "/x")]
)
def test_paths_behind_servers(text, path):
    assert mirror.path_of(text) == path
