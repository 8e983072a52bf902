"""The ssh-agent: a real one, and whatever else may listen at its socket."""

from __future__ import annotations

import socket

import pytest

from gossipconf.cli.ssh_agent import KEYS_MAX, MESSAGE_BYTES_MAX, SshAgent, choice_of
from gossipconf.cli.target import signer_of
from gossipconf.model.errors import SshAgentError
from gossipconf.trust.keys import PublicKey, fingerprint, verify
from gossipconf.trust.ssh_wire import public_blob, string
from tests import strategies as gen
from tests.cli.ssh import hostile_agent, identities, needs_ssh_agent, real_agent, saying

ALICE, BOB = gen.signer("alice"), gen.signer("bob")
BLOB = public_blob(ALICE.public)
RSA = string(b"ssh-rsa") + string(b"\1\0\1") + string(bytes(128))
CERTIFICATE = string(b"ssh-ed25519-cert-v01@openssh.com") + string(bytes(32))
TOKEN = string(b"sk-ssh-ed25519@openssh.com") + string(bytes(32)) + string(b"ssh:")
QUICK = {"list_timeout_s": 0.05, "sign_timeout_s": 0.05}
"""A hanging agent must hang longer than this and an honest one answer faster; only hanging ones are given it."""


def signed(signature: bytes, kind: bytes = b"ssh-ed25519") -> bytes:
    return bytes([14]) + string(string(kind) + string(signature))


def request(agent: SshAgent, what: str) -> None:
    agent.public_keys() if what == "keys" else agent.sign(ALICE.public, b"message")


@pytest.fixture(name="path")
def _path(tmp_path):
    return tmp_path / "agent.sock"


@pytest.fixture
def asked(path):
    """The error that an agent's answer leads to, when it is asked for its keys or for a signature."""

    def ask(what, answer) -> str:
        with hostile_agent(path, answer), pytest.raises(SshAgentError) as caught:
            request(SshAgent(path), what)
        return str(caught.value)

    return ask


# -- a real one -----------------------------------------------------------------------------------


@needs_ssh_agent
def test_a_real_agent_s_signature_is_the_file_s(tmp_path):
    ALICE.save(tmp_path / "alice")
    with real_agent(tmp_path) as real:
        agent = SshAgent(real.path)
        assert agent.public_keys() == ()
        real.add(tmp_path / "alice")
        assert agent.public_keys() == (PublicKey(ALICE.public, str(tmp_path / "alice")),)
        signer = agent.signer("")
        assert signer.public == ALICE.public
        for message in (b"", b"message", bytes(10_000)):
            assert signer.sign(message) == ALICE.sign(message)
            verify(ALICE.public, signer.sign(message), message)
        assert repr(signer) == repr(ALICE)


@needs_ssh_agent
def test_keys_of_other_types_are_left_out(tmp_path):
    BOB.save(tmp_path / "bob")
    with real_agent(tmp_path) as real:
        for kind in ("rsa", "ecdsa"):
            real.run("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(tmp_path / kind))
            real.add(tmp_path / kind)
        real.add(tmp_path / "bob")
        assert [key.public for key in SshAgent(real.path).public_keys()] == [BOB.public]
        assert SshAgent(real.path).signer("").public == BOB.public


@needs_ssh_agent
def test_a_real_agent_that_is_locked_or_has_lost_the_key(tmp_path):
    ALICE.save(tmp_path / "alice")
    with real_agent(tmp_path) as real:
        real.add(tmp_path / "alice")
        signer = SshAgent(real.path).signer("")
        real.lock("word", tmp_path)
        with pytest.raises(SshAgentError, match=r"offers no Ed25519 key; .* unlock it with: ssh-add -X"):
            SshAgent(real.path).signer("")
        with pytest.raises(SshAgentError, match=r"refuses to sign with SHA256:.*\(unlock it with: ssh-add -X\)"):
            signer.sign(b"message")
        real.lock("word", tmp_path, off=True)
        assert signer.sign(b"message") == ALICE.sign(b"message")
        real.run("ssh-add", "-q", "-D")
        with pytest.raises(SshAgentError, match=r"the key was removed \(add it with: ssh-add FILE\)"):
            signer.sign(b"message")


# -- choosing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "choice"),
    [
        ("agent", ""),
        ("agent:", ""),
        ("agent:SHA256:a//b", "SHA256:a//b"),
        ("agent:a b: c", "a b: c"),
        ("./agent", None),
        ("agents", None),
        ("keys/agent:x", None),
        ("", None),
    ],
)
def test_what_names_a_key_of_the_agent(key, choice):
    assert choice_of(key) == choice


