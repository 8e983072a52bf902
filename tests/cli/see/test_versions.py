"""`get --all`: everything about each live version, against a real agent."""

from __future__ import annotations

import json

from gossipconf.trust.keys import fingerprint, load_public

from ..test_commands import siblings


def test_all_particulars_of_a_version(cluster, run):
    assert run("put", "ver/a", "1", "--comment", "why\x1b[0m").code == 0
    (found,) = json.loads(run("get", "ver/a", "--all", "--json").out)
    signer = fingerprint(load_public(cluster / "keys" / "admin.pub"))
    lines = run("get", "ver/a", "--all").out.splitlines()
    assert lines[0] == "read  1  (text)"
    said = dict(line.split(maxsplit=1) for line in lines[1:])
    assert said.pop("time").endswith(" ago")
    assert said == {
        "by": f"admins {signer}",
        "comment": "why\\x1b[0m",
        "change": f"{found['change']}, of 1 entry, under policy 1",
        "writer": f"{found['writer']}, number {found['number']:,}",
        "version": found["version"],
    }


def test_siblings_name_each_other(cluster, run):
    siblings(cluster, "ver/fight", "one", "two")
    found = json.loads(run("get", "ver/fight", "--all", "--json").out)
    parts = run("get", "ver/fight", "--all").out.split("\n\n")
    assert parts[0].startswith("read  two  (text)\n")
    assert parts[1].startswith("lost to a sibling  one  (text)\n")
    for part, other in zip(parts, reversed(found), strict=True):
        assert f"siblings in conflict with change {other['change'][:10]}" in part


def test_a_deleted_key_says_so(cluster, run):
    assert run("put", "ver/d", "1").code == 0
    assert run("delete", "ver/d").code == 0
    assert run("get", "ver/d", "--all").out.startswith("deleted\n")
