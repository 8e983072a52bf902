"""Proposals on real agents: nothing is readable before it is approved, and everything once it is."""

from __future__ import annotations

import contextlib
import json

import pytest

from gossipconf.cli.instant import now_ms
from gossipconf.cli.publish.board import read_board
from gossipconf.cli.publish.delivery import post
from gossipconf.cli.session import open_session
from gossipconf.cli.target import Target
from gossipconf.model.entry import ValueType, put
from gossipconf.trust.keys import fingerprint, load_public, load_signer
from gossipconf.trust.policy import proposals_of
from gossipconf.trust.signing import Reservation, approve, compose
from tests.cli.conftest import wait_at


def public(directory, name):
    return fingerprint(load_public(directory / "keys" / f"{name}.pub"))


def as_key(name):
    return ("--key", f"keys/{name}")


def listed(run, *options):
    result = run("proposals", "--json", *options)
    assert result.code == 0, result.err
    return json.loads(result.out)


def proposed(run, key, value, name="dave", *options):
    """The id of what is proposed now."""
    result = run("put", key, value, "--propose", *as_key(name), *options)
    assert result.code == 0, result.err
    (one,) = [one for one in listed(run) if one["entries"][0]["key"] == key and one["entries"][0]["value"] == value]
    return one["id"]


def approvers_at(directory, name, key, number):
    """Who has approved what lives at `key`, once they are so many.

    Watchers are told of values, and this is none: it waits until both agents have one root, which covers approvals.
    """
    with open_session(Target.find(directory, directory / "nodes" / name)) as session:
        for _ in range(20):
            with contextlib.closing(session.acks(None, 1.0)) as tallies:
                next((tally for tally in tallies if tally.is_done), None)
            raw = session._client.request("get", key=key)["versions"]
            approvers = {one for one, _ in session.decode(raw[0]["change"]).approvals}
            if len(approvers) == number:
                break
        return approvers


def test_a_proposal_takes_effect_with_the_last_signature_only(quorum, run):
    refused = run("put", "pay/one", "1", *as_key("dave"))
    assert refused.code == 1
    assert "needs 2 approvals: propose it first" in refused.err
    identity = proposed(run, "pay/one", "1", "dave", "--comment", "OPS-7")
    assert run("get", "pay/one").code == 3
    assert "pay/one" not in run("list").out
    (one,) = [one for one in listed(run) if one["id"] == identity]
    assert (one["signed"], one["missing"], one["comment"], one["moved"]) == (
        [public(quorum, "dave")],
        1,
        "OPS-7",
        False,
    )
    assert set(one["may"]) == {public(quorum, "erin"), public(quorum, "frank")}
    table = run("proposals").out
    assert identity[:10] in table
    assert "OPS-7" in table
    assert "has signed this already" in run("approve", identity[:8], *as_key("dave")).out
    stranger = run("approve", identity[:8])
    assert stranger.code == 1
    assert "cannot approve this; it may still be signed by" in stranger.err
    assert run("get", "pay/one").code == 3
    result = run("approve", identity[:8], *as_key("erin"))
    assert result.code == 0, result.err
    assert "+ pay/one  1\n" in result.out
    assert "published 1 key at a" in result.out
    assert run("get", "pay/one").out == "1"
    wait_at(quorum, "b", "pay/one", lambda item: item.default is not None)
    assert identity not in {one["id"] for one in listed(run)}
    assert identity in {one["id"] for one in listed(run, "--all") if one["published"]}
    assert "published already" in run("approve", identity[:8], *as_key("frank")).out
    proposed(run, "pay/one", "2")  # and what is done with goes
    assert identity not in {one["id"] for one in listed(run, "--all")}


def test_an_approver_is_told_for_whom_and_when(quorum, run):
    canary = proposed(run, "pay/canary", "1", "dave", "--variant", "canary", "--percent", "5", "--until", "2100-01-01")
    (one,) = [one for one in listed(run) if one["id"] == canary]
    assert one["entries"][0]["match"] == [{"kind": "percent", "salt": "canary", "percent": 5.0}]
    shown = run("approve", canary[:8], *as_key("erin")).out
    assert "+ pay/canary [canary]  1  (for 5% by salt canary, rank 10,000; until 2100-01-01 00:00:00 UTC)\n" in shown
    waiting = proposed(run, "pay/canary", "2", "dave", "--activate-at", "2100-01-01")
    assert [one["activation"] for one in listed(run) if one["id"] == waiting] == ["2100-01-01T00:00:00.000Z"]
    shown = run("approve", waiting[:8], *as_key("erin")).out
    assert "+ pay/canary [at-21000101T000000Z]  2  (from 2100-01-01 00:00:00 UTC on)\n" in shown


