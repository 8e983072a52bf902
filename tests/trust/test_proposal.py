"""Proposals and drafts: who has signed, who may, and files that lie."""

from __future__ import annotations

import dataclasses

import pytest

from gossipconf.model.encoding import encode
from gossipconf.model.entry import Entry
from gossipconf.model.errors import BadSignature, InvalidInput, KeyFileError, NotAuthorised, Rejected, WrongCluster
from gossipconf.trust.cluster import Cluster, found_cluster, sign_policy
from gossipconf.trust.draft import Draft
from gossipconf.trust.pledge import pledge, pledge_file
from gossipconf.trust.policy import Policy, Role
from gossipconf.trust.proposal import check_proposal, load_proposal, save_proposal, support
from gossipconf.trust.signing import approve, compose
from tests import strategies as gen

CLUSTER_ID = gen.cluster().genesis.cluster_id
ROOT_KEYS = gen.keys(*gen.ROOTS)
LIMIT = Entry("pay/limit", b"1")
DRAFT = Draft(CLUSTER_ID, (), Policy(2, gen.keys("root-1", "root-4"), 2))


def other_cluster() -> Cluster:
    return found_cluster("other", [gen.signer("root-1")], gen.ROLES, threshold=1, now_ms=gen.NOW_MS, salt=bytes(16))


def signed(draft: Draft, name: str, directory) -> Draft:
    return draft.signed(
        draft.chain(gen.cluster()),
        gen.signer(name),
        directory / name,
        now_ms=gen.NOW_MS,
        incarnation=name.encode().ljust(8),
    )


# -- who has signed, and who may ------------------------------------------------------------------


def test_what_is_missing_is_counted_in_the_role_and_named():
    found = check_proposal(gen.chain(), gen.signed([LIMIT], "dave"))
    assert found.signed == gen.keys("dave")
    assert found.missing == 1
    assert found.may == gen.keys("erin", "frank")


def test_a_signature_outside_the_role_is_shown_and_counts_for_nothing():
    found = check_proposal(gen.chain(), gen.signed([LIMIT], "dave", "carol"))
    assert set(found.signed) == set(gen.keys("dave", "carol"))
    assert found.missing == 1


def test_a_complete_change_lacks_nothing():
    found = check_proposal(gen.chain(), gen.signed([LIMIT], "dave", "erin"))
    assert (found.missing, found.may) == (0, ())


def test_of_several_roles_the_one_that_lacks_least_counts():
    roles = (
        Role("two", gen.keys("dave", "erin"), ("pay",), approvals=2),
        Role("few", gen.keys("dave"), ("pay/limit",)),
    )
    policy = Policy(1, ROOT_KEYS, 2, roles)
    assert support(policy, gen.signed([LIMIT], "dave")).missing == 0
    assert support(policy, gen.signed([LIMIT, Entry("pay/x", b"")], "dave")).missing == 1


def test_what_no_approval_could_allow_is_no_proposal():
    with pytest.raises(NotAuthorised, match="whoever approves it"):
        check_proposal(gen.chain(), gen.signed([Entry("shop/a", b"")], "dave"))


def test_a_part_is_no_proposal():
    whole = gen.signed([LIMIT, Entry("pay/x", b"")], "dave")
    with pytest.raises(InvalidInput, match="a part"):
        check_proposal(gen.chain(), whole.restrict([0]))


def test_composing_a_proposal_needs_a_role_and_no_approval():
    known = {"chain": gen.chain(), "reservation": gen.reservation(), "now_ms": gen.NOW_MS}
    with pytest.raises(NotAuthorised, match="propose it first"):
        compose([LIMIT], (), signer=gen.signer("dave"), **known)
    change = compose([LIMIT], (), signer=gen.signer("dave"), is_proposed=True, **known)
    assert approve(change, gen.signer("erin")).id == change.id
    with pytest.raises(NotAuthorised):
        compose([LIMIT], (), signer=gen.signer("carol"), is_proposed=True, **known)


# -- the file of a proposal -----------------------------------------------------------------------


def test_a_proposal_comes_back_from_its_file(tmp_path):
    change = gen.signed([LIMIT], "dave")
    save_proposal(tmp_path / "p", change, is_new=True)
    assert load_proposal(tmp_path / "p", CLUSTER_ID) == change
    with pytest.raises(KeyFileError, match="not overwritten"):
        save_proposal(tmp_path / "p", change, is_new=True)
    more = approve(change, gen.signer("erin"))
    save_proposal(tmp_path / "p", more, is_new=False)
    assert load_proposal(tmp_path / "p", CLUSTER_ID) == more
    assert [path.name for path in tmp_path.iterdir()] == ["p"]
    with pytest.raises(WrongCluster):
        load_proposal(tmp_path / "p", bytes(32))


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "not a proposal"),
        (b"junk", "not a proposal"),
        (encode([2, "a change", b""]), "version"),
        (encode([1, "a change", b"x"]), "not a proposal"),
        (encode([1, "a policy", b"x"]), "gossipconf policy sign"),
        (encode([]), "version"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path, data, part):
    (tmp_path / "p").write_bytes(data)
    with pytest.raises(KeyFileError, match=part) as caught:
        load_proposal(tmp_path / "p", CLUSTER_ID)
    assert str(tmp_path / "p") in str(caught.value)
    with pytest.raises(KeyFileError, match="not a draft of a policy"):
        Draft.load(tmp_path / "p", gen.cluster())


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(KeyFileError, match="cannot be read"):
        load_proposal(tmp_path / "none", CLUSTER_ID)


