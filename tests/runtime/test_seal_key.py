"""The key that values for a node are sealed to: in its certificate, and beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipconf.model.errors import FormatError, KeyFileError
from gossipconf.runtime import seal_key
from gossipconf.runtime.pki import NodeFiles, create_ca, issue_node
from gossipconf.runtime.seal_key import load_seal_key, read_recipient
from tests.runtime.test_pki import CLUSTER, REAL_URI, certificate


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    create_ca(tmp_path / "ca", CLUSTER)
    return tmp_path / "ca"


@pytest.fixture
def node(ca: Path, tmp_path: Path) -> NodeFiles:
    return issue_node(ca, "checkout-7.eu", tmp_path / "node")


def test_the_certificate_names_the_key_that_opens(node: NodeFiles) -> None:
    key = load_seal_key(node, CLUSTER)
    assert key is not None
    assert read_recipient(certificate(node.certificate), CLUSTER) == key.public


def test_a_new_certificate_may_keep_the_key_of_the_old(ca: Path, node: NodeFiles, tmp_path: Path) -> None:
    key = load_seal_key(node, CLUSTER)
    again = issue_node(ca, "checkout-7.eu", tmp_path / "again", recipient=key)
    assert read_recipient(certificate(again.certificate), CLUSTER) == read_recipient(
        certificate(node.certificate), CLUSTER
    )


def test_the_key_of_another_certificate_is_refused(ca: Path, node: NodeFiles, tmp_path: Path) -> None:
    other = issue_node(ca, "b", tmp_path / "b")
    node.seal_key.write_bytes(other.seal_key.read_bytes())
    with pytest.raises(KeyFileError, match=r"seal\.key is not the key that .*node\.crt names"):
        load_seal_key(node, CLUSTER)


def test_a_node_without_the_key_opens_nothing_and_runs(node: NodeFiles) -> None:
    node.seal_key.unlink()
    assert load_seal_key(node, CLUSTER) is None


@pytest.mark.parametrize("uri", ["gossipconf-seal://00/00", f"gossipconf-seal://{CLUSTER.hex()}/p256"])
def test_a_malformed_name_of_a_key(ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setattr(
        seal_key.x509,
        "UniformResourceIdentifier",
        lambda made: REAL_URI(uri if made.startswith("gossipconf-") else made),
    )
    files = issue_node(ca, "a", tmp_path / "a")
    monkeypatch.undo()
    with pytest.raises(FormatError, match="must carry one name gossipconf-seal://<cluster"):
        read_recipient(certificate(files.certificate), CLUSTER)


def test_a_key_for_another_cluster(node: NodeFiles) -> None:
    with pytest.raises(FormatError, match="for another cluster, 00010203"):
        read_recipient(certificate(node.certificate), bytes(32))


def test_a_certified_key_of_low_order(ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        seal_key.x509,
        "UniformResourceIdentifier",
        lambda made: REAL_URI(made[:-64] + "00" * 32 if made.startswith("gossipconf-") else made),
    )
    files = issue_node(ca, "a", tmp_path / "a")
    monkeypatch.undo()
    with pytest.raises(KeyFileError, match=r"node\.crt: .* low order"):
        load_seal_key(files, CLUSTER)