def test_the_board_is_the_same_at_every_agent(quorum, run):
    identity = proposed(run, "pay/two", "1")
    place = f"{proposals_of(load_public(quorum / 'keys' / 'dave.pub'))}/{identity}"
    wait_at(quorum, "b", place, lambda item: bool(item.versions))
    result = run("approve", identity[:8], "--agent", quorum / "nodes" / "b", *as_key("frank"))
    assert "published 1 key at b" in result.out
    assert wait_at(quorum, "a", "pay/two", lambda item: bool(item.versions)).default is not None


def test_a_file_goes_from_hand_to_hand(quorum, run, tmp_path):
    path = tmp_path / "limits"
    assert run("put", "pay/file", "1", *as_key("erin"), "--propose-to", path).code == 0
    assert listed(run) == [one for one in listed(run) if one["entries"][0]["key"] != "pay/file"]
    again = run("put", "pay/file", "1", *as_key("erin"), "--propose-to", path)
    assert again.code == 1
    assert "not overwritten" in again.err
    assert "published 1 key" in run("approve", path, *as_key("frank")).out
    assert run("get", "pay/file").out == "1"
    assert "published already" in run("approve", path, *as_key("dave")).out


def test_delete_and_apply_propose_too(quorum, run, tmp_path):
    (tmp_path / "pay").mkdir()
    (tmp_path / "pay" / "rates.yaml").write_text("eu: 1\nus: 2\n")
    result = run("apply", tmp_path, "--yes", "--propose", *as_key("dave"))
    assert "proposed 2 keys" in result.out, result.err
    (one,) = [one for one in listed(run) if one["entries"][0]["key"] == "pay/rates/eu"]
    assert "published 2 keys" in run("approve", one["id"], *as_key("erin")).out
    result = run("delete", "pay/rates/eu", "--propose-to", tmp_path / "d", *as_key("dave"))
    assert "proposed 1 key" in result.out
    assert run("get", "pay/rates/eu").out == "1"
    assert "- pay/rates/eu  1\n" in run("approve", tmp_path / "d", *as_key("erin")).out
    assert run("get", "pay/rates/eu").code == 3
    machine = run("put", "pay/json", "2", "--propose", "--json", *as_key("dave"))
    found = json.loads(machine.out)
    assert (found["outcome"], found["approvals_missing"]) == ("proposed", 1)
    assert f"gossipconf approve {found['change'][:10]}" in machine.err
    dry = run("put", "pay/rates/eu", "2", "--propose", "--dry-run", *as_key("dave"))
    assert dry.code == 2
    assert "pay/rates/eu" not in {one["entries"][0]["key"] for one in listed(run)}


def test_a_base_that_has_moved_is_told_and_wants_a_yes(quorum, run):
    first = proposed(run, "pay/base", "1")
    second = proposed(run, "pay/base", "2", "erin")
    assert run("approve", second, *as_key("frank")).code == 0
    (one,) = [one for one in listed(run) if one["id"] == first]
    assert one["moved"]
    assert one["entries"][0]["live"] == ["2"]
    refused = run("approve", first, *as_key("frank"))
    assert refused.code == 1
    assert "pay/base has changed since this was proposed" in refused.err
    assert "not signed" in refused.err
    assert "~ pay/base  2 → 1\n" in refused.out
    assert run("conflicts", "pay/base").out == "no conflicts\n"
    accepted = run("approve", first, "--yes", *as_key("frank"))
    assert accepted.code == 0
    assert "has changed since" in accepted.err
    assert run("conflicts", "pay/base").out.startswith("1 key in conflict")


def test_who_proposed_can_withdraw(quorum, run):
    identity = proposed(run, "pay/withdrawn", "1")
    other = run("withdraw", identity, *as_key("erin"))
    assert other.code == 1
    assert public(quorum, "dave") in other.err
    assert f"withdrawn: the proposal {identity[:10]}" in run("withdraw", identity, *as_key("dave")).out
    assert run("approve", identity, *as_key("erin")).code == 3
    assert identity not in {one["id"] for one in listed(run)}


