"""Who may do what: the judge's every reason to refuse, policy documents, and their succession."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.change import Change, signed_bytes
from gossipconf.model.encoding import encode
from gossipconf.model.entry import Entry, Operation, ValueType
from gossipconf.model.errors import (
    BadSignature,
    FormatError,
    GossipconfError,
    InvalidInput,
    LimitExceeded,
    NotAuthorised,
    Rejected,
    UnknownPolicy,
)
from gossipconf.model.limits import ROLE_KEYS_MAX, ROLE_PREFIXES_MAX, ROLES_MAX, ROOT_KEYS_MAX
from gossipconf.trust.chain import PolicyChain
from gossipconf.trust.cluster import Cluster, found_cluster, sign_policy
from gossipconf.trust.keys import fingerprint
from gossipconf.trust.policy import (
    NAME_BYTES_MAX,
    NAMES_MAX,
    PARAMETERS_MAX,
    Genesis,
    Policy,
    policy_changes,
    policy_key,
    proposals_of,
)
from gossipconf.trust.signing import approve
from tests import strategies as gen

ROOT_KEYS = gen.keys(*gen.ROOTS)
CLUSTER_ID = gen.cluster().genesis.cluster_id
LIMIT = Entry("pay/limit", b"1")


def delete(key: str) -> Entry:
    return Entry(key, None, operation=Operation.DELETE)


def refused(change: Change, error: type[Rejected] = NotAuthorised, chain: PolicyChain | None = None) -> str:
    with pytest.raises(error) as caught:
        (chain or gen.chain()).judge(change)
    assert type(caught.value) is error
    return str(caught.value)


# -- roles ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        gen.signed([Entry("anything/at/all", b"")], "alice"),
        gen.signed([delete("anything/at/all")], "bob"),
        gen.signed([Entry("_nodes/n1", b"")], "alice"),
        gen.signed([Entry("shop", b""), Entry("shop/a/b", b"")], "carol"),
        gen.signed([LIMIT], "dave", "erin"),
        gen.signed([LIMIT], "frank", "dave", "erin"),
        gen.signed([delete("pay/limit")], "erin", "dave"),
        gen.signed([Entry("shop/a", b"")], "carol", "dave"),
    ],
)
def test_the_policy_allows(change):
    gen.chain().judge(change)
    gen.chain().judge(change.restrict([]))
    gen.chain().judge(change, signatures_checked=True)


def test_an_unknown_key_is_refused_by_its_fingerprint():
    message = refused(gen.signed([Entry("a", b"")], "mallory"))
    assert fingerprint(gen.signer("mallory").public) in message
    assert "does not know" in message


@pytest.mark.parametrize("key", ["shopping", "shop2/a", "sho", "other/shop", "pay/limit"])
def test_a_key_outside_the_prefix_is_refused_with_what_is_allowed(key):
    assert "it may write under: shop" in refused(gen.signed([Entry(key, b"")], "carol"))


def test_one_entry_outside_the_prefix_condemns_the_change_only_where_it_is():
    change = gen.signed([Entry("shop/a", b""), Entry("other", b"")], "carol")
    refused(change)
    refused(change.restrict([1]))
    gen.chain().judge(change.restrict([0]))


def test_an_operation_that_the_role_lacks_is_refused():
    assert "delete 'shop/a'" in refused(gen.signed([delete("shop/a")], "carol"))


@pytest.mark.parametrize("key", ["_proposals/x", "_", "_nodesx"])
def test_the_empty_prefix_does_not_reach_the_system_s_keys(key):
    refused(gen.signed([Entry(key, b"")], "alice"))


def test_a_key_of_the_system_is_explained():
    assert "are the system's" in refused(gen.signed([Entry("_epochs/1", b"")], "carol"))


# -- proposals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", [Entry(f"{proposals_of(gen.signer('dave').public)}/ab", b"x")])
def test_who_may_approve_may_propose_in_a_place_of_their_own(entry):
    gen.chain().judge(gen.signed([entry, delete(f"{entry.key}/c")], "dave"))
    refused(gen.signed([entry], "erin"))  # may approve the same things, and has another place
    refused(gen.signed([entry], "root-1"))


def test_who_needs_no_approvals_proposes_nothing():
    refused(gen.signed([Entry(f"{proposals_of(gen.signer('alice').public)}/ab", b"x")], "alice"))


def test_a_proposal_is_no_way_to_what_it_proposes():
    refused(gen.signed([Entry(f"{proposals_of(gen.signer('dave').public)}/ab", b"x"), LIMIT], "dave"))
    refused(gen.signed([Entry(f"{proposals_of(gen.signer('dave').public)}x/ab", b"x")], "dave"))
    refused(gen.signed([Entry("_proposals/ab", b"x")], "dave"))


# -- approvals ------------------------------------------------------------------------------------


def test_one_signature_of_two_is_refused_with_the_number():
    assert "needs 2 approvals" in refused(gen.signed([LIMIT], "dave"))


def test_an_approval_by_somebody_outside_the_role_does_not_count():
    assert "needs 2 approvals" in refused(gen.signed([LIMIT], "dave", "carol"))


def test_two_approvals_do_not_stand_for_a_writer_without_the_role():
    refused(gen.signed([LIMIT], "carol", "dave", "erin"))


def test_an_approval_of_another_change_does_not_count():
    first = gen.signed([LIMIT], "dave", "erin")
    second = gen.signed([Entry("pay/limit", b"1000000")], "dave")
    refused(dataclasses.replace(second, approvals=first.approvals), BadSignature)


def test_the_writer_s_signature_of_another_change_does_not_count():
    first, second = gen.signed([Entry("a", b"1")], "alice"), gen.signed([Entry("a", b"2")], "alice")
    refused(dataclasses.replace(second, signature=first.signature), BadSignature)


def test_a_signature_over_the_id_without_its_domain_does_not_count():
    change = gen.signed([Entry("a", b"1")], "alice")
    refused(dataclasses.replace(change, signature=gen.signer("alice").sign(change.id)), BadSignature)


def test_approvals_of_unknown_keys_are_refused_before_any_signature_is_verified():
    verified = []
    chain = gen.cluster().chain(lambda *signature: verified.append(signature))
    verified.clear()
    change = gen.signed([LIMIT], "dave", "erin")
    padded = approve(change, gen.signer("mallory"))
    assert "does not know" in refused(padded, NotAuthorised, chain)
    assert not verified
    chain.judge(change)
    assert [key for key, _, _ in verified] == [key for key, _ in change.signatures()]
    assert {message for _, _, message in verified} == {signed_bytes(change.id)}


def test_a_bad_approval_condemns_a_change_that_has_enough_without_it():
    change = gen.signed([LIMIT], "dave", "erin")
    bad = (*change.approvals, (gen.signer("frank").public, bytes(64)))
    refused(dataclasses.replace(change, approvals=tuple(sorted(bad))), BadSignature)


def test_the_order_of_approving_makes_no_difference():
    one = gen.signed([LIMIT], "dave", "erin", "frank")
    two = gen.signed([LIMIT], "dave", "frank", "erin")
    assert one.encode() == two.encode()
    left, right = gen.signed([LIMIT], "dave", "erin"), gen.signed([LIMIT], "dave", "frank")
    assert left.union(right) == right.union(left) == one
    assert one.id == left.id


def test_the_writer_cannot_approve_its_own_change():
    change = gen.signed([LIMIT], "dave")
    assert approve(change, gen.signer("dave")) is change
    twice = dataclasses.replace(change, approvals=((gen.signer("dave").public, change.signature),))
    with pytest.raises(FormatError, match="without the writer's own"):
        Change.decode(twice.encode(), change.header.cluster)


# -- succession -----------------------------------------------------------------------------------


def successor(version: int = 2, threshold: int = 2, roots: tuple[bytes, ...] = ROOT_KEYS, roles=gen.ROLES) -> Policy:
    return Policy(version, roots, threshold, roles)


def policy_change(document: Policy, by: str, *approvers: str, key: str | None = None, **fields) -> Change:
    entry = Entry(key or policy_key(document.version), document.encode(), ValueType.BYTES)
    return gen.signed([entry], by, *approvers, **fields)


def test_the_threshold_of_roots_makes_the_next_policy():
    chain = gen.chain()
    change = policy_change(successor(), "root-1", "root-3")
    chain.judge(change)
    assert chain.head.version == 1
    assert chain.accept(change) == successor() == chain.head == chain[2]
    assert chain.accept(change) is None


def test_fewer_than_the_threshold_is_refused_with_the_numbers():
    assert "1 of 3 roots, 2 are needed" in refused(policy_change(successor(), "root-1"))


def test_signatures_of_others_do_not_count_towards_the_threshold():
    assert "1 of 3 roots" in refused(policy_change(successor(), "root-1", "alice", "bob", "carol"))
    assert "0 of 3 roots" in refused(policy_change(successor(), "alice", "bob"))


@pytest.mark.parametrize(
    ("by", "error"),
    [
        (("mallory",), NotAuthorised),
        (("alice",), NotAuthorised),
        (("root-1",), NotAuthorised),
        (("root-1", "root-2", "mallory"), NotAuthorised),
        (("root-1", "root-2"), BadSignature),
    ],
    ids=lambda one: "+".join(one) if isinstance(one, tuple) else one.__name__,
)
def test_nothing_of_a_policy_is_read_before_the_roots_signatures_are_verified(by, error, monkeypatch):
    """1 MiB takes 0.2 s. And what it says that it settles must not make a forgery one whose policy is not here
    yet: the peer that sent it would be asked for more, and not blamed."""
    document = dataclasses.replace(successor(), settles=(bytes(32), b"1" * 32))
    change = policy_change(document, *by)
    if error is BadSignature:
        change = dataclasses.replace(change, signature=bytes(64))
    chain, read = gen.chain(), []
    monkeypatch.setattr(Policy, "decode", read.append)
    refused(change, error, chain)
    assert not read


@pytest.mark.parametrize("version", [1, 3, 4])
def test_a_policy_of_another_version_is_refused(version):
    refused(policy_change(successor(version), "root-1", "root-2"))


def test_a_key_that_lies_about_the_version_inside_is_refused():
    refused(policy_change(successor(3), "root-1", "root-2", key="_policy/2"), Rejected)


@pytest.mark.parametrize("key", ["_policy", "_policy/02", "_policy/2/x", "_policy/ten"])
def test_no_other_key_under_policy_can_be_written(key):
    refused(policy_change(successor(), "root-1", "root-2", key=key))


@pytest.mark.parametrize(
    "entries",
    [
        [Entry("_policy/2", successor().encode(), ValueType.BYTES), Entry("a", b"")],
        [Entry("_policy/2", successor().encode(), ValueType.BYTES)] * 2,
    ],
)
def test_a_policy_stands_alone_in_its_change(entries):
    change = gen.signed(entries, "root-1", "root-2")
    assert "only entry" in refused(change.restrict([0]))
    refused(change)


@pytest.mark.parametrize(
    "entry",
    [
        delete("_policy/2"),
        Entry("_policy/2", successor().encode(), ValueType.BYTES, variant="canary"),
        Entry("_policy/2", successor().encode(), ValueType.BYTES, seen=((bytes(16), 1),)),
    ],
)
def test_a_policy_cannot_be_deleted_varied_or_made_to_replace(entry):
    refused(gen.signed([entry], "root-1", "root-2"))


def test_a_malformed_policy_is_refused():
    entry = Entry("_policy/2", b"\xc0", ValueType.BYTES)
    with pytest.raises(FormatError, match="a policy"):
        gen.chain().judge(gen.signed([entry], "root-1", "root-2"))


def test_a_change_under_a_policy_that_is_not_here_is_told_apart():
    refused(gen.signed([Entry("a", b"")], "alice", policy=2), UnknownPolicy)


def test_a_change_is_judged_by_the_policy_it_names_and_not_by_the_head():
    chain = gen.chain()
    before = gen.signed([Entry("a", b"")], "alice", policy=1)
    chain.accept(policy_change(successor(roles=()), "root-1", "root-2"))
    chain.judge(before)
    refused(gen.signed([Entry("a", b"")], "alice", policy=2), NotAuthorised, chain)


def test_new_roots_replace_old_ones():
    chain = gen.chain()
    roots = gen.keys("root-4", "root-5")
    chain.accept(policy_change(successor(roots=roots), "root-1", "root-2"))
    old = policy_change(successor(3), "root-1", "root-2", policy=2)
    refused(old, NotAuthorised, chain)
    chain.judge(policy_change(successor(3), "root-4", "root-5", policy=2))


def test_a_second_successor_is_judged_alike_and_not_taken_over():
    chain = gen.chain()
    one, two = (policy_change(successor(roles=roles), "root-1", "root-2") for roles in (gen.ROLES, ()))
    chain.accept(one)
    chain.judge(two)
    assert chain.accept(two) is None
    assert chain.head.roles == gen.ROLES


def test_policy_changes_are_found_in_order():
    later = policy_change(successor(), "root-1", "root-2")
    first = gen.cluster().policies[0]
    assert policy_changes([later, gen.signed([LIMIT], "dave"), first]) == [first, later]


# -- documents ------------------------------------------------------------------------------------


def wire(**fields) -> list:
    """A policy's wire form with ``fields`` replaced."""
    known = {"version": 2, "roots": ROOT_KEYS, "threshold": 2, "roles": [], "parameters": [], "floors": []}
    return list((known | fields).values())