def test_a_key_is_chosen_by_fingerprint_or_comment(path, monkeypatch):
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    listed = identities((RSA, b"bob"), (BLOB, b"alice"), (public_blob(BOB.public), b"bob"), (BLOB, b"again"))
    with hostile_agent(path, saying(listed)):
        assert signer_of("agent:alice").public == ALICE.public
        assert signer_of("agent:bob").public == BOB.public
        assert signer_of(f"agent:{fingerprint(BOB.public)}").public == BOB.public
        with pytest.raises(SshAgentError) as caught:
            signer_of("agent")
        assert "has 2 Ed25519 keys that this names" in str(caught.value)
        for signer in (ALICE, BOB):
            assert f"agent:{fingerprint(signer.public)}" in str(caught.value)
        with pytest.raises(SshAgentError, match="has no Ed25519 key 'again'; it has: agent:SHA256:"):
            signer_of("agent:again")


def test_two_keys_of_one_comment_are_told_apart_by_their_fingerprints(path):
    listed = identities((BLOB, b"same"), (public_blob(BOB.public), b"same"))
    with hostile_agent(path, saying(listed)), pytest.raises(SshAgentError, match=r"name one of: agent:SHA256:"):
        SshAgent(path).signer("same")


def test_a_crowd_of_keys_is_not_all_named(path):
    crowd = [(public_blob(gen.signer(f"n{number}").public), b"") for number in range(20)]
    with hostile_agent(path, saying(identities(*crowd))), pytest.raises(SshAgentError, match="and 12 more"):
        SshAgent(path).signer("")


def test_a_comment_commands_no_terminal(path):
    listed = identities((BLOB, b"\x1b[2J\nforged \xff"), (public_blob(BOB.public), b""))
    with hostile_agent(path, saying(listed)), pytest.raises(SshAgentError) as caught:
        SshAgent(path).signer("")
    assert str(caught.value).isprintable()


# -- absent ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", [{}, {"SSH_AUTH_SOCK": ""}])
def test_no_agent_is_named(environment):
    with pytest.raises(SshAgentError, match=r"SSH_AUTH_SOCK is not set; start one with: eval \$\(ssh-agent\)"):
        SshAgent.find(environment)


