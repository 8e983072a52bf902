"""Attacks on approvals: each test says what the attacker holds, and that no reader sees more than was approved."""

from __future__ import annotations

import dataclasses

import pytest

from gossipconf.model.change import Change
from gossipconf.model.entry import Entry, ValueType, put
from gossipconf.model.errors import BadSignature, FormatError, InvalidInput, NotAuthorised, Rejected
from gossipconf.protocol.events import Published, PublishFailed
from gossipconf.trust.cluster import found_cluster
from gossipconf.trust.policy import Role, proposals_of
from tests.protocol.wire import Bench
from tests.strategies import NOW_MS, keys, signed, signer

ORDER = (1 << 252) + 27742317777372353535851937790883648493
"""Of the group in which Ed25519 signs (RFC 8032): a verifier that does not check S < ORDER takes S + ORDER too."""
LIMIT = put("pay/limit", b"100")


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.write()
    return made


def receive(bench: Bench, change: Change) -> None:
    """As it comes from a peer: over the wire, in bytes."""
    replica = bench.node.replica
    replica.receive(replica.decode(change.encode()), "a stranger")


def value(bench: Bench) -> bytes | None:
    versions = bench.node.replica.live.slot(("pay/limit", ""))
    return versions[0].entry.value if versions else None


def names(bench: Bench, change: Change) -> set[bytes]:
    stored = bench.node.replica.live.stored(change.id)
    return set() if stored is None else {key for key, _ in stored.signatures()}


def refused(bench: Bench, change: Change, error: type[Exception]) -> None:
    before = bench.node.replica.root
    with pytest.raises(error):
        receive(bench, change)
    assert bench.node.replica.root == before


def test_held_one_key_of_two_an_unapproved_change_reaches_nobody(bench):
    change = signed([LIMIT], "dave")
    refused(bench, change, NotAuthorised)
    bench.node.publish(bench.now(), 1, change)
    bench.collect()
    assert [type(one.error) for one in bench.events(PublishFailed)] == [NotAuthorised]
    assert value(bench) is None


def test_held_a_proposal_on_the_board_it_is_plain_data(bench):
    inner = signed([LIMIT], "dave")
    place = f"{proposals_of(signer('dave').public)}/{inner.id.hex()}"
    receive(bench, signed([put(place, inner.encode(), ValueType.BYTES)], "dave", seq=7))
    assert value(bench) is None
    assert bench.node.replica.live.stored(inner.id) is None


def test_held_an_approval_of_another_change_it_counts_for_that_one_only(bench):
    """Held: one key of two, and a complete change that the other has approved."""
    approved = signed([LIMIT], "dave", "erin")
    wanted = signed([put("pay/limit", b"1000000")], "dave", seq=2)
    refused(bench, dataclasses.replace(wanted, approvals=approved.approvals), BadSignature)
    receive(bench, approved)
    refused(bench, dataclasses.replace(wanted, approvals=approved.approvals), BadSignature)
    assert value(bench) == b"100"


def test_held_an_approval_under_the_same_number_it_counts_for_one_branch_only(bench):
    """Held: one key of two. The writer makes a second change with the number of the approved one."""
    approved = signed([LIMIT], "dave", "erin")
    branch = signed([put("pay/limit", b"1000000")], "dave")
    refused(bench, dataclasses.replace(branch, approvals=approved.approvals), BadSignature)


def test_held_an_approved_part_it_approves_no_other_part(bench):
    """Held: one key of two, and a change of two keys that is approved. One entry is exchanged for another."""
    approved = signed([put("pay/a", b"1"), LIMIT], "dave", "erin")
    entries = ((0, approved.entries[0][1]), (1, put("pay/limit", b"1000000")))
    refused(bench, dataclasses.replace(approved, entries=entries), BadSignature)


def test_held_the_wire_stripping_what_is_needed_makes_it_nothing(bench):
    """Held: a relay's place. It passes a complete change on without its approvals."""
    approved = signed([LIMIT], "dave", "erin")
    refused(bench, dataclasses.replace(approved, approvals=()), NotAuthorised)
    receive(bench, approved)
    receive(bench, dataclasses.replace(approved, approvals=()))  # nothing that was here goes
    assert names(bench, approved) == {signer(name).public for name in ("dave", "erin")}


def test_held_the_wire_stripping_what_is_not_needed_shows_in_the_root(bench):
    """Held: a relay's place. It passes a change on with two signatures of three; whoever has all of them mends it."""
    full = signed([LIMIT], "dave", "erin", "frank")
    stripped = dataclasses.replace(full, approvals=full.approvals[:1])
    other = Bench()
    other.write()
    receive(bench, stripped)
    receive(other, full)
    assert value(bench) == value(other) == b"100"
    assert bench.node.root != other.node.root
    receive(bench, full.restrict(()))
    assert bench.node.root == other.node.root
    assert names(bench, full) == {signer(name).public for name in ("dave", "erin", "frank")}