def role_wire(**fields) -> list:
    known = {"name": "r", "keys": gen.keys("alice", "bob"), "prefixes": ["a"], "operations": ["put"], "approvals": 1}
    return list((known | fields).values())


def many(count: int) -> list[bytes]:
    return [number.to_bytes(32, "big") for number in range(count)]


def test_a_policy_reads_back():
    policy = Policy(7, ROOT_KEYS, 3, gen.ROLES, (("a", 0), ("b", 5)))
    assert Policy.decode(policy.encode()) == policy


@pytest.mark.parametrize("settles", [(), (bytes(32), b"1" * 32)])
@pytest.mark.parametrize("names", [(), ((ROOT_KEYS[0], "Ada"), (ROOT_KEYS[1], "Ada")), ((bytes(32), "é" * 32),)])
def test_a_policy_with_what_only_some_have_reads_back(settles, names):
    policy = Policy(7, ROOT_KEYS, 3, settles=settles, names=names)
    assert Policy.decode(policy.encode()) == policy
    assert [policy.name(key) for key in (bytes(32), *ROOT_KEYS)] == [
        dict(names).get(key) for key in (bytes(32), *ROOT_KEYS)
    ]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"version": 0}, LimitExceeded),
        ({"version": 1 << 31}, LimitExceeded),
        ({"version": True}, FormatError),
        ({"roots": []}, FormatError),
        ({"roots": ROOT_KEYS[::-1]}, FormatError),
        ({"roots": [ROOT_KEYS[0]] * 3}, FormatError),
        ({"roots": [None, None, None]}, FormatError),
        ({"roots": [[1], ["a"]]}, FormatError),
        ({"roots": [b"short"], "threshold": 1}, FormatError),
        ({"roots": many(ROOT_KEYS_MAX + 1), "threshold": 10}, LimitExceeded),
        ({"threshold": 0}, LimitExceeded),
        ({"threshold": 1}, FormatError),
        ({"threshold": 4}, LimitExceeded),
        ({"roots": many(4), "threshold": 2}, FormatError),
        ({"roles": [role_wire(), role_wire()]}, FormatError),
        ({"roles": [role_wire(name=str(number)) for number in range(ROLES_MAX + 1)]}, LimitExceeded),
        ({"parameters": [["b", 1], ["a", 1]]}, FormatError),
        ({"parameters": [["a", 1], ["a", 1]]}, FormatError),
        ({"parameters": [["a", -1]]}, LimitExceeded),
        ({"parameters": [["a", 1.0]]}, FormatError),
        ({"parameters": [[f"{number:03}", 1] for number in range(PARAMETERS_MAX + 1)]}, LimitExceeded),
        ({"floors": [[]]}, FormatError),
        ({"roles": [role_wire(keys=[None, None])]}, FormatError),
        ({"roles": [role_wire(keys=[b"x", "x"])]}, FormatError),
        ({"roles": [role_wire(keys=gen.keys("alice", "bob")[::-1])]}, FormatError),
        ({"roles": [role_wire(keys=many(ROLE_KEYS_MAX + 1))]}, LimitExceeded),
        ({"roles": [role_wire(prefixes=["b", "a"])]}, FormatError),
        ({"roles": [role_wire(prefixes=["a/"])]}, InvalidInput),
        ({"roles": [role_wire(prefixes=[f"{n:03}" for n in range(ROLE_PREFIXES_MAX + 1)])]}, LimitExceeded),
        ({"roles": [role_wire(operations=["delete", "put"])]}, FormatError),
        ({"roles": [role_wire(operations=["put", "put"])]}, FormatError),
        ({"roles": [role_wire(operations=["fly"])]}, FormatError),
        ({"roles": [role_wire(operations=[["put"]])]}, FormatError),
        ({"roles": [role_wire(approvals=0)]}, LimitExceeded),
        ({"roles": [role_wire(approvals=3)]}, LimitExceeded),
        ({"roles": [role_wire(name="x" * 129)]}, LimitExceeded),
        ({"settles": []}, FormatError),
        ({"settles": [], "names": []}, FormatError),
        ({"settles": [], "names": None}, FormatError),
        ({"settles": None, "names": [[bytes(32), "a"]]}, FormatError),
        ({"settles": [], "names": [[bytes(32), "a"]], "more": []}, FormatError),
        ({"settles": [], "names": [[b"1" * 32, "a"], [bytes(32), "b"]]}, FormatError),
        ({"settles": [], "names": [[bytes(32), "a"], [bytes(32), "b"]]}, FormatError),
        ({"settles": [], "names": [[bytes(31), "a"]]}, FormatError),
        ({"settles": [], "names": [[bytes(32), b"a"]]}, FormatError),
        ({"settles": [], "names": [[bytes(32), ""]]}, InvalidInput),
        ({"settles": [], "names": [[bytes(32), "a "]]}, InvalidInput),
        ({"settles": [], "names": [[bytes(32), "a\n"]]}, InvalidInput),
        ({"settles": [], "names": [[bytes(32), "a" * (NAME_BYTES_MAX + 1)]]}, LimitExceeded),
        ({"settles": [], "names": [[key, "a"] for key in many(NAMES_MAX + 1)]}, LimitExceeded),
    ],
)
def test_a_malformed_policy_document_is_refused(fields, error):
    with pytest.raises(error) as caught:
        Policy.decode(encode(wire(**fields)))
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "fields",
    [
        {"roots": many(ROOT_KEYS_MAX), "threshold": 9},
        {"roles": [role_wire(name=str(number)) for number in range(ROLES_MAX)]},
        {"roles": [role_wire(keys=many(ROLE_KEYS_MAX), approvals=32)]},
        {"roles": [role_wire(prefixes=[f"{number:03}" for number in range(ROLE_PREFIXES_MAX)])]},
        {"parameters": [[f"{number:03}", (1 << 53) - 1] for number in range(PARAMETERS_MAX)]},
        {"version": (1 << 31) - 1},
        {"roles": [role_wire(name="x" * 128, operations=["put", "delete", "stage", "snapshot"])]},
        {"roles": [role_wire(prefixes=["", "_nodes"], keys=[], approvals=1)]},
        {"settles": [], "names": [[key, "a" * NAME_BYTES_MAX] for key in many(NAMES_MAX)]},
    ],
)
def test_a_policy_document_at_its_limits_is_read(fields):
    data = encode(wire(**fields))
    assert Policy.decode(data).encode() == data


