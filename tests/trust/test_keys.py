"""Key files: made, read, refused; and nothing of a private key is ever shown."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa

from gossipconf.model.errors import BadSignature, KeyFileError, WrongPassphrase
from gossipconf.trust.keys import (
    KEY_FILE_BYTES_MAX,
    PublicKey,
    Signer,
    fingerprint,
    load_public,
    load_signer,
    public_line,
    public_of,
    verify,
)
from tests import strategies as gen

OPENSSH = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH)
needs_bcrypt = pytest.mark.skipif(
    importlib.util.find_spec("bcrypt") is None,
    reason="bcrypt is not installed (extra cli): PASSPHRASES OF OPENSSH FILES ARE NOT TESTED",
)
needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed: agreement with its files is not tested"
)
needs_ssh_keygen = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed: agreement with OpenSSH is not tested"
)


@pytest.fixture(name="path")
def _path(tmp_path):
    return tmp_path / "id"


def ssh_keygen(*arguments: object) -> str:
    return subprocess.run(
        ["ssh-keygen", *map(str, arguments)], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
    ).stdout


def write(path, data: bytes, mode: int = 0o600):
    path.write_bytes(data)
    path.chmod(mode)
    return path


def pkcs8(private, passphrase: bytes | None) -> bytes:
    encryption = (
        serialization.NoEncryption() if passphrase is None else serialization.BestAvailableEncryption(passphrase)
    )
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def refused(read, path, *words: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        read(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


# -- files ----------------------------------------------------------------------------------------


def test_a_saved_key_is_the_same_key(path):
    made = Signer.generate()
    made.save(path, "somebody@somewhere")
    again = load_signer(path)
    assert again.public == made.public
    assert again.sign(b"message") == made.sign(b"message")
    public = path.with_name("id.pub")
    assert load_public(public) == made.public
    assert public.read_text().endswith(" somebody@somewhere\n")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["id", "id.pub"])
def test_no_key_file_is_ever_overwritten(tmp_path, name):
    (tmp_path / name).write_bytes(b"precious")
    refused(lambda _: Signer.generate().save(tmp_path / "id"), tmp_path / name, "not overwritten")
    assert (tmp_path / name).read_bytes() == b"precious"


def test_a_directory_that_is_not_there_is_named(tmp_path):
    refused(Signer.generate().save, tmp_path / "nowhere" / "id", "cannot be written")


@needs_ssh_keygen
def test_openssh_reads_our_files_and_shows_the_same_fingerprint(path):
    made = gen.signer("alice")
    made.save(path)
    assert ssh_keygen("-l", "-f", path).split()[1] == fingerprint(made.public)
    assert ssh_keygen("-l", "-f", f"{path}.pub").split()[1] == fingerprint(made.public)
    assert ssh_keygen("-y", "-f", path).split()[:2] == path.with_name("id.pub").read_text().split()[:2]


@needs_ssh_keygen
def test_we_read_openssh_s_files(path):
    ssh_keygen("-q", "-t", "ed25519", "-N", "", "-C", "comment", "-f", path)
    assert load_signer(path).public == load_public(path.with_name("id.pub"))
    assert ssh_keygen("-l", "-f", path).split()[1] == fingerprint(load_public(path.with_name("id.pub")))


@needs_bcrypt
@needs_ssh_keygen
def test_we_open_openssh_s_files_with_their_passphrase(path):
    ssh_keygen("-q", "-t", "ed25519", "-a", "1", "-N", "secret words", "-f", path)
    assert load_signer(path, lambda: b"secret words").public == load_public(path.with_name("id.pub"))
    for wrong in (b"", b"secret", b"secret words\n"):
        with pytest.raises(WrongPassphrase, match=str(path)) as caught:
            load_signer(path, lambda wrong=wrong: wrong)
        assert "secret" not in str(caught.value)
    refused(load_signer, path, "passphrase", "nobody is there to give it")


@needs_bcrypt
@needs_ssh_keygen
def test_openssh_opens_ours_with_its_passphrase(path):
    made = Signer.generate()
    made.save(path, "", "geheime Wörter".encode())
    assert ssh_keygen("-y", "-P", "geheime Wörter", "-f", path).split()[1] == public_line(made.public).split()[1]
    assert load_signer(path, "geheime Wörter".encode).public == made.public


@needs_ssh_keygen
def test_without_bcrypt_a_passphrase_is_refused_with_the_mend(path, monkeypatch):
    ssh_keygen("-q", "-t", "ed25519", "-a", "1", "-N", "secret words", "-f", path)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    mend = "pip install 'gossipconf[cli]'"
    refused(lambda path: load_signer(path, lambda: b"secret words"), path, mend)
    new = path.with_name("new")
    refused(lambda path: Signer.generate().save(path, "", b"secret words"), new, mend)
    assert not new.exists()


def test_a_key_without_passphrase_asks_for_none(path):
    Signer.generate().save(path)
    assert load_signer(path, lambda: pytest.fail("asked"))


def test_a_private_file_shows_its_public_part_without_its_passphrase(path):
    made = Signer.generate()
    made.save(path, "somebody")
    assert public_of(path, lambda _: pytest.fail("asked")).public == made.public
    beside = path.with_name("id.pub")
    assert public_of(path) == public_of(beside) == PublicKey(made.public, "somebody")
    for other in (b"junk", public_line(gen.signer("alice").public, "alice").encode()):
        assert public_of(path, opened=lambda _: pytest.fail("asked")) == PublicKey(made.public, "somebody")
        write(beside, other)
        assert public_of(path) == PublicKey(made.public)
        write(beside, public_line(made.public, "somebody").encode())
    beside.unlink()
    assert public_of(path) == PublicKey(made.public)


@needs_bcrypt
def test_an_encrypted_file_of_openssh_does_too(path):
    made = Signer.generate()
    made.save(path, "", b"secret words")
    assert public_of(path, lambda _: pytest.fail("asked")) == PublicKey(made.public)


@pytest.mark.parametrize("mode", [0o640, 0o644])
def test_a_private_file_that_others_can_read_shows_nothing(path, mode):
    gen.signer("alice").save(path)
    path.chmod(mode)
    refused(public_of, path, f"chmod 600 {path}")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o610, 0o601])
def test_a_private_key_that_others_can_reach_is_refused_with_the_mend(path, mode):
    gen.signer("alice").save(path)
    path.chmod(mode)
    refused(load_signer, path, f"mode {mode:04o}", f"chmod 600 {path}")


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_private_key_of_its_owner_alone_is_read(path, mode):
    gen.signer("alice").save(path)
    path.chmod(mode)
    assert load_signer(path).public == gen.signer("alice").public


@pytest.mark.parametrize(
    "private", [generate_rsa(65537, 1024), generate_private_key(SECP256R1())], ids=["RSA", "ECDSA"]
)
def test_other_kinds_of_key_are_refused_with_the_mend(path, private):
    write(path, private.private_bytes(*OPENSSH, serialization.NoEncryption()))
    refused(load_signer, path, "not an Ed25519 key", "gossipconf key new")
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    refused(load_public, write(path, public), "not an Ed25519 key")


@pytest.mark.parametrize("passphrase", [None, b"secret words"])
def test_a_key_in_pkcs8_is_the_same_key(path, passphrase):
    write(path, pkcs8(Ed25519PrivateKey.from_private_bytes(bytes(range(32))), passphrase))
    expected = Signer.from_seed(bytes(range(32)))
    found = load_signer(path, None if passphrase is None else lambda: passphrase)
    assert found.public == expected.public
    assert found.sign(b"message") == expected.sign(b"message")
    assert public_of(path, lambda _: found).public == expected.public


def test_a_wrong_passphrase_of_pkcs8(path):
    write(path, pkcs8(Ed25519PrivateKey.generate(), b"secret words"))
    for wrong in (b"", b"wrong", "\x00é".encode()):
        with pytest.raises(WrongPassphrase, match=str(path)):
            load_signer(path, lambda wrong=wrong: wrong)
    refused(load_signer, path, "nobody is there to give it")


def test_other_kinds_of_key_in_pkcs8_are_refused(path):
    write(path, pkcs8(generate_private_key(SECP256R1()), None))
    refused(load_signer, path, "not an Ed25519 key", "gossipconf key new")


@needs_openssl
def test_we_read_openssl_s_files(path, tmp_path):
    write(path, b"")
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True, capture_output=True)
    plain = load_signer(path).public
    closed = write(tmp_path / "closed", b"")
    command = ["openssl", "pkcs8", "-topk8", "-in", path, "-out", closed, "-passout", "pass:secret words"]
    subprocess.run(command, check=True, capture_output=True)
    assert load_signer(closed, lambda: b"secret words").public == plain


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        b"ssh-ed25519 AAAA",
        b"ssh-ed25519 !!!!",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
    ],
)
def test_garbage_is_refused(path, data):
    refused(load_signer, write(path, data), "is a public key" if data.startswith(b"ssh-") else "OpenSSH's format")
    refused(load_public, write(path, data), "OpenSSH's format")


@pytest.mark.parametrize("read", [load_signer, load_public])
def test_a_private_key_cut_anywhere_or_altered_is_refused(path, read):
    gen.signer("alice").save(path)
    data = path.read_bytes()
    for length in range(0, len(data) - 2, 7):
        refused(read, write(path, data[:length]))


def test_a_public_key_cut_anywhere_is_refused(path):
    gen.signer("alice").save(path)
    data = path.with_name("id.pub").read_bytes().strip()
    for length in range(len(data)):
        refused(load_public, write(path, data[:length]))


@pytest.mark.parametrize("read", [load_signer, load_public])
def test_a_missing_file_and_a_directory_are_refused(tmp_path, read):
    refused(read, tmp_path / "nowhere", "cannot be read")
    refused(read, tmp_path, "cannot be read")


@pytest.mark.parametrize("read", [load_signer, load_public])
def test_a_file_that_is_far_too_large_is_not_parsed(path, read):
    refused(read, write(path, b"a" * (KEY_FILE_BYTES_MAX + 1)), f"more than {KEY_FILE_BYTES_MAX} bytes")


# -- signing --------------------------------------------------------------------------------------


def test_a_signer_shows_its_public_part_only():
    seed = bytes(range(32))
    signer = Signer.from_seed(seed)
    for shown in (repr(signer), str(signer), f"{signer}"):
        assert shown == f"Signer({fingerprint(signer.public)})"
        assert seed.hex() not in shown
    assert not hasattr(signer, "__dict__")


def test_signatures_are_those_of_rfc_8032():
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    signer = Signer.from_seed(seed)
    assert signer.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    signature = signer.sign(b"")
    assert signature.hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    verify(signer.public, signature, b"")


@pytest.mark.parametrize(
    ("public", "signature", "message"),
    [
        (gen.signer("alice").public, gen.signer("alice").sign(b"a"), b"b"),
        (gen.signer("bob").public, gen.signer("alice").sign(b"a"), b"a"),
        (gen.signer("alice").public, bytes(64), b"a"),
        (gen.signer("alice").public, b"short", b"a"),
        (b"\xff" * 32, gen.signer("alice").sign(b"a"), b"a"),
        (b"short", gen.signer("alice").sign(b"a"), b"a"),
    ],
)
def test_what_does_not_verify_is_a_bad_signature(public, signature, message):
    with pytest.raises(BadSignature, match="does not verify"):
        verify(public, signature, message)


def test_a_signature_has_no_second_form():
    signature = gen.signer("alice").sign(b"a")
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(signature[32:], "little") + order
    with pytest.raises(BadSignature):
        verify(gen.signer("alice").public, signature[:32] + s.to_bytes(32, "little"), b"a")


@pytest.mark.parametrize("beginning", [b"ssh-ed25519 AAAA", b"-----BEGIN PUBLIC KEY-----\n"])
def test_a_public_key_in_the_place_of_a_private_one_is_named_for_what_it_is(tmp_path, beginning):
    """Its mode is no matter: who mends that is told something else next."""
    path = tmp_path / "key.pub"
    path.write_bytes(beginning)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="is a public key; name the private one"):
        load_signer(path)
