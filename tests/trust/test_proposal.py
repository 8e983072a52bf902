"""Proposals: who has signed, who may, and files that lie."""

from __future__ import annotations

import pytest

from gossipconf.model.encoding import encode
from gossipconf.model.entry import Entry
from gossipconf.model.errors import InvalidInput, KeyFileError, NotAuthorised, WrongCluster
from gossipconf.trust.draft import Draft
from gossipconf.trust.policy import Policy, Role
from gossipconf.trust.proposal import check_proposal, load_proposal, save_proposal, support
from gossipconf.trust.signing import approve, compose
from tests import strategies as gen

CLUSTER_ID = gen.cluster().genesis.cluster_id
ROOT_KEYS = gen.keys(*gen.ROOTS)
LIMIT = Entry("pay/limit", b"1")


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
        (encode([]), "no file that gossipconf writes"),
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