# -- drafts ---------------------------------------------------------------------------------------


def test_a_draft_goes_from_root_to_root(tmp_path):
    DRAFT.save(tmp_path / "d", is_new=True)
    for name, missing in (("root-3", 1), ("root-1", 0)):
        draft = signed(Draft.load(tmp_path / "d", gen.cluster()), name, tmp_path)
        assert draft.support(draft.chain(gen.cluster())).missing == missing
        draft.save(tmp_path / "d", is_new=False)
    final = Draft.load(tmp_path / "d", gen.cluster())
    chain = gen.chain()
    assert final.change is not None
    chain.judge(final.change)
    assert chain.accept(final.change) == DRAFT.policy


def test_a_draft_carries_the_policies_that_an_old_cluster_file_lacks(tmp_path):
    chain = gen.chain()
    second = sign_policy(
        chain,
        Policy(2, gen.keys("root-4", "root-5"), 2, gen.ROLES),
        [gen.signer("root-1"), gen.signer("root-2")],
        now_ms=gen.NOW_MS,
        reservation=gen.reservation(),
    )
    draft = Draft(CLUSTER_ID, (second,), Policy(3, gen.keys("root-4"), 1))
    assert draft.chain(gen.cluster()).head.roots == gen.keys("root-4", "root-5")
    with pytest.raises(NotAuthorised, match="no root of policy 2"):
        signed(draft, "root-1", tmp_path)
    assert not pledge_file(tmp_path / "root-1").exists()
    assert signed(draft, "root-5", tmp_path).change is not None
    with pytest.raises(Rejected, match="the newest one is 1"):
        dataclasses.replace(draft, policies=()).chain(gen.cluster())


def test_attack_a_draft_that_shows_another_policy_than_was_signed(tmp_path):
    """Held: a draft that one root has signed, on its way to the next. The next one is shown something harmless."""
    draft = dataclasses.replace(signed(DRAFT, "root-1", tmp_path), policy=Policy(2, ROOT_KEYS, 2, gen.ROLES))
    with pytest.raises(Rejected, match="not the policy that it shows"):
        draft.support(gen.chain())


def test_attack_a_draft_with_policies_that_no_root_has_signed(tmp_path):
    """Held: the cluster file, and a key of one's own. A root is to believe that policy 2 made the attacker a root."""
    mallory = gen.signer("mallory")
    forged = gen.signed([Entry("_policy/2", Policy(2, (mallory.public,), 1).encode())], "mallory")
    with pytest.raises(NotAuthorised):
        Draft(CLUSTER_ID, (forged,), Policy(3, (mallory.public,), 1)).chain(gen.cluster())


def test_attack_a_draft_of_another_cluster(tmp_path):
    """Held: a draft that the same root has signed for another cluster."""
    DRAFT.save(tmp_path / "d", is_new=True)
    with pytest.raises(KeyFileError, match="another cluster"):
        Draft.load(tmp_path / "d", other_cluster())


def test_attack_a_draft_with_a_forged_signature(tmp_path):
    """Held: a draft that one root has signed. A second signature is invented, to make it look complete."""
    draft = signed(DRAFT, "root-1", tmp_path)
    assert draft.change is not None
    forged = dataclasses.replace(draft.change, approvals=((gen.signer("root-2").public, bytes(64)),))
    with pytest.raises(BadSignature):
        dataclasses.replace(draft, change=forged).support(gen.chain())


# -- pledges --------------------------------------------------------------------------------------


def test_a_root_signs_one_successor_only(tmp_path):
    first = signed(DRAFT, "root-1", tmp_path)
    assert signed(first, "root-1", tmp_path) == first
    other = dataclasses.replace(DRAFT, policy=Policy(2, ROOT_KEYS, 3))
    with pytest.raises(Rejected, match="signed another policy 2 already") as caught:
        signed(other, "root-1", tmp_path)
    assert str(pledge_file(tmp_path / "root-1")) in str(caught.value)
    with pytest.raises(Rejected, match="signed another policy 2 already"):  # the same words are not the same change
        DRAFT.signed(gen.chain(), gen.signer("root-1"), tmp_path / "root-1", now_ms=gen.NOW_MS, incarnation=bytes(8))
    assert pledge_file(tmp_path / "root-1").stat().st_mode & 0o777 == 0o600


def test_pledges_are_apart_by_cluster_version_and_key(tmp_path):
    for key, cluster, version, change in (
        ("a", b"1" * 32, 2, b"x" * 32),
        ("a", b"1" * 32, 3, b"y" * 32),
        ("a", b"2" * 32, 2, b"z" * 32),
        ("b", b"1" * 32, 2, b"z" * 32),
        ("a", b"1" * 32, 2, b"x" * 32),
    ):
        pledge(tmp_path / key, cluster, version, change)
    assert len(pledge_file(tmp_path / "a").read_text().splitlines()) == 3


def test_without_its_pledges_a_key_signs_nothing(tmp_path):
    path = pledge_file(tmp_path / "root-1")
    path.write_text("not what belongs here\n")
    with pytest.raises(KeyFileError, match=r"line 1: not a cluster"):
        signed(DRAFT, "root-1", tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(KeyFileError, match="cannot be read"):
        signed(DRAFT, "root-1", tmp_path)
    with pytest.raises(KeyFileError, match="cannot be written"):
        signed(DRAFT, "root-1", tmp_path / "no such directory")
