"""What a policy says of nodes: it survives the format, lets nobody write, and is understood by who does not know it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.entry import put
from gossipconf.model.errors import InvalidInput
from gossipconf.model.limits import ROLE_KEYS_MAX, ROLE_PREFIXES_MAX
from gossipconf.trust.membership import Membership, is_membership, with_membership
from gossipconf.trust.policy import Policy
from tests import strategies as gen

node_ids = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,9}[a-z0-9])?", fullmatch=True)
fingerprints = st.binary(min_size=32, max_size=32)


def policy_of(membership: Membership) -> Policy:
    """The policy, as it comes out of the format."""
    head = gen.chain().head
    roles = with_membership(head.roles, membership)
    return Policy.decode(Policy(head.version + 1, head.roots, head.threshold, roles).encode())


@given(st.sets(node_ids, max_size=5), st.sets(node_ids, max_size=5), st.sets(fingerprints, max_size=5))
def test_it_survives_the_format(issuers: set[str], nodes: set[str], certificates: set[bytes]) -> None:
    said = Membership(0, tuple(issuers), tuple(nodes), tuple(certificates))
    policy = policy_of(said)
    read = Membership.of(policy)
    assert read == Membership(
        policy.version, tuple(sorted(issuers - nodes)), tuple(sorted(nodes)), tuple(sorted(certificates))
    )
    assert [role for role in policy.roles if not is_membership(role.name)] == list(gen.chain().head.roles)


def test_more_than_a_role_holds_is_split() -> None:
    nodes = tuple(f"n{number:04d}" for number in range(2 * ROLE_PREFIXES_MAX + 1))
    certificates = tuple(number.to_bytes(32, "big") for number in range(ROLE_KEYS_MAX + 1))
    policy = policy_of(Membership(0, (), nodes, certificates))
    assert [role.name for role in policy.roles if is_membership(role.name)] == ["_revoked", "_revoked/2", "_revoked/3"]
    read = Membership.of(policy)
    assert (read.nodes, read.certificates) == (nodes, certificates)


def test_it_lets_nobody_write() -> None:
    (role,) = Membership(0, (), ("b",), (gen.keys("zoe")[0],)).roles()
    assert not role.allows(put("_nodes/b", b"x"), frozenset(gen.keys("zoe")))


def test_roles_of_similar_names_say_nothing_of_nodes() -> None:
    assert not is_membership("_revoked2")
    assert not is_membership("issuers")


def test_who_is_refused_is_told_why() -> None:
    membership = Membership(7, (), ("b",), (b"x" * 32,))
    assert membership.refusal("a", (b"y" * 32, b"z" * 32)) is None
    assert membership.refusal("b") == "policy 7 has revoked node 'b'"
    assert "revoked the certificate of node 'a', SHA256:7878" in str(membership.refusal("a", (b"x" * 32,)))
    assert "revoked a certificate that stands for node 'a'" in str(membership.refusal("a", (b"y" * 32, b"x" * 32)))


@pytest.mark.parametrize(
    ("membership", "words"),
    [(Membership(0, ("A",)), "node name"), (Membership(0, (), (), (b"short",)), "SHA-256, 32 bytes")],
)
def test_what_is_no_node_or_fingerprint_gets_into_no_policy(membership: Membership, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        membership.roles()
