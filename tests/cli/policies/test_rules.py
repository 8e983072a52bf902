"""A policy as text: what is written comes back, what is wrong is named with its line, what differs is told."""

from __future__ import annotations

import pytest

from gossipconf.cli.policies.rules import differences, from_text, to_json, to_text
from gossipconf.model.errors import InvalidInput
from gossipconf.trust.keys import fingerprint, public_line
from gossipconf.trust.membership import Membership, with_membership
from gossipconf.trust.narrowing import losses
from gossipconf.trust.policy import Policy, Role
from tests import strategies as gen

ROOTS = gen.keys("root-1", "root-2", "root-3")
HEAD = Policy(
    4,
    ROOTS,
    2,
    (
        Role('no "body"', (), ()),
        Role("payments", gen.keys("dave", "erin"), ("", "_nodes", "pay/ü"), ("put", "stage"), 2),
    ),
    (("days", 30), ("max: #", 0)),
)
TEXT = to_text(HEAD, "shop")


def test_what_is_written_comes_back_as_the_next_version():
    policy = from_text(TEXT, "f", HEAD)
    assert policy.version == 5
    assert differences(HEAD, policy) == []
    assert to_text(policy, "shop").splitlines()[1:] == TEXT.splitlines()[1:]
    assert to_text(Policy(1, ROOTS[:1], 1), "x").count("{}") == 2
    assert from_text(to_text(Policy(1, ROOTS[:1], 1), "x"), "f", Policy(1, ROOTS[:1], 1)).roles == ()
    assert to_json(HEAD)["roles"][1]["approvals"] == 2


def test_order_is_no_matter_and_defaults_are_as_the_page_says():
    text = (
        f"roles: {{r: {{prefixes: [z, a], keys: ['{public_line(ROOTS[1])} b', '{public_line(ROOTS[0])}']}}}}\n"
        f"roots: {{keys: ['{public_line(ROOTS[0])}'], threshold: 1}}\n"
    )
    (role,) = from_text(text, "f", HEAD).roles
    assert role == Role("r", ROOTS[:2], ("a", "z"), ("put", "delete"), 1)


def test_revoked_certificates_are_written_as_pki_show_has_them():
    digest = bytes(range(32))
    said = Membership(4, ("i",), ("checkout-3",), (digest,))
    head = Policy(4, ROOTS, 2, with_membership(HEAD.roles, said), HEAD.parameters)
    text = to_text(head, "shop")
    assert f"- SHA256:{digest.hex()}\n" in text
    assert Membership.of(from_text(text, "f", head)).certificates == (digest,)
    assert to_json(head)["roles"][-1]["keys"] == [{"certificate": f"SHA256:{digest.hex()}"}]
    assert [step.words for step in differences(HEAD, head)][-1] == (
        f"role '_revoked' certificate SHA256:{digest.hex()}"
    )
    assert losses(head, HEAD) == (), "who is pardoned has lost nothing"
    for line in ("SHA256:abcd", f"SHA256:{digest.hex()[:-2]}zz", "hello"):
        with pytest.raises(InvalidInput, match="no certificate's fingerprint"):
            from_text(text.replace(f"SHA256:{digest.hex()}", line), "f", head)


def test_names_are_what_follows_a_key_and_stay_when_it_goes():
    dave, erin = gen.signer("dave").public, gen.signer("erin").public
    text = TEXT.replace(public_line(dave), f'"{public_line(dave, "Dave: #1 é")}"')
    named = from_text(text.replace(public_line(erin), public_line(erin, "erin@host")), "f", HEAD)
    assert (named.name(dave), named.name(erin), named.name(ROOTS[0])) == ("Dave: #1 é", "erin@host", None)
    assert [step.words for step in differences(HEAD, named)] == [
        f"name of {fingerprint(key)} (none) → {named.name(key)!r}" for key in sorted((dave, erin))
    ]
    again = from_text(to_text(named, "shop"), "f", named)
    assert again.names == named.names
    shorter = "\n".join(line for line in to_text(named, "shop").splitlines() if "Dave" not in line)
    gone = from_text(shorter.replace("approvals: 2", "approvals: 1"), "f", named)
    assert dave not in gone.roles[1].keys
    assert gone.name(dave) == "Dave: #1 é"
    unnamed = from_text(to_text(named, "shop").replace(" erin@host", ""), "f", named)
    assert (unnamed.name(dave), unnamed.name(erin)) == ("Dave: #1 é", None)
    assert to_json(named)["roles"][1]["keys"][0]["name"] in ("Dave: #1 é", "erin@host")


def test_one_key_has_one_name():
    root = public_line(ROOTS[0])
    twice = TEXT.replace(root, f"{root} Ada").replace(LINE, f"{root} Bob")
    with pytest.raises(InvalidInput, match="is named 'Bob' here and 'Ada' above"):
        from_text(twice, "f", HEAD)
    assert from_text(twice.replace("Bob", "Ada"), "f", HEAD).name(ROOTS[0]) == "Ada"
    with pytest.raises(InvalidInput, match="holder's name: a name has 65 bytes"):
        from_text(TEXT.replace(LINE, f"{LINE} {'x' * 65}"), "f", HEAD)


LINE = public_line(gen.signer("dave").public)