def genesis_wire(**fields) -> list:
    known = {"name": "n", "created_ms": 1, "salt": bytes(16), "roots": ROOT_KEYS, "threshold": 2}
    return list((known | fields).values())


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"name": b"n"}, FormatError),
        ({"name": "n" * 1025}, LimitExceeded),
        ({"created_ms": 1 << 53}, LimitExceeded),
        ({"salt": bytes(15)}, FormatError),
        ({"roots": [None] * 3}, FormatError),
        ({"threshold": 1}, FormatError),
        ({"name": "n" * 5000}, LimitExceeded),
    ],
)
def test_a_malformed_genesis_is_refused(fields, error):
    with pytest.raises(error) as caught:
        Genesis.decode(encode(genesis_wire(**fields)))
    assert type(caught.value) is error


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1, 3), st.text(max_size=3), st.binary(max_size=3), st.floats())
    | st.sampled_from([bytes(32), ROOT_KEYS[0], bytes(16), bytes(64), CLUSTER_ID[:4]]),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=20,
)
documents = st.one_of(
    st.binary(max_size=200),
    values.map(encode),
    st.builds(lambda place, value: encode([*(full := wire(roles=[role_wire()]))[:place], value, *full[place + 1 :]]),
              st.integers(0, 5), values),
    st.builds(lambda place, value: encode([*(full := genesis_wire())[:place], value, *full[place + 1 :]]),
              st.integers(0, 4), values),
    st.builds(lambda place, value: encode(wire(roles=[[*(full := role_wire())[:place], value, *full[place + 1 :]]])),
              st.integers(0, 4), values),
)  # fmt: skip


