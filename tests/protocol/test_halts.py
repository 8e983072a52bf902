"""Votes that hold a canary off: who counts, when it happens, that it lasts, and what ends it."""

from __future__ import annotations

import dataclasses

import pytest

from gossipconf.model.entry import Entry, put
from gossipconf.protocol.events import Halted, Resumed, Voted
from gossipconf.protocol.messages import Push
from gossipconf.protocol.node import Restored
from gossipconf.protocol.statement_book import rows_of
from gossipconf.trust.cluster import sign_policy
from gossipconf.trust.membership import Membership, with_membership
from gossipconf.trust.policy import Policy
from gossipconf.trust.signing import Reservation
from gossipconf.trust.statement import Kind
from tests.protocol.speaking import canary, canary_change, news, speaking_bench
from tests.protocol.wire import Bench
from tests.strategies import NOW_MS, ROLES, ROOTS, cluster, signed, signer

CANARY = canary_change(2)
HALT = frozenset({CANARY.id})


def voted(*voters: str) -> tuple[Bench, int]:
    """A node that has the canary, of which these have complained, and a link."""
    one = speaking_bench()
    link = one.connect("p")
    one.tell(link, Push(0, 0, 0, CANARY.encode()), *(news(voter, CANARY.id) for voter in voters))
    one.write()
    return one, link


def revoking(*nodes: str, version: int = 2, before=None):
    chain = cluster().chain()
    for change in before or ():
        chain.accept(change)
    head = chain.head
    policy = Policy(version, head.roots, head.threshold, with_membership(ROLES, Membership(nodes=tuple(sorted(nodes)))))
    roots = [signer(name) for name in ROOTS[:2]]
    return sign_policy(chain, policy, roots, now_ms=NOW_MS, reservation=Reservation(b"policies", version))


def test_the_vote_that_makes_the_limit_halts():
    one, link = voted("x")
    assert one.node.halts.halted == frozenset()
    one.tell(link, news("y", CANARY.id))
    assert one.node.halts.halted == HALT
    assert one.node.halts.votes(CANARY.id) == ("x", "y")
    assert one.events(Voted) == [Voted(CANARY.id, "x", 1, 2), Voted(CANARY.id, "y", 2, 2)]
    assert one.events(Halted) == [Halted(CANARY.id, ("a",), 2)]


def test_more_votes_halt_it_no_more_than_once():
    one, _ = voted("x", "y", "z")
    assert len(one.events(Voted)) == 3
    assert len(one.events(Halted)) == 1


def test_a_vote_of_one_s_own_counts_once_it_is_on_disk():
    one, _ = voted("x")
    one.node.say(one.now(), Kind.UNHEALTHY, CANARY.id)
    assert one.node.halts.halted == frozenset()
    one.write()
    assert one.node.halts.halted == HALT


def test_a_halt_lasts_over_a_restart_without_anybody():
    one, _ = voted("x", "y")
    again = speaking_bench(restored=Restored(changes=(*cluster().policies, CANARY), statements=rows_of(one.disk.meta)))
    assert again.node.halts.halted == HALT
    assert (again.events(Halted), again.events(Voted)) == ([], []), "they were told before"


@pytest.mark.parametrize(
    "entry",
    [put("a", b"newer", variant="canary"), canary(2), Entry("a", None, operation=1, variant="canary")],
    ids=["without a limit", "with a limit", "abort"],
)
def test_the_admin_s_next_change_ends_it(entry):
    one, link = voted("x", "y")
    successor = signed([dataclasses.replace(entry, seen=((CANARY.writer_id, 1),))], "alice", seq=2)
    one.tell(link, Push(0, 0, 0, successor.encode()))
    assert one.node.halts.halted == frozenset()
    assert one.node.statements.subjects() == []
    one.tell(link, news("x", CANARY.id), news("y", CANARY.id))
    assert one.node.halts.halted == frozenset(), "and votes on what has gone do nothing"


def test_of_several_limits_in_one_change_the_smallest_that_lives_counts():
    both = signed([canary(3, "a"), canary(1, "b")], "alice")
    one, link = voted()
    one.tell(link, Push(0, 0, 0, both.encode()))
    assert one.node.halts.limit(both.id) == 1
    b_again = signed([dataclasses.replace(canary(9, "b"), seen=((both.writer_id, 1),))], "alice", seq=2)
    one.tell(link, Push(0, 0, 0, b_again.encode()))
    assert one.node.halts.limit(both.id) == 3


def test_a_change_without_a_limit_takes_no_votes():
    plain = signed([put("a", b"1", variant="canary")], "alice")
    one, link = voted()
    one.tell(link, Push(0, 0, 0, plain.encode()), news("x", plain.id))
    assert one.node.halts.limit(plain.id) is None
    assert one.node.statements.subjects() == []


def test_held_the_key_of_a_revoked_node_its_votes_do_not_count():
    one, link = voted("x")
    one.tell(link, Push(0, 0, 0, revoking("y").encode()))
    one.tell(link, news("y", CANARY.id))
    assert one.node.halts.votes(CANARY.id) == ("x",)
    assert one.node.halts.halted == frozenset()
    assert len(one.node.statements.about(CANARY.id)) == 2, "kept, as by those who do not know the policy yet"


def test_who_is_revoked_after_its_vote_does_not_count_either_and_the_order_does_not_matter():
    one, link = voted("x", "y")
    policy = revoking("y")
    one.tell(link, Push(0, 0, 0, policy.encode()))
    assert one.node.halts.halted == frozenset()
    assert one.events(Resumed) == [Resumed(CANARY.id, ("a",), 1)]
    one.tell(link, news("z", CANARY.id))
    one.write()
    assert one.node.halts.halted == HALT
    again = speaking_bench(
        restored=Restored(changes=(*cluster().policies, policy, CANARY), statements=rows_of(one.disk.meta))
    )
    assert again.node.halts.votes(CANARY.id) == ("x", "z")
    assert again.node.halts.halted == HALT


def test_a_revocation_that_is_taken_back_counts_the_vote_again():
    one, link = voted("x", "y")
    first = revoking("y")
    one.tell(link, Push(0, 0, 0, first.encode()))
    one.tell(link, Push(0, 0, 0, revoking(version=3, before=[first]).encode()))
    assert one.node.halts.halted == HALT