def test_two_who_complete_one_change_at_two_agents_leave_both_signatures_at_both(quorum, run):
    """Invariant 2 with real agents: the same change twice, with other approvers."""
    with open_session(Target.find(quorum, quorum / "nodes" / "a")) as session:
        change = compose(
            [put("pay/both", b"1")],
            (),
            chain=session.chain,
            signer=load_signer(quorum / "keys" / "dave"),
            reservation=Reservation(b"both one", 1),
            now_ms=now_ms(),
            is_proposed=True,
        )
    for agent, name in (("a", "erin"), ("b", "frank")):
        with open_session(Target.find(quorum, quorum / "nodes" / agent)) as session:
            session.send(approve(change, load_signer(quorum / "keys" / name)))
    names = {"erin", "frank"}
    for agent in ("a", "b"):
        assert approvers_at(quorum, agent, "pay/both", len(names)) == {
            load_public(quorum / "keys" / f"{name}.pub") for name in names
        }
    roots = set()
    for agent in ("a", "b"):
        with open_session(Target.find(quorum, quorum / "nodes" / agent)) as session:
            roots.add(session.info["root"])
    assert len(roots) == 1


def test_what_several_have_completed_without_knowing_of_each_other_anybody_publishes(quorum, run):
    """Each of them saw a signature missing and put their own on the board, at agents that were apart."""
    identity = proposed(run, "pay/apart", "1")
    with open_session(Target.find(quorum, quorum / "nodes" / "a")) as session:
        erin = load_signer(quorum / "keys" / "erin")
        (one,) = read_board(session).named(identity)
        post(session, erin, approve(one.change, erin).restrict(()))
    (listing,) = [one for one in listed(run) if one["id"] == identity]
    assert (listing["missing"], listing["published"]) == (0, False)
    assert "none: approve it to publish" in run("proposals").out
    assert run("get", "pay/apart").code == 3
    assert "published 1 key" in run("approve", identity, *as_key("dave")).out
    assert run("get", "pay/apart").out == "1"


@pytest.mark.parametrize("stray", ["junk", "another id", "not allowed"])
def test_attack_what_lies_on_the_board_is_believed_only_as_far_as_it_verifies(quorum, run, stray):
    """Held: the key of one who may approve. It puts there what is no proposal, another's under a wrong id, or what no
    approval could allow."""
    frank = load_signer(quorum / "keys" / "frank")
    place = proposals_of(frank.public)
    with open_session(Target.find(quorum, quorum / "nodes" / "a")) as session:
        known = {"chain": session.chain, "reservation": Reservation(stray.encode()[:8].ljust(8), 1), "now_ms": now_ms()}
        inner = compose([put("pay/stray", b"1")], (), signer=frank, is_proposed=True, **known)
        content = {"junk": b"junk", "another id": inner.encode(), "not allowed": inner.encode()}[stray]
        name = {"junk": "ab" * 32, "another id": "cd" * 32, "not allowed": f"{inner.id.hex()}/x"}[stray]
        session.publish([put(f"{place}/{name}", content, ValueType.BYTES)], frank)
    result = run("proposals")
    assert result.code == 0
    assert "left out: no valid proposals" in result.err
    assert "pay/stray" not in result.out


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["approve", "zz"], 3, "is no file, and no id of a proposal"),
        (["approve", "abcdef0123"], 3, "no proposal abcdef0123"),
        (["approve", "cluster.gossipconf"], 1, "is not a proposal of a change"),
        (["withdraw", "abcdef0123"], 3, "no proposal abcdef0123"),
        (["put", "shop/a", "1", "--propose"], 1, "nobody has to approve this"),
        (["put", "pay/a", "1", "--propose"], 1, "whoever approves it"),
        (["put", "pay/a", "1", "--propose", "--propose-to", "x"], 2, "either --propose or"),
        (["put", "pay/a", "-", "--propose", "--key", "keys/dave"], 1, "--propose-to FILE"),
    ],
)
def test_bad_input_is_named(quorum, run, arguments, code, part):
    result = run(*arguments, stdin=b"x" * (1 << 20))
    assert result.code == code
    assert part in result.err
    assert "Traceback" not in result.err