def test_held_the_wire_a_malleated_signature_is_none(bench):
    """Held: a relay's place. S becomes S + ORDER: the same equation holds, and the bytes are others."""
    change = signed([LIMIT], "dave", "erin")
    ((key, signature),) = change.approvals
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    assert scalar < 1 << 256
    malleated = signature[:32] + scalar.to_bytes(32, "little")
    refused(bench, dataclasses.replace(change, approvals=((key, malleated),)), BadSignature)
    receive(bench, change)
    root = bench.node.root
    receive(bench, dataclasses.replace(change, approvals=((key, malleated),)))  # brings nobody new: it is not looked at
    stored = bench.node.replica.live.stored(change.id)
    assert stored is not None
    assert stored.approvals == change.approvals
    assert bench.node.root == root


def test_held_the_wire_an_approval_counts_once(bench):
    """Held: a relay's place, and a change that one of two has signed. It writes the same signature twice."""
    change = signed([LIMIT], "dave")
    pair = (signer("dave").public, change.signature)
    refused(bench, dataclasses.replace(change, approvals=(pair,)), FormatError)
    carol = signed([LIMIT], "dave", "carol")
    refused(bench, dataclasses.replace(carol, approvals=carol.approvals * 2), FormatError)


def test_held_keys_of_ones_own_they_pad_nothing(bench):
    """Held: a relay's place. Approvals by keys that the policy does not know are added, until there is no room."""
    refused(bench, signed([LIMIT], "dave", "erin", *(f"mallory-{number}" for number in range(5))), NotAuthorised)


def test_held_an_approvers_key_others_proposals_stay(bench):
    """Held: the key of one who may approve. It deletes what another has proposed, or puts something else there."""
    place = f"{proposals_of(signer('dave').public)}/ab"
    receive(bench, signed([put(place, b"x")], "dave"))
    refused(bench, signed([put(place, b"y")], "erin"), NotAuthorised)
    assert bench.node.replica.live.slot((place, ""))[0].entry.value == b"x"


def test_one_change_published_twice_with_different_approvers_has_both(bench):
    """Nobody attacks: two approvers were the last at the same time, at two agents."""
    one, two = signed([LIMIT], "dave", "erin"), signed([LIMIT], "dave", "frank")
    receive(bench, two)
    bench.write()
    bench.node.publish(bench.now(), 1, one)
    bench.write()
    assert [event.change_id for event in bench.events(Published)] == [one.id]
    assert names(bench, one) == {signer(name).public for name in ("dave", "erin", "frank")}
    stored = bench.node.replica.live.stored(one.id)
    assert stored is not None
    assert bench.disk.changes[one.id] == stored.encode()


def test_held_more_keys_than_a_change_has_room_for_what_is_needed_stays():
    """Held: 40 keys of a role that the writer is in as well, and a relay's place. Their signatures of a change that is
    not theirs are to push out the one that it needs, so that every node refuses its own journal."""
    ranked = sorted((f"clerk-{number}" for number in range(42)), key=lambda name: signer(name).public)
    *clerks, boss = ranked
    roles = [
        Role("bosses", keys("dave", boss), ("pay",), approvals=2),
        Role("clerks", keys("dave", *clerks), ("shop",)),
    ]
    made = found_cluster("crowd", [signer("root-1")], roles, threshold=1, now_ms=NOW_MS, salt=bytes(16))
    change = signed([LIMIT], "dave", boss, cluster_id=made.genesis.cluster_id)
    crowd = [signed([LIMIT], "dave", *some, cluster_id=made.genesis.cluster_id) for some in (clerks[:30], clerks[10:])]
    forms = [dataclasses.replace(one, approvals=(*one.approvals[:30], *change.approvals)) for one in crowd]
    headers = [signed([LIMIT], "dave", *clerks[:31], cluster_id=made.genesis.cluster_id).restrict(())]
    for order in ([*headers, change, *forms], [*forms, *headers, change], [change, *headers, *forms]):
        bench = Bench(of=made)
        for form in order:
            receive(bench, form)
        bench.write()
        assert value(bench) == b"100"
        kept = bench.node.replica.live.stored(change.id)
        assert kept is not None
        bench.node.replica.chain.judge(kept)
        bench.node.replica.chain.judge(Change.decode(bench.disk.changes[change.id], made.genesis.cluster_id))


def test_bad_input_stays_bad(bench):
    with pytest.raises((InvalidInput, Rejected)):
        receive(bench, signed([Entry("pay/limit", b"1"), Entry("pay/limit", b"2")], "dave", "erin"))
