"""A stolen key: the drill of docs/security.md, with real agents that are apart while the thief and the roots act."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gossipconf.cli.instant import now_ms
from gossipconf.cli.session import open_session
from gossipconf.cli.target import Target
from gossipconf.model.change import Change
from gossipconf.model.entry import put as put_entry
from gossipconf.trust.keys import fingerprint, load_public, load_signer, public_line
from gossipconf.trust.signing import Reservation, compose
from tests.cli.conftest import Agents, wait_at


@pytest.fixture
def shop(tmp_path, monkeypatch, run):
    """A cluster with one root, an admin of everything, and `carol`, who writes under `shop`; agents `a` and `b`."""
    made = Agents(tmp_path / "shop")
    monkeypatch.chdir(made.directory)
    monkeypatch.setenv("GOSSIPCONF_CLUSTER", str(made.directory))
    try:
        made.add("a")
        status = json.loads(run("status", "--json", "--agent", "nodes/a").out)
        made.settle_address("a", status["members"][0]["address"])
        made.make("b")
        allow_carol(run, tmp_path)
        yield made
    finally:
        made.stop_all()


def allow_carol(run, tmp_path):
    """Policy 2: a new key, `carol`, may write under `shop`."""
    assert run("key", "new", "keys/carol").code == 0
    carol = public_line(load_public(Path("keys/carol.pub")))
    text = run("policy", "show", "--agent", "nodes/a").out
    assert "\nparameters: {}" in text
    role = f'  shop:\n    keys:\n      - "{carol}"\n    prefixes: [shop]\n'
    (tmp_path / "next.yaml").write_text(text.replace("\nparameters: {}", f"{role}\nparameters: {{}}"))
    result = run("policy", "edit", tmp_path / "d2", "--from", tmp_path / "next.yaml", "--agent", "nodes/a")
    assert result.code == 0, result.err
    published(run, tmp_path / "d2", "a")


def published(run, draft, node: str) -> None:
    for arguments in (("policy", "sign", draft, "--yes"), ("policy", "publish", draft, "--agent", f"nodes/{node}")):
        result = run(*arguments)
        assert result.code == 0, result.err


def put(run, node: str, key: str, value: str, signer: str = "admin", code: int = 0):
    result = run("put", key, value, "--key", f"keys/{signer}", "--agent", f"nodes/{node}", "--force")
    assert result.code == code, result.err
    return result


def get(run, node: str, key: str) -> str | None:
    result = run("get", key, "--agent", f"nodes/{node}")
    return result.out.removesuffix("\n") if result.code == 0 else None


def test_a_stolen_key_is_cut_off_everywhere_and_what_was_legitimate_is_signed_anew(shop, run, tmp_path, monkeypatch):
    shop.start("b")
    put(run, "a", "shop/limit", "10")
    put(run, "a", "shop/good", "1", "carol")
    wait_at(shop.directory, "b", "shop/good", lambda item: bool(item.versions))
    wait_at(shop.directory, "b", "shop/limit", lambda item: bool(item.versions))

    # Apart: at a the root revokes, at b the thief and carol publish.
    shop.stop("b")
    draft = tmp_path / "revocation"
    plan = run("revoke", "keys/carol.pub", draft, "--agent", "nodes/a")
    assert plan.code == 0, plan.err
    assert f"- role 'shop' key {fingerprint(load_public(shop.directory / 'keys' / 'carol.pub'))}" in plan.out
    assert "stays: 1 version by this key" in plan.out
    published(run, draft, "a")
    shop.stop("a")
    shop.start("b")
    put(run, "b", "shop/limit", "999", "carol")
    put(run, "b", "shop/evil", "x", "carol")
    put(run, "b", "shop/late", "7", "carol")
    put(run, "b", "shop/other", "8")

    # Together again.
    shop.start("a")
    wait_at(shop.directory, "b", "_policy/3", lambda item: bool(item.versions))
    wait_at(shop.directory, "a", "shop/other", lambda item: bool(item.versions))
    wait_at(shop.directory, "b", "shop/limit", lambda item: bool(item.default and item.default.entry.value == b"10"))
    for node in "ab":
        assert [get(run, node, f"shop/{key}") for key in ("limit", "good", "evil", "late")] == ["10", "1", None, None]
    listed = json.loads(run("void", "list", "--json", "--agent", "nodes/b").out)
    assert {(one["key"], one["value"]) for one in listed} == {
        ("shop/limit", "999"),
        ("shop/evil", "x"),
        ("shop/late", "7"),
    }
    void_list = run("void", "list", "--agent", "nodes/b")
    assert "shop/evil" in void_list.out
    assert "looked through only" not in void_list.err
    with monkeypatch.context() as patched:
        patched.setattr("gossipconf.cli.policies.void.LISTED_MAX", 2)
        assert "looked through only the newest 2 versions" in run("void", "list", "--agent", "nodes/b").err
    refused = put(run, "b", "shop/evil", "y", "carol", code=1)
    assert "policy 3 does not know" in refused.err

    # What was legitimate is signed anew, by one command.
    evil = next(one["change"] for one in listed if one["key"] == "shop/evil")
    few = run("void", "resign", evil[:3], "--dry-run", "--agent", "nodes/b")
    assert (few.code, "nothing void is called" in few.err) == (3, True)
    assert "+ shop/evil  x" in run("void", "resign", evil[:10], "--dry-run", "--agent", "nodes/b").out
    shown = run("void", "resign", "shop/late", "--dry-run", "--agent", "nodes/b")
    assert "+ shop/late  7" in shown.out
    assert run("void", "resign", "shop/late", "--agent", "nodes/b", "--key", "keys/admin").code == 0
    wait_at(shop.directory, "a", "shop/late", lambda item: bool(item.default and item.default.entry.value == b"7"))
    assert "nothing to do" in run("void", "resign", "shop/late", "--agent", "nodes/b").out


def test_what_the_thief_has_published_is_named_and_the_value_before_comes_back(shop, run, tmp_path):
    put(run, "a", "shop/limit", "10")
    put(run, "a", "shop/limit", "999", "carol")
    put(run, "a", "shop/new", "x", "carol")
    changes = {one["key"]: one["change"] for one in json.loads(run("list", "shop", "--json", "--agent", "nodes/a").out)}
    draft = tmp_path / "revocation"
    named = [word for key in ("shop/limit", "shop/new") for word in ("--void", changes[key][:12])]
    plan = run(
        "revoke", fingerprint(load_public(shop.directory / "keys" / "carol.pub")), draft, *named, "--agent", "nodes/a"
    )
    assert plan.code == 0, plan.err
    assert "comes back: 10" in plan.out
    assert "becomes empty" in plan.out
    published(run, draft, "a")
    wait_at(shop.directory, "a", "shop/limit", lambda item: bool(item.default and item.default.entry.value == b"10"))
    assert get(run, "a", "shop/new") is None
    history = json.loads(run("history", "shop/limit", "--json", "--agent", "nodes/a").out)
    assert [(one["value"], one["retired"] is None, one["void"]) for one in history] == [
        ("999", False, True),
        ("10", True, False),
    ]
    shown = run("history", "shop/limit", "--agent", "nodes/a").out.splitlines()[1:]
    assert [(line.split()[3], line.split()[-1]) for line in shown] == [("void", "999"), ("live", "10")]


def test_what_is_void_already_is_not_announced_to_come_back(shop, run, tmp_path):
    put(run, "a", "shop/limit", "10")
    put(run, "a", "shop/limit", "999", "carol")
    assert run("revoke", "keys/carol.pub", tmp_path / "first", "--void-all", "--agent", "nodes/a").code == 0
    published(run, tmp_path / "first", "a")
    wait_at(shop.directory, "a", "shop/limit", lambda item: bool(item.default and item.default.entry.value == b"10"))
    plan = run("revoke", "keys/admin.pub", tmp_path / "second", "--void-all", "--agent", "nodes/a")
    assert plan.code == 0, plan.err
    assert ("becomes empty" in plan.out, "comes back" in plan.out) == (True, False)
    published(run, tmp_path / "second", "a")
    wait_at(shop.directory, "a", "shop/limit", lambda item: not item.versions)


def test_what_has_been_replaced_by_what_counts_is_not_offered_to_be_signed_anew(shop, run, tmp_path):
    """Signed anew it would be put over the value that people have chosen since; nor is a proposal signed anew."""
    put(run, "a", "shop/limit", "1", "carol")
    put(run, "a", "shop/limit", "2")
    put(run, "a", "shop/gone", "3", "carol")
    draft = tmp_path / "revocation"
    assert run("revoke", "keys/carol.pub", draft, "--void-all", "--agent", "nodes/a").code == 0
    published(run, draft, "a")
    wait_at(shop.directory, "a", "shop/gone", lambda item: not item.versions)
    listed = json.loads(run("void", "list", "--json", "--agent", "nodes/a").out)
    assert [(one["key"], one["value"]) for one in listed] == [("shop/gone", "3")]
    assert run("void", "resign", "--all", "--agent", "nodes/a", "--key", "keys/admin").code == 0
    assert [get(run, "a", f"shop/{key}") for key in ("limit", "gone")] == ["2", "3"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["SHA256:nobody"], "no key begins with SHA256:nobody in policy 2"),
        (["keys/root.pub"], "is a root key; replace it first"),
        (["keys/carol.pub", "d", "--void", "ffff"], "no live change of this key begins so"),
    ],
)
def test_what_is_wrong_is_told(shop, run, arguments, complaint):
    result = run("revoke", *arguments, "--agent", "nodes/a")
    assert result.code == 1
    assert complaint in result.err


def test_no_root_signs_a_narrowing_without_a_floor(shop, run, tmp_path):
    """`policy edit` adds the floors; one who cannot ask an agent is told so."""
    text = run("policy", "show", "--agent", "nodes/a").out
    assert '["shop"]' in text
    (tmp_path / "less.yaml").write_text(text.replace('["shop"]', '["shop/a"]'))
    less = ("--from", tmp_path / "less.yaml")
    result = run("policy", "edit", tmp_path / "d3", *less, "--agent", "nodes/a")
    assert result.code == 0, result.err
    assert "under 'shop' under policy 2 or earlier" in result.out
    shop.stop("a")
    (tmp_path / "offline.yaml").write_text(run("policy", "show").out.replace("[put, delete]", "[put]"))
    nobody = run("policy", "edit", tmp_path / "d4", "--from", tmp_path / "offline.yaml")
    assert nobody.code != 0
    assert "an agent must say what was written with them" in nobody.err
    assert not (tmp_path / "d4").exists()
    shop.start("a")
    published(run, tmp_path / "d3", "a")
    put(run, "a", "shop/b", "1", "carol", code=1)


def test_a_fork_is_shown_with_its_proof_and_ends_with_the_key(shop, run, tmp_path):
    """The thief uses a number of carol's, at an agent that has not heard of her change."""
    assert run("forks", "--agent", "nodes/a").out == "no forks\n"
    shop.start("b")
    wait_at(shop.directory, "b", "_policy/2", lambda item: bool(item.versions))
    reservation = Reservation(os.urandom(8), 1)
    theirs = [
        signed_with(shop, node, "carol", "shop/x", value, reservation) for node, value in (("a", "1"), ("b", "2"))
    ]
    shop.start("a")
    wait_at(shop.directory, "a", "shop/x", lambda item: len(item.versions) == 2)
    (fork,) = json.loads(run("forks", "--json", "--agent", "nodes/a").out)
    assert (fork["role"], fork["number"]) == ("shop", 1)
    assert {branch["change"] for branch in fork["branches"]} == {one.id.hex() for one in theirs}
    assert all(branch["live"] for branch in fork["branches"])
    shown = run("forks", "--agent", "nodes/a").out
    assert "number 1 of shop SHA256:" in shown
    assert "2 changes" in shown
    thiefs = theirs[1].id.hex()
    assert run("revoke", "keys/carol.pub", tmp_path / "d", "--void", thiefs, "--agent", "nodes/a").code == 0
    published(run, tmp_path / "d", "a")
    wait_at(shop.directory, "a", "shop/x", lambda item: [one.entry.value for one in item.versions] == [b"1"])
    assert run("forks", "--agent", "nodes/a").out == "no forks\n"


def signed_with(shop, node: str, by: str, key: str, value: str, reservation: Reservation) -> Change:
    """Publish at an agent that is alone, under a number that is not the agent's; then it stays alone."""
    for name in "ab":
        if name != node and name in shop.running:
            shop.stop(name)
    if node not in shop.running:
        shop.start(node)
    with open_session(Target.find(shop.directory, shop.directory / "nodes" / node)) as session:
        signer = load_signer(shop.directory / "keys" / by)
        entries = [put_entry(key, value.encode())]
        change = compose(
            entries, (), chain=session.chain, signer=signer, reservation=reservation, now_ms=now_ms(), comment="x"
        )
        session.send(change)
    return change
