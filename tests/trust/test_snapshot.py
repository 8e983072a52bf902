"""Snapshots: what is signed, who may sign, and every reason to refuse one."""

from __future__ import annotations

import dataclasses

import pytest

from gossipconf.model.change import signed_bytes
from gossipconf.model.encoding import encode
from gossipconf.model.errors import (
    BadSignature,
    Expired,
    FormatError,
    GossipconfError,
    LimitExceeded,
    NotAuthorised,
    UnknownPolicy,
    WrongCluster,
)
from gossipconf.model.hashing import SNAPSHOT_TAG
from gossipconf.model.limits import FRONTIER_WRITERS_MAX, SNAPSHOT_BYTES_MAX
from gossipconf.trust.chain import PolicyChain
from gossipconf.trust.cluster import found_cluster, sign_policy
from gossipconf.trust.policy import Policy, Role
from gossipconf.trust.snapshot import Snapshot, Statement, sign_snapshot
from tests import strategies as gen

NOW_MS = gen.NOW_MS
ROOT = gen.signer("root-1")
ROLES = (
    Role("writers", gen.keys("alice"), ("",)),
    Role("keepers", gen.keys("keeper"), ("",), ("snapshot",)),
    Role("some", gen.keys("carol"), ("shop",), ("put", "snapshot")),
    Role("pairs", gen.keys("dave", "erin"), ("",), ("snapshot",), 2),
)


def chain_of(*later: tuple[Role, ...]) -> PolicyChain:
    """Policy 1 with ROLES, then one policy for each of ``later``."""
    cluster = found_cluster("snapshots", [ROOT], ROLES, threshold=1, now_ms=1, salt=bytes(16))
    chain = cluster.chain()
    for number, roles in enumerate(later, 2):
        policy = Policy(number, (ROOT.public,), 1, roles)
        chain.accept(sign_policy(chain, policy, [ROOT], now_ms=1, reservation=gen.reservation(number)))
    return chain


CHAIN = chain_of()


def statement_of(**fields) -> Statement:
    known = {"cluster": CHAIN.cluster_id, "policy": 1, "time_ms": NOW_MS, "expires_ms": NOW_MS + 60_000}
    return Statement(**(known | {"root": bytes(range(16))} | fields))


def forced(statement: Statement, by: str) -> Snapshot:
    """Signed whatever the policy says."""
    signer = gen.signer(by)
    return Snapshot(statement, signer.public, signer.sign(SNAPSHOT_TAG + statement.encode()))


def refusal(snapshot: Snapshot, error: type[GossipconfError], chain: PolicyChain = CHAIN) -> str:
    with pytest.raises(error) as caught:
        snapshot.verify(chain)
    assert type(caught.value) is error
    return str(caught.value)


def test_a_snapshot_reads_back_and_verifies():
    statement = statement_of(frontier=((bytes(16), 3),), contents=bytes(32))
    snapshot = sign_snapshot(statement, gen.signer("keeper"), CHAIN)
    assert Snapshot.decode(snapshot.encode()) == snapshot
    snapshot.verify(CHAIN)


def test_the_largest_frontier_fits():
    frontier = tuple((number.to_bytes(16, "big"), (1 << 63) - 1) for number in range(1, FRONTIER_WRITERS_MAX + 1))
    snapshot = sign_snapshot(statement_of(frontier=frontier, contents=bytes(32)), gen.signer("keeper"), CHAIN)
    assert len(snapshot.encode()) <= SNAPSHOT_BYTES_MAX


@pytest.mark.parametrize("by", ["alice", "carol", "dave", "root-1", "nobody"])
def test_only_a_key_that_alone_may_speak_for_all_keys_signs(by):
    said = refusal(forced(statement_of(), by), NotAuthorised)
    assert "policy 1 does not let SHA256:" in said
    assert "'snapshot'" in said
    with pytest.raises(NotAuthorised):
        sign_snapshot(statement_of(), gen.signer(by), CHAIN)


def test_a_key_that_was_withdrawn_signs_none_even_if_it_names_the_old_policy():
    later = chain_of((ROLES[0],))
    assert "policy 2 does not let" in refusal(forced(statement_of(), "keeper"), NotAuthorised, later)


def test_a_key_that_was_let_in_later_does_not_name_the_policy_before():
    later = chain_of((*ROLES, Role("more", gen.keys("mallory"), ("",), ("snapshot",))))
    assert "policy 1 does not let" in refusal(forced(statement_of(), "mallory"), NotAuthorised, later)
    forced(statement_of(policy=2), "mallory").verify(later)


def test_a_policy_that_is_not_here_yet():
    refusal(forced(statement_of(policy=2), "keeper"), UnknownPolicy)


def test_another_cluster():
    refusal(forced(statement_of(cluster=bytes(32)), "keeper"), WrongCluster)


@pytest.mark.parametrize(
    "fields",
    [
        {"time_ms": NOW_MS + 1},
        {"expires_ms": NOW_MS + 60_001},
        {"root": bytes(16)},
        {"contents": bytes(32)},
        {"frontier": ((bytes(16), 1),)},
    ],
)
def test_an_altered_field_breaks_the_signature(fields):
    snapshot = forced(statement_of(), "keeper")
    altered = dataclasses.replace(snapshot, statement=dataclasses.replace(snapshot.statement, **fields))
    refusal(altered, BadSignature)


def test_a_signature_of_another_kind_does_not_pass():
    """Domain separation: what a key has signed as a change is no snapshot."""
    statement = statement_of()
    signer = gen.signer("keeper")
    refusal(Snapshot(statement, signer.public, signer.sign(signed_bytes(statement.encode()))), BadSignature)


@pytest.mark.parametrize(
    ("wire", "error", "word"),
    [
        ([b"", bytes(32)], FormatError, "fields"),
        ([b"x" * SNAPSHOT_BYTES_MAX, bytes(32), bytes(64)], LimitExceeded, "limit"),
        ([statement_of().encode(), bytes(31), bytes(64)], FormatError, "key of a snapshot"),
        ([statement_of().encode(), bytes(32), bytes(63)], FormatError, "signature of a snapshot"),
        ([statement_of(expires_ms=NOW_MS).encode(), bytes(32), bytes(64)], FormatError, "must expire after"),
        ([statement_of(root=bytes(15)).encode(), bytes(32), bytes(64)], FormatError, "root of a snapshot"),
        ([statement_of(contents=b"").encode(), bytes(32), bytes(64)], FormatError, "contents of a snapshot"),
        ([statement_of(policy=-1).encode(), bytes(32), bytes(64)], LimitExceeded, "policy version"),
    ],
)
def test_what_is_no_snapshot(wire, error, word):
    with pytest.raises(error, match=word):
        Snapshot.decode(encode(wire))


def test_the_time_is_judged_with_room_for_clocks_that_differ():
    snapshot = forced(statement_of(), "keeper")
    for now_ms in (NOW_MS - 5_000, NOW_MS, NOW_MS + 64_999):
        snapshot.check_time(now_ms, 5_000)
    with pytest.raises(Expired, match="has expired 5 s ago"):
        snapshot.check_time(NOW_MS + 65_000, 5_000)
    with pytest.raises(Expired, match="is of 5 s from now"):
        snapshot.check_time(NOW_MS - 5_001, 5_000)
