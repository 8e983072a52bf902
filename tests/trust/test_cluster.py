"""Cluster files: written once, read back, and never believed."""

from __future__ import annotations

import dataclasses

import pytest

from gossipconf.model.change import Change
from gossipconf.model.encoding import encode
from gossipconf.model.entry import Entry, ValueType
from gossipconf.model.errors import BadSignature, FormatError, GossipconfError, KeyFileError, Rejected, WrongCluster
from gossipconf.trust.cluster import POLICIES_MAX, Cluster, sign_policy
from gossipconf.trust.policy import Policy
from tests import strategies as gen

MADE = gen.cluster()
FIRST = MADE.policies[0]


def with_two_policies() -> Cluster:
    chain = MADE.chain()
    policy = Policy(2, MADE.genesis.roots, 2, gen.ROLES[:1])
    roots = [gen.signer(name) for name in gen.ROOTS[:2]]
    second = sign_policy(chain, policy, roots, now_ms=gen.NOW_MS, reservation=gen.reservation())
    return Cluster(MADE.genesis, (FIRST, second))


def test_a_file_reads_back(tmp_path):
    path = tmp_path / "cluster"
    made = with_two_policies()
    made.save(path)
    again = Cluster.load(path)
    assert again == made
    assert again.chain().head == Policy(2, MADE.genesis.roots, 2, gen.ROLES[:1])
    assert path.stat().st_mode & 0o777 & ~0o644 == 0


def test_a_file_is_not_overwritten(tmp_path):
    path = tmp_path / "cluster"
    path.write_bytes(b"precious")
    with pytest.raises(KeyFileError, match="not overwritten"):
        MADE.save(path)
    assert path.read_bytes() == b"precious"


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(KeyFileError, match=r"/nowhere cannot be read"):
        Cluster.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93",
        b"not a cluster file",
        encode([2, MADE.genesis.encode(), []]),
        encode([1, MADE.genesis.encode(), [b""]]),
        encode([1, bytes(5_000), []]),
        encode([1, MADE.genesis.encode(), [b""] * (POLICIES_MAX + 1)]),
        encode([1, MADE.genesis.encode(), [gen.signed([Entry("a", b"")], "alice").encode()]]),
    ],
)
def test_a_file_that_is_none_is_refused_by_name(tmp_path, data):
    path = tmp_path / "cluster"
    path.write_bytes(data)
    with pytest.raises(KeyFileError, match=f"{path} is not a cluster file"):
        Cluster.load(path)


def test_no_byte_of_a_file_can_be_altered_and_keep_the_cluster():
    data = MADE.encode()
    for position in range(len(data)):
        altered = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        with pytest.raises(GossipconfError):
            Cluster.decode(altered)


@pytest.mark.parametrize(
    ("policies", "error"),
    [
        ((dataclasses.replace(FIRST, signature=bytes(64)),), BadSignature),
        ((dataclasses.replace(FIRST, approvals=FIRST.approvals[:0]),), Rejected),
        ((FIRST, FIRST), Rejected),
        ((with_two_policies().policies[1],), Rejected),
        (with_two_policies().policies[::-1], Rejected),
        ((FIRST.restrict([]),), Rejected),
        ((gen.signed([Entry("_policy/1", b"\xc0", ValueType.BYTES)], "root-1", "root-2", policy=0),), FormatError),
    ],
)
def test_policies_that_do_not_follow_each_other_are_refused(policies, error):
    with pytest.raises(error):
        Cluster.decode(Cluster(MADE.genesis, tuple(policies)).encode())


def test_a_policy_of_another_cluster_is_refused():
    other = dataclasses.replace(MADE.genesis, salt=bytes(16))
    with pytest.raises(Rejected, match="cluster"):
        Cluster.decode(encode([1, other.encode(), [FIRST.encode()]]))


def test_a_file_without_policies_is_read_and_allows_nothing():
    bare = Cluster.decode(Cluster(MADE.genesis, ()).encode())
    with pytest.raises(Rejected):
        bare.chain().judge(gen.signed([Entry("a", b"")], "alice", policy=0))


def test_a_change_reads_only_under_its_own_cluster():
    with pytest.raises(WrongCluster):
        Change.decode(FIRST.encode(), bytes(32))
