"""Recipient keys: their files, and every bad one refused in words."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gossipconf.model.errors import KeyFileError
from gossipconf.model.hashing import RECIPIENT_TAG, tagged_hash
from gossipconf.trust.recipient import (
    RecipientKey,
    check_recipient,
    load_recipient_key,
    public_pem,
    read_public_pem,
    recipient_id,
)

KEY = RecipientKey.from_seed(bytes(range(32)))


def test_a_key_comes_back_from_its_files(tmp_path):
    KEY.save(tmp_path / "me")
    assert stat.S_IMODE((tmp_path / "me").stat().st_mode) == 0o600
    assert load_recipient_key(tmp_path / "me").public == KEY.public
    assert read_public_pem((tmp_path / "me.pub").read_bytes(), "me.pub") == KEY.public
    with pytest.raises(KeyFileError, match="exists already"):
        KEY.save(tmp_path / "me")


def test_the_id_is_of_the_public_key():
    assert KEY.id == recipient_id(KEY.public) == tagged_hash(RECIPIENT_TAG, KEY.public)[:16]
    assert RecipientKey.generate().id != RecipientKey.generate().id


def test_two_keys_agree():
    other = RecipientKey.from_seed(bytes(32))
    assert KEY.agree(other.public) == other.agree(KEY.public)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_a_key_that_openssl_makes(tmp_path):
    path = tmp_path / "key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "X25519", "-out", path], check=True)
    path.chmod(0o600)
    public = subprocess.run(["openssl", "pkey", "-in", path, "-pubout"], check=True, capture_output=True).stdout
    assert read_public_pem(public, "it") == check_recipient(load_recipient_key(path).public)


def ed25519(password: bytes | None = None) -> bytes:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how
    )


@pytest.mark.parametrize(
    ("content", "mode", "part"),
    [
        (None, 0o600, "cannot be read: No such file"),
        (KEY.private_pem(), 0o640, "can be read by others .* chmod 600"),
        (b"nonsense", 0o600, "is not an X25519 private key in PEM; make one with: gossipconf seal key"),
        (ed25519(), 0o600, "is not an X25519 private key"),
        (ed25519(b"password"), 0o600, "has a passphrase"),
        (KEY.private_pem() + bytes(5_000), 0o600, "is larger than 4096 bytes"),
    ],
)
def test_a_bad_private_key_file(tmp_path, content, mode, part):
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
        os.chmod(path, mode)
    with pytest.raises(KeyFileError, match=part) as caught:
        load_recipient_key(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "not an X25519 public key"),
        (KEY.private_pem(), "not an X25519 public key"),
        (public_pem(bytes(32)), "low order"),
        (public_pem(b"\xff" * 32), "one shortest form"),
    ],
)
def test_a_bad_public_key_file(content, part):
    with pytest.raises(KeyFileError, match=f"^it.pub: .*{part}"):
        read_public_pem(content, "it.pub")
