"""The JSON of Consul and etcd: what is written is read back, and what they write themselves is read."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given

from gossipconf.cli.files.formats.stores import consul, etcd, write_consul, write_etcd
from gossipconf.model.entry import ValueType
from gossipconf.model.errors import InvalidInput

from .test_trees import STATES

PAIRS = [(write_consul, consul), (write_etcd, etcd)]


def untyped(content: bytes) -> tuple[ValueType, bytes]:
    try:
        content.decode()
    except UnicodeDecodeError:
        return ValueType.BYTES, content
    return ValueType.TEXT, content


@pytest.mark.parametrize(("write", "read"), PAIRS)
@given(STATES)
def test_values_come_back_without_their_types(write, read, state):
    written = write(state)
    found = {one.name: one.value for one in read(written.content, "f").found}
    assert found == {key: untyped(content) for key, (_, content) in state.items()}
    assert set(written.as_text) == {key for key, value in state.items() if value != untyped(value[1])}
    assert written.left_out == {}


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


CONSUL = [
    {"key": "shop/", "flags": 0, "value": ""},
    {"key": "shop/a", "flags": 0, "value": b64("1")},
    {"key": "shop/b", "flags": 42, "value": b64("2")},
]


def test_an_export_of_consul():
    read = consul(json.dumps(CONSUL).encode(), "f")
    assert [(one.name, one.value[1], one.note) for one in read.found] == [
        ("shop/a", b"1", ""),
        ("shop/b", b"2", "its flags 42 are not kept"),
    ]
    assert read.passed_over == ("shop/ is a folder, without a value",)
    http = [{"LockIndex": 0, "Key": "a", "Flags": 0, "Value": None, "CreateIndex": 7, "ModifyIndex": 7}]
    assert [one.value for one in consul(json.dumps(http).encode(), "f").found] == [(ValueType.TEXT, b"")]


def test_an_export_of_etcd():
    header = {"cluster_id": 14841639068965178418, "member_id": 10276657743932975437, "revision": 3, "raft_term": 2}
    pair = {"key": b64("/shop/a"), "create_revision": 2, "mod_revision": 3, "version": 2, "value": b64("1")}
    leased = {"key": b64("b"), "lease": 7587862094851023104}
    read = etcd(json.dumps({"header": header, "kvs": [pair, leased], "count": 2}).encode(), "f")
    assert [(one.name, one.value[1], one.note) for one in read.found] == [
        ("/shop/a", b"1", ""),
        ("b", b"", "its lease is not kept"),
    ]
    assert etcd(json.dumps({"header": header}).encode(), "f").found == (), "nothing under that prefix"


@pytest.mark.parametrize(
    ("read", "content", "part"),
    [
        (consul, b"{", "f:1: not JSON"),
        (consul, b"{}", "make it with: consul kv export"),
        (consul, b"[1]", "entry 1: has no key"),
        (consul, b'[{"key": "a", "value": "$"}]', "entry 1: its value is not base64"),
        (consul, b'[{"key": "a", "value": 1}]', "no string of base64"),
        (etcd, b"[]", "not JSON of etcd"),
        (etcd, b'{"kvs": 1}', "not JSON of etcd"),
        (etcd, b'{"kvs": [{}]}', "entry 1: has no key"),
        (etcd, b'{"kvs": [{"key": "/w=="}]}', "the key: not UTF-8"),
        (etcd, b'{"kvs": [], "more": true}', "not all of it"),
    ],
)
def test_other_files_are_refused(read, content, part):
    with pytest.raises(InvalidInput) as caught:
        read(content, "f")
    assert part in str(caught.value)
