"""What `pki show` says of a certificate that issuers have renewed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gossipconf.cli.operate.certificate import certificate_facts
from gossipconf.model.errors import KeyFileError
from gossipconf.runtime import pki

FORMER = [bytes(range(32)), bytes(32)]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> pki.Issuer:
    directory = tmp_path_factory.mktemp("ca")
    pki.create_ca(directory, bytes(32))
    return pki.load_ca(directory)


def facts(ca: pki.Issuer, path: Path, former: list[bytes]) -> dict[str, object]:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    path.write_bytes(ca.issue("a", key, lifetime=timedelta(days=9), former=former))
    return certificate_facts(path)


def test_the_first_certificate_is_named_for_it_reaches_all_that_came_of_it(ca: pki.Issuer, tmp_path: Path) -> None:
    assert facts(ca, tmp_path / "a.crt", FORMER)["renewed_from"] == f"SHA256:{FORMER[0].hex()}"
    assert facts(ca, tmp_path / "b.crt", [])["renewed_from"] is None


def test_a_lineage_that_is_none_is_told(ca: pki.Issuer, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"a\.crt: its lineage is not 1 to 32 SHA-256 digests"):
        facts(ca, tmp_path / "a.crt", [b"short"])
