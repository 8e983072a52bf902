"""Whatever byte of a signed change is altered, the change is refused."""

from __future__ import annotations

import pytest

from gossipconf.model.change import Change, signed_bytes
from gossipconf.model.clock import Clock
from gossipconf.model.entry import Entry, MatchKind, MatchTerm, Operation, ValueType
from gossipconf.model.errors import BadSignature, FormatError, GossipconfError, Rejected, WrongCluster
from gossipconf.trust.keys import verify
from tests import strategies as gen

SEEN: Clock = ((bytes(range(16)), 7), (bytes(range(1, 17)), 300))
CLUSTER_ID = gen.cluster().genesis.cluster_id
CHAIN = gen.chain()
TAG_BYTES = range(3, 7)
"""Where the cluster tag lies: after the array's header and the byte string's two."""

WHOLE = gen.signed(
    [
        Entry("pay/limit", b"100", seen=SEEN),
        Entry("pay/old", None, operation=Operation.DELETE),
        Entry(
            "pay/rate",
            b'{"a": 1}',
            ValueType.JSON,
            variant="canary",
            match=(MatchTerm(MatchKind.EQUAL, "zone", ("eu",)), MatchTerm(MatchKind.PERCENT, "salt", 500)),
            rank=3,
            expires_ms=gen.NOW_MS + 1,
        ),
        Entry("pay/z", b"\xff", ValueType.BYTES),
        Entry("pay/zz", b"z"),
    ],
    "dave",
    "erin",
    "frank",
    comment="raise the limit",
    activation_ms=gen.NOW_MS + 60_000,
)
FORMS = {
    "whole": WHOLE,
    "partial": WHOLE.restrict([1, 3]),
    "bare header": WHOLE.restrict([]),
    "one entry": gen.signed([Entry("shop/a", b"1")], "carol"),
    "policy": gen.cluster().policies[0],
}


def accept(data: bytes) -> Change:
    """Read and judge as a node does."""
    change = Change.decode(data, CLUSTER_ID)
    CHAIN.judge(change)
    return change


@pytest.fixture(params=FORMS, name="change")
def _change(request) -> Change:
    return FORMS[request.param]


def test_unaltered_it_is_accepted(change):
    assert accept(change.encode()) == change


@pytest.mark.parametrize("alter", [0x01, 0x80, 0xFF, 0x10], ids=hex)
def test_no_byte_can_be_altered(change, alter):
    data = change.encode()
    for position in range(len(data)):
        altered = data[:position] + bytes([data[position] ^ alter]) + data[position + 1 :]
        with pytest.raises(GossipconfError) as caught:
            accept(altered)
        if position in TAG_BYTES:
            assert type(caught.value) is WrongCluster
        else:
            assert not isinstance(caught.value, WrongCluster)


def test_no_byte_can_be_left_out_or_put_in(change):
    data = change.encode()
    for position in range(len(data) + 1):
        for altered in (
            data[:position],
            data[:position] + data[position + 1 :],
            data[:position] + b"\0" + data[position:],
        ):
            if altered != data:
                with pytest.raises(GossipconfError):
                    accept(altered)


def test_a_byte_of_a_value_makes_another_change_that_the_signature_does_not_fit():
    data = WHOLE.encode()
    altered = data.replace(b"\xc4\x03100", b"\xc4\x03900")
    assert altered != data
    assert Change.decode(altered, CLUSTER_ID).id != WHOLE.id
    with pytest.raises(BadSignature):
        accept(altered)


def test_a_change_of_another_cluster_is_named_for_what_it_is():
    with pytest.raises(WrongCluster, match="belongs to cluster"):
        Change.decode(WHOLE.encode(), bytes(32))


def test_the_tag_is_a_courtesy_and_the_whole_cluster_id_the_protection():
    other = CLUSTER_ID[:4] + bytes(28)
    change = Change.decode(WHOLE.encode(), other)
    with pytest.raises(WrongCluster):
        CHAIN.judge(change)
    with pytest.raises(BadSignature):
        verify(change.header.writer.key, change.signature, signed_bytes(change.id))


def test_entries_cannot_be_moved_between_positions():
    part = WHOLE.restrict([1, 3])
    moved = Change(part.header, part.signature, ((1, part.entries[1][1]), (3, part.entries[0][1])), part.proof)
    with pytest.raises(Rejected):
        accept(moved.encode())


def test_proof_hashes_cannot_be_swapped():
    part = WHOLE.restrict([1])
    assert len(part.proof) >= 2
    swapped = Change(part.header, part.signature, part.entries, part.proof[::-1], part.approvals)
    with pytest.raises(BadSignature):
        accept(swapped.encode())


@pytest.mark.parametrize("size", [0, 1, 5_000])
def test_no_size_in_a_proof_can_be_altered(size):
    part = WHOLE.restrict([1, 3])
    for place, (honest, digest) in enumerate(part.proof):
        assert honest != size
        proof = (*part.proof[:place], (size, digest), *part.proof[place + 1 :])
        with pytest.raises(BadSignature):
            accept(Change(part.header, part.signature, part.entries, proof, part.approvals).encode())


def test_bytes_cannot_be_moved_from_one_subtree_to_another():
    part = WHOLE.restrict([1])
    (size, digest), (next_size, next_digest), *rest = part.proof
    moved = ((size - 1, digest), (next_size + 1, next_digest), *rest)
    with pytest.raises(BadSignature):
        accept(Change(part.header, part.signature, part.entries, moved, part.approvals).encode())


@pytest.mark.parametrize("proof", [(), ((1, bytes(32)),), ((1, bytes(32)),) * 5])
def test_proof_hashes_cannot_be_too_few_or_too_many(proof):
    part = WHOLE.restrict([1, 3])
    assert len(part.proof) == 3
    with pytest.raises(FormatError, match="proof"):
        accept(Change(part.header, part.signature, part.entries, proof).encode())
