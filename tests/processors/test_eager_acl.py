"""The look at access lists before a write is sent on its way."""

import pytest

from zabra.auth.registry import Providers
from zabra.auth.schemes import DigestProvider, IpProvider
from zabra.jute.primitives import JuteError, Writer
from zabra.processors.eager_acl import eager_acl_error
from zabra.proto import codes
from zabra.proto.records import (
    ACL,
    CreateRequest,
    CreateTxn,
    DeleteRequest,
    Id,
    SetACLRequest,
    SetDataRequest,
    TxnHeader,
)
from zabra.proto.request import OWNER_LOCAL, Request
from zabra.tree.datatree import DataTree

OPEN = [ACL(codes.PERM_ALL, Id("world", "anyone"))]
ALICE = Id("digest", "alice:x")
READ_ONLY = [ACL(codes.PERM_READ, Id("world", "anyone")), ACL(codes.PERM_ALL, ALICE)]


@pytest.fixture
def tree():
    tree = DataTree()
    for zxid, (path, acl) in enumerate((("/open", OPEN), ("/mine", READ_ONLY)), 1):
        header = TxnHeader(1, zxid, zxid, 1, codes.OP_CREATE)
        tree.process_txn(header, CreateTxn(path, b"", acl, False, zxid))
    return tree


def ask(tree, op, record, ids=()):
    w = Writer()
    record.encode(w)
    request = Request(1, 1, op, w.getvalue(), list(ids), OWNER_LOCAL, 20, 0)
    return eager_acl_error(tree, Providers([IpProvider(), DigestProvider()]), request)


@pytest.mark.parametrize(
    ("op", "record"),
    [
        (codes.OP_CREATE, CreateRequest("/mine/a", b"", OPEN, 0)),
        (codes.OP_CREATE2, CreateRequest("/mine/a", b"", OPEN, 0)),
        (codes.OP_DELETE, DeleteRequest("/mine/a", -1)),
        (codes.OP_SET_DATA, SetDataRequest("/mine", b"", -1)),
        (codes.OP_SET_ACL, SetACLRequest("/mine", OPEN, -1)),
    ],
)
def test_who_may_not_is_refused_and_who_may_is_not(tree, op, record):
    assert ask(tree, op, record) == codes.ERR_NO_AUTH
    assert ask(tree, op, record, [ALICE]) == codes.OK
    assert ask(tree, op, record, [Id("super", "")]) == codes.OK


def test_what_does_not_exist_or_is_open_passes(tree):
    assert ask(tree, codes.OP_SET_DATA, SetDataRequest("/none", b"", -1)) == codes.OK
    assert ask(tree, codes.OP_DELETE, DeleteRequest("/open/a", -1)) == codes.OK
    assert ask(tree, codes.OP_DELETE, DeleteRequest("/open", -1)) == codes.OK
    assert ask(tree, codes.OP_DELETE, DeleteRequest("nonsense", -1)) == codes.OK


def test_a_malformed_list_is_refused_where_one_is_given(tree):
    wrong = [ACL(codes.PERM_ALL, Id("nobody", "x"))]
    assert ask(tree, codes.OP_CREATE, CreateRequest("/open/a", b"", wrong, 0)) == codes.ERR_INVALID_ACL
    assert ask(tree, codes.OP_SET_ACL, SetACLRequest("/none", [], -1)) == codes.ERR_INVALID_ACL


def test_other_operations_pass(tree):
    assert ask(tree, codes.OP_CREATE_CONTAINER, CreateRequest("/mine/a", b"", OPEN, 4)) == codes.OK


def test_a_body_that_does_not_decode_is_said_to(tree):
    request = Request(1, 1, codes.OP_SET_DATA, b"\x00", [], OWNER_LOCAL, 20, 0)
    with pytest.raises(JuteError):
        eager_acl_error(tree, Providers([]), request)
