"""The policy commands: drafts from root to root, and agents that follow, whatever cluster file they start with."""

from __future__ import annotations

import json

import pytest

from gossipconf.cli.session import open_session
from gossipconf.cli.target import Target
from gossipconf.trust.draft import Draft
from gossipconf.trust.keys import Signer, fingerprint, load_public, public_line
from gossipconf.trust.parameter import VALUE_BYTES
from tests.cli.conftest import AgentThread, command, wait_at


def public(directory, name):
    return fingerprint(load_public(directory / "keys" / f"{name}.pub"))


def next_text(run, *replacements):
    text = run("policy", "show").out
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return text


def limited(bytes_max):
    """What `policy show` writes of a policy with one parameter."""
    return f'parameters:\n  "{VALUE_BYTES.name}": {bytes_max} # {VALUE_BYTES.meaning}'


def version(run):
    return json.loads(run("policy", "show", "--json").out)["version"]


def drafted(run, tmp_path, *replacements, name="d"):
    (tmp_path / "next.yaml").write_text(next_text(run, *replacements))
    result = run("policy", "edit", tmp_path / name, "--from", tmp_path / "next.yaml")
    assert result.code == 0, result.err
    return tmp_path / name


def sign(run, draft, key, *options):
    return run("policy", "sign", draft, "--key", f"keys/{key}", "--yes", *options)


def test_roots_rotate_and_an_agent_with_an_old_cluster_file_follows(quorum, run, tmp_path, monkeypatch):
    """Two of the old roots make two others of three; then the old ones count for nothing."""
    before = version(run)
    new = {name: tmp_path / name for name in ("new-a", "new-b")}
    for path in new.values():
        Signer.generate().save(path)
    old_b, old_c = (load_public(quorum / "keys" / f"{name}.pub") for name in ("root-b", "root-c"))
    lines = {name: public_line(load_public(path.with_name(f"{name}.pub"))) for name, path in new.items()}
    draft = drafted(run, tmp_path, (public_line(old_b), lines["new-a"]), (public_line(old_c), lines["new-b"]))
    refused = run("policy", "publish", draft)
    assert refused.code == 1
    assert "the signatures of 0 of 3 roots, 2 are needed" in refused.err

    # The signers have the cluster file and no agent.
    away = tmp_path / "away"
    away.mkdir()
    (away / "cluster.gossipconf").write_bytes((quorum / "cluster.gossipconf").read_bytes())
    offline = ("--cluster", away)
    monkeypatch.delenv("GOSSIPCONF_AGENT")
    result = sign(run, draft, "root-b", *offline)
    assert result.code == 0, result.err
    assert f"+ root {fingerprint(load_public(tmp_path / 'new-a.pub'))}" in result.out
    assert f"- root {public(quorum, 'root-b')}" in result.out
    assert "1 signature missing" in result.out
    assert public(quorum, "root-c") in result.out
    assert "has signed this already" in sign(run, draft, "root-b", *offline).out
    stranger = sign(run, draft, "dave", *offline)
    assert stranger.code == 1
    assert f"is no root of policy {before}" in stranger.err
    assert "not signed: there is no terminal" in run("policy", "sign", draft, "--key", "keys/root-c", *offline).err
    assert "next: gossipconf policy publish" in sign(run, draft, "root-c", *offline).out

    monkeypatch.setenv("GOSSIPCONF_AGENT", str(quorum / "nodes" / "a"))
    assert f"published policy {before + 1} at a" in run("policy", "publish", draft).out
    assert run("policy", "publish", draft).code == 0  # once more is no harm
    assert version(run) == before + 1
    wait_at(quorum, "b", f"_policy/{before + 1}", lambda item: bool(item.versions))

    # An agent that starts now, with the cluster file of the beginning.
    monkeypatch.delenv("GOSSIPCONF_AGENT")
    if not (quorum / "nodes" / "late").exists():
        settings = (quorum / "nodes" / "b" / "agent.toml").read_text()
        join = settings[settings.index("join") :].split('"')[1]
        assert command("pki", "node", "late", "--listen", "127.0.0.1:0", "--join", join) == 0
    late = AgentThread(quorum / "nodes" / "late")
    late.start()
    try:
        wait_at(quorum, "late", f"_policy/{before + 1}", lambda item: bool(item.versions))
    finally:
        late.stop()
    again = AgentThread(quorum / "nodes" / "late")  # and starts again by its own disk
    again.start()
    try:
        agent = ("--agent", quorum / "nodes" / "late")
        assert json.loads(run("policy", "show", "--json", *agent).out)["version"] == before + 1
    finally:
        again.stop()

    # The old roots decide nothing any more, the new ones do; back to what was.
    monkeypatch.setenv("GOSSIPCONF_AGENT", str(quorum / "nodes" / "a"))
    changed_back = (lines["new-a"], public_line(old_b)), (lines["new-b"], public_line(old_c))
    back = drafted(run, tmp_path, *changed_back, name="back")
    assert sign(run, back, "root-b").code == 1
    for path in new.values():
        assert run("policy", "sign", back, "--key", path, "--yes", *offline).code == 0  # its old cluster file is enough
    assert run("policy", "publish", back).code == 0

    log = json.loads(run("policy", "log", "--json").out)
    assert [one["version"] for one in log] == list(range(before + 2, 0, -1))
    signers = {one["fingerprint"] for one in log[1]["signers"]}
    assert signers == {public(quorum, "root-b"), public(quorum, "root-c")}
    assert f"policy {before + 1}  " in run("policy", "log").out
    assert run("policy", "diff", str(before), str(before + 2)).out == "no difference\n"
    assert len(json.loads(run("policy", "diff", str(before), str(before + 1), "--json").out)) == 4


