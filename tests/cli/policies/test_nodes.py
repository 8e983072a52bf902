"""Policies about nodes by command: what is drafted, what is left as it was, what is refused."""

from __future__ import annotations

import json

import pytest

from gossipconf.trust.cluster import Cluster
from gossipconf.trust.draft import Draft
from gossipconf.trust.membership import Membership
from tests.cli.policies.test_policy import sign

DIGEST = "ab" * 32


def drafted(run, quorum, path, *arguments):
    """What the policy that a command drafts says of nodes."""
    result = run("policy", *arguments, path)
    assert result.code == 0, result.err
    policy = Draft.load(path, Cluster.load(quorum / "cluster.gossipconf")).policy
    assert {role.name for role in policy.roles} >= {"admins", "payments"}
    return Membership.of(policy)


def in_force(run, draft):
    for name in ("root", "root-b"):
        assert sign(run, draft, name).code == 0
    assert run("policy", "publish", draft).code == 0


def test_nodes_are_revoked_and_restored_and_issuers_named_and_not(quorum, run, tmp_path):
    assert "says nothing of nodes" in run("policy", "node", "list").out
    one = drafted(run, quorum, tmp_path / "1", "issuer", "add", "old-1")
    assert (one.issuers, one.nodes) == (("old-1",), ())
    in_force(run, tmp_path / "1")
    assert "is an issuer already; no draft is made" in run("policy", "issuer", "add", "old-1", tmp_path / "x").out

    two = drafted(run, quorum, tmp_path / "2", "node", "revoke", f"SHA256:{DIGEST}")
    assert (two.issuers, two.certificates) == (("old-1",), (bytes.fromhex(DIGEST),))
    in_force(run, tmp_path / "2")
    three = drafted(run, quorum, tmp_path / "3", "node", "revoke", "old-1")
    assert (three.issuers, three.nodes, three.certificates) == ((), ("old-1",), two.certificates)
    in_force(run, tmp_path / "3")
    listed = json.loads(run("policy", "node", "list", "--json").out)
    assert listed["revoked"] == {"nodes": ["old-1"], "certificates": [f"SHA256:{DIGEST}"]}
    assert listed["issuers"] == []
    assert f"SHA256:{DIGEST}" in run("policy", "node", "list").out
    refused = run("policy", "issuer", "add", "old-1", tmp_path / "x")
    assert (refused.code, "old-1 is revoked" in refused.err) == (1, True)
    assert not (tmp_path / "x").exists()

    four = drafted(run, quorum, tmp_path / "4", "node", "restore", "old-1")
    assert (four.nodes, four.certificates) == ((), two.certificates)
    in_force(run, tmp_path / "4")
    five = drafted(run, quorum, tmp_path / "5", "node", "restore", f"SHA256:{DIGEST}")
    assert five == Membership(five.version)
    in_force(run, tmp_path / "5")
    assert "is no issuer; no draft is made" in run("policy", "issuer", "remove", "old-1", tmp_path / "x").out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("node", "revoke", "Über"), "node name 'Über'"),
        (("node", "revoke", "SHA256:12"), "no certificate's fingerprint"),
        (("issuer", "add", "a/b"), "node name 'a/b'"),
    ],
)
def test_what_is_no_node_is_refused(arguments, part, quorum, run, tmp_path):
    refused = run("policy", *arguments, tmp_path / "d")
    assert refused.code == 1
    assert part in refused.err
    assert not (tmp_path / "d").exists()
