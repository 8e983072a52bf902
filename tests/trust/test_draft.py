"""Drafts of policies: from root to root, and files that lie."""

from __future__ import annotations

import dataclasses

import pytest

from gossipconf.model.entry import Entry
from gossipconf.model.errors import BadSignature, KeyFileError, NotAuthorised, Rejected
from gossipconf.trust.cluster import Cluster, found_cluster, sign_policy
from gossipconf.trust.draft import Draft
from gossipconf.trust.pledge import pledge_file
from gossipconf.trust.policy import Policy
from tests import strategies as gen

CLUSTER_ID = gen.cluster().genesis.cluster_id
ROOT_KEYS = gen.keys(*gen.ROOTS)
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