def in_force(run, draft):
    for root in ("root", "root-b"):
        assert sign(run, draft, root).code == 0
    assert run("policy", "publish", draft).code == 0


def test_who_has_a_name_is_called_by_it(quorum, run, tmp_path):
    keys = {name: public_line(load_public(quorum / "keys" / f"{name}.pub")) for name in ("admin", "dave")}
    named = drafted(run, tmp_path, (keys["admin"], f"{keys['admin']} Carol"), (keys["dave"], f"{keys['dave']} Dave"))
    in_force(run, named)
    assert f"{keys['admin']} Carol" in run("policy", "show").out
    assert f"name of {public(quorum, 'admin')} (none) → 'Carol'" in run("policy", "log").out
    assert run("put", "shop/named", "1", "--key", "keys/admin").code == 0
    for command_line in (("list", "shop/named"), ("history", "shop/named"), ("get", "--all", "shop/named")):
        assert "admins Carol" in run(*command_line).out, command_line
    assert json.loads(run("list", "shop/named", "--json").out)[0]["name"] == "Carol"
    assert run("put", "pay/named", "1", "--propose", "--key", "keys/dave").code == 0
    assert "payments Dave" in run("proposals").out

    unnamed = drafted(run, tmp_path, (f"{keys['admin']} Carol", keys["admin"]), (" Dave", ""), name="unnamed")
    in_force(run, unnamed)
    assert "Carol" not in run("policy", "show").out
    assert "admins Carol" in run("list", "shop/named").out, "by the policy under which she signed"


def test_a_root_signs_no_second_successor(quorum, run, tmp_path):
    first = drafted(run, tmp_path, ("parameters: {}", limited(1001)), name="first")
    second = drafted(run, tmp_path, ("parameters: {}", limited(1002)), name="second")
    assert sign(run, first, "root-c").code == 0
    refused = sign(run, second, "root-c")
    assert refused.code == 1
    assert "has signed another policy" in refused.err
    assert "root-c.signed" in refused.err
    memory = quorum / "keys" / "root-c.signed"
    memory.write_text("".join(memory.read_text().splitlines(keepends=True)[:-1]))  # as the message says
    assert sign(run, second, "root-c").code == 0


def test_a_draft_that_was_overtaken_is_not_published(quorum, run, tmp_path):
    before = version(run)
    overtaken = drafted(run, tmp_path, ("parameters: {}", limited(1001)), name="overtaken")
    winner = drafted(run, tmp_path, ("parameters: {}", limited(1002)), name="winner")
    memory = quorum / "keys" / "root.signed"
    for draft, names in ((overtaken, ("root", "root-b")), (winner, ("root", "root-b"))):
        for name in names:
            memory.with_name(f"{name}.signed").unlink(missing_ok=True)  # roots that break their word
            assert sign(run, draft, name).code == 0
    assert run("policy", "publish", winner).code == 0
    refused = run("policy", "publish", overtaken)
    assert refused.code == 1
    assert f"another policy {before + 1} is in force already" in refused.err
    back = drafted(run, tmp_path, (limited(1002), "parameters: {}"), name="back")
    for name in ("root", "root-b"):
        assert sign(run, back, name).code == 0
    assert run("policy", "publish", back).code == 0