@given(documents)
def test_whatever_is_read_only_our_errors_come_out(data):
    for read in (Policy.decode, Genesis.decode, Cluster.decode, lambda it: Change.decode(it, CLUSTER_ID)):
        try:
            read(data)
        except GossipconfError:
            pass


# -- founding -------------------------------------------------------------------------------------


def test_a_cluster_is_founded_with_a_policy_that_its_roots_signed():
    made = gen.cluster()
    chain = made.chain()
    assert chain.head == Policy(1, ROOT_KEYS, 2, gen.ROLES)
    assert chain[0] == Policy(0, ROOT_KEYS, 2)
    assert chain.cluster_id == made.genesis.cluster_id


def test_the_salt_alone_makes_another_cluster():
    genesis = gen.cluster().genesis
    assert dataclasses.replace(genesis, salt=bytes(16)).cluster_id != genesis.cluster_id


def test_too_low_a_threshold_founds_nothing():
    roots = [gen.signer(name) for name in gen.ROOTS]
    with pytest.raises(FormatError, match="above half"):
        found_cluster("n", roots, (), threshold=1, now_ms=0, salt=bytes(16))


def test_sign_policy_refuses_too_few_roots():
    with pytest.raises(NotAuthorised, match="1 of 3"):
        sign_policy(gen.chain(), successor(), [gen.signer("root-2")], now_ms=0, reservation=gen.reservation())


def test_sign_policy_makes_what_the_chain_takes_over():
    chain = gen.chain()
    roots = [gen.signer(name) for name in gen.ROOTS[1:]]
    change = sign_policy(chain, successor(), roots, now_ms=5, reservation=gen.reservation())
    assert chain.accept(Change.decode(change.encode(), chain.cluster_id)) == successor()
