"""Sealed values from the command line, at real agents: who reads them, who does not, and where they never show."""

from __future__ import annotations

import json
import logging
import shutil
import stat
from pathlib import Path

import pytest

from gossipconf.cli.publish.recipients import recipients_named
from gossipconf.cli.session import open_session
from gossipconf.cli.target import CLUSTER_FILE, Target
from gossipconf.model import errors
from gossipconf.model.entry import MatchKind, MatchTerm, ValueType, put
from gossipconf.runtime.pki import create_ca, issue_node
from gossipconf.trust.cluster import Cluster, sign_policy
from gossipconf.trust.keys import load_signer
from gossipconf.trust.membership import Membership, with_membership
from gossipconf.trust.policy import Policy
from gossipconf.trust.recipient import load_recipient_key
from gossipconf.trust.sealed import SEAL_RANDOM_BYTES, Opened, Place, seal
from gossipconf.trust.signing import Reservation
from tests.cli.conftest import AgentThread, command
from tests.cli.test_commands import document, siblings

SECRET = b"planted-Zq7-secret"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A cluster of two running agents, `a` and `b`, and a certificate for `c`, which does not run."""
    directory = tmp_path_factory.mktemp("s") / "shop"
    made = ("pki", "node", "--listen", "127.0.0.1:0", "--cluster", directory)
    assert command("init", directory) == 0
    assert command(*made, "a") == 0
    assert command(*made, "c") == 0
    first = AgentThread(directory / "nodes" / "a")
    first.start()
    with open_session(Target.find(directory)) as session:
        assert command(*made, "b", "--join", session.info["address"]) == 0
    second = AgentThread(directory / "nodes" / "b")
    second.start()
    yield directory
    second.stop()
    first.stop()


@pytest.fixture
def home(pair, monkeypatch, run, caplog):
    """The directory of the two agents, in which commands run; all that is logged is kept."""
    monkeypatch.chdir(pair)
    caplog.set_level(logging.DEBUG)
    return pair


@pytest.fixture
def person(tmp_path, run):
    """The files of a key of somebody who runs no agent."""
    assert run("seal", "key", tmp_path / "me").code == 0
    return tmp_path / "me"


def everything_on_disk(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


# -- reading --------------------------------------------------------------------------------------


def test_only_an_agent_that_is_a_recipient_opens(home, run, caplog):
    sealing = run("put", "one/pw", "-", "--seal-to", "b", "--comment", "rotate often", stdin=SECRET)
    assert sealing.out.startswith("+ one/pw  (sealed to 1 recipient, ")
    change = sealing.out.rpartition(" ")[2].strip()
    assert run("acks", change).code == 0  # both agents have it
    refused = run("get", "one/pw", "--agent", "nodes/a")
    assert (refused.code, refused.stdout) == (1, b"")
    assert refused.err == (
        "error: 'one/pw' is sealed to 1 recipient, and agent a is none of them; ask one that is with --agent, "
        "or open it with --open-with FILE\n"
    )
    opened = run("get", "one/pw", "--agent", "nodes/b")
    assert opened.stdout == SECRET
    assert document(run("get", "one/pw", "--json", "--agent", "nodes/a"))["opened"] is None
    found = document(run("get", "one/pw", "--json", "--agent", "nodes/b"))
    assert found["opened"] == {"type": "text", "value": SECRET.decode()}
    assert (found["type"], found["value"]["recipients"]) == (
        "sealed",
        [load_recipient_key(home / "nodes" / "b" / "seal.key").id.hex()],
    )


def test_nothing_unsealed_is_on_disk_in_a_log_or_in_what_others_show(home, run, caplog):
    assert run("put", "leak/pw", "-", "--seal-to", "a", "--seal-to", "b", stdin=SECRET).code == 0
    assert run("get", "leak/pw", "--agent", "nodes/a").stdout == SECRET
    assert run("seal", "rotate", "leak", "--seal-to", "a").code == 0
    assert run("get", "leak/pw", "--agent", "nodes/a").stdout == SECRET
    shown = [
        run(*arguments)
        for arguments in (
            ["list", "leak"],
            ["list", "leak", "--json"],
            ["history", "leak/pw"],
            ["history", "leak/pw", "--json"],
            ["get", "leak/pw", "--all"],
            ["get", "leak/pw", "--all", "--json"],
            ["conflicts"],
            ["status"],
            ["put", "leak/pw", "-", "--seal-to", "a", "--dry-run"],
        )
    ]
    for result in shown:
        assert SECRET not in result.stdout
        assert SECRET.decode() not in result.err
    assert SECRET not in everything_on_disk(home)
    assert SECRET.decode() not in caplog.text
    assert "(sealed to 1 recipient, " in shown[0].out


def test_watch_shows_that_it_is_sealed(home, run):
    with open_session(Target.find(home)) as session:
        changes = session.watch("watched")
        assert run("put", "watched/pw", "-", "--seal-to", "a", stdin=SECRET).code == 0
        item = next(changes)
        assert item.default is not None
        assert item.default.entry.type is ValueType.SEALED
        assert SECRET not in (item.default.entry.value or b"")
        changes.close()


def test_a_person_opens_with_a_file(home, run, person):
    assert run("put", "person/pw", "-", "--seal-to", f"{person}.pub", "--type", "bytes", stdin=b"\xff\0").code == 0
    assert run("get", "person/pw", "--open-with", person).stdout == b"\xff\0"
    assert run("get", "person/pw", "--agent", "nodes/a").code == 1
    other = person.with_name("other")
    assert run("seal", "key", other).code == 0
    refused = run("get", "person/pw", "--open-with", other)
    assert refused.code == 1
    assert refused.err == f"error: 'person/pw' is sealed to 1 recipient, and the key {other} is none of them\n"
    assert "is not an X25519 private key" in run("get", "person/pw", "--open-with", "keys/admin").err


def test_an_agent_gives_out_no_other_key_than_that_of_the_version_that_is_asked_for(home, run):
    assert run("put", "ask/pw", "-", "--seal-to", "a", stdin=SECRET).code == 0
    assert run("put", "ask/open", "1").code == 0
    with open_session(Target.find(home)) as session:
        sealed, plain = session.get("ask/pw").default, session.get("ask/open").default
        assert sealed is not None
        assert plain is not None
        assert len(session.content_key(sealed)) == 32
        with pytest.raises(errors.InvalidInput, match="'ask/open' is not a sealed value"):
            session.content_key(plain)
        for fields in ({}, {"key": 1}, {"key": "a//b"}):
            with pytest.raises(errors.InvalidInput):
                session._client.request("unwrap", **fields)
        for version in (None, "", 1, [], bytes(32)):
            with pytest.raises(errors.ControlError, match="has no such version"):
                session._client.request("unwrap", key="ask/pw", version=version)
        with pytest.raises(errors.ControlError, match="'ask/open' has been replaced meanwhile"):
            session._client.request("unwrap", key="ask/open", version=sealed.id)
        assert run("put", "ask/pw", "-", "--seal-to", "a", stdin=b"new").code == 0
        with pytest.raises(errors.ControlError, match="has been replaced meanwhile"):
            session.content_key(sealed)


def test_an_agent_without_its_key_says_so(home, run, pair, tmp_path, caplog):
    shutil.copytree(pair / "nodes" / "c", tmp_path / "c")
    (tmp_path / "c" / "seal.key").unlink()
    agent = AgentThread(tmp_path / "c")
    agent.start()
    try:
        assert run("put", "keyless/pw", "-", "--seal-to", "c", "--agent", tmp_path / "c", stdin=SECRET).code == 0
        assert f"no {tmp_path / 'c' / 'seal.key'}: this agent opens no sealed values" in caplog.text
        assert "and agent c is none of them" in run("get", "keyless/pw", "--agent", tmp_path / "c").err
    finally:
        agent.stop()


def publish_envelope(home, key, data):
    """Publish any bytes as a sealed value, as a program that does not check would."""
    target = Target.find(home)
    with open_session(target) as session:
        session.publish([put(key, data, ValueType.SEALED)], target.signer(None))


def envelope_for(home, name, key, cluster_id=None):
    with open_session(Target.find(home)) as session:
        place = Place(cluster_id or session.chain.cluster_id, key)
    public = load_recipient_key(home / "nodes" / name / "seal.key").public
    return seal(Opened(ValueType.TEXT, SECRET), place, [public], bytes(SEAL_RANDOM_BYTES))


@pytest.mark.parametrize(
    ("key", "make", "part"),
    [
        ("bad/moved", lambda home: envelope_for(home, "a", "bad/other"), "was sealed for another key or variant"),
        ("bad/cluster", lambda home: envelope_for(home, "a", "bad/cluster", bytes(32)), "sealed for cluster 00000000…"),
        ("bad/altered", lambda home: envelope_for(home, "a", "bad/altered")[:-1] + b"!", "altered since it was sealed"),
        ("bad/none", lambda home: b"no envelope", "'bad/none' cannot be opened: a sealed value"),
    ],
)
def test_what_does_not_open_is_told_apart(home, run, key, make, part):
    publish_envelope(home, key, make(home))
    refused = run("get", key, "--agent", "nodes/a")
    assert (refused.code, refused.stdout) == (1, b"")
    assert part in refused.err
    assert run("list", "bad").code == 0
    assert part in run("seal", "rotate", key, "--seal-to", "b", "--agent", "nodes/a").err


# -- sealing --------------------------------------------------------------------------------------


def test_recipients_come_from_files_and_directories(home, run, person, tmp_path):
    both = tmp_path / "recipients"
    both.write_bytes((home / "nodes" / "a" / "node.crt").read_bytes() + Path(f"{person}.pub").read_bytes())
    assert "sealed to 2 recipients" in run("put", "from/file", "1", "--seal-to", both).out
    assert "sealed to 3 recipients" in run("put", "from/directory", "1", "--seal-to", "nodes").out
    assert "sealed to 3 recipients" in run("put", "from/both", "1", "--seal-to", "nodes", "--seal-to", "a").out
    certificates = home / "certificates"
    certificates.mkdir(exist_ok=True)
    issue_node(home / "ca", "far", tmp_path / "far")
    shutil.copy(tmp_path / "far" / "node.crt", certificates / "far.crt")
    assert "sealed to 1 recipient," in run("put", "from/far", "1", "--seal-to", "far").out


def test_a_name_counts_only_as_the_ca_has_certified_it(home, run, tmp_path):
    create_ca(tmp_path / "other", bytes(32))
    foreign = issue_node(tmp_path / "other", "mallory", tmp_path / "mallory").certificate
    refused = run("put", "name/pw", "-", "--seal-to", foreign, stdin=SECRET)
    assert refused.code == 1
    assert "the certificate of node 'mallory' is for cluster 00000000…" in refused.err
    with open_session(Target.find(home)) as session:
        create_ca(tmp_path / "same", session.chain.cluster_id)
    own = issue_node(tmp_path / "same", "b", tmp_path / "b").certificate
    assert "is not issued by ca/ca.crt" in run("put", "name/pw", "-", "--seal-to", own, stdin=SECRET).err.replace(
        f"{home}/", ""
    )
    assert run("put", "name/pw", "1", "--seal-to", own, "--ca", tmp_path / "same" / "ca.crt").code == 0
    certificates = home / "certificates"
    certificates.mkdir(exist_ok=True)
    shutil.copy(home / "nodes" / "a" / "node.crt", certificates / "liar.crt")
    assert "certifies 'a', not 'liar'" in run("put", "name/pw", "1", "--seal-to", "liar").err


def test_nothing_is_sealed_to_a_node_that_the_policy_revokes(home):
    target, chain = Target.find(home), Cluster.load(home / CLUSTER_FILE).chain()
    (public,) = recipients_named(["c"], target, None, chain)
    assert public == load_recipient_key(home / "nodes" / "c" / "seal.key").public
    head = chain.head
    roles = with_membership(head.roles, Membership(nodes=("c",)))
    policy = Policy(head.version + 1, head.roots, head.threshold, roles)
    reservation = Reservation(b"policies", policy.version)
    root = load_signer(home / "keys" / "root")
    chain.accept(sign_policy(chain, policy, [root], now_ms=1, reservation=reservation))
    with pytest.raises(errors.KeyFileError, match=r"node\.crt: policy 2 has revoked node 'c'; nothing is sealed to it"):
        recipients_named(["c"], target, None, chain)


def test_values_are_sealed_to_a_node_that_has_redeemed_a_ticket(home, run, tmp_path):
    assert run("pki", "ticket", "t", "--out", tmp_path / "t.ticket").code == 0
    made = ("pki", "redeem", tmp_path / "t.ticket", "--out")
    assert run(*made, tmp_path / "t").code == 0
    seal_key = tmp_path / "t" / "seal.key"
    assert run(*made, tmp_path / "next", "--seal-key", seal_key).code == 0
    for directory in ("t", "next"):
        assert (
            run("put", f"{directory}/pw", "-", "--seal-to", tmp_path / directory / "node.crt", stdin=SECRET).code == 0
        )
        assert run("get", f"{directory}/pw", "--open-with", seal_key).stdout == SECRET


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "part"),
    [
        (
            ["--seal-to", "nobody"],
            b"",
            1,
            "'nobody' is no file, and no node with a certificate as nodes/nobody/node.crt",
        ),
        (["--seal-to", "nodes/a/seal.key"], b"", 1, "holds a private key"),
        (["--seal-to", "keys/admin.pub"], b"", 1, "neither certificates nor X25519 public keys"),
        (["--seal-to", "ca/ca.crt"], b"", 1, "only CA certificates"),
        (["--seal-to", "a", "--ca", "no.crt"], b"", 1, "no.crt cannot be read"),
        (["--seal-to", "a", "--type", "json"], b'{"hunter2": ', 1, "the value is not JSON"),
        (["--seal-to", "a", "--type", "yaml"], b"!hunter2 : x", 1, "the value is not YAML"),
        (["--seal-to", "a", "--type", "text"], b"hunter2\xff", 1, "the value is not TEXT"),
        (["--seal-to", "a", "--type", "sealed"], b"", 2, "not a type"),
        (["--seal-to", "a", "--type", "bytes"], bytes(1 << 20), 1, "when it is sealed to 1 recipient"),
    ],
)
def test_what_is_not_sealed(home, run, arguments, stdin, code, part):
    result = run("put", "refused/pw", "-", *arguments, stdin=stdin)
    assert result.code == code
    assert part in result.err
    assert "hunter2" not in result.err
    assert run("get", "refused/pw").code == 3


def test_a_secret_is_not_replaced_by_an_open_value_unawares(home, run, tmp_path):
    assert run("put", "guard/pw", "-", "--seal-to", "a", stdin=SECRET).code == 0
    refused = run("put", "guard/pw", "open")
    assert refused.code == 1
    assert "seal the new one with --seal-to" in refused.err
    (tmp_path / "guard.yaml").write_text("pw: open\n")
    refused = run("apply", tmp_path / "guard.yaml", "--yes")
    assert refused.code == 1
    assert "guard.yaml:1: key 'guard/pw' is a sealed value" in refused.err
    (tmp_path / "guard.yaml").write_text("other: 1\n")
    assert run("apply", tmp_path / "guard.yaml", "--yes", "--prune").code == 0
    assert run("get", "guard/pw", "--agent", "nodes/a").stdout == SECRET
    assert run("put", "guard/pw", "open", "--type", "text").code == 0
    sealed = run("put", "guard/pw", "-", "--seal-to", "a", stdin=SECRET)
    assert sealed.code == 0
    assert "the value until now was not sealed" in sealed.err
    assert run("delete", "guard/pw").code == 0


def test_the_type_inside_is_kept(home, run):
    assert run("put", "typed/pw", '{"a": 1}', "--type", "json", "--seal-to", "a").code == 0
    found = document(run("get", "typed/pw", "--json", "--agent", "nodes/a"))
    assert found["opened"] == {"type": "json", "value": {"a": 1}}


# -- other recipients -----------------------------------------------------------------------------


def test_one_change_seals_all_to_others(home, run, person):
    for name in ("x", "y"):
        assert run("put", f"rotate/{name}", "-", "--seal-to", "a", "--type", "text", stdin=SECRET).code == 0
    assert run("put", "rotate/open", "1").code == 0
    dry = run("seal", "rotate", "rotate", "--seal-to", f"{person}.pub", "--seal-to", "b", "--dry-run")
    assert dry.code == 2
    rotated = run("seal", "rotate", "rotate/", "--seal-to", f"{person}.pub", "--seal-to", "b", "--agent", "nodes/a")
    assert rotated.code == 0
    assert "published 2 keys at a, change " in rotated.out
    assert "may have kept the values" in rotated.err
    x, y = (document(run("get", f"rotate/{name}", "--json", "--open-with", person)) for name in "xy")
    assert x["opened"] == y["opened"] == {"type": "text", "value": SECRET.decode()}
    assert x["change"] == y["change"]
    assert x["value"]["base64"] != y["value"]["base64"]
    assert run("get", "rotate/x", "--agent", "nodes/a").code == 1
    assert run("get", "rotate/open").stdout == b"1"
    again = run("seal", "rotate", "rotate", "--seal-to", "b", "--seal-to", f"{person}.pub")
    assert again.out == "nothing to do: 2 values sealed to these 2 recipients already\n"


def test_who_is_no_recipient_cannot_pass_it_on(home, run, person):
    for name in ("x", "y"):
        assert run("put", f"stuck/{name}", "-", "--seal-to", f"{person}.pub", stdin=SECRET).code == 0
    refused = run("seal", "rotate", "stuck", "--seal-to", "a", "--agent", "nodes/a")
    assert refused.code == 1
    assert refused.err.startswith(
        "error: nothing is published: 'stuck/x' is sealed to 1 recipient, and agent a is none"
    )
    assert refused.err.endswith("(and 1 more value)\n")
    assert run("seal", "rotate", "stuck", "--seal-to", "a", "--open-with", person).code == 0
    assert run("get", "stuck/y", "--agent", "nodes/a").stdout == SECRET


def test_a_variant_stays_what_it_is(home, run):
    target = Target.find(home)
    with open_session(target) as session:
        place = Place(session.chain.cluster_id, "variant/pw", "canary")
        public = load_recipient_key(home / "nodes" / "a" / "seal.key").public
        data = seal(Opened(ValueType.TEXT, SECRET), place, [public], bytes(SEAL_RANDOM_BYTES))
        match = (MatchTerm(MatchKind.EQUAL, "zone", ("eu",)),)
        session.publish([put("variant/pw", data, ValueType.SEALED, variant="canary", match=match)], target.signer(None))
        assert "~ variant/pw [canary]  " in run("seal", "rotate", "variant", "--seal-to", "b", "--agent", "nodes/a").out
        (version,) = session.get("variant/pw").versions
        assert (version.entry.variant, version.entry.match) == ("canary", match)


def test_what_is_not_rotated(home, run):
    assert run("seal", "rotate", "nowhere", "--seal-to", "a").err == ("error: no sealed value at or under 'nowhere'\n")
    assert "name those who may read" in run("seal", "rotate", "nowhere").err
    siblings(home, "clash/pw", "1", "2")
    assert run("seal", "rotate", "clash", "--seal-to", "a").code == 3
    publish_envelope(home, "clash/other", envelope_for(home, "a", "clash/other"))
    siblings(home, "clash/other", "3")
    assert "'clash/other' is in conflict; settle it first" in run("seal", "rotate", "clash", "--seal-to", "a").err


# -- keys -----------------------------------------------------------------------------------------


def test_keys_are_private_and_shown_by_their_ids(home, run, person):
    assert stat.S_IMODE(person.stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "nodes" / "a" / "seal.key").stat().st_mode) == 0o600
    assert "exists already" in run("seal", "key", person).err
    identity = load_recipient_key(person).id.hex()
    assert json.loads(run("pki", "show", f"{person}.pub", "--json").out) == {
        "kind": "key to seal to",
        "recipient": identity,
    }
    shown = json.loads(run("pki", "show", "nodes/a/node.crt", "--json").out)
    assert shown["recipient"] == load_recipient_key(home / "nodes" / "a" / "seal.key").id.hex()
    assert run("pki", "show", "nodes/a/seal.key").code == 1


def test_a_node_keeps_its_key_through_a_new_certificate(home, run, tmp_path):
    assert run("pki", "node", "renewed").code == 0
    (home / "nodes" / "renewed").rename(tmp_path / "old")
    assert run("pki", "node", "renewed", "--seal-key", tmp_path / "old" / "seal.key").code == 0
    kept = load_recipient_key(home / "nodes" / "renewed" / "seal.key")
    assert kept.id == load_recipient_key(tmp_path / "old" / "seal.key").id
    shutil.rmtree(home / "nodes" / "renewed")
    assert "cannot be read" in run("pki", "node", "renewed", "--seal-key", "no.key").err
    assert not (home / "nodes" / "renewed").exists()