def signed_anew(run, quorum, draft):
    """The draft, signed by two roots that have forgotten what they signed before."""
    for name in ("root", "root-b"):
        (quorum / "keys" / f"{name}.signed").unlink(missing_ok=True)
        assert sign(run, draft, name).code == 0
    return draft


def sent(quorum, draft):
    """Give agent `a` what is in a draft, as a peer from the other side of a fork would."""
    with open_session(Target.find(quorum)) as session:
        change = Draft.load(draft, session.cluster).change
        assert change is not None
        session.send(change)


def test_an_open_policy_fork_is_shown_and_settled_even_after_a_branch_went_on(quorum, run, tmp_path):
    forked = version(run) + 1
    one, two = (
        signed_anew(run, quorum, drafted(run, tmp_path, ("parameters: {}", limited(1000 + x)), name=f"d{x}"))
        for x in (1, 2)
    )
    assert run("policy", "publish", one).code == 0
    further = signed_anew(run, quorum, drafted(run, tmp_path, (limited(1001), limited(1003)), name="further"))
    sent(quorum, two)

    assert f"POLICY FORK: there are 2 policies {forked}, and a goes by" in run("status").out
    fork = json.loads(run("status", "--json").out)["policy_forks"]
    assert [(one["policy"], len(one["changes"])) for one in fork] == [(forked, 2)]
    (tmp_path / "next.yaml").write_text(next_text(run, (limited(1001), limited(1004))))
    payer = quorum / "keys" / "dave.pub"
    for refused in (
        run("policy", "edit", tmp_path / "no", "--from", tmp_path / "next.yaml"),
        run("revoke", payer, tmp_path / "no"),
        run("policy", "publish", further),
    ):
        assert refused.code == 1
        assert f"there are 2 policies {forked}, a policy fork" in refused.err
        assert "gossipconf policy settle CHANGE" in refused.err
    assert not (tmp_path / "no").exists()

    sent(quorum, further)  # somebody has published it all the same
    end = tmp_path / "end"
    assert run("policy", "settle", fork[0]["changes"][1], end).code == 0
    assert run("policy", "publish", signed_anew(run, quorum, end)).code == 0
    assert version(run) == forked + 1
    assert limited(1002) in next_text(run)
    assert "POLICY FORK" not in run("status").out
    again = run("policy", "publish", end)
    assert (again.code, f"policy {forked + 1} was in force already" in again.out) == (0, True)

    back = drafted(run, tmp_path, (limited(1002), "parameters: {}"), name="back")
    assert run("policy", "publish", signed_anew(run, quorum, back)).code == 0


def test_without_an_agent_the_cluster_file_is_shown(quorum, run, tmp_path, monkeypatch):
    monkeypatch.delenv("GOSSIPCONF_AGENT")
    (tmp_path / "cluster.gossipconf").write_bytes((quorum / "cluster.gossipconf").read_bytes())
    result = run("policy", "show", "--cluster", tmp_path)
    assert result.code == 0
    assert result.out.startswith('# Policy 1 of "bank"')
    assert "no agent answers" in result.err
    named = run("policy", "show", "--cluster", tmp_path, "--agent", tmp_path / "none.sock")
    assert named.code == 4


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["show", "99"], 3, "there is no policy 99; the newest is"),
        (["diff", "1", "99"], 3, "there is no policy 99"),
        (["show", "x"], 2, "VERSION"),
        (["sign", "/no/draft"], 1, "/no/draft cannot be read"),
        (["sign", "cluster.gossipconf"], 1, "is not a draft of a policy"),
        (["sign", "/no/draft", "--key", "agent:x"], 1, "a root key cannot sign in the ssh-agent"),
        (["sign", "/no/draft", "--key", "keys/root.pub"], 1, "/no/draft cannot be read"),
        (["publish", "/no/draft"], 1, "/no/draft cannot be read"),
        (["edit", "x"], 1, "there is no terminal to edit on; give the new text with --from"),
        (["edit", "keys/root", "--from", "-"], 1, "keys/root exists already"),
        (["edit", "x", "--from", "/no/text"], 1, "/no/text cannot be read"),
        (["edit", "x", "--from", "-"], 1, "stdin:1: "),
    ],
)
def test_bad_input_is_named(quorum, run, arguments, code, part):
    result = run("policy", *arguments)
    assert result.code == code
    assert part in result.err
    assert "Traceback" not in result.err


def test_nothing_new_makes_no_draft(quorum, run, tmp_path):
    result = run("policy", "edit", tmp_path / "d", "--from", "-", stdin=run("policy", "show").stdout)
    assert result.code == 0
    assert "nothing differs" in result.out
    assert not (tmp_path / "d").exists()
