"""Checkpoints: what is sealed opens to the same set, and whatever else lies in the bytes is refused."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.change import Change
from gossipconf.model.entry import Entry
from gossipconf.model.errors import (
    BadSignature,
    Expired,
    FormatError,
    GossipconfError,
    LimitExceeded,
    NotAuthorised,
    Rejected,
    WrongCluster,
)
from gossipconf.model.hashing import CONTENTS_TAG, tagged_hash
from gossipconf.model.limits import CHECKPOINT_BYTES_MAX
from gossipconf.store.checkpoint import MAGIC, Sealed, check_size, seal
from gossipconf.store.live_set import LiveSet
from gossipconf.trust.cluster import found_cluster, sign_policy
from gossipconf.trust.policy import Policy, Role
from gossipconf.trust.signing import compose
from gossipconf.trust.snapshot import sign_snapshot
from tests import strategies as gen

NOW_MS = gen.NOW_MS
HOUR_MS = 3_600_000
ROOT, ALICE, KEEPER = (gen.signer(name) for name in ("root-1", "alice", "keeper"))
ROLES = (Role("writers", gen.keys("alice"), ("",)), Role("keepers", gen.keys("keeper"), ("",), ("snapshot",)))
CLUSTER = found_cluster("checkpoints", [ROOT], ROLES, threshold=1, now_ms=1, salt=bytes(16))


def composed(number: int, *entries: Entry, replaced: tuple[Change, ...] = ()) -> Change:
    return compose(
        entries, replaced, chain=CLUSTER.chain(), signer=ALICE, reservation=gen.reservation(number), now_ms=NOW_MS
    )


FIRST = composed(1, Entry("a", b"1"), Entry("b", b"2"), Entry("c", b"3"))
SECOND = composed(2, Entry("b", b"22"), replaced=(FIRST,))
SIBLING = composed(3, Entry("a", b"other"))
FORK = composed(3, Entry("x", b"forked"))
STRAY = composed(4, Entry("more", b"1"))
ALL = (*CLUSTER.policies, FIRST, SECOND, SIBLING, FORK)


def sealed_of(*changes: Change, **fields) -> Sealed:
    known = {"signer": KEEPER, "time_ms": NOW_MS, "expires_ms": NOW_MS + HOUR_MS} | fields
    return seal(changes or ALL, CLUSTER.chain(), known.pop("signer"), **known)


SEALED = sealed_of()


def opened(sealed: Sealed, now_ms: int = NOW_MS, cluster=CLUSTER):
    return Sealed.decode(sealed.encode()).open(cluster.chain(), now_ms, 0)


def refusal(sealed: Sealed, error: type[GossipconfError], now_ms: int = NOW_MS, cluster=CLUSTER) -> str:
    with pytest.raises(error) as caught:
        opened(sealed, now_ms, cluster)
    assert type(caught.value) is error
    return str(caught.value)


def resigned(contents: bytes, **fields) -> Sealed:
    """Other contents under an authorised signature: what a holder of the key could make."""
    statement = dataclasses.replace(SEALED.snapshot.statement, contents=tagged_hash(CONTENTS_TAG, contents), **fields)
    return Sealed(sign_snapshot(statement, KEEPER, CLUSTER.chain()), contents)


def test_what_is_sealed_opens_to_the_same_set():
    whole = LiveSet()
    for change in ALL:
        whole.add(change)
    checkpoint = opened(SEALED)
    assert checkpoint.live.root == whole.root
    assert checkpoint.live.slots() == whole.slots()
    assert checkpoint.live.forks() == whole.forks()
    assert checkpoint.policies == tuple(change.id for change in CLUSTER.policies)
    assert [Change.decode(data, CLUSTER.genesis.cluster_id) for _, data in checkpoint.parts] == [
        change for change, _ in checkpoint.parts
    ]


def test_numbers_of_writers_of_whom_nothing_lives_are_known():
    dead = composed(9, Entry("d", b"1"))
    after = compose(
        [Entry("d", b"2")],
        [dead],
        chain=CLUSTER.chain(),
        signer=ALICE,
        reservation=dataclasses.replace(gen.reservation(1), incarnation=b"12345678"),
        now_ms=NOW_MS,
    )
    checkpoint = opened(sealed_of(*CLUSTER.policies, dead, after))
    assert checkpoint.live.highest(dead.writer_id) == 9


def test_later_policies_are_learned_each_by_its_own_signatures():
    chain = CLUSTER.chain()
    policy = Policy(2, (ROOT.public,), 1, ROLES)
    second = sign_policy(chain, policy, [ROOT], now_ms=1, reservation=gen.reservation(7))
    chain.accept(second)
    sealed = seal([*ALL, second], chain, KEEPER, time_ms=NOW_MS, expires_ms=NOW_MS + HOUR_MS)
    reader = CLUSTER.chain()
    Sealed.decode(sealed.encode()).open(reader, NOW_MS, 0)
    assert reader.head == policy


# -- attacks --------------------------------------------------------------------------------------


@given(st.data())
def test_no_altered_byte_and_no_truncation_passes(data):
    whole = SEALED.encode()
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        bits = data.draw(st.integers(1, 255))
        damaged = whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :]
    else:
        damaged = whole[:place]
    with pytest.raises(GossipconfError):
        Sealed.decode(damaged).open(CLUSTER.chain(), NOW_MS, 0)


def test_a_signature_that_was_stripped_is_seen_although_no_id_covers_it():
    """Held: the file. No change id covers a signature, so the fingerprint stays the same."""
    assert SECOND.signature in SEALED.contents
    stripped = Sealed(SEALED.snapshot, SEALED.contents.replace(SECOND.signature, bytes(64)))
    assert "not those that were signed" in refusal(stripped, Rejected)


def test_a_change_that_is_left_out_or_added_is_seen_under_a_good_signature():
    """Held: the snapshot key, and carelessness. The fingerprint is that of another set."""
    contents = SEALED.contents.replace(SECOND.encode(), b"")
    assert contents != SEALED.contents
    assert "another fingerprint" in refusal(resigned(contents), Rejected)
    assert "another fingerprint" in refusal(resigned(SEALED.contents + STRAY.encode()), Rejected)


def test_a_change_that_comes_twice_is_seen_although_the_set_is_the_same():
    assert "a change twice" in refusal(resigned(SEALED.contents + FIRST.encode()), Rejected)


def test_the_bare_header_of_no_fork_is_not_carried_along():
    """It changes no fingerprint, and would lie in journals for ever."""
    header = STRAY.restrict(())
    assert "replaced long ago" in refusal(resigned(SEALED.contents + header.encode()), Rejected)


def test_a_policy_that_the_roots_have_not_signed_does_not_pass_under_a_good_signature():
    """Held: the snapshot key. Policies are verified each."""
    forged = dataclasses.replace(CLUSTER.policies[0], signature=bytes(64))
    contents = SEALED.contents.replace(CLUSTER.policies[0].encode(), forged.encode())
    refusal(resigned(contents), BadSignature)


def test_contents_without_the_policies_that_are_named():
    contents = SEALED.contents.replace(CLUSTER.policies[0].encode(), b"")
    assert "policy 1 does not lie where" in refusal(resigned(contents), Rejected)


def test_a_key_that_may_not():
    with pytest.raises(NotAuthorised):
        sealed_of(signer=ALICE)


def test_another_cluster():
    other = found_cluster("other", [ROOT], ROLES, threshold=1, now_ms=1, salt=bytes(range(16)))
    assert other.genesis.cluster_id.hex()[:8] in refusal(SEALED, WrongCluster, cluster=other)


def test_an_expired_one_and_one_from_the_future():
    refusal(SEALED, Expired, NOW_MS + HOUR_MS)
    refusal(SEALED, Expired, NOW_MS - 1)


def test_a_beacon_is_no_checkpoint():
    statement = dataclasses.replace(SEALED.snapshot.statement, contents=None)
    beacon = Sealed(sign_snapshot(statement, KEEPER, CLUSTER.chain()), SEALED.contents)
    assert "is a beacon" in refusal(beacon, FormatError)


def test_nothing_is_sealed_that_does_not_verify():
    with pytest.raises(BadSignature):
        sealed_of(*CLUSTER.policies, dataclasses.replace(FIRST, signature=bytes(64)))


def test_an_open_policy_fork_is_not_sealed():
    one, two = (
        sign_policy(
            CLUSTER.chain(),
            Policy(2, (ROOT.public,), 1, roles),
            [ROOT],
            now_ms=1,
            reservation=gen.reservation(number),
        )
        for number, roles in ((7, ROLES), (8, ROLES[1:]))
    )
    chain = CLUSTER.chain()
    chain.accept(one)
    with pytest.raises(Rejected, match="policy fork"):
        seal([*ALL, one, two], chain, KEEPER, time_ms=NOW_MS, expires_ms=NOW_MS + 1)


# -- sizes ----------------------------------------------------------------------------------------


def test_too_large_a_file_is_refused_by_its_size():
    check_size(CHECKPOINT_BYTES_MAX)
    with pytest.raises(LimitExceeded, match=str(CHECKPOINT_BYTES_MAX)):
        check_size(CHECKPOINT_BYTES_MAX + 1)


def test_a_snapshot_that_claims_too_much_is_refused_before_it_is_read():
    with pytest.raises(LimitExceeded, match="its snapshot claims"):
        Sealed.decode(MAGIC + b"\xff\xff\xff\xff")


def test_another_file_is_refused():
    with pytest.raises(FormatError, match="it is a journal or another database"):
        Sealed.decode(b"SQLite format 3\0")
    with pytest.raises(FormatError, match="it is a checkpoint of another release"):
        Sealed.decode(MAGIC.replace(b"1", b"2"))
