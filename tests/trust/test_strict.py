"""Strict prefixes and the keys of stages; that the key alone says who may publish them."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipconf.model.entry import Entry, Operation
from gossipconf.model.errors import InvalidInput, LimitExceeded, NotAuthorised
from gossipconf.trust.chain import PolicyChain
from gossipconf.trust.cluster import Cluster, sign_policy
from gossipconf.trust.floor import Floor, Floors
from gossipconf.trust.policy import Genesis, Policy, Role
from gossipconf.trust.proposal import check_proposal
from gossipconf.trust.signing import approve
from gossipconf.trust.strict import (
    STRICT_PREFIX_BYTES_MAX,
    StageKey,
    check_strict_prefix,
    is_stage_key,
    staged_prefix,
    strict_over,
    strict_prefixes,
)
from tests import strategies as gen

ID = b"\x0a" * 32


@given(
    st.lists(st.sampled_from(["a", "b-c", "abort", "1", ID.hex()]), min_size=1, max_size=4),
    st.integers(1, 10**9 - 1),
    st.booleans(),
)
def test_a_stage_key_reads_back(segments: list[str], number: int, is_abort: bool) -> None:
    key = StageKey("/".join(segments), number, ID, is_abort)
    assert StageKey.parse(str(key)) == key
    assert is_stage_key(str(key))
    assert staged_prefix(str(key)) == key.prefix


@pytest.mark.parametrize(
    "key",
    [
        "_stages",
        f"_stages/1/{ID.hex()}",
        f"_stages/p/01/{ID.hex()}",
        f"_stages/p/0/{ID.hex()}",
        f"_stages/p/1/{ID.hex().upper()}",
        f"_stages/p/1/{ID.hex()}/commit",
        "_stages/p/1/" + 64 * "g",
        f"stages/p/1/{ID.hex()}",
    ],
)
def test_what_is_no_stage_key(key: str) -> None:
    assert StageKey.parse(key) is None
    assert staged_prefix(key) == key


def test_which_prefixes_a_policy_calls_strict() -> None:
    assert strict_prefixes([("strict/shop/db", 1), ("strict/old", 0), ("other", 1), ("strict/a", 1)]) == (
        "a",
        "shop/db",
    )


def test_a_key_belongs_to_the_longest_strict_prefix_over_it() -> None:
    prefixes = ("shop", "shop/db")
    assert strict_over(prefixes, "shop/db/host") == "shop/db"
    assert strict_over(prefixes, "shop/db") == "shop/db"
    assert strict_over(prefixes, "shop/dbx") == "shop"
    assert strict_over(prefixes, "cart") is None


def test_which_prefixes_can_be_strict() -> None:
    assert check_strict_prefix("shop/db") == "shop/db"
    with pytest.raises(InvalidInput, match="system"):
        check_strict_prefix("_policy")
    with pytest.raises(LimitExceeded, match="400"):
        check_strict_prefix("a" * (STRICT_PREFIX_BYTES_MAX + 1))


# -- who may publish what -------------------------------------------------------------------------

STRICT = Policy(
    1,
    gen.keys(*gen.ROOTS),
    2,
    (
        Role("operators", gen.keys("alice", "bob"), ("",)),
        Role("stagers", gen.keys("carol"), ("shop",), ("stage",)),
        Role("pairs", gen.keys("dave", "erin"), ("shop/pay",), ("stage",), 2),
    ),
    parameters=(("strict/shop/db", 1), ("strict/shop/pay", 1)),
)


@cache
def cluster() -> Cluster:
    roots = [gen.signer(name) for name in gen.ROOTS]
    genesis = Genesis("strict", 0, bytes(16), STRICT.roots, 2)
    return Cluster(
        genesis, (sign_policy(PolicyChain(genesis), STRICT, roots, now_ms=0, reservation=gen.reservation()),)
    )


def judge(key: str, by: str, *approvers: str, value: bytes | None = b"", variant: str = "") -> None:
    operation = Operation.DELETE if value is None else Operation.PUT
    entry = Entry(key, value, operation=operation, variant=variant)
    cluster().chain().judge(gen.signed([entry], by, *approvers, cluster_id=cluster().genesis.cluster_id))


def stage_key(number: int, prefix: str = "shop/db", *, is_abort: bool = False) -> str:
    return str(StageKey(prefix, number, ID, is_abort))


@pytest.mark.parametrize(
    ("key", "signers"),
    [
        (stage_key(2), ["carol"]),
        (stage_key(2, is_abort=True), ["carol"]),
        (stage_key(1, is_abort=True), ["carol"]),
        (stage_key(1), ["root-1", "root-3"]),
        (stage_key(1), ["carol", "root-1", "root-3"]),
        (stage_key(2), ["root-2", "root-3"]),
        (stage_key(2, "shop/pay"), ["dave", "erin"]),
        ("shop/other", ["alice"]),
        ("shop/dbx", ["alice"]),
    ],
)
def test_who_may_stage(key: str, signers: list[str]) -> None:
    judge(key, *signers)


@pytest.mark.parametrize(
    ("key", "signers", "error"),
    [
        (stage_key(2), ["alice"], "a role with that prefix and the operation 'stage'"),
        (stage_key(1), ["carol"], "the first epoch of 'shop/db'.* 0 of 3 roots, 2 are needed"),
        (stage_key(1), ["carol", "root-1"], "1 of 3 roots"),
        (stage_key(2, "shop/pay"), ["dave"], "let .* stage 'shop/pay'"),
        (stage_key(2, "shop/cart"), ["carol"], "does not call 'shop/cart' strict"),
        ("_stages/shop/db", ["carol"], "names no stage"),
        (f"{stage_key(2)}/commit", ["carol"], "names no stage"),
        ("shop/db/host", ["alice"], "an ordinary publish is void"),
        ("shop/db", ["root-1", "root-2"], "an ordinary publish is void"),
    ],
)
def test_who_may_not(key: str, signers: list[str], error: str) -> None:
    with pytest.raises(NotAuthorised, match=error):
        judge(key, *signers)


def test_who_may_stage_may_tidy_up_what_the_roots_have_proposed() -> None:
    judge(stage_key(1), "carol", value=None)
    with pytest.raises(NotAuthorised, match="operation 'stage'"):
        judge(stage_key(1), "alice", value=None)


def test_a_stage_has_no_variants() -> None:
    with pytest.raises(NotAuthorised, match="no variants"):
        judge(stage_key(2), "carol", variant="canary")


def test_a_floor_about_a_prefix_voids_its_stages_too() -> None:
    change = gen.signed([Entry(stage_key(2), b"")], "carol")
    for prefix, is_void in (("shop", True), ("shop/db", True), ("shop/pay", False), ("_stages", True), ("", True)):
        floors = Floors()
        floors.add((Floor(b"", prefix, 1),))
        assert floors.is_void(change.versions[0]) == is_void, prefix


def test_roots_propose_a_first_epoch_to_each_other():
    chain = cluster().chain()
    change = gen.signed([Entry(stage_key(1), b"")], "root-1", cluster_id=cluster().genesis.cluster_id)
    found = check_proposal(chain, change)
    assert found.missing == 1
    assert set(found.may) == {gen.signer(name).public for name in ("root-2", "root-3")}
    assert check_proposal(chain, approve(change, gen.signer("root-3"))).missing == 0
