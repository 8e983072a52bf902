"""Narrowing: which rights a policy takes away, and that each loss has a floor."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gossipconf.model.entry import Entry
from gossipconf.trust.membership import Membership, with_membership
from gossipconf.trust.narrowing import bare, floors_for, losses
from gossipconf.trust.policy import Policy, Role
from tests import strategies as gen

ALICE, BOB = (gen.signer(name).public for name in ("alice", "bob"))
BOTH = gen.keys("alice", "bob")
ROLE = Role("shop", BOTH, ("pay", "shop"))
HEAD = Policy(1, gen.keys("root-1"), 1, (ROLE,))


def after(*roles: Role) -> Policy:
    return replace(HEAD, version=2, roles=roles)


@pytest.mark.parametrize(
    ("roles", "lost"),
    [
        ((ROLE,), []),
        ((replace(ROLE, name="other"),), []),
        ((replace(ROLE, prefixes=("",)),), []),
        ((replace(ROLE, prefixes=("pay", "shop/a")),), [(ALICE, "shop"), (BOB, "shop")]),
        ((replace(ROLE, operations=("put",)),), [(one, prefix) for one in BOTH for prefix in ("pay", "shop")]),
        ((replace(ROLE, approvals=2),), [(one, prefix) for one in BOTH for prefix in ("pay", "shop")]),
        ((replace(ROLE, keys=(BOB,)),), [(ALICE, "")]),
        ((replace(ROLE, keys=(BOB,)), Role("pay", (ALICE,), ("pay",))), [(ALICE, "shop")]),
        ((), [(ALICE, ""), (BOB, "")]),
    ],
)
def test_what_is_taken_away_is_found(roles, lost):
    assert list(losses(HEAD, after(*roles))) == sorted(lost)


def test_roles_that_speak_of_nodes_give_and_take_no_rights():
    """A certificate that is revoked no longer has lost nothing; and a key among those revoked may write nothing."""
    revoked = replace(HEAD, roles=with_membership(HEAD.roles, Membership(nodes=("n",), certificates=(b"c" * 32,))))
    assert losses(revoked, after(ROLE)) == ()
    listed = with_membership((replace(ROLE, keys=(BOB,)),), Membership(certificates=(ALICE,)))
    assert losses(HEAD, after(*listed)) == ((ALICE, ""),)


def test_every_loss_has_a_floor_that_keeps_what_lives():
    policy = after(replace(ROLE, keys=(BOB,), prefixes=("pay",)))
    lost = losses(HEAD, policy)
    mine, other, bobs = (
        gen.signed([Entry(key, b"1")], by).versions[0]
        for key, by in (("shop/a", "alice"), ("pay/a", "alice"), ("shop/b", "bob"))
    )
    floors = floors_for(lost, 1, [mine, other, bobs])
    assert {(floor.signer, floor.prefix): {one.change_id for one in floor.kept} for floor in floors} == {
        (ALICE, ""): {mine.change_id, other.change_id},
        (BOB, "shop"): {bobs.change_id},
    }
    assert bare(HEAD, policy) == lost
    assert bare(HEAD, replace(policy, floors=floors[:1])) == lost[1:]
    assert bare(HEAD, replace(policy, floors=floors)) == ()
