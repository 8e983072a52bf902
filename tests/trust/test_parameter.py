"""Parameters that are known: what they rule, and that every other one is taken all the same."""

from __future__ import annotations

import pytest

from gossipconf.model.entry import Entry, delete
from gossipconf.model.errors import NotAuthorised
from gossipconf.model.limits import VALUE_BYTES_MAX
from gossipconf.trust.chain import PolicyChain
from gossipconf.trust.cluster import sign_policy
from gossipconf.trust.parameter import VALUE_BYTES, fault, meaning_of
from gossipconf.trust.policy import Genesis, Policy, Role, proposals_of
from tests import strategies as gen

ALICE, DAVE, ERIN = gen.keys("alice")[0], gen.keys("dave")[0], gen.keys("erin")[0]
ROLES = (
    Role("operators", (ALICE,), ("", "_nodes")),
    Role("pairs", tuple(sorted((DAVE, ERIN))), ("pay",), approvals=2),
)


def chain_of(*parameters: tuple[tuple[str, int], ...]) -> PolicyChain:
    """A chain with a policy for each of these."""
    roots = [gen.signer(name) for name in gen.ROOTS]
    chain = PolicyChain(Genesis("g", 0, bytes(16), gen.keys(*gen.ROOTS), 2))
    for version, some in enumerate(parameters, 1):
        policy = Policy(version, chain.genesis.roots, 2, ROLES, some)
        change = sign_policy(chain, policy, roots, now_ms=0, reservation=gen.reservation())
        chain.judge(change)
        chain.accept(change)
    return chain


def judge(chain: PolicyChain, key: str, size: int, *, by: str = "alice", policy: int) -> None:
    change = gen.signed([Entry(key, bytes(size))], by, cluster_id=chain.cluster_id, policy=policy)
    chain.judge(change)


def test_the_size_of_a_value_is_judged_by_the_policy_that_its_change_names():
    chain = chain_of(((VALUE_BYTES.name, 10),), (), ((VALUE_BYTES.name, 20),))
    judge(chain, "a", 10, policy=1)
    with pytest.raises(NotAuthorised, match="'a' has 11 bytes, policy 1 permits 10"):
        judge(chain, "a", 11, policy=1)
    judge(chain, "a", 4_000, policy=2)
    judge(chain, "a", 20, policy=3)
    with pytest.raises(NotAuthorised, match="policy 3 permits 20"):
        judge(chain, "a", 21, policy=3)


def test_a_delete_and_the_system_have_no_limit_of_the_policy():
    chain = chain_of(((VALUE_BYTES.name, 1),))
    chain.judge(gen.signed([delete("a")], "alice", cluster_id=chain.cluster_id, policy=1))
    judge(chain, "_nodes/x", 4_000, policy=1)
    judge(chain, f"{proposals_of(DAVE)}/x", 4_000, by="dave", policy=1)
    roots = [gen.signer(name) for name in gen.ROOTS]
    policy = Policy(2, chain.genesis.roots, 2, ROLES)
    chain.judge(sign_policy(chain, policy, roots, now_ms=0, reservation=gen.reservation()))


def test_a_policy_with_parameters_of_a_later_release_is_accepted():
    chain = chain_of((("days", 30), (VALUE_BYTES.name, 0), ("zeal", 1)))
    judge(chain, "a", 0, policy=1)
    assert meaning_of("days") is None
    assert "no parameter" in (fault("days", 30) or "")


def test_the_default_is_what_the_format_permits():
    assert VALUE_BYTES.of(()) == VALUE_BYTES_MAX
    assert fault(VALUE_BYTES.name, VALUE_BYTES_MAX) is None
    assert "1 to" in (fault(VALUE_BYTES.name, VALUE_BYTES_MAX + 1) or "")