@pytest.mark.parametrize(
    ("old", "new", "line", "part"),
    [
        ("threshold: 2", "threshold: 1", "threshold", "above half of the 3 roots, not 1"),
        ("threshold: 2", "threshold: 4", "threshold", "whole number, 1 to 3"),
        ("threshold: 2", "threshold: two", "threshold", "whole number"),
        ("threshold: 2", "treshold: 2", "treshold", "unknown here; there may be threshold, keys"),
        ("roots:", "root:", "root:", "unknown here"),
        ("approvals: 2", "approvals: 3", "approvals: 3", "whole number, 1 to 2"),
        ("[put, stage]", "[put, publish]", "publish", "operations are put, delete, stage, snapshot"),
        ("[put, stage]", "put", "operations: put", "a list of texts"),
        ('"_nodes"', '"_nodes", "a//b"', "a//b", "empty segment"),
        ('"_nodes"', '"_nodes", "_nodes"', "_nodes", "twice"),
        (LINE, "ssh-rsa AAAA", "ssh-rsa", "no line of an Ed25519 .pub file"),
        (f"    - {LINE}", f"    - {LINE}\n      - {LINE} x", LINE, "twice"),
        ('"days": 30', '"days": x', '"days": x', "whole number, 0 or more"),
        ("approvals: 2", "approvals: 2\n    approvals: 2", "approvals: 2", "twice"),
        ('"days": 30', "value_byte_max: 9", "value_byte_max", "did you mean value_bytes_max?"),
        ('"days": 30', "strikt/shop: 1", "strikt/shop", "did you mean strict/PREFIX?"),
        ('"days": 30', '"days": 31', '"days": 31', "there are value_bytes_max, strict/PREFIX"),
        ('"days": 30', "value_bytes_max: 0", "value_bytes_max", "must be 1 to 1048576, not 0"),
        ('"days": 30', "strict/shop: 2", "strict/shop", "must be 1; leave it out"),
        ('"days": 30', "strict/_nodes: 1", "strict/_nodes", "cannot be strict"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(old, new, line, part):
    text = TEXT.replace(old, new)
    assert text != TEXT
    with pytest.raises(InvalidInput) as caught:
        from_text(text, "next.yaml", HEAD)
    name, number, _ = str(caught.value).split(":", 2)
    assert name == "next.yaml"
    assert line in text.splitlines()[int(number) - 1]
    assert part in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "1", "[]", "roots:", "roles: {}", "roots: {threshold: 1, keys: []}", "a: [", "\t"]
)
def test_what_is_no_policy_at_all(text):
    with pytest.raises(InvalidInput, match=r"^f:\d+: "):
        from_text(text, "f", HEAD)


def test_what_differs_is_told_with_who_loses_a_right():
    after = Policy(
        5,
        (*ROOTS[:2],),
        2,
        (Role("payments", gen.keys("erin", "frank"), ("pay/ü",), ("put", "delete"), 1), Role("new", ROOTS[:1], ("",))),
        (("days", 31),),
    )
    steps = [(step.sign, step.words, step.narrows) for step in differences(HEAD, after)]
    dave, frank = (fingerprint(gen.signer(name).public) for name in ("dave", "frank"))
    assert steps == [
        ("-", f"root {fingerprint(ROOTS[2])}", True),
        ("-", "role 'no \"body\"'", True),
        ("-", f"role 'payments' key {dave}", True),
        ("+", f"role 'payments' key {frank}", False),
        ("-", "role 'payments' prefix \"\" (all keys)", True),
        ("-", "role 'payments' prefix '_nodes'", True),
        ("-", "role 'payments' operation 'stage'", True),
        ("+", "role 'payments' operation 'delete'", False),
        ("~", "role 'payments' approvals 2 → 1", False),
        ("+", "role 'new': put, delete under \"\" (all keys), signatures needed: 1", False),
        ("+", f"role 'new' key {fingerprint(ROOTS[0])}", False),
        ("~", "parameter 'days' 30 → 31", False),
        ("~", "parameter 'max: #' 0 → (none)", False),
    ]


def test_a_parameter_that_is_unknown_here_is_marked_and_may_stay_as_it_is():
    assert '"days": 30 # unknown to this release' in TEXT
    assert to_json(HEAD)["unknown_parameters"] == ["days", "max: #"]
    known = Policy(5, ROOTS, 2, parameters=(("strict/shop", 1), ("value_bytes_max", 4096)))
    text = to_text(known, "shop")
    assert "unknown" not in text
    assert from_text(text, "f", Policy(4, ROOTS, 2)).parameters == known.parameters
    assert from_text(TEXT, "f", HEAD).parameters == HEAD.parameters


def test_roles_about_nodes_name_certificates_by_their_fingerprints_and_let_nobody_write():
    digest = "0123456789abcdef" * 4
    text = TEXT.replace(
        "roles:\n", f"roles:\n  _revoked:\n    prefixes: [_nodes/e]\n    keys: ['SHA256:{digest}']\n", 1
    ).replace("roles:\n", "roles:\n  _issuers:\n    prefixes: [_nodes/a]\n", 1)
    assert "  _issuers:" in text, "the help is above"
    policy = from_text(text, "f", HEAD)
    roles = {role.name: role for role in policy.roles}
    assert roles["_revoked"] == Role("_revoked", (bytes.fromhex(digest),), ("_nodes/e",), ())
    assert roles["_issuers"] == Role("_issuers", (), ("_nodes/a",), ())
    assert to_json(policy)["roles"][1]["keys"] == [{"certificate": f"SHA256:{digest}"}]
    assert [step.words for step in differences(HEAD, policy)] == [
        "role '_issuers': '_nodes/a'",
        "role '_revoked': '_nodes/e'",
        f"role '_revoked' certificate SHA256:{digest}",
    ]
    assert from_text(to_text(policy, "shop"), "f", HEAD) == policy
    with pytest.raises(InvalidInput, match="no certificate's fingerprint"):
        from_text(text.replace(digest, digest[:-1]), "f", HEAD)