def test_nobody_listens(path, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
    deep = tmp_path / ("d" * 100) / ("e" * 100) / "agent.sock"
    for one, reason in ((path, "Connection refused"), (tmp_path / "no", "No such file"), (deep, "No such file")):
        with pytest.raises(SshAgentError, match=reason) as caught:
            SshAgent.find({"SSH_AUTH_SOCK": str(one)}).public_keys()
        assert str(one) in str(caught.value)


def test_a_socket_in_a_deep_directory(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.chdir(deep)  # so that the test's own bind is short enough
    with hostile_agent(type(deep)("agent.sock"), saying(identities((BLOB, b"")))):
        assert SshAgent(deep / "agent.sock").signer("").public == ALICE.public


# -- hostile --------------------------------------------------------------------------------------

GARBAGE = {
    "another type": b"\x63",
    "nothing": b"",
    "success": b"\6",
    "no number": b"\x0c\0\0",
    "more than there is": bytes([12]) + (2).to_bytes(4, "big") + string(BLOB) + string(b""),
    "a claim of many": bytes([12]) + (KEYS_MAX + 1).to_bytes(4, "big"),
    "a claim of 2^32": bytes([12]) + b"\xff" * 4,
    "a long string": bytes([12]) + (1).to_bytes(4, "big") + b"\xff" * 4 + BLOB,
    "no comment": bytes([12]) + (1).to_bytes(4, "big") + string(BLOB),
    "an empty blob": identities((b"", b"")),
    "a short key": identities((string(b"ssh-ed25519") + string(bytes(31)), b"")),
    "a long key": identities((BLOB + b"\0", b"")),
    "something after the end": identities((BLOB, b"")) + b"\0",
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
def test_garbage_instead_of_keys(asked, path, answer):
    message = asked("keys", saying(answer))
    assert str(path) in message
    assert "does not answer as an ssh-agent does" in message
    assert "SSH_AUTH_SOCK" in message


FALSE = {
    "of other words": signed(ALICE.sign(b"other")),
    "of another key": signed(BOB.sign(b"message")),
    "too short": signed(ALICE.sign(b"message")[:63]),
    "too long": signed(ALICE.sign(b"message") + b"\0"),
    "zeros": signed(bytes(64)),
    "of another type": signed(ALICE.sign(b"message"), b"rsa-sha2-512"),
    "something after the end": signed(ALICE.sign(b"message")) + b"\0",
    "the keys": identities((BLOB, b"")),
    "nothing": b"",
    "cut": signed(ALICE.sign(b"message"))[:-1],
}


@pytest.mark.parametrize("answer", FALSE.values(), ids=FALSE)
def test_a_signature_that_is_none_is_never_used(asked, answer):
    assert "does not answer as an ssh-agent does" in asked("signature", saying(answer))


def test_the_true_signature_passes(path):
    with hostile_agent(path, saying(signed(ALICE.sign(b"message")))):
        assert SshAgent(path).sign(ALICE.public, b"message") == ALICE.sign(b"message")


def test_keys_that_cannot_sign_here_are_no_garbage(path):
    with hostile_agent(path, saying(identities((RSA, b""), (CERTIFICATE, b""), (TOKEN, b""), (BLOB, b"a")))):
        assert SshAgent(path).public_keys() == (PublicKey(ALICE.public, "a"),)


@pytest.mark.parametrize(
    ("what", "words"), [("keys", "refuses to list its keys"), ("signature", "refuses to sign with SHA256:")]
)
def test_a_refusal_is_told_with_the_mend(asked, what, words):
    message = asked(what, saying(b"\5"))
    assert words in message
    assert "ssh-add -X" in message


@pytest.mark.parametrize("what", ["keys", "signature"])
def test_a_length_above_the_limit_is_refused_before_it_is_read(asked, what):
    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall((MESSAGE_BYTES_MAX + 1).to_bytes(4, "big"))
        connection.recv(1)  # nothing more comes: whoever waited for the rest would hang

    assert f"the limit is {MESSAGE_BYTES_MAX}" in asked(what, answer)


@pytest.mark.parametrize("what", ["keys", "signature"])
@pytest.mark.parametrize("beginning", [b"", b"\0\0", string(b"\x0c" * 9)[:-1]], ids=["nothing", "half", "most"])
def test_an_agent_that_hangs_up(asked, what, beginning):
    assert "hangs up in the middle" in asked(what, lambda connection, _: connection.sendall(beginning))


@pytest.mark.parametrize("what", ["keys", "signature"])
def test_an_agent_that_hangs_is_given_up(path, what):
    with (
        hostile_agent(path, lambda connection, _: connection.recv(1)),
        pytest.raises(SshAgentError, match=r"does not answer within 0\.05 s"),
    ):
        request(SshAgent(path, **QUICK), what)


def test_an_agent_that_drips_is_given_up(path):
    """Each byte comes in time and the whole never does; `recv` waits a moment, and a byte from the client ends it."""

    def drip(connection: socket.socket, _: bytes) -> None:
        connection.sendall(MESSAGE_BYTES_MAX.to_bytes(4, "big"))
        connection.settimeout(0.01)
        while True:
            connection.sendall(b"\0")
            try:
                connection.recv(1)
            except TimeoutError:
                continue
            return

    with hostile_agent(path, drip), pytest.raises(SshAgentError, match="does not answer within"):
        SshAgent(path, **QUICK).public_keys()


def test_the_request_holds_what_it_must(path):
    seen = []

    def answer(connection: socket.socket, body: bytes) -> None:
        seen.append(body)
        connection.sendall(string(signed(ALICE.sign(b"message"))))

    with hostile_agent(path, answer):
        SshAgent(path).sign(ALICE.public, b"message")
    assert seen == [bytes([13]) + string(BLOB) + string(b"message") + bytes(4)]
