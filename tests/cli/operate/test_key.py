"""The commands below `key`, and every way to name the key that signs."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

import gossipconf
from gossipconf.cli import passphrase
from gossipconf.cli.passphrase import PASSPHRASE_BYTES_MAX
from gossipconf.cli.target import CLUSTER_FILE
from gossipconf.trust.cluster import Cluster
from gossipconf.trust.keys import Signer, fingerprint, load_public, load_signer, public_line
from gossipconf.trust.ssh_wire import public_blob
from tests import strategies as gen
from tests.cli.ssh import hostile_agent, identities, needs_ssh_agent, real_agent, saying
from tests.cli.terminal import on_terminal

ALICE = gen.signer("alice")
WORDS = "secret words"
needs_bcrypt = pytest.mark.skipif(
    importlib.util.find_spec("bcrypt") is None,
    reason="bcrypt is not installed (extra cli): NEW KEYS WITH A PASSPHRASE ARE NOT TESTED",
)


def closed_pem(path: Path, source: Path, words: str | None = WORDS) -> Path:
    """The key file `source` as PEM, which needs no bcrypt, with a passphrase."""
    private = serialization.load_ssh_private_key(source.read_bytes(), None)
    encryption = (
        serialization.NoEncryption() if words is None else serialization.BestAvailableEncryption(words.encode())
    )
    path.touch(0o600)
    path.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    return path


def words_file(path: Path, content: str | bytes = WORDS + "\n", mode: int = 0o600) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GOSSIPCONF_")}
    return kept | {"PYTHONPATH": os.pathsep.join([str(Path(gossipconf.__file__).parents[1]), *sys.path])} | more


@pytest.fixture
def no_terminal(monkeypatch):
    """As where cron or CI runs: nothing to open at /dev/tty."""
    monkeypatch.setattr(passphrase, "TERMINAL", "/nonexistent/tty")


# -- new ------------------------------------------------------------------------------------------


def test_a_new_key(run, tmp_path):
    result = run("key", "new", tmp_path / "id", "--comment", "alice at home")
    assert result.code == 0
    key = load_signer(tmp_path / "id")
    assert result.out.splitlines() == [
        f"made {tmp_path / 'id'} (SECRET: signs configuration; without passphrase) and {tmp_path / 'id'}.pub",
        f"{fingerprint(key.public)}  alice at home",
        f"  {public_line(key.public, 'alice at home')}",
    ]
    assert (tmp_path / "id.pub").read_text() == public_line(key.public, "alice at home") + "\n"
    assert (tmp_path / "id").stat().st_mode & 0o777 == 0o600


@needs_bcrypt
def test_a_new_key_with_a_passphrase_from_a_file(run, tmp_path):
    words = words_file(tmp_path / "words")
    result = run("key", "new", tmp_path / "id", "--passphrase-file", words)
    assert "opened by its passphrase" in result.out
    assert load_signer(tmp_path / "id", WORDS.encode).public == load_public(tmp_path / "id.pub")


@needs_bcrypt
def test_a_new_key_with_a_passphrase_typed_twice(tmp_path):
    code, seen = on_terminal(
        *("key", "new", "id", "--passphrase"),
        answers=[WORDS, "other words", WORDS, WORDS],
        directory=tmp_path,
        environment=environment(),
    )
    assert code == 0, seen
    assert WORDS not in seen
    assert "other words" not in seen
    assert load_signer(tmp_path / "id", WORDS.encode).public == load_public(tmp_path / "id.pub")


@pytest.mark.parametrize(("answers", "part"), [([""], "is empty"), (["a", "b"] * 3, "differed 3 times")])
def test_a_passphrase_that_is_not_told_makes_no_key(tmp_path, answers, part):
    code, seen = on_terminal(
        *("key", "new", "id", "--passphrase"), answers=answers, directory=tmp_path, environment=environment()
    )
    assert code == 1
    assert part in seen
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("taken", ["id", "id.pub"])
def test_nothing_is_overwritten_nor_half_made(run, tmp_path, taken):
    (tmp_path / taken).write_text("mine")
    for command in (["new", tmp_path / "id"], ["import", tmp_path / "x", "--to", tmp_path / "id"]):
        result = run("key", *command)
        assert result.code == 1
        assert "exists already and is not overwritten" in result.err
    assert [path.name for path in tmp_path.iterdir()] == [taken]


@pytest.mark.parametrize("comment", ["a\nssh-ed25519 AAAA", "\x1b[2J", "x" * 1_025])
def test_a_comment_that_would_break_the_public_file_is_refused(run, tmp_path, comment):
    result = run("key", "new", tmp_path / "id", "--comment", comment)
    assert result.code == 1
    assert "the comment of a key" in result.err
    assert not list(tmp_path.iterdir())


# -- show -----------------------------------------------------------------------------------------


def test_show_says_the_public_part_of_any_file(run, tmp_path, no_terminal):
    ALICE.save(tmp_path / "id", "alice")
    pem = closed_pem(tmp_path / "pem", tmp_path / "id")
    words = words_file(tmp_path / "words")
    named = f"{fingerprint(ALICE.public)}  alice\n  {public_line(ALICE.public, 'alice')}\n"
    assert run("key", "show", tmp_path / "id").out == named
    assert run("key", "show", tmp_path / "id.pub").out == named
    unnamed = f"{fingerprint(ALICE.public)}\n  {public_line(ALICE.public)}\n"
    assert run("key", "show", pem, "--passphrase-file", words).out == unnamed
    assert json.loads(run("key", "show", tmp_path / "id.pub", "--json").out) == {
        "fingerprint": fingerprint(ALICE.public),
        "comment": "alice",
        "public": public_line(ALICE.public, "alice"),
    }
    assert "no terminal to ask on; name a file that holds it with --passphrase-file" in run("key", "show", pem).err
    assert f"{tmp_path / 'no'} cannot be read" in run("key", "show", tmp_path / "no").err


def test_show_lists_the_agent_s_keys(run, tmp_path, monkeypatch):
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent.sock"))
    bob = gen.signer("bob").public
    listed = identities((public_blob(ALICE.public), b"alice"), (public_blob(bob), b"\x1b[2Jbob"))
    with hostile_agent(tmp_path / "agent.sock", saying(listed)):
        result = run("key", "show", "agent")
        assert [line.split()[0] for line in result.out.splitlines()[::2]] == [
            fingerprint(ALICE.public),
            fingerprint(bob),
        ]
        assert "\x1b" not in result.out
        assert [key["comment"] for key in json.loads(run("key", "show", "agent", "--json").out)] == [
            "alice",
            "\x1b[2Jbob",
        ]
        assert json.loads(run("key", "show", "agent:alice", "--json").out)["fingerprint"] == fingerprint(ALICE.public)
        assert "has no Ed25519 key 'carol'" in run("key", "show", "agent:carol").err
    with hostile_agent(tmp_path / "agent2.sock", saying(identities())):
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent2.sock"))
        assert "offers no Ed25519 key" in run("key", "show", "agent").out
        assert json.loads(run("key", "show", "agent", "--json").out) == []
    monkeypatch.delenv("SSH_AUTH_SOCK")
    result = run("key", "show", "agent")
    assert result.code == 1
    assert "SSH_AUTH_SOCK is not set" in result.err


# -- import ---------------------------------------------------------------------------------------


def test_an_imported_key_is_the_same_key(run, tmp_path):
    ALICE.save(tmp_path / "id")
    pem = closed_pem(tmp_path / "pem", tmp_path / "id", words=None)
    result = run("key", "import", pem, "--to", tmp_path / "new", "--comment", "alice")
    assert "without passphrase" in result.out
    assert load_signer(tmp_path / "new").sign(b"message") == ALICE.sign(b"message")
    assert (tmp_path / "new.pub").read_text() == public_line(ALICE.public, "alice") + "\n"


@needs_bcrypt
@pytest.mark.parametrize("is_closed", [True, False])
def test_an_imported_key_never_loses_its_passphrase(run, tmp_path, is_closed):
    ALICE.save(tmp_path / "id")
    pem = closed_pem(tmp_path / "pem", tmp_path / "id", words=WORDS if is_closed else None)
    words = words_file(tmp_path / "words")
    result = run("key", "import", pem, "--to", tmp_path / "new", "--passphrase-file", words)
    assert "opened by its passphrase" in result.out
    assert load_signer(tmp_path / "new", WORDS.encode).public == ALICE.public


def test_a_pem_that_others_can_read_is_not_imported(run, tmp_path):
    ALICE.save(tmp_path / "id")
    pem = closed_pem(tmp_path / "pem", tmp_path / "id", words=None)
    pem.chmod(0o644)
    assert f"run: chmod 600 {pem}" in run("key", "import", pem, "--to", tmp_path / "new").err
    assert not (tmp_path / "new").exists()


# -- passphrases ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "mode", "part"),
    [
        (b"", 0o600, "is empty"),
        (b"\n" + WORDS.encode(), 0o600, "is empty"),
        (b"x" * (PASSPHRASE_BYTES_MAX + 1), 0o600, f"more than {PASSPHRASE_BYTES_MAX} bytes"),
        (WORDS.encode(), 0o640, "run: chmod 600"),
        (WORDS.encode(), 0o604, "can be read by others (mode 0604)"),
        (b"wrong", 0o600, "is not opened by this passphrase"),
    ],
)
def test_a_passphrase_file_that_will_not_do(run, tmp_path, content, mode, part):
    ALICE.save(tmp_path / "id")
    pem = closed_pem(tmp_path / "pem", tmp_path / "id")
    words = words_file(tmp_path / "words", content, mode)
    result = run("key", "show", pem, "--passphrase-file", words)
    assert result.code == 1
    assert part in result.err
    assert len(result.err.splitlines()) == 1
    assert "cannot be read" in run("key", "show", pem, "--passphrase-file", tmp_path / "no").err


@pytest.mark.parametrize("content", [WORDS, f"{WORDS}\n", f"{WORDS}\r\n", f"{WORDS}\nnotes"])
def test_the_passphrase_is_the_first_line(run, tmp_path, content):
    ALICE.save(tmp_path / "id")
    pem = closed_pem(tmp_path / "pem", tmp_path / "id")
    words = words_file(tmp_path / "words", content)
    assert run("key", "show", pem, "--passphrase-file", words).code == 0


def test_a_passphrase_may_come_through_a_pipe(run, tmp_path):
    ALICE.save(tmp_path / "id")
    pem = closed_pem(tmp_path / "pem", tmp_path / "id")
    reading, writing = os.pipe()
    os.write(writing, WORDS.encode())
    os.close(writing)
    try:
        assert run("key", "show", pem, "--passphrase-file", f"/dev/fd/{reading}").code == 0
    finally:
        os.close(reading)


def test_a_person_is_asked_thrice(tmp_path):
    ALICE.save(tmp_path / "id")
    closed_pem(tmp_path / "pem", tmp_path / "id")
    ask = {"directory": tmp_path, "environment": environment()}
    code, seen = on_terminal("key", "show", "pem", answers=["wrong", "", WORDS], **ask)
    assert code == 0
    assert fingerprint(ALICE.public) in seen
    assert WORDS not in seen
    assert seen.count("Passphrase of pem: ") == 3
    code, seen = on_terminal("key", "show", "pem", answers=["wrong"] * 4, **ask)
    assert code == 1
    assert seen.count("Passphrase of pem: ") == 3
    assert seen.rstrip().endswith(" pem is not opened by this passphrase (or is damaged)")


# -- signing --------------------------------------------------------------------------------------


def test_a_pem_and_its_passphrase_publish(cluster, run, tmp_path, monkeypatch, no_terminal):
    plain = closed_pem(tmp_path / "plain", cluster / "keys" / "admin", words=None)
    closed = closed_pem(tmp_path / "closed", cluster / "keys" / "admin")
    words = words_file(tmp_path / "words")
    assert run("put", "pem/a", "1", "--key", plain).code == 0
    assert run("put", "pem/a", "2", "--key", closed, "--passphrase-file", words).code == 0
    result = run("put", "pem/a", "3", "--key", closed)
    assert result.code == 1
    assert "no terminal to ask on" in result.err
    monkeypatch.setenv("GOSSIPCONF_KEY", str(closed))
    monkeypatch.setenv("GOSSIPCONF_PASSPHRASE_FILE", str(words))
    assert run("delete", "pem/a").code == 0
    (tmp_path / "f.yaml").write_text("a: 1\n")
    assert run("apply", tmp_path / "f.yaml", "--prefix", "pem", "--yes").code == 0
    signers = {one["signer"] for one in json.loads(run("history", "--prefix", "pem", "--json").out)}
    assert signers == {fingerprint(load_public(cluster / "keys" / "admin.pub"))}


def test_the_value_comes_from_a_pipe_and_the_passphrase_from_the_terminal(cluster, run, tmp_path):
    closed_pem(tmp_path / "closed", cluster / "keys" / "admin")
    (tmp_path / "value").write_text("from elsewhere")
    code, seen = on_terminal(
        *("put", "piped/a", "-", "--key", tmp_path / "closed"),
        answers=[WORDS],
        directory=cluster,
        environment=environment(),
        stdin=tmp_path / "value",
    )
    assert code == 0, seen
    assert WORDS not in seen
    assert run("get", "piped/a").out == "from elsewhere"


@needs_ssh_agent
def test_the_agent_publishes(cluster, run, tmp_path, monkeypatch):
    admin = cluster / "keys" / "admin"
    name = fingerprint(load_public(admin.with_name("admin.pub")))
    with real_agent(tmp_path) as real:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(real.path))
        assert "offers no Ed25519 key" in run("put", "ssh/a", "1", "--key", "agent").err
        real.add(admin)
        assert run("put", "ssh/a", "1", "--key", "agent").code == 0
        ALICE.save(tmp_path / "alice")
        real.add(tmp_path / "alice")
        assert "has 2 Ed25519 keys" in run("put", "ssh/a", "2", "--key", "agent").err
        assert run("put", "ssh/a", "2", "--key", f"agent:{name}").code == 0
        assert run("put", "ssh/a", "3", "--key", f"agent:{admin}").code == 0
        monkeypatch.setenv("GOSSIPCONF_KEY", f"agent:{name}")
        assert run("put", "ssh/a", "4").code == 0
        refused = run("put", "ssh/a", "5", "--key", f"agent:{tmp_path / 'alice'}")
        assert "which policy 1 does not know" in refused.err
        real.lock("word", tmp_path)
        assert "unlock it with: ssh-add -X" in run("put", "ssh/a", "5").err
    found = json.loads(run("history", "ssh/a", "--json").out)
    assert [(one["value"], one["signer"]) for one in found] == [(value, name) for value in "4321"]


def test_an_agent_that_lies_publishes_nothing(cluster, run, tmp_path, monkeypatch):
    admin = load_public(cluster / "keys" / "admin.pub")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent.sock"))
    false = bytes([14]) + (83).to_bytes(4, "big") + public_blob(bytes(32))[:19] + bytes(64)
    with hostile_agent(tmp_path / "agent.sock", saying(identities((public_blob(admin), b"")), false)):
        result = run("put", "liar/a", "1", "--key", "agent")
    assert result.code == 1
    assert "does not answer as an ssh-agent does" in result.err
    assert run("get", "liar/a").code == 3


# -- founding -------------------------------------------------------------------------------------


@needs_ssh_agent
def test_a_cluster_whose_keys_never_leave_the_agent(run, tmp_path, monkeypatch):
    root = Signer.generate()
    root.save(tmp_path / "root")
    ALICE.save(tmp_path / "alice")
    with real_agent(tmp_path) as real:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(real.path))
        real.add(tmp_path / "root")
        real.add(tmp_path / "alice")
        named = {name: f"agent:{fingerprint(key.public)}" for name, key in (("root", root), ("admin", ALICE))}
        result = run("init", tmp_path / "c", "--root-key", named["root"], "--admin-key", named["admin"])
    assert result.code == 0, result.err
    assert "keys/" not in result.out
    assert "Publish with --key" in result.out
    policy = Cluster.load(tmp_path / "c" / CLUSTER_FILE).chain().head
    assert (policy.roots, policy.roles[0].keys) == ((root.public,), (ALICE.public,))
    assert not list((tmp_path / "c" / "keys").iterdir())


def test_an_admin_s_public_file_is_enough(run, tmp_path):
    ALICE.save(tmp_path / "alice")
    assert run("init", tmp_path / "c", "--admin-key", tmp_path / "alice.pub").code == 0
    assert Cluster.load(tmp_path / "c" / CLUSTER_FILE).chain().head.roles[0].keys == (ALICE.public,)
    assert sorted(path.name for path in (tmp_path / "c" / "keys").iterdir()) == ["root", "root.pub"]


@needs_bcrypt
def test_a_cluster_s_new_keys_may_have_a_passphrase(run, tmp_path):
    reading, writing = os.pipe()  # which gives its line once, for both keys
    os.write(writing, WORDS.encode())
    os.close(writing)
    try:
        assert run("init", tmp_path / "c", "--passphrase-file", f"/dev/fd/{reading}").code == 0
    finally:
        os.close(reading)
    for name in ("root", "admin"):
        path = tmp_path / "c" / "keys" / name
        assert load_signer(path, WORDS.encode).public == load_public(path.with_name(f"{name}.pub"))


@pytest.mark.parametrize("option", ["--root-key", "--admin-key"])
@pytest.mark.parametrize(("key", "part"), [("no/key", "cannot be read"), ("agent", "SSH_AUTH_SOCK is not set")])
def test_a_cluster_is_not_begun_without_its_keys(run, tmp_path, monkeypatch, option, key, part):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert part in run("init", tmp_path / "c", option, key).err
    assert not (tmp_path / "c").exists()
